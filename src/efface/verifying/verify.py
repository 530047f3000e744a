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
from efface.records.fields import TIME
from efface.records.signature import is_valid, key_id, public_key
from efface.report.document import SchemaError, Sealed, parse, payload_sha256
from efface.report.rows import statement
from efface.verifying.consistency import inconsistencies
from efface.verifying.findings import MEANINGS, Check, Verification, judged, skipped
from efface.verifying.folder import check_data, check_payload, check_weights, opener
from efface.verifying.particulars import contradictions
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
    scores = [*inconsistencies(sealed), *contradictions(sealed)]
    hindered = _hindered(sealed, weights, of_data)
    if rerun is not None and base is not None and hindered is None:
        scores += _again(folder, sealed, rerun, base, held_out)
    checks = (
        judged("SCHEMA", []),
        check_payload(folder, text, document, sealed),
        weights,
        of_data,
        *_signature(sealed, payload_sha256(document), signer, now or datetime.now(UTC)),
        _scores(scores, rerun, hindered),
    )
    return Verification(str(run), statement(sealed), checks)


def _read(folder: Path) -> tuple[str, dict[str, Any], Sealed | str]:
    """The record as text, as a document, and typed: or why it is none."""
    check_run(folder)
    try:
        text = (folder / RECORD).read_bytes().decode("utf-8")
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


def _hindered(sealed: Sealed, weights: Check, of_data: Check) -> str | None:
    """What a second measurement lacks; a run that made no model is measured without one."""
    if not sealed.data:
        return "the record names no data"
    if weights.status == "failed" or (weights.status == "skipped" and sealed.weights.result is not None):
        return "that needs the weights of the record"
    return None if of_data.status == "passed" else "that needs the data of the record"


def _again(folder: Path, sealed: Sealed, rerun: Rerun, base: LoadedCLIP, held_out: Sequence[Any]) -> list[str]:
    result = None
    if sealed.weights.result is not None:
        result = load(model_source(folder), device=rerun.device, precision=PRECISIONS[sealed.precision])
    options = Options(sealed.batch_size, rerun.options.workers, rerun.options.reporter)
    again = measure_again(sealed, (base, result), held_out, options)
    return list(differences(sealed, again, device=str(base.encoder.device), tolerance=rerun.tolerance))


def _signature(sealed: Sealed, contents: str, signer: Any, now: datetime) -> tuple[Check, Check, Check]:
    """Whether somebody signed these contents, whether it was who should have, and whether it still counts."""
    signed = sealed.signature
    if signed is None:
        none = "nobody signed the record"
        first = skipped("SIGNATURE", none) if signer is None else judged("SIGNATURE", [none])
        return first, skipped("KEY", none), skipped("EXPIRED", none)
    if signer is None:
        reason = f"not checked, and anybody can write that the key {signed.key_id} signed: give that one with --key"
        first, second = skipped("SIGNATURE", reason), skipped("KEY", reason)
    elif key_id(signer) != signed.key_id:
        wrong = f"it was signed by the key {signed.key_id}, the one given is {key_id(signer)}"
        first, second = skipped("SIGNATURE", "it needs the key that signed"), judged("KEY", [wrong])
    else:
        # Of the contents as they are, and not of the digest that the record says they have.
        problems = [] if is_valid(signed, contents, signer) else ["the signature is not one of this record and key"]
        first, second = judged("SIGNATURE", problems), judged("KEY", [])
    return first, second, _expired(signed.valid_until, now, is_signed=first.status == "passed")


def _expired(until: str | None, now: datetime, *, is_signed: bool) -> Check:
    """A date that has passed fails whoever wrote it; one that is to come counts where the signature does."""
    if until is None:
        return skipped("EXPIRED", "the record names no date until which it is signed")
    try:
        end = datetime.strptime(until, TIME).replace(tzinfo=UTC)
    except ValueError:
        return judged("EXPIRED", [f"{until!r} is no time"])
    if end < now:
        return judged("EXPIRED", [f"it ran out at {until}"])
    return judged("EXPIRED", []) if is_signed else skipped("EXPIRED", f"nobody vouches for the date {until}")


def _scores(problems: list[str], rerun: Rerun | None, hindered: str | None) -> Check:
    if rerun is not None and hindered is not None:
        problems = [*problems, f"not measured again: {hindered}"]
    listed = problems[:_LISTED]
    if len(problems) > _LISTED:
        listed.append(f"and {len(problems) - _LISTED} more")
    if listed:
        return judged("SCORES", listed)
    again = () if rerun is None else ("measured again: none differs by more than is stated in efface verify --help",)
    return Check("SCORES", "passed", again)


def _undecoded(image: object) -> Any:
    raise AssertionError(f"{image!r} was to be hashed only")
