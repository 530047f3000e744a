"""What a person sees on a terminal: progress and tables, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from efface.evaluation.base import Score
from efface.report.record import Measurement, Record, select
from efface.report.rows import short_names


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
            yield lambda done: progress.advance(task, done)


def score_table(found: Record | Measurement) -> Table:
    """Top-1 accuracy before and after, in percent with 95 % intervals; the record holds the other metrics too.

    One tower of the result with the other of the base is shown for the forgotten class alone, where it tells most.
    """
    table = Table(title="accuracy (top 1) in percent, with 95 % intervals", title_style="dim")
    for heading in ("data", "images", "edited towers"):
        table.add_column(heading, overflow="fold")
    for heading in ("n", "before", "after", "change"):
        table.add_column(heading, justify="right")
    names = short_names(used.source for used in found.data)
    for score in select(found.scores.after or found.scores.before, metric="acc1"):
        has_forget = any(
            select(scores, data=score.data, split="forget") for scores in (found.scores.after, found.scores.before)
        )
        is_shown = score.split == "forget" or score.towers == "both"
        if not is_shown or (has_forget and score.split == "all"):
            continue
        # Under mixed towers "before" is the base as it was: there is one base.
        before = select(found.scores.before, data=score.data, split=score.split, metric="acc1")
        change = [c for c in found.changes if (c.data, c.split, c.metric, c.towers) == _key(score)]
        table.add_row(
            Text(names[score.data]),
            score.split,
            score.towers,
            str(score.n),
            *[_share(s) for s in before] or [""],
            _share(score),
            *[f"{100 * c.value:+.1f} ({100 * c.low:+.1f} to {100 * c.high:+.1f})" for c in change] or [""],
        )
    return table


def _key(score: Score) -> tuple[str, str, str, str]:
    return (score.data, score.split, score.metric, score.towers)


def _share(score: Score) -> str:
    return f"{100 * score.value:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})"
