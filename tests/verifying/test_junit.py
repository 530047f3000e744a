import math
import xml.etree.ElementTree as ET

from efface.verifying.check import Case, Outcome
from efface.verifying.junit import junit, said

KEPT = Case("<data>", "both", 0.1, 0.12, 50, 0.02, -0.05, 0.1, 0.2, back=False)
BACK = Case("<data>", "image", 0.1, 0.9, 50, 0.8, 0.6, 0.9, math.inf, back=True)


def test_every_comparison_is_a_case_and_a_return_is_a_failure() -> None:
    outcome = Outcome("run", "model", "<dog>", 0.05, "ab" * 32, (KEPT, BACK))
    root = ET.fromstring(junit(outcome, seconds=1.5, timestamp="2026-01-31T12:00:00Z"))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("timestamp")) == ("2", "1", "2026-01-31T12:00:00")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "<dog> on <data>, both towers the descendant's",
        "<dog> on <data>, the descendant's image tower, the result's text tower",
    ]
    (failure,) = [found for case in cases for found in case.findall("failure")]
    assert failure.get("message") == "<dog> is back"
    assert failure.text == said(BACK)
    assert {p.get("name"): p.get("value") for p in suite.iter("property")}["weights"] == "ab" * 32


def test_a_comparison_says_what_could_have_been_told() -> None:
    assert "10.0 to 12.0 % of 50 images (+2.0 points, -5.0 to +10.0" in said(KEPT)
    assert "from +20.0 on" in said(KEPT)
    assert "none could be told" in said(BACK)
