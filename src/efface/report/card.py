"""The record as a model card: README.md with the front matter that the Hugging Face Hub reads."""

import json
import re
from functools import cache
from typing import Any, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from efface.evaluation.base import Towers
from efface.report.record import Record
from efface.report.rows import (
    FILTERS,
    METRICS,
    TOWERS,
    Row,
    headline,
    is_local,
    score_rows,
    short_names,
)

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
# "builtin:" is efface's own, and names nothing that others can find.
_TAGGED = re.compile(r"(?!builtin:)[\w-][\w.-]*:[\w-][\w.-]*", re.ASCII)
_MARKDOWN = re.compile(r"[\\`*_{}\[\]~$#!]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
# JSON leaves these as they are; in YAML they are no characters at all, or end a line.
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def render_card(record: Record, *, library: str) -> str:
    """The model card of a run, in Markdown.

    No folder of this machine is in it: a local base or source is called by its last name.

    Args:
        record: all that the card says.
        library: what loads the model, in the Hub's spelling: ``open_clip`` or ``transformers``.
    """
    rows = [row for row in score_rows(record, get_args(Towers)) if row.towers == "both" or row.metric == "acc1"]
    return (
        _environment()
        .get_template("card.md.j2")
        .render(
            record=record,
            headline=headline(record),
            model=short_names([record.model])[record.model],
            base_model=base_model(record.model),
            library=library,
            rows=rows,
            results=[row for row in rows if _is_result(row)],
            names=short_names(row.data for row in rows),
        )
    )


def base_model(model: str) -> str | None:
    """The base as the Hub may know it, ``organisation/name`` or ``name:tag``; None for a folder."""
    name = model.removeprefix("hf-hub:")
    known = _HUB_ID.fullmatch(name) or _TAGGED.fullmatch(name)
    return name if known and not is_local(name) else None


def yaml_value(value: str | float) -> str:
    """A value as YAML 1.1 and 1.2 read it alike: JSON, less what YAML reads otherwise."""
    if isinstance(value, str):
        return _NOT_YAML.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value, ensure_ascii=False))
    # Without a point YAML 1.1 takes 1e-05 for text.
    return re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value, allow_nan=False))


def escape_markdown(value: Any) -> str:
    """Text that Markdown shows as it is, on one line, in a table too."""
    if isinstance(value, Markup):
        return str(value)
    line = " ".join(str(value).split())
    line = _MARKDOWN.sub(lambda m: "\\" + m[0], line)
    # A pipe needs an entity: in a table even \\| would end the cell.
    return re.sub("[&<>|]", lambda m: _ENTITIES[m[0]], line)


@cache
def _environment() -> Environment:
    # Whatever the template puts in is escaped, unless a filter has made it Markup.
    environment = Environment(
        loader=PackageLoader("efface.report"),
        autoescape=False,
        finalize=escape_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "yaml": lambda value: Markup(yaml_value(value))}
    environment.globals |= {"METRICS": METRICS, "TOWERS": TOWERS}
    return environment


def _is_result(row: Row) -> bool:
    return row.metric == "acc1" and row.towers == "both" and row.after is not None
