"""The record as a model card: README.md with the front matter that the Hugging Face Hub reads."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from logging import ERROR
from pathlib import Path
from typing import Any, get_args

from huggingface_hub import ModelCard, logging
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from yaml import YAMLError

from efface.evaluation.base import Towers
from efface.hub import is_hub_id
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
    statement,
    text_rows,
)

# "builtin:" is efface's own, and names nothing that others can find.
_TAGGED = re.compile(r"(?!builtin:)[\w-][\w.-]*:[\w-][\w.-]*", re.ASCII)
_MARKDOWN = re.compile(r"[\\`*_{}\[\]~$#!]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
_LOADS = {
    "open_clip": """import open_clip

model, preprocess = open_clip.create_model_from_pretrained("{0}")
tokenizer = open_clip.get_tokenizer("{0}")""",
    "transformers": """from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("{1}")  # a CLIPModel
processor = AutoProcessor.from_pretrained("{1}")""",
}
# JSON leaves these as they are; in YAML they are no characters at all, or end a line.
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class OnHub:
    """Where a card stands on the Hub, and beside what.

    Attributes:
        repo: ``owner/name``, by which the model loads.
        base: the base as the Hub knows it; None where it does not.
        files: the names of the run's other files that stand there too.
    """

    repo: str
    base: str | None
    files: tuple[str, ...] = ()


def render_card(
    record: Record, *, library: str, license: Mapping[str, str] | None = None, hub: OnHub | None = None
) -> str:
    """The model card of a run, in Markdown.

    No folder of this machine is in it: a local base or source is called by its last name.

    Args:
        record: all that the card says.
        library: what loads the model, in the Hub's spelling: ``open_clip`` or ``transformers``.
        license: what the base's card says of its license, see :func:`license_of`; it is the result's too.
        hub: where the card stands; None for beside the folder ``model``.
    """
    rows = [row for row in score_rows(record, get_args(Towers)) if row.towers == "both" or row.metric == "acc1"]
    return (
        _environment()
        .get_template("card.md.j2")
        .render(
            record=record,
            headline=headline(record),
            statement=statement(record),
            model=short_names([record.model])[record.model],
            base_model=base_model(record.model) if hub is None else hub.base,
            license={Markup(name): value for name, value in (license or {}).items()},
            loads=_loading(library, hub),
            hub=hub,
            library=library,
            rows=rows,
            results=[row for row in rows if _is_result(row)],
            texts=text_rows(record),
            names=short_names(row.data for row in rows),
        )
    )


def render_export_card(model: str, library: str, license: Mapping[str, str]) -> str:
    """The model card of a model in another format, in Markdown; a folder is called by its last name.

    Args:
        model: as the user named it.
        library: what loads it now.
        license: what its card says of its license, see :func:`license_of`; it is that of every format.
    """
    hub = base_model(model)
    known = {"library_name": library, "pipeline_tag": "zero-shot-image-classification", **license}
    known |= {} if hub is None else {"base_model": hub}
    lines = (f"{name}: {yaml_value(value)}\n" for name, value in known.items())
    name = escape_markdown(short_names([model])[model])
    return f"---\n{''.join(lines)}---\n\n# {name}\n\nThe weights of {name}, written for {library} by efface.\n"


def license_of(card: Path | None) -> dict[str, str]:
    """What a model card says of the license: ``license`` and, for others, its name and link.

    Nothing where there is no card, or one that cannot be read.
    """
    if card is None or not card.is_file():
        return {}
    try:
        with _quiet_client():
            told = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, OSError, YAMLError):
        return {}
    return {name: str(told[name]) for name in ("license", "license_name", "license_link") if told.get(name)}


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Keeps the Hub's client from logging that a card has no front matter, as many have none."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def base_model(model: str) -> str | None:
    """The base as the Hub may know it, ``organisation/name`` or ``name:tag``; None for a folder."""
    name = model.removeprefix("hf-hub:")
    known = is_hub_id(name) or _TAGGED.fullmatch(name)
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


def _loading(library: str, hub: OnHub | None) -> Markup | None:
    """The lines that load the model with its library alone; None where they are not known."""
    if library not in _LOADS:
        return None
    names = ("local-dir:model", "model") if hub is None else (f"hf-hub:{hub.repo}", hub.repo)
    return Markup(_LOADS[library].format(*names))


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
