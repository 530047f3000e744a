import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import efface
from efface.attacks import registry
from efface.auditing.asking import Wanted
from efface.auditing.run import audit, audit_run
from efface.backends.base import LoadedCLIP
from efface.data.sources import open_source
from efface.errors import InputError
from efface.report.audit import read_audit
from efface.verifying.verify import verify
from tests.auditing.mine import Mine
from tests.worlds import World

TOWERS = Wanted(("towers",))


def with_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs an attack of somebody else's."""
    point = EntryPoint("mine", "tests.auditing.mine:Mine", "efface.attacks")

    def entry_points(*, group: str, name: str = "mine") -> list[EntryPoint]:
        return [point] if (group, name) == ("efface.attacks", "mine") else []

    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_two_models_are_audited_by_the_verb(clip: LoadedCLIP, world: World) -> None:
    data = open_source(world.data, preprocess=clip.preprocess)
    found = efface.audit(clip, "dog", against=clip, data=data, wanted=Wanted((Mine(),)))
    assert [one.attack for one in found.tried] == ["plain", "mine"]
    assert found.subject.record is None
    assert found.subject.models["edited"].weights == found.subject.models["reference"].weights
    again = audit(clip, "dog", against=clip, data=data, wanted=Wanted((Mine(),)))
    assert (again.subject, again.verdict) == (found.subject, found.verdict)


def test_an_audit_lies_in_the_run_and_goes_on_attack_by_attack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audit_run(folder, wanted=TOWERS)
    assert read_audit(folder / "audit.json") == first
    assert first.subject.record == json.loads((folder / "record.json").read_text(encoding="utf-8"))["sha256"]
    assert "Tried to bring it back" in (folder / "report.html").read_text(encoding="utf-8")
    assert not (folder / "audit.partial.json").exists()
    payload = next(check for check in verify(folder).checks if check.code == "PAYLOAD")
    assert (payload.status, payload.reasons) == ("passed", ())
    # One that asks for another attack adds it; what was tried stays, to the second that it took.
    with_mine(monkeypatch)
    more = audit_run(folder, wanted=Wanted(("mine",)))
    assert [one.attack for one in more.tried] == ["towers", "plain", "mine"]
    assert more.tried[0] == first.tried[1]
    assert more.verdict.revived
    # With another seed the images are others: nothing of it counts.
    assert [one.attack for one in audit_run(folder, wanted=Wanted(("towers",), seed=1)).tried] == ["plain", "towers"]


def test_what_was_stopped_goes_on_from_what_was_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_mine(monkeypatch)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Mine, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        audit_run(folder, wanted=Wanted(("towers", "mine")))
    assert not (folder / "audit.json").exists()
    partial = read_audit(folder / "audit.partial.json")
    assert [one.attack for one in partial.tried] == ["plain", "towers"]
    monkeypatch.undo()
    with_mine(monkeypatch)
    done = audit_run(folder, wanted=Wanted(("towers", "mine")))
    assert done.tried[:2] == partial.tried
    assert not (folder / "audit.partial.json").exists()


def test_what_is_not_the_runs_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="the run did not forget 'cat'"):
        audit_run(folder, name="cat")
    with pytest.raises(InputError, match="is not the base of this run"):
        audit_run(folder, against=f"local-dir:{folder / 'model'}")
    audit_run(folder, wanted=TOWERS)
    text = (folder / "audit.json").read_text(encoding="utf-8")
    record = json.loads(text)["subject"]["record"]
    (folder / "audit.json").write_text(text.replace(record, "0" * 64), encoding="utf-8")
    assert next(check for check in verify(folder).checks if check.code == "PAYLOAD").status == "failed"
