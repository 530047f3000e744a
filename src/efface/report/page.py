"""The record as one HTML page that opens without a network."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from efface.evaluation.base import Metric
from efface.evaluation.collateral import Confusion
from efface.report.audit import Audit, cases_by_attack
from efface.report.chart import before_after_chart
from efface.report.collateral import collateral_chart, collateral_maps, undrawn
from efface.report.curves import curves
from efface.report.record import Record
from efface.report.rows import (
    FILTERS,
    METRICS,
    TOWERS,
    Row,
    headline,
    score_rows,
    short_names,
    statement,
    text_rows,
)
from efface.report.sheet import GAP, columns_of, cut

_CELL = 96
_WIDEST = 1200
_CLASSES = 10
_CALLED = 8
_TENSORS = 12
_STEPS = 100
_LINE = 60
_LISTED = 200
_FIRST_COLUMNS = ("stage", "round", "epoch", "step", "noise", "learning_rate", "loss", "accuracy", "kept")


@dataclass(frozen=True, slots=True)
class _Table:
    """Mappings as a table; of very many only the first and the last."""

    columns: tuple[str, ...]
    head: tuple[Mapping[str, Any], ...]
    left_out: int
    tail: tuple[Mapping[str, Any], ...]

    @property
    def length(self) -> int:
        return len(self.head) + self.left_out + len(self.tail)


def render_page(
    record: Record, sheet: Image.Image | None, retrieved: Image.Image | None = None, audit: Audit | None = None
) -> str:
    """One self-contained HTML page about a run.

    Args:
        record: all that the page says.
        sheet: the images of the class that the method saw, from :func:`~efface.report.sheet.contact_sheet`; shown
            with images of at most 96 pixels.
        retrieved: the held-out images that the record's ``retrieved`` counts, on another sheet.
        audit: what was tried to bring the class back; None where nothing was.
    """
    both = score_rows(record, ["both"])
    maps = collateral_maps(record, _CLASSES)
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            audit=audit,
            cases={} if audit is None else cases_by_attack(audit),
            model=short_names([record.model])[record.model],
            names=names_of_data(record),
            rows=by_data(row for row in both if not _is_lookup(row.metric)),
            lookup=by_data(row for row in both if _is_lookup(row.metric)),
            mixed=by_data(row for row in score_rows(record, ["image", "text"]) if row.metric == "acc1"),
            headline=headline(record),
            statement=statement(record),
            texts=text_rows(record),
            label_sets={used.source: used.classes for used in record.data},
            maps=[(m, Markup(collateral_chart(record, m.data)), undrawn(record, m.data)) for m in maps],
            called=_called(record),
            found=_finds(record, retrieved),
            chart=Markup(before_after_chart(record)),
            sheet=None if sheet is None else _embedded(sheet),
            curves=[Markup(curve) for curve in curves(record.trace.steps)],
            trace=_plain(record.trace.steps),
            moved=sorted(
                (t for t in record.weights.tensors if t.result not in (None, t.base)),
                key=lambda tensor: -(tensor.relative_change or 0.0),
            )[:_TENSORS],
            settings=_plain(record.settings),
            synthesis=_plain(record.synthesis or {}),
            guard=_plain(record.guard or {}),
            environment=_plain(record.environment),
            timing=[(name, duration(record.timing[name])) for name in sorted(record.timing)],
        )
    )


def duration(seconds: float) -> str:
    """Seconds in words: ``2 min 3 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def memory(n: int) -> str:
    """Bytes in words: ``1.5 GiB``."""
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.0f} MiB"


def names_of_data(*records: Record) -> dict[str, str]:
    """What each source is called on a page."""
    found = [used.source for record in records for used in record.data]
    for record in records:
        found += [score.data for score in (*record.scores.before, *record.scores.after)]
        found += [score.data for score in record.classes.before]
        found += [change.data for change in record.classes.changes]
    return short_names(found)


@cache
def page_environment() -> Environment:
    """Where the templates of pages are rendered: everything that is put in is escaped."""
    environment = Environment(
        loader=PackageLoader("efface.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        **FILTERS,
        "duration": duration,
        "memory": memory,
        "words": lambda name: str(name).replace("_", " "),
    }
    environment.globals |= {"METRICS": METRICS, "TOWERS": TOWERS, "LISTED": _LISTED}
    return environment


def by_data(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each source, in order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.data, []).append(row)
    return groups


def _is_lookup(metric: Metric) -> bool:
    return metric.startswith("image_retrieval")


def _called(record: Record) -> dict[str, dict[str, tuple[list[Confusion], list[Confusion]]]]:
    """For each source what each forgotten class was taken for, and what was taken for it, most frequent first."""
    found = {
        data: [c for c in record.confusion if c.data == data]
        for data in dict.fromkeys(c.data for c in record.confusion)
    }
    return {
        data: {
            name: (
                [c for c in of_data if c.name == name][:_CALLED],
                [c for c in of_data if c.called == name != c.name][:_CALLED],
            )
            for name in record.names
            if any(name in (c.name, c.called) for c in of_data)
        }
        for data, of_data in found.items()
    }


def _finds(record: Record, sheet: Image.Image | None) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """For each source the pictures that the class's text finds before and after, nearest first."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    if sheet is not None:
        for one in record.retrieved:
            picture = {"picture": _embedded(cut(sheet, one.picture)), "name": one.name, "cosine": one.cosine}
            when = one.when if len(record.names) == 1 else f"{one.asked}, {one.when}"
            found.setdefault(one.data, {}).setdefault(when, []).append(picture)
    return found


def _embedded(sheet: Image.Image) -> dict[str, str | int]:
    """The sheet as a data URI, and its size: no image wider than a cell, and the whole never wider than a page."""
    columns = columns_of(sheet)
    width = min(sheet.width, GAP + columns * (_CELL + GAP), _WIDEST)
    size = (width, max(1, round(sheet.height * width / sheet.width)))
    file = io.BytesIO()
    small = sheet if sheet.size == size else sheet.resize(size, Image.Resampling.LANCZOS)
    small.convert("RGB").save(file, "WEBP", quality=80, method=4)
    return {
        "uri": "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii"),
        "width": size[0],
        "height": size[1],
    }


def _plain(value: Any) -> Any:
    """Anything as text, lists, tables and mappings in a fixed order, which is all that the template knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, set | frozenset):
        return sorted(_text(item) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = [_plain(item) for item in value]
        if items and all(isinstance(item, Mapping) for item in items):
            return _table(items)
        line = ", ".join(items) if all(isinstance(item, str) for item in items) else ""
        return line if 0 < len(line) <= _LINE else items
    return _text(value)


def _table(steps: list[dict[str, Any]]) -> _Table:
    few = len(steps) <= 2 * _STEPS
    return _Table(
        columns=_columns(steps),
        head=tuple(steps if few else steps[:_STEPS]),
        left_out=0 if few else len(steps) - 2 * _STEPS,
        tail=() if few else tuple(steps[-_STEPS:]),
    )


def _columns(steps: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names in all steps: those that readers look for first, and lists last."""
    lists = {name: False for step in steps for name in step}
    for step in steps:
        lists.update({name: True for name, value in step.items() if not isinstance(value, str)})
    first = {name: place for place, name in enumerate(_FIRST_COLUMNS)}
    return tuple(sorted(lists, key=lambda name: (lists[name], first.get(name, len(first)), name)))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)
