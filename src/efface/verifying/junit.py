"""The outcome of a check as JUnit XML, which CI systems read."""

import re
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
# What XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcome: Outcome, *, seconds: float, timestamp: str) -> str:
    """One test case a comparison: it fails where the class is back, and is skipped where it tells nothing.

    What XML cannot hold is written out, as Python writes it.

    Args:
        outcome: what was found.
        seconds: how long it took.
        timestamp: when it began.
    """
    cases = outcome.cases
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.back for case in cases)),
        "errors": "0",
        "skipped": str(sum(bool(case.untold) for case in cases)),
        "time": f"{seconds:.3f}",
    }
    suites = ET.Element("testsuites", {name: value for name, value in counts.items() if name != "skipped"})
    attributes = {"name": "efface check", "timestamp": timestamp.removesuffix("Z")}
    suite = ET.SubElement(suites, "testsuite", counts | attributes)
    properties = ET.SubElement(suite, "properties")
    for name in ("run", "model", "target", "margin", "notice", "weights"):
        ET.SubElement(properties, "property", {"name": name, "value": _xml(str(getattr(outcome, name)))})
    for case in cases:
        name = _xml(f"{case.name} on {case.data}, {WHOSE[case.towers]}")
        inside = ET.SubElement(suite, "testcase", {"classname": "efface.check", "name": name, "time": "0"})
        if case.back:
            told = ET.SubElement(inside, "failure", {"type": "back", "message": _xml(f"{case.name} is back")})
        elif case.untold:
            told = ET.SubElement(inside, "skipped", {"message": case.untold})
        else:
            told = ET.SubElement(inside, "system-out")
        told.text = said(case)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def said(case: Case) -> str:
    """A comparison in words."""
    rise = f"{points(case.rise)} points, {points(case.low)} to {points(case.high)}"
    smallest = "" if case.smallest is None else f"; from {points(case.smallest)} on it would be called back"
    untold = f"; {case.untold}" if case.untold else ""
    return (
        f"{percent(case.result)} to {percent(case.descendant)} % of {case.n} images "
        f"({rise} with 95 % confidence{smallest}){untold}"
    )


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda found: ascii(found[0])[1:-1], text)
