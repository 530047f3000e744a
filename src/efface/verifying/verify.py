"""The verb verify: does a run folder hold what its record says, and is the record what somebody stood by."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from efface.backends import load
from efface.backends.base import LoadedCLIP, digest
from efface.errors import InputError
from efface.export.folder import model_source
from efface.export.place import RECORD, check_run
from efface.measuring import Options
from efface.records.signature import is_valid, key_id, public_key
from efface.report.document import SchemaError, Sealed, parse
from efface.report.environment import TIME
from efface.report.rows import statement
from efface.verifying.consistency import inconsistencies
from efface.verifying.findings import MEANINGS, Check, Verification, judged, skipped
from efface.verifying.folder import check_data, check_payload, check_weights, opener
from efface.verifying.rerun import PRECISIONS, TOLERANCE, differences, measure_again

_LISTED = 20


@dataclass(frozen=True, slots=True)
class Rerun:
    """How the scores are to be measured again.

    Attributes:
        base: the base, where it is not to be found under the name that the record has for it.
        device: as torch names it.
        tolerance: see :func:`~efface.verifying.rerun.differences`.
        options: how to run; the batch size, and which images count, are the record's.
    """

    base: str | None = None
    device: str = "cpu"
    tolerance: float = TOLERANCE
    options: Options = field(default_factory=Options)


def verify(
    run: str | Path,
    *,
    key: str | Path | None = None,
    data: Sequence[str] = (),
    rerun: Rerun | None = None,
    now: datetime | None = None,
) -> Verification:
    """Checks a run folder against its record, and the record against itself and its signature.

    Args:
        run: the run folder.
        key: a PEM file with the public key of whoever should have signed it; without one no signature is checked.
        data: the held-out images, where they are not to be found under the names that the record has for them.
        rerun: measures the scores again; None leaves that out.
        now: the time by which a signature may have run out.

    Raises:
        InputError: If there is no record, the key cannot be used, or a model or data that were named cannot be loaded.
    """
    folder = Path(run)
    signer = None if key is None else public_key(Path(key))
    text, document, sealed = _read(folder)
    if not isinstance(sealed, Sealed):
        rest = tuple(skipped(code, "the record cannot be read") for code in MEANINGS if code != "SCHEMA")
        return Verification(str(run), None, (judged("SCHEMA", [sealed]), *rest))
    weights = check_weights(folder, sealed)
    base = None if rerun is None else _base(sealed, rerun)
    preprocess: Any = _undecoded if base is None else base.preprocess
    opened = opener(preprocess, 0 if rerun is None else rerun.options.workers)
    of_data, held_out = check_data(sealed.data, data, opened, required=rerun is not None or bool(data))
    scores = list(inconsistencies(sealed))
    if rerun is not None and base is not None and {weights.status, of_data.status} == {"passed"}:
        scores += _again(folder, sealed, rerun, base, held_out)
    checks = (
        judged("SCHEMA", []),
        check_payload(folder, text, document, sealed),
        weights,
        of_data,
        *_signature(sealed, signer, now or datetime.now(UTC)),
        _scores(scores, rerun, weights, of_data),
    )
    return Verification(str(run), statement(sealed), checks)


def _read(folder: Path) -> tuple[str, dict[str, Any], Sealed | str]:
    """The record as text, as a document, and typed: or why it is none."""
    path = folder / RECORD
    check_run(folder)
    try:
        text = path.read_bytes().decode("utf-8")
        sealed = parse(text)
    except UnicodeDecodeError as error:
        return "", {}, f"{RECORD} is no UTF-8 text: byte {error.start} cannot be read"
    except SchemaError as error:
        return "", {}, str(error)
    return text, json.loads(text), sealed


def _base(sealed: Sealed, rerun: Rerun) -> LoadedCLIP:
    name = rerun.base or sealed.model
    try:
        base = load(name, device=rerun.device, precision=PRECISIONS[sealed.precision])
    except InputError as error:
        raise InputError(f"the base cannot be loaded: {error}", hint=f"name it with --base; {error.hint}") from None
    found = digest(base.stored_state())
    if found != sealed.weights.base:
        raise InputError(
            f"{name!r} is not the base of this run: its weights have the sha256 {found}, "
            f"the record says {sealed.weights.base}",
            hint="name the base with --base",
        )
    return base


def _again(folder: Path, sealed: Sealed, rerun: Rerun, base: LoadedCLIP, held_out: Sequence[Any]) -> list[str]:
    source = model_source(folder)
    result = load(source, device=rerun.device, precision=PRECISIONS[sealed.precision])
    options = Options(sealed.batch_size, rerun.options.workers, rerun.options.reporter)
    again = measure_again(sealed, (base, result), held_out, options)
    return list(differences(sealed, again, rerun.tolerance))


def _signature(sealed: Sealed, signer: Any, now: datetime) -> tuple[Check, Check, Check]:
    """Whether somebody signed, whether it was who should have, and whether it still counts."""
    signed = sealed.signature
    if signed is None:
        none = "nobody signed the record"
        first = skipped("SIGNATURE", none) if signer is None else judged("SIGNATURE", [none])
        return first, skipped("KEY", none), skipped("EXPIRED", none)
    expired = _expired(signed.valid_until, now)
    if signer is None:
        reason = f"signed by the key {signed.key_id}: give that public key with --key"
        return skipped("SIGNATURE", reason), skipped("KEY", reason), expired
    if key_id(signer) != signed.key_id:
        wrong = f"it was signed by the key {signed.key_id}, the one given is {key_id(signer)}"
        return skipped("SIGNATURE", "it needs the key that signed"), judged("KEY", [wrong]), expired
    problems = [] if is_valid(signed, sealed.sha256, signer) else ["the signature is not one of this record and key"]
    return judged("SIGNATURE", problems), judged("KEY", []), expired


def _expired(until: str | None, now: datetime) -> Check:
    if until is None:
        return skipped("EXPIRED", "it does not run out")
    try:
        end = datetime.strptime(until, TIME).replace(tzinfo=UTC)
    except ValueError:
        return judged("EXPIRED", [f"{until!r} is no time"])
    return judged("EXPIRED", [f"it ran out at {until}"] if end <= now else [])


def _scores(problems: list[str], rerun: Rerun | None, weights: Check, of_data: Check) -> Check:
    listed = problems[:_LISTED]
    if len(problems) > _LISTED:
        listed.append(f"and {len(problems) - _LISTED} more")
    if listed:
        return judged("SCORES", listed)
    if rerun is not None and {weights.status, of_data.status} != {"passed"}:
        return skipped("SCORES", "not measured again: that needs the weights and data of the record")
    again = () if rerun is None else ("measured again: none differs by more than is stated in efface verify --help",)
    return Check("SCORES", "passed", again)


def _undecoded(image: object) -> Any:
    raise AssertionError(f"{image!r} was to be hashed only")
