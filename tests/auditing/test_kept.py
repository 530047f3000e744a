import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from efface.auditing.kept import found_before, partial_of
from efface.errors import EffaceWarning, InputError
from efface.report.environment import environment
from tests.report.test_audit import GOLD, audit_of

AUDIT = replace(audit_of(GOLD), environment=environment())


def test_where_there_is_nothing_nothing_is_known(tmp_path: Path) -> None:
    assert found_before(tmp_path / "audit.json", AUDIT.subject) == {}
    assert partial_of(tmp_path / "audit.json") == tmp_path / "audit.partial.json"


def test_what_was_stopped_adds_to_what_was_finished(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text(replace(AUDIT, tried=AUDIT.tried[:2]).to_json(), encoding="utf-8")
    partial_of(path).write_text(replace(AUDIT, tried=AUDIT.tried[1:]).to_json(), encoding="utf-8")
    assert list(found_before(path, AUDIT.subject).values()) == list(AUDIT.tried)


@pytest.mark.parametrize("partial", [True, False])
def test_what_was_found_in_another_environment_is_tried_again(tmp_path: Path, partial: bool) -> None:
    path = tmp_path / "audit.json"
    path.write_text(AUDIT.to_json(), encoding="utf-8")
    place = partial_of(path) if partial else path
    older = replace(AUDIT, tried=AUDIT.tried[:1], environment=environment() | {"torch": "0.1"})
    place.write_text(older.to_json(), encoding="utf-8")
    with pytest.warns(EffaceWarning, match=rf"{place.name}' was found in another environment \(torch was 0\.1 and is"):
        assert list(found_before(path, AUDIT.subject).values()) == (list(AUDIT.tried) if partial else [])


def test_a_restart_is_no_other_environment(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text(replace(AUDIT, environment=environment() | {"cpus": "99"}).to_json(), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(found_before(path, AUDIT.subject).values()) == list(AUDIT.tried)


def test_a_subject_is_what_it_holds_and_not_where_it_lies(tmp_path: Path) -> None:
    path, subject = tmp_path / "audit.json", AUDIT.subject
    path.write_text(AUDIT.to_json(), encoding="utf-8")
    moved = {called: replace(one, source=f"elsewhere/{one.source}") for called, one in subject.models.items()}
    elsewhere = replace(subject, models=moved, held_out=replace(subject.held_out, source="elsewhere"))
    assert found_before(path, elsewhere)


@pytest.mark.parametrize("partial", [True, False])
def test_an_audit_of_another_subject_is_kept(tmp_path: Path, partial: bool) -> None:
    path, subject = tmp_path / "audit.json", AUDIT.subject
    place = partial_of(path) if partial else path
    place.write_text(AUDIT.to_json(), encoding="utf-8")
    edited = {**subject.models, "edited": replace(subject.models["edited"], weights="9" * 64)}
    ungolden = {called: one for called, one in subject.models.items() if called != "gold"}
    for other, what in (
        (replace(subject, name="goldfish"), "class is 'monarch', and 'goldfish'"),
        (replace(subject, models=edited), "edited model is '111"),
        (replace(subject, models=ungolden), "gold model is '222.*, and None"),
        (replace(subject, held_out=replace(subject.held_out, sha256="1" * 64)), "images that judge is"),
    ):
        with pytest.raises(InputError, match=f"{place.name}' holds an audit of another subject: its {what}") as caught:
            found_before(path, other)
        assert "--overwrite" in caught.value.hint


def test_of_one_that_replaces_another_only_its_own_counts(tmp_path: Path) -> None:
    path, subject = tmp_path / "audit.json", AUDIT.subject
    assert partial_of(path, again=True) == tmp_path / "audit.again.json"
    path.write_text(AUDIT.to_json(), encoding="utf-8")
    assert found_before(path, subject, again=True) == {}
    begun = replace(AUDIT, tried=AUDIT.tried[1:], environment=environment())
    partial_of(path, again=True).write_text(begun.to_json(), encoding="utf-8")
    assert list(found_before(path, subject, again=True).values()) == list(AUDIT.tried[1:])
    # What another version found is tried again.
    partial_of(path, again=True).write_text(replace(begun, environment={"efface": "0"}).to_json(), encoding="utf-8")
    assert found_before(path, subject, again=True) == {}
    partial_of(path, again=True).write_text(begun.to_json(), encoding="utf-8")
    # What is of others, or no audit, is replaced in any case.
    assert found_before(path, replace(subject, name="goldfish"), again=True) == {}
    partial_of(path, again=True).write_text("{}", encoding="utf-8")
    assert found_before(path, subject, again=True) == {}


def test_what_failed_and_is_no_longer_installed_is_forgotten(tmp_path: Path) -> None:
    path, first = tmp_path / "audit.json", AUDIT.tried[0]
    failed = [replace(first, attack=name, rows=(), failed="broke") for name in ("relearn", "removed")]
    path.write_text(replace(AUDIT, tried=(*failed, replace(first, attack="gone"))).to_json(), encoding="utf-8")
    assert list(found_before(path, AUDIT.subject)) == ["relearn", "gone"]


def test_what_is_no_audit_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is no audit of this version"):
        found_before(tmp_path / "audit.json", AUDIT.subject)
