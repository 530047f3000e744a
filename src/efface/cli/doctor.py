"""``efface doctor``: what is installed here, what of it works, and what would repair the rest."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from efface.cli.lines import err
from efface.cli.options import AsJson
from efface.doctor import examine, findings
from efface.doctor.facts import Facts
from efface.doctor.finding import Finding
from efface.doctor.probes import PROBES

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(as_json: AsJson = False) -> int:
    """Says what is installed, what of it works, and what would repair the rest; needs no torch that works."""
    facts = _examined()
    found = findings(facts)
    problems = sum(finding.level == "problem" for finding in found)
    if as_json:
        answer = {"problems": problems, "findings": [asdict(finding) for finding in found], "facts": asdict(facts)}
        sys.stdout.write(json.dumps(answer, indent=1, ensure_ascii=False) + "\n")
    else:
        _show(found)
        err.print(Text(f"problems: {problems}", style="bold"))
    return 1 if problems else 0


def _examined() -> Facts:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("imports", total=sum(map(len, PROBES)))

        def finished(name: str) -> None:
            progress.update(task, advance=1, description=f"imports, last {name}")

        return examine(finished)


def _show(found: Sequence[Finding]) -> None:
    """A line a finding and a line a repair, never wrapped: a command is there to be copied."""
    for finding in found:
        level = (f"{finding.level:<8} ", STYLES[finding.level])
        err.print(Text.assemble(level, (finding.about, "bold"), f": {finding.text}"), soft_wrap=True)
        for index, repair in enumerate(finding.repairs):
            err.print(Text(f"{'':9}{'or:    ' if index else 'repair:'} {repair}"), soft_wrap=True)
