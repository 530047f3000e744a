"""A stand-in for the Hub's HTTP interface: what its client asks for to make a repository and to commit files."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huggingface_hub import _commit_api, constants
from huggingface_hub.utils import _http


@dataclass
class StandIn:
    """What came in.

    Attributes:
        url: where it listens.
        refuses: answers every request with 403.
        there: what is known of the repository, if there is one already: asking for a new one is answered with 409.
        calls: method and path of each request.
        created: what was asked of the repository.
        header: the head of the commit.
        files: the content of each file of the commit, by its path.
        stored: large files, by their sha256.
    """

    url: str = ""
    refuses: bool = False
    there: dict[str, Any] | None = None
    calls: list[str] = field(default_factory=list)
    created: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)

    def respond(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and the answer to a request, in JSON."""
        if self.refuses:
            return 403, {"error": "you may not"}
        if path == "/api/repos/create" and self.there is not None:
            return 409, {"error": "You already created this model repo", "url": f"{self.url}/me/clip"}
        return 200, self.answer(path, body)

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """The answer to a request that is granted."""
        if path == "/api/models/me/clip":
            new = {"private": self.created.get("private", self.created.get("visibility") == "private")}
            start = {"id": "me/clip", "sha": "0" * 40, "tags": [], "siblings": [{"rfilename": ".gitattributes"}]}
            return start | (new if self.there is None else self.there)
        if path == "/api/repos/create":
            self.created = json.loads(body)
            return {"url": f"{self.url}/{self.created.get('organization', 'me')}/{self.created['name']}"}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            return {"files": [_mode(file["path"]) for file in json.loads(body)["files"]]}
        if path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            actions = [{"upload": {"href": f"{self.url}/store/{one['oid']}"}} for one in wanted]
            objects = [one | {"actions": action} for one, action in zip(wanted, actions, strict=True)]
            return {"transfer": "basic", "objects": objects}
        if "/commit/" in path:
            self.commit(body)
            return {"commitUrl": f"{self.url}/me/clip/commit/{'1' * 40}", "commitOid": "1" * 40, "pullRequestUrl": None}
        return {}

    def commit(self, body: bytes) -> None:
        """Takes a commit in: a line of JSON for its head and one a file."""
        for line in body.decode().splitlines():
            one = json.loads(line)
            if one["key"] == "header":
                self.header = one["value"]
            elif one["key"] == "file":
                self.files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                self.files[one["value"]["path"]] = self.stored[one["value"]["oid"]]


def _mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(".safetensors") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False}


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A stand-in that listens on this machine until the block ends."""
    hub = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.calls.append(f"{self.command} {self.path}")
            if self.command == "PUT":
                hub.stored[self.path.rpartition("/")[2]] = body
            status, told = hub.respond(self.path, body)
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = respond

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asked_of_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in that the Hub's client takes for the Hub."""
    with stand_in() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # Before version 1 a session that was opened offline stays so.
        getattr(_http, "reset_sessions", lambda: None)()
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        # Large files then go over plain HTTP, which a stand-in can follow.
        monkeypatch.setattr(_commit_api, "is_xet_available", lambda: False)
        yield hub
