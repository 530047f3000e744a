"""What a person sees on a terminal: progress and tables, on standard error."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

from rich import box
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from efface.attacks.judging import Judgement
from efface.evaluation.base import Change, Score, Split, Towers
from efface.evaluation.other_texts import TextChange, TextScore
from efface.report.audit import Audit, cases_by_attack
from efface.report.record import Measurement, Record
from efface.report.rows import (
    TOWERS,
    interval,
    percent,
    points,
    score_rows,
    short_names,
    split_words,
    summary_words,
    text_rows,
)

SILENT = 60.0
"""Seconds without a word, at most, where progress goes to a file."""


class Rate(ProgressColumn):
    """Finished units a second."""

    def render(self, task: Task) -> Text:
        """The rate, or a dash while there is none."""
        speed = task.finished_speed or task.speed
        return Text("-" if speed is None else f"{speed:.3g}/s", style="progress.data.speed")


class Terminal:
    """A reporter that draws a progress bar a stage: rate and remaining time, in the end the time it took."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A bar for a stage of ``total`` units."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(name, total=total)
            begun = said = time.monotonic()

            def advance(done: int) -> None:
                nonlocal said
                progress.advance(task, done)
                now, count = time.monotonic(), progress.tasks[0].completed
                # In a file a bar stands when it is done; until then a line now and then says that it goes on.
                if not self.console.is_terminal and now - said >= SILENT:
                    said = now
                    of = "" if total is None else f" of {total}"
                    self.console.print(f"{name}: {count:g}{of}, {count / (now - begun):.3g}/s", markup=False)

            yield advance


def score_table(found: Record | Measurement, gold: Measurement | None = None, *, mixed: bool = True) -> Table:
    """Top-1 accuracy in percent with 95 % intervals, before and after where both were measured.

    One tower of the result with the other of the base is shown for the forgotten class alone, where it tells most; the
    record holds it for all images, and the other metrics too.

    Args:
        found: what was measured.
        gold: the same, measured on a model that was trained without the class, to stand beside.
        mixed: whether to show one tower of the result with the other of the base at all.
    """
    title = "top-1 accuracy in percent, with 95 % intervals"
    table = Table(title=title, title_style="dim", box=box.HORIZONTALS, pad_edge=False, collapse_padding=True)
    headings = ("n", "before", "after", "change") if _is_compared(found) else ("n", "accuracy")
    # Beside gold there is no room for the change on 80 columns; the page has it.
    headings = ("n", "before", "after", "gold") if gold is not None else headings
    names = short_names(used.source for used in found.data)
    longest = max(map(len, names.values()), default=0)
    # What does not fit is folded: words first, then long names of data, which hold no space to break at.
    table.add_column("data", overflow="fold", min_width=min(9 if gold is None else 14, longest))
    table.add_column("images", overflow="fold", min_width=6)
    lines = list(_score_lines(found, gold, names, get_args(Towers) if mixed else ("both",)))
    for heading, *column in zip(headings, *(figures for _, figures in lines), strict=True):
        # A figure is never cut: it would be another one.
        width = max(len(line) for cell in (heading, *column) for line in cell.splitlines())
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for words, figures in lines:
        table.add_row(*words, *figures, end_section=True)
    left_out = [f"{len(used.skipped)} of {names[used.source]}" for used in found.data if used.skipped]
    said = [f"{names[one.data]}: {summary_words(one)}" for one in found.summaries]
    if left_out:
        said.append(f"left out, as they cannot be decoded: {', '.join(left_out)}")
    if said:
        table.caption = Text("\n".join(said))
    return table


def audit_table(audit: Audit) -> Iterator[RenderableType]:
    """What every attack brought back, in percent, and what that says."""
    table = Table(Column("attack", no_wrap=True), "setting", box=box.HORIZONTALS, pad_edge=False, collapse_padding=True)
    for heading in ("original", "edited", "never learned", "control"):
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True, min_width=max(map(len, get_args(Judgement))))
    styles = {"revived": "bold red", "over-forgotten": "yellow", "untold": "dim", "shown": "dim"}
    judged_by = cases_by_attack(audit)
    for one in audit.tried:
        if one.lacked is not None:
            table.add_row(one.attack, Text(f"not tried: {one.lacked}"), "", "", "", "", "")
        if one.failed is not None:
            table.add_row(one.attack, Text(f"failed: {one.failed}", style="bold red"), "", "", "", "", "")
        for place, case in enumerate(judged_by[one.attack]):
            floor = "" if case.floor is None else percent(case.floor)
            control = "" if case.control is None else percent(case.control[1])
            figures = (percent(case.original), percent(case.edited), floor, control)
            judged = Text(case.judgement, style=styles.get(case.judgement, "green"))
            table.add_row("" if place else one.attack, Text(case.setting), *figures, judged)
    yield table
    yield Text(f"{audit.subject.name}: {audit.verdict.word}", style="bold")
    yield from (Text(f"- {reason}") for reason in audit.verdict.reasons)


def _is_compared(found: Record | Measurement) -> bool:
    return bool(found.scores.before and found.scores.after)


def _score_lines(
    found: Record | Measurement, gold: Measurement | None, names: Mapping[str, str], towers: tuple[Towers, ...]
) -> Iterator[tuple[tuple[Text, Text], list[str]]]:
    """What a line says of its images, and its figures."""
    known = {} if gold is None else _whole_accuracy(gold)
    classes = {used.source: used.classes for used in found.data}
    rows = [row for row in score_rows(found, towers) if row.metric == "acc1"]
    has_forget = {row.data for row in rows if row.split == "forget"}
    for row in rows:
        if row.split != "forget" and (row.towers != "both" or (row.split == "all" and row.data in has_forget)):
            continue
        images = split_words(row.split, found.label or "the class")
        images += "" if row.towers == "both" else f"\n{TOWERS[row.towers]}"
        scores = (row.before, row.after) if _is_compared(found) else (row.after or row.before,)
        cells = [str(row.n), *map(_score_cell, scores)]
        if _is_compared(found) and gold is None:
            cells.append(_change_cell(row.change))
        if gold is not None:
            cells.append(_score_cell(known.get((row.data, row.split)) if row.towers == "both" else None))
        yield (Text(f"{names[row.data]}\n{classes[row.data]} classes"), Text(images)), cells
    for by_text in text_rows(found) if gold is None else ():
        score = by_text.before
        figures = [str(score.n), _score_cell(score), _score_cell(by_text.after), _change_cell(by_text.change)]
        cells = figures if _is_compared(found) else figures[:2]
        yield (Text(f"{names[score.data]}\n{classes[score.data]} classes"), Text(by_text.words)), cells


def method_tables(method: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A method as it is listed: what it is, what it needs, every setting; of other presets only what differs."""
    wanted = method["needs"]["forget_images"]
    needs = f"{wanted} images of a class, made from its name or your own" if wanted else "the class name alone"
    presets = {
        preset: [*settings, *({**s, "name": f"synthesis.{s['name']}"} for s in method["synthesis"][preset])]
        for preset, settings in method["presets"].items()
    }
    default = presets["default"]
    yield Text(f"\n{method['name']}: {method['summary']}\nneeds {needs}", style="bold")
    # Names are there to be typed: they are never cut, the rest is folded.
    table = Table(Column("setting", no_wrap=True), "default", "range", "meaning", box=None, pad_edge=False)
    for s in default:
        table.add_row(Text(s["name"]), _shown(s["value"]), s["range"], Text(s["description"]))
    yield table
    known = [(s["name"], s["value"]) for s in default]
    for preset, settings in presets.items():
        # One that works in another way has settings of its own.
        differs = [s for s in settings if (s["name"], s["value"]) not in known]
        if differs:
            yield Text(f"--preset {preset}: " + ", ".join(f"{s['name']}={_shown(s['value'])}" for s in differs))


def _whole_accuracy(found: Measurement) -> dict[tuple[str, Split], Score]:
    """Top-1 accuracy of both towers as measured, by data and split."""
    return {(s.data, s.split): s for s in found.scores.after if (s.metric, s.towers) == ("acc1", "both")}


def _change_cell(change: Change | TextChange | None) -> str:
    return "" if change is None else f"{points(change.value)}\n{points(change.low)} to {points(change.high)}"


def _score_cell(score: Score | TextScore | None) -> str:
    return "" if score is None else f"{percent(score.value)}\n{interval(score.low, score.high)}"


def _shown(value: Any) -> Text:
    return Text(f"{value:.3g}" if isinstance(value, float) else json.dumps(value))
