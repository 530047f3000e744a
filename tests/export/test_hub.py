import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from efface.backends import load
from efface.errors import InputError
from efface.export.folder import Pictures, file_digests, read_run, write_run
from efface.export.hub import HubError, hub_name, plan_upload, send
from efface.report.document import seal
from tests.export.stand_in import StandIn, asked_of_stand_in
from tests.report.sample_record import sample
from tests.tiny_open_clip import VIT, write_open_clip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = write_open_clip(tmp_path_factory.mktemp("base") / "clip", VIT)
    (base / "README.md").write_text("---\nlicense: other\nlicense_name: mine\nlicense_link: LICENSE\n---\n# A CLIP\n")
    return write_run(tmp_path_factory.mktemp("run") / "run", sample(), load(f"local-dir:{base}"), Pictures())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with asked_of_stand_in(monkeypatch) as started:
        yield started


def test_the_plan_holds_the_model_and_a_card_for_its_place(run: Path) -> None:
    upload = plan_upload(run, "me/clip")
    assert set(upload.files) == {"open_clip_config.json", "open_clip_model.safetensors"}
    assert upload.private
    told = huggingface_hub.ModelCard(upload.texts["README.md"]).data.to_dict()  # type: ignore[no-untyped-call]
    assert (told["license"], told["license_name"], told["license_link"]) == ("other", "mine", "LICENSE")
    assert 'create_model_from_pretrained("hf-hub:me/clip")' in upload.texts["README.md"]
    for local in ("record.json", "report.html", "/home", "beside this card"):
        assert local not in upload.texts["README.md"]
    more = plan_upload(run, "me/clip", record=True, page=True)
    assert more.files == upload.files
    assert set(more.texts) - set(upload.texts) == {"record.json", "report.html"}
    assert "More is in `record.json` and `report.html`." in more.texts["README.md"]


# The client's own way to send a large file over plain HTTP.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_what_is_sent_is_what_was_planned_to_the_byte(run: Path, hub: StandIn) -> None:
    upload = plan_upload(run, "me/clip", record=True)
    assert send(upload) == f"{hub.url}/me/clip/commit/{'1' * 40}"
    assert (hub.created["name"], hub.created["organization"]) == ("clip", "me")
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    expected = {name: path.read_bytes() for name, path in upload.files.items()}
    expected |= {"README.md": upload.texts["README.md"].encode(), "record.json": (run / "record.json").read_bytes()}
    assert hub.files == expected
    assert {name: len(content) for name, content in expected.items()} == upload.sizes
    assert hub.header["parentCommit"] == "0" * 40
    assert hub.header["summary"] == "monarch: lip"


def test_a_plan_asks_the_hub_for_nothing(run: Path, hub: StandIn) -> None:
    plan_upload(run, "me/clip")
    assert hub.calls == []


@pytest.mark.parametrize(
    ("there", "match"),
    [
        ({"private": False, "tags": ["efface"]}, "all can see it: nothing was sent"),
        ({"private": False}, "all can see it: nothing was sent"),
        ({"private": True, "siblings": [{"rfilename": "thesis.pt"}]}, "did not put there, such as thesis.pt"),
    ],
)
def test_what_is_in_a_repository_of_others_or_would_be_seen_by_all_is_let_be(
    run: Path, hub: StandIn, there: dict[str, Any], match: str
) -> None:
    hub.there = there
    with pytest.raises(InputError, match=match):
        send(plan_upload(run, "me/clip"))
    assert hub.files == {}
    assert not [call for call in hub.calls if "/commit/" in call]


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ({"private": True}, {}),
        ({"private": False}, {"private": False}),
        ({"private": True, "siblings": [{"rfilename": "README.md"}], "tags": ["clip", "efface"]}, {}),
        ({"private": True, "siblings": [{"rfilename": "thesis.pt"}]}, {"overwrite": True}),
    ],
)
def test_a_repository_that_is_there_takes_what_it_may(
    run: Path, hub: StandIn, there: dict[str, Any], asked: dict[str, bool]
) -> None:
    hub.there = there
    upload = plan_upload(run, "me/clip", **asked)
    send(upload)
    assert set(hub.files) == {*upload.files, *upload.texts}


def test_page_and_card_are_made_anew_whatever_lies_there(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "report.html").write_text("<script>evil</script>", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# all gone", encoding="utf-8")
    upload = plan_upload(folder, "me/clip", page=True)
    assert upload.texts["report.html"] == (run / "report.html").read_text(encoding="utf-8")
    assert "all gone" not in upload.texts["README.md"]
    (folder / "report.html").unlink()
    assert plan_upload(folder, "me/clip", page=True) == upload
    (folder / "retrieved.png").write_bytes(b"another picture")
    with pytest.raises(InputError, match=r"a sheet of pictures, in .* is not that of its record"):
        plan_upload(folder, "me/clip", page=True)


def test_files_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run", sample(), load(f"local-dir:{write_open_clip(tmp_path / 'clip', VIT)}"), Pictures()
    )
    for place in ("text/config.json", "image/config.json"):
        (folder / "model" / place).parent.mkdir()
        (folder / "model" / place).write_text(place, encoding="utf-8")
    sealed = seal(dataclasses.replace(read_run(folder), files=file_digests(folder)))
    (folder / "record.json").write_text(sealed.to_json(), encoding="utf-8")
    files = plan_upload(folder, "me/clip").files
    assert {"text/config.json", "image/config.json"} < set(files)
    assert files["text/config.json"].read_text(encoding="utf-8") == "text/config.json"


def test_a_refusal_is_said_in_one_line(run: Path, hub: StandIn) -> None:
    hub.refuses = True
    with pytest.raises(HubError, match="the Hub refused me/clip: ") as caught:
        send(plan_upload(run, "me/clip"))
    assert "hf auth login" in caught.value.hint


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(run: Path) -> None:
    # The tests run with HF_HUB_OFFLINE.
    with pytest.raises(HubError, match="cannot be reached"):
        send(plan_upload(run, "me/clip"))


@pytest.mark.parametrize("repo", ["clip", "a/b/c", "me/", "me/cl ip", "me/a..b", "me/a--b"])
def test_what_is_no_repository_is_refused(run: Path, repo: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a repository"):
        plan_upload(run, repo)


def test_a_model_that_is_not_that_of_the_record_is_not_sent(run: Path, tmp_path: Path) -> None:
    without = write_run(tmp_path / "without", sample(), None, Pictures())
    with pytest.raises(InputError, match="has no model to send"):
        plan_upload(without, "me/clip")
    (without / "model").mkdir()
    (without / "model" / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match="is not that of its record"):
        plan_upload(without, "me/clip")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/clip-vit-base-patch16", "openai/clip-vit-base-patch16"),
        ("ViT-B-32:openai", "timm/vit_base_patch32_clip_224.openai"),
        ("local-dir:/models/clip", None),
        ("ViT-B-32:none", None),
    ],
)
def test_the_hub_s_own_name_of_a_base_is_found(model: str, expected: str | None) -> None:
    assert hub_name(model) == expected
