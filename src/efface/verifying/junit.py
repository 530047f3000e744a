"""The outcome of a check as JUnit XML, which CI systems read."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from efface.evaluation.base import Towers
from efface.report.rows import percent, points
from efface.verifying.check import Case, Outcome

WHOSE: Mapping[Towers, str] = {
    "both": "both towers the descendant's",
    "image": "the descendant's image tower, the result's text tower",
    "text": "the result's image tower, the descendant's text tower",
}


def junit(outcome: Outcome, *, seconds: float, timestamp: str) -> str:
    """One test case a comparison; it fails where the class is back.

    Args:
        outcome: what was found.
        seconds: how long it took.
        timestamp: when it began.
    """
    counts = {"tests": str(len(outcome.cases)), "failures": str(sum(case.back for case in outcome.cases))}
    suites = ET.Element("testsuites", counts | {"errors": "0", "time": f"{seconds:.3f}"})
    attributes = {"name": "efface check", "errors": "0", "skipped": "0", "time": f"{seconds:.3f}"}
    suite = ET.SubElement(suites, "testsuite", counts | attributes | {"timestamp": timestamp.removesuffix("Z")})
    properties = ET.SubElement(suite, "properties")
    for name in ("run", "model", "target", "margin", "weights"):
        ET.SubElement(properties, "property", {"name": name, "value": str(getattr(outcome, name))})
    for case in outcome.cases:
        name = f"{outcome.target} on {case.data}, {WHOSE[case.towers]}"
        inside = ET.SubElement(suite, "testcase", {"classname": "efface.check", "name": name, "time": "0"})
        if case.back:
            ET.SubElement(inside, "failure", {"type": "back", "message": f"{outcome.target} is back"}).text = said(case)
        else:
            ET.SubElement(inside, "system-out").text = said(case)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def said(case: Case) -> str:
    """A comparison in words."""
    rise = f"{points(case.rise)} points, {points(case.low)} to {points(case.high)}"
    smallest = "none could be told" if case.smallest > 1 else f"from {points(case.smallest)} on it would be called back"
    return (
        f"{percent(case.result)} to {percent(case.descendant)} % of {case.n} images "
        f"({rise} with 95 % confidence; {smallest})"
    )
