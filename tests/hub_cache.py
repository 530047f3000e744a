"""The Hub's cache as its client lays it out, made by hand, and a server that answers as the Hub does."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

REVISION = "0123456789abcdef0123456789abcdef01234567"


def lay_out(cache: Path, repo: str, folder: Path) -> Path:
    """The files of a folder as the client would have left them: contents under their digests, linked by name."""
    root = cache / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / REVISION
    for part in (root / "refs", root / "blobs", snapshot):
        part.mkdir(parents=True)
    (root / "refs" / "main").write_text(REVISION, encoding="utf-8")
    for path in folder.iterdir():
        blob = root / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(blob)
    return snapshot


def online(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Lets the client ask a server other than the Hub."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    # Before version 1 a session that was opened offline stays so.
    getattr(_http, "reset_sessions", lambda: None)()
    template = "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", address + template, raising=False)


class Handler(BaseHTTPRequestHandler):
    """Answers of the Hub: what a model consists of, and its files."""

    repos: dict[str, Path]
    sent: list[str]

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.split("?")[0].strip("/")
        for repo, folder in self.repos.items():
            if path.startswith(f"api/models/{repo}"):
                return self.send(json.dumps(self.listing(repo, folder, tree="/tree/" in path)).encode())
            file = folder / path.rsplit("/", maxsplit=1)[-1]
            if path.startswith(f"{repo}/resolve/") and file.is_file():
                if self.command == "GET":
                    self.sent.append(file.name)
                return self.send(file.read_bytes())
        return self.send(b"", code=404, error="RepoNotFound")

    def listing(self, repo: str, folder: Path, *, tree: bool) -> Any:
        files = sorted(folder.iterdir())
        if tree:
            return [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in files]
        return {"id": repo, "sha": REVISION, "siblings": [{"rfilename": f.name} for f in files]}

    def send(self, body: bytes, *, code: int = 200, error: str = "") -> None:
        self.send_response(code)
        headers = {"Content-Length": str(len(body)), "ETag": hashlib.sha256(body).hexdigest()}
        for name, value in {**headers, "X-Repo-Commit": REVISION, "X-Error-Code": error}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def hub_of(repos: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """A server with some folders as models: its address, and the names of the files that it sent."""
    sent: list[str] = []
    handler = type("HandlerOfRepos", (Handler,), {"repos": repos, "sent": sent})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()
