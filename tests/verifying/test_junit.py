import xml.etree.ElementTree as ET

from hypothesis import example, given
from hypothesis import strategies as st

from efface.verifying.check import Case, Outcome
from efface.verifying.junit import junit, said

KEPT = Case("<dog>", "<data>", "both", 0.1, 0.12, 50, 0.02, -0.05, 0.1, 0.2, back=False, untold="")
BACK = Case("<dog>", "<data>", "image", 0.1, 0.9, 50, 0.8, 0.6, 0.9, 0.12, back=True, untold="")
UNTOLD = Case("<dog>", "<data>", "text", 0.9, 0.9, 50, 0.0, -0.1, 0.1, None, back=False, untold="the result has 90.0 %")


def test_every_comparison_is_a_case_and_a_return_is_a_failure() -> None:
    outcome = Outcome("run", "model", "<dog>", 0.05, 0.5, "ab" * 32, (KEPT, BACK, UNTOLD))
    root = ET.fromstring(junit(outcome, seconds=1.5, timestamp="2026-01-31T12:00:00Z"))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("timestamp")) == ("3", "1", "2026-01-31T12:00:00")
    assert suite.get("skipped") == "1"
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "<dog> on <data>, both towers the descendant's",
        "<dog> on <data>, the descendant's image tower, the result's text tower",
        "<dog> on <data>, the result's image tower, the descendant's text tower",
    ]
    assert [[found.tag for found in case] for case in cases] == [["system-out"], ["failure"], ["skipped"]]
    (skipped,) = cases[2]
    assert skipped.get("message") == "the result has 90.0 %"
    (failure,) = [found for case in cases for found in case.findall("failure")]
    assert failure.get("message") == "<dog> is back"
    assert failure.text == said(BACK)
    assert {p.get("name"): p.get("value") for p in suite.iter("property")}["weights"] == "ab" * 32


def test_a_comparison_says_what_could_have_been_told() -> None:
    assert "10.0 to 12.0 % of 50 images (+2.0 points, -5.0 to +10.0" in said(KEPT)
    assert said(KEPT).endswith("; from +20.0 on it would be called back)")
    assert said(UNTOLD).endswith("+10.0 with 95 % confidence); the result has 90.0 %")


@given(st.text())
@example("a\x07b\x00\ud800\uffff]]>&\n")
def test_whatever_a_class_is_called_the_outcome_is_xml(name: str) -> None:
    outcome = Outcome(name, name, name, 0.05, 0.5, "ab", (KEPT, BACK, UNTOLD))
    root = ET.fromstring(junit(outcome, seconds=1.5, timestamp="2026-01-31T12:00:00Z"))
    assert len(list(root.iter("testcase"))) == 3
