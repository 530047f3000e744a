"""Whether what lies in a run folder, and what it was measured on, is what its record says."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from efface.backends.base import digest
from efface.data.formats import MADE, format_of, parse
from efface.data.holdout import EvalData
from efface.data.images import BadImages, Preprocess
from efface.data.kinds import of_kind
from efface.data.sources import open_source
from efface.errors import InputError
from efface.export.folder import file_digests, not_plain
from efface.export.log import log_problems
from efface.export.place import MODEL
from efface.report.document import Sealed, payload_sha256
from efface.report.record import DataUsed
from efface.report.used import data_used
from efface.verifying.findings import Check, judged, skipped
from efface.verifying.rendered import check_rendered

Open = Callable[[str, DataUsed], EvalData]
"""What opens a source of held-out images by its name, and of it what a record used."""


def opener(preprocess: Preprocess, workers: int) -> Open:
    """What opens held-out images as a record used them; of those that cannot be decoded now it is told which.

    A source that is asked for again is neither opened nor hashed twice.

    Args:
        preprocess: from an upright RGB image to model input.
        workers: processes that decode images; 0 decodes in this one.
    """

    @cache
    def opened(source: str, where: frozenset[tuple[str, str]]) -> EvalData:
        return open_source(source, preprocess=preprocess, workers=workers, where=dict(where), skipped=BadImages())

    return lambda source, used: of_kind(opened(source, frozenset(used.where.items())), used.forget_where)


def check_payload(folder: Path, text: str, document: dict[str, object], sealed: Sealed) -> Check:
    """The record's own digest, its form to the byte, what lies beside it, and the log of the folder it lies in."""
    problems = []
    found = payload_sha256(document)
    if found != sealed.sha256:
        problems.append(f"the record's contents have the sha256 {found}, it says {sealed.sha256}")
    elif text != sealed.to_json():
        problems.append("the record is not written as efface writes it, though its contents are the same")
    problems += file_problems(folder, sealed, of_model=False)
    problems += log_problems(folder, sealed)
    if problems:
        return judged("PAYLOAD", problems)
    problems, notes = check_rendered(folder, sealed)
    return judged("PAYLOAD", problems) if problems else Check("PAYLOAD", "passed", tuple(notes))


def check_weights(folder: Path, sealed: Sealed) -> Check:
    """The model's files by their bytes, its weights tensor by tensor."""
    problems = list(file_problems(folder, sealed, of_model=True))
    if sealed.weights.result is None:
        if os.path.lexists(folder / MODEL) or any(_is_of_model(file.path) for file in sealed.files):
            return judged("WEIGHTS", [*problems, "there is a model, and the record says that none was made"])
        return skipped("WEIGHTS", "the run made no model")
    try:
        state = stored_weights(folder / MODEL)
    except (SafetensorError, OSError, ValueError) as error:
        return judged("WEIGHTS", [*problems, f"the weights cannot be read: {error}"])
    problems += _tensor_problems(state, sealed)
    return judged("WEIGHTS", problems)


def stored_weights(model: Path) -> dict[str, Tensor]:
    """All tensors of a model's safetensors files by name."""
    state: dict[str, Tensor] = {}
    for path in sorted(model.glob("*.safetensors")):
        state |= load_file(path)
    return state


def check_data(
    used: Sequence[DataUsed], given: Sequence[str], opened: Open, *, required: bool
) -> tuple[Check, list[EvalData]]:
    """The held-out images: those that were given, else those where the record says they were.

    Args:
        used: the sources of the record.
        given: sources to take instead, recognised by their digests.
        opened: opens a source.
        required: whether data that are not there fail the check.

    Returns:
        The check, and the sources that fit, each under the name that the record has for it.

    Raises:
        InputError: If a source that was given cannot be opened.
    """
    problems, absent, usable = [], [], []
    fitting = {name: [one for one in used if _difference(opened(name, one), one) is None] for name in given}
    for one in used:
        name = next((name for name in given if one in fitting[name]), one.source)
        try:
            source = opened(name, one)
        except InputError as error:
            if _is_elsewhere(name):
                absent.append(f"{name!r} is not here: give it with --eval")
            else:
                problems.append(f"{name!r} cannot be used any more: {error}")
            continue
        difference = _difference(source, one)
        if difference is None:
            usable.append(replace(source, source=one.source))
        else:
            problems.append(f"{name!r} {difference}")
    problems += [f"{name!r} is none of the data of the record" for name in given if not fitting[name]]
    if problems or (absent and required):
        return judged("DATA", [*problems, *absent]), usable
    if absent or not used:
        return Check("DATA", "skipped", tuple(absent) or ("nothing was measured",)), usable
    return judged("DATA", []), usable


def file_problems(folder: Path, sealed: Sealed, *, of_model: bool) -> Iterator[str]:
    """How the files of the model, or all others that the record has, differ from it."""
    told = {file.path: file.sha256 for file in sealed.files if _is_of_model(file.path) == of_model}
    there = {f.path: f.sha256 for f in file_digests(folder) if _is_of_model(f.path) == of_model}
    strange = {path for path in not_plain(folder) if _is_of_model(path) == of_model}
    for path in sorted({*told, *there, *strange}):
        if path in strange:
            yield f"{path} is a link or no plain file, and not what is in the record"
        elif path not in there:
            yield f"{path} is missing"
        elif path not in told:
            yield f"{path} is not in the record"
        elif told[path] != there[path]:
            yield f"{path} has the sha256 {there[path]}, the record says {told[path]}"


def _is_of_model(path: str) -> bool:
    return path == MODEL or path.startswith(f"{MODEL}/")


def _tensor_problems(state: dict[str, Tensor], sealed: Sealed) -> Iterator[str]:
    told = {tensor.name: tensor.result for tensor in sealed.weights.tensors}
    for name in sorted(set(state) | set(told)):
        if name not in state:
            yield f"the tensor {name} is missing"
        elif name not in told:
            yield f"the tensor {name} is not in the record"
        elif digest({name: state[name]}) != told[name]:
            yield f"the tensor {name} is another one"
    found = digest(state)
    if found != sealed.weights.result:
        yield f"the weights have the sha256 {found}, the record says {sealed.weights.result}"


def _difference(source: EvalData, used: DataUsed) -> str | None:
    """What tells a source from that of the record; None where it is the same, whatever can be decoded of it."""
    found = data_used(source)
    if found.sha256 != used.sha256:
        return f"has the sha256 {found.sha256}, the record says {used.sha256}"
    if (found.manifest, found.classes, _rows(found)) != (used.manifest, used.classes, _rows(used)):
        return "has other labels or class names than those of the record"
    return None


def _rows(used: DataUsed) -> int:
    return used.n + len(used.skipped)


def _is_elsewhere(source: str) -> bool:
    """Whether a source is nowhere on this machine, or comes from the network."""
    try:
        prefix = parse(source).prefix
    except InputError:
        return True
    return bool(prefix) and prefix != MADE and not format_of(prefix).on_disk
