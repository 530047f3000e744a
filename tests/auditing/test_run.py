import json
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import efface
from efface.attacks import registry
from efface.attacks.base import FINAL_LIKENESS, Asked, Row
from efface.attacks.registry import ATTACKS
from efface.attacks.relearn import Relearn
from efface.attacks.soft_prompt import SoftPrompt
from efface.auditing import run as auditing
from efface.auditing.asking import Wanted
from efface.auditing.run import audit, audit_run
from efface.backends.base import LoadedCLIP, digest
from efface.beside import Beside
from efface.data.sources import open_source
from efface.errors import InputError
from efface.export.folder import read_run
from efface.methods.projection import Projection
from efface.report.audit import read_audit
from efface.verifying.verify import verify
from tests.attacks.asking import edited_of
from tests.auditing.mine import Mine
from tests.evaluation.test_features import data_of
from tests.worlds import NAMES, World

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
    edited = edited_of(clip)
    other = audit(edited, "dog", against=clip, data=data, wanted=Wanted(("retrieval",)))
    assert other.subject.models["edited"].weights == digest(edited.stored_state())
    likeness = next(case for case in other.verdict.cases if case.setting == FINAL_LIKENESS)
    assert likeness.edited < 0.99 < likeness.original


def test_no_attack_of_ours_breaks(clip: LoadedCLIP) -> None:
    short = SoftPrompt(steps=1, draws=1), Relearn(shots=(1,), draws=1, steps=1, unrelated_images=8)
    rest = tuple(name for name in ATTACKS if name not in {one.name for one in short})
    found = audit(edited_of(clip), "dog", against=clip, data=data_of(24), wanted=Wanted((*rest, *short)))
    assert [one.failed for one in found.tried] == [None] * len(found.tried)
    assert [one.attack for one in found.tried if one.lacked] == ["membership"]
    # Where texts answer, a name that was never learned stands beside.
    judged = {(row.attack, row.setting) for one in found.tried for row in one.rows if row.kind == "output"}
    unknown = {(row.attack, row.setting) for one in found.tried for row in one.rows if row.model == "unknown"}
    assert judged <= unknown
    # All but single words, which the control has none of, have a control.
    assert all(case.control for case in found.verdict.cases if "word" not in case.cost)


def test_what_breaks_leaves_the_verdict_incomplete(clip: LoadedCLIP, world: World) -> None:
    data = open_source(world.data, preprocess=clip.preprocess)
    found = audit(clip, "dog", against=clip, data=data, wanted=Wanted((Mine(breaking=True), "retrieval")))
    assert [one.attack for one in found.tried if one.is_whole] == ["plain", "retrieval"]
    assert found.verdict.incomplete == ("mine",)
    assert "incomplete: mine failed, and says nothing: ZeroDivisionError: by the moon" in found.verdict.reasons
    assert "incomplete, as 1 failed, by 2 attacks" in found.statement


def test_an_audit_of_two_models_goes_on_from_its_file(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    data, out = open_source(world.data, preprocess=clip.preprocess), tmp_path / "found.json"
    first = audit(clip, "dog", against=clip, data=data, wanted=TOWERS, out=out)
    assert read_audit(out) == first
    more = audit(clip, "dog", against=clip, data=data, wanted=Wanted(("retrieval",)), out=out)
    assert [one.attack for one in more.tried] == ["towers", "plain", "retrieval"]
    assert more.tried[0] == first.tried[1]
    with pytest.raises(InputError, match="its class is 'dog', and 'cat' is asked for") as caught:
        audit(clip, "cat", against=clip, data=data, wanted=TOWERS, out=out)
    assert "--overwrite" in caught.value.hint
    assert read_audit(out) == more
    audit(clip, "cat", against=clip, data=data, wanted=TOWERS, out=out, overwrite=True)
    assert read_audit(out).subject.name == "cat"
    assert list(tmp_path.iterdir()) == [out]


def test_one_kind_of_a_class_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = read_run(folder)
    of_kind = replace(sealed, beside=Beside(where={"design": "notation"}), images=None)
    monkeypatch.setattr(auditing, "read_run", lambda _: of_kind)
    with pytest.raises(InputError, match="of 'dog' one kind alone was to be forgotten, design=notation"):
        audit_run(folder, wanted=TOWERS)


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
    # With another seed the images are others: nothing of it counts, and it is not lost unasked.
    other = Wanted(("towers",), seed=1)
    with pytest.raises(InputError, match="holds an audit of another subject: its seed is 0, and 1 is asked for"):
        audit_run(folder, wanted=other)
    assert read_audit(folder / "audit.json") == more
    assert [one.attack for one in audit_run(folder, wanted=other, overwrite=True).tried] == ["plain", "towers"]


def test_of_several_forgotten_classes_none_is_a_control(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    data = open_source(world.data, preprocess=clip.preprocess)
    alone = audit(clip, "dog", against=clip, data=data, wanted=Wanted(("plain",)))
    first = alone.subject.control
    told = audit(clip, "dog", against=clip, data=data, beside=[first], wanted=Wanted(("plain",)))
    both = efface.forget(clip, ["dog", first], among=NAMES, method=Projection(strength=2.0), data=[world.data])
    of_run = audit_run(both.save(tmp_path / "run"), name="dog", wanted=Wanted(("plain",)))
    assert {one.subject.control for one in (told, of_run)} == {"cat", "fox"} - {first}
    assert told.subject.beside == of_run.subject.beside == (first,)


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


def test_what_was_stopped_while_it_replaced_another_goes_on_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audit_run(folder, wanted=TOWERS)
    with_mine(monkeypatch)
    asked = Wanted(("towers", "mine"), seed=1)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Mine, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        audit_run(folder, wanted=asked, overwrite=True)
    assert read_audit(folder / "audit.json") == first
    again = read_audit(folder / "audit.again.json")
    payload = next(check for check in verify(folder).checks if check.code == "PAYLOAD")
    assert (payload.status, payload.reasons) == ("passed", ())
    monkeypatch.undo()
    with_mine(monkeypatch)
    done = audit_run(folder, wanted=asked, overwrite=True)
    assert done.tried[:2] == again.tried
    assert read_audit(folder / "audit.json") == done
    assert not (folder / "audit.again.json").exists()
    # Where none was stopped, all is tried anew.
    calls: list[Asked] = []

    def counted(_: Mine, asked: Asked, **__: object) -> tuple[Row, ...]:
        calls.append(asked)
        return ()

    monkeypatch.setattr(Mine, "run", counted)
    audit_run(folder, wanted=asked, overwrite=True)
    assert len(calls) == 1


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
