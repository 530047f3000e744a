import json
from dataclasses import replace
from pathlib import Path

import pytest

from efface.attacks.base import Row, Trial
from efface.attacks.run import Tried
from efface.attacks.verdict import judge
from efface.errors import InputError
from efface.report.audit import Audit, Audited, ImagesUsed, Subject, cases_by_attack, read_audit
from efface.report.page import render_page
from tests.report.sample_record import TARGET, sample


def audit_of(values: dict[str, float]) -> Audit:
    """An audit of the sample's model: nothing by its name, and so much by a probe."""
    rows: list[Row] = []
    plain, probe = Trial("plain", "by its name", "output"), Trial("probe", "k = 4, <final>", "features", {"images": 4})
    for model, value in values.items():
        rows += [plain.mean(model, "forget", 0.9 if model == "reference" else 0.0, 50)]
        rows += [probe.mean(model, "forget", value, 50)]
    tried = [
        Tried(name, f"what {name} does", "it is there", f"{name}()", 1.5, tuple(rows[place::2]))
        for place, name in enumerate(("plain", "probe"))
    ]
    tried.append(Tried("relearn", "trains", "it is there", "relearn()", 0.0, (), "it needs images; give some"))
    images = ImagesUsed("test", "0" * 64, 50, 3, "all")
    models = {model: Audited(model, str(place) * 64) for place, model in enumerate(values)}
    subject = Subject("f" * 64, models, TARGET, "goldfish", ("a {}.",), (), images, images, 0, "float32")
    return Audit(subject, tuple(tried), judge(rows), "cpu", {"python": "3"}, 3.0, "2026-01-31T12:00:00Z")


GOLD = {"reference": 0.95, "edited": 0.9, "gold": 0.2}


def test_an_audit_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text(audit_of(GOLD).to_json(), encoding="utf-8")
    assert read_audit(tmp_path / "audit.json") == audit_of(GOLD)
    text = audit_of(GOLD).to_json()
    for old, new in (('"efface/audit/2"', '"efface/audit/9"'), ('"value": 0.95', '"value": 1.95'), ("{", "[")):
        (tmp_path / "audit.json").write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(InputError, match="is no audit of this version"):
            read_audit(tmp_path / "audit.json")


def test_an_audit_is_read_that_does_not_say_what_stood_beside_the_class(tmp_path: Path) -> None:
    document = json.loads(audit_of(GOLD).to_json())
    del document["subject"]["beside"]
    for one in document["tried"]:
        for row in one["rows"]:
            del row["others"]
    (tmp_path / "audit.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_audit(tmp_path / "audit.json") == audit_of(GOLD)


def test_the_statement_names_what_it_holds_for() -> None:
    said = audit_of(GOLD).statement
    assert said == (
        f"{TARGET}: suppressed at the output, by 2 attacks on 50 images of test, with gold beside it, "
        f"for weights sha256 {'1' * 64}"
    )
    assert "without gold" in audit_of({"reference": 0.9, "edited": 0.2}).statement


def test_what_failed_is_said_in_the_statement_and_on_the_page() -> None:
    whole = audit_of(GOLD)
    broken = replace(whole.tried[2], lacked=None, failed="RuntimeError: <out of memory>")
    verdict = replace(whole.verdict, incomplete=("relearn",))
    failed = replace(whole, tried=(*whole.tried[:2], broken), verdict=verdict)
    assert "suppressed at the output, incomplete, as 1 failed, by 2 attacks" in failed.statement
    page = render_page(sample(), None, None, failed)
    assert "<summary>relearn: failed</summary>" in page
    assert "RuntimeError: &lt;out of memory&gt;" in page


def test_cases_stand_with_their_attack() -> None:
    found = cases_by_attack(audit_of(GOLD))
    assert {name: [case.setting for case in cases] for name, cases in found.items()} == {
        "plain": ["by its name"],
        "probe": ["k = 4, <final>"],
        "relearn": [],
    }


def test_the_page_has_a_section_of_what_was_tried_and_says_where_nothing_was() -> None:
    page = render_page(sample(), None, None, audit_of(GOLD))
    assert "Tried to bring it back" in page
    assert "<b>suppressed at the output</b>" in page
    assert "k = 4, &lt;final&gt;" in page
    assert "relearn: not tried" in page
    assert "trains; it needs images; give some." in page
    assert "<summary>probe: revived</summary>" in page
    assert "<b>90.0</b> <small>78.6 to 95.7</small>" in page
    assert "No attack was tried" not in page
    without = render_page(sample(), None)
    assert "Tried to bring it back" not in without
    assert "No attack was tried" in without
