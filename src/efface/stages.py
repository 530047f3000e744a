"""The stages of forgetting, each of which goes on from its checkpoint.

With what a method or a synthesis notes stand the weights that it has changed so far and the random numbers that come
next; a finished stage is noted with what it made, and is not done again.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from efface.backends.base import LoadedCLIP, configuration, digest, not_finite
from efface.beside import Beside
from efface.checkpoint_files import Stage
from efface.checkpoints import Working
from efface.data.files import sha256_of, sha256_of_all
from efface.data.holdout import EvalData
from efface.errors import NotFiniteError
from efface.fitting import lack, lacks_memory
from efface.guard_counts import guard_images, own_share
from efface.measuring import Options
from efface.methods import method_name
from efface.methods.base import ForgetMethod
from efface.report.environment import decisive
from efface.report.record import Record
from efface.report.used import data_used
from efface.request import ForgetRequest
from efface.seeds import seeded
from efface.synthesis import NEAREST, guard_synthesizer
from efface.synthesis.base import Synthesizer
from efface.types import Checkpoint, ForgetData, Reporter, State, Trace, Within

T = TypeVar("T")
SHAPING = (
    *("backends", "functional", "methods", "synthesis"),
    *("data/alike.py", "data/kinds.py", "data/own.py", "data/prompts.py", "data/sifting.py"),
    *("choosing.py", "cut.py", "encoding.py", "guard_counts.py", "guarding.py", "lookups.py", "picking.py"),
    *("preparing.py", "seeds.py", "siblings.py", "types.py"),
)
"""Parts of efface whose code decides what a method makes of its data."""


def stream(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers for one purpose: a stage that draws more of them does not shift another's."""
    number = int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") >> 1
    return seeded(number, device)


def asked(
    request: ForgetRequest,
    method: ForgetMethod,
    synthesizer: Synthesizer,
    *,
    model: str,
    device: torch.device | str,
    precision: str,
) -> dict[str, Any]:
    """What a user asks for, held-out images aside, as far as it is known before a model is loaded.

    Args:
        request: what is to be forgotten.
        method: with its settings.
        synthesizer: counts where the method needs images.
        model: as the user named it.
        device: counts by its kind.
        precision: ``float32`` or ``bfloat16``.
    """
    return {
        "model": model,
        "class": [target.name for target in request.targets],
        "aliases": {target.name: target.aliases for target in request.targets if target.aliases},
        "phrases": {target.name: target.phrases for target in request.targets if target.phrases},
        "classnames": request.among,
        "templates": request.templates,
        "method": method_name(method),
        "settings": asdict(method),  # type: ignore[call-overload]
        "images": request.images,
        "sifting": asdict(request.sifting),
        "synthesis": described(synthesizer) if method.needs.forget_images and request.images is None else None,
        "guard": described_guard(method, synthesizer, request.beside),
        **asdict(request.beside),
        "seed": request.seed,
        "device": torch.device(device).type,
        "precision": precision,
    }


def recorded(record: Record) -> dict[str, Any]:
    """What was asked for in a run that is finished, as :func:`asked` says it."""
    made = record.synthesis
    return {
        "model": record.model,
        "class": record.names,
        "aliases": record.aliases,
        "phrases": record.phrases,
        "classnames": record.among,
        "templates": record.templates,
        "method": record.method,
        "settings": record.settings,
        "images": None if record.images is None else record.images.source,
        "sifting": {"near_duplicates": record.sifted.near_duplicates, "drop_outliers": record.sifted.drop_outliers},
        "synthesis": None if made is None else {"kind": made["kind"], "settings": made["settings"]},
        "guard": record.guard,
        **asdict(record.beside),
        "seed": record.seed,
        "device": torch.device(record.device).type,
        "precision": record.precision,
    }


def described_request(
    clip: LoadedCLIP,
    request: ForgetRequest,
    method: ForgetMethod,
    synthesizer: Synthesizer,
    own: Mapping[str, EvalData] | None = None,
) -> dict[str, Any]:
    """All that the weights of a result depend on, which a run that goes on must have in common with its beginning."""
    encoder, precision = clip.encoder, str(clip.encoder.precision).removeprefix("torch.")
    made = (synthesizer,) if method.needs.forget_images and request.images is None else ()
    parts = (method, *made)
    words = asked(request, method, synthesizer, model=clip.source, device=encoder.device, precision=precision)
    return words | {
        "weights": digest(clip.stored_state()),
        "configuration": configuration(clip),
        "code": {"efface": shaping_code(Path(__file__).parent), **_code_of_others(map(type, parts))},
        "environment": decisive(encoder.device),
        **{f"{'own' if what == 'forget' else what} images": source.sha256 for what, source in (own or {}).items()},
    }


def described(synthesizer: Synthesizer) -> dict[str, Any]:
    """A synthesis by its kind and its settings."""
    return {"kind": type(synthesizer).__name__, "settings": asdict(synthesizer)}  # type: ignore[call-overload]


def described_guard(method: ForgetMethod, synthesizer: Synthesizer, beside: Beside) -> dict[str, Any] | None:
    """How the images of other classes are made that hold these; None for a method that is handed none.

    Args:
        method: says how many it asks for.
        synthesizer: of the images of the class.
        beside: what is given of what is to stay.
    """
    wanted, own = guard_images(method.needs, beside), own_share(method.needs, beside)
    if not wanted:
        return None
    of = {"nearest": NEAREST, "own": own} if own else {"nearest": NEAREST}
    return {**described(guard_synthesizer(synthesizer)), "images": wanted, **of}


def shaping_code(package: Path) -> str:
    """One digest over the code in a folder of efface's that results depend on, see :data:`SHAPING`."""
    found = [package / name for name in SHAPING]
    files = [file for place in found for file in (place.rglob("*.py") if place.is_dir() else (place,))]
    return sha256_of_all({file.relative_to(package).as_posix(): sha256_of(file) for file in files})


def _code_of_others(kinds: Iterable[type]) -> dict[str, str | None]:
    """The digest of the file of each class that is not efface's; None where it is in none, as in a notebook."""
    found: dict[str, str | None] = {}
    for kind in kinds:
        if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
            try:
                found[f"{kind.__module__}.{kind.__qualname__}"] = sha256_of(Path(inspect.getfile(kind)))
            except (TypeError, OSError):
                found[f"{kind.__module__}.{kind.__qualname__}"] = None
    return found


def edit(
    clip: LoadedCLIP, method: ForgetMethod, data: ForgetData, seed: int, stage: Stage, reporter: Reporter
) -> tuple[LoadedCLIP, Trace]:
    """A copy of the model that the method has edited, rounded to what a checkpoint can hold.

    Raises:
        NotFiniteError: If a weight became NaN or infinite.
    """
    edited = clip.copy()
    if stage.result is not None:
        _load_(edited, stage.result["weights"])
        return edited, trace_of(stage.result)
    rng = stream(seed, "method", clip.encoder.device)
    known = stage.take()
    if known is not None:
        _load_(edited, known["weights"])
        rng.set_state(known["rng"])
    checkpoint = Within(
        stage, known and known["part"], lambda: {"weights": _changed(edited, clip), "rng": rng.get_state()}
    )
    with in_memory("the method"):
        work = resuming(method.edit_, checkpoint)
        trace = plain_trace(work(edited.encoder, clip.encoder, data, rng=rng, reporter=reporter))
    edited.round_to_stored_()
    check_result(edited)
    stage.finish(lambda: {"weights": _changed(edited, clip), **trace_state(trace)})
    return edited, trace


def evaluations(
    working: Working, edited: LoadedCLIP | None, held_out: Sequence[EvalData], options: Options
) -> list[Stage]:
    """The checkpoints of the measurement, one a source: each holds for these weights and images alone."""
    if working.folder is None:
        return [working.stage("evaluation", {}) for _ in held_out]
    weights = None if edited is None else digest(edited.stored_state())
    how = {
        "weights": weights,
        "batch_size": options.batch_size,
        "max_memory": options.max_memory,
        "on_bad_image": options.on_bad_image,
    }
    return [
        working.stage(
            f"evaluation-{i}",
            {**how, "source": used.source, "sha256": used.sha256, "where": used.where, "of": used.manifest}
            | {"kind": used.forget_where},
        )
        for i, used in enumerate(map(data_used, held_out))
    ]


def check_result(clip: LoadedCLIP) -> None:
    """Refuses to hand out a model with weights that are NaN or infinite.

    Raises:
        NotFiniteError: It names the first of them.
    """
    bad = not_finite(clip.stored_state())
    if bad:
        raise NotFiniteError(f"the weights {bad[0]!r} became NaN or infinite", hint="lower the learning rate")


def resuming(function: Callable[..., T], checkpoint: Checkpoint) -> Callable[..., T]:
    """The function, with the checkpoint if it takes one."""
    if "checkpoint" not in inspect.signature(function).parameters:
        return function
    return lambda *args, **more: function(*args, checkpoint=checkpoint, **more)


def _changed(edited: LoadedCLIP, base: LoadedCLIP) -> dict[str, Tensor]:
    before = base.encoder.module.state_dict()
    after = edited.encoder.module.state_dict()
    return {name: tensor.detach().cpu() for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@torch.no_grad()
def _load_(clip: LoadedCLIP, weights: Mapping[str, Tensor]) -> None:
    state = clip.encoder.module.state_dict()
    for name, tensor in weights.items():
        state[name].copy_(tensor)


def plain_trace(trace: Trace) -> Trace:
    """A trace without numbers of numpy's or torch's, which neither a checkpoint nor a record can hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return value.item() if isinstance(value, np.generic | Tensor) else value

    steps = tuple({name: plain(value) for name, value in step.items()} for step in trace.steps)
    return Trace(steps, reached=bool(trace.reached), reason=trace.reason)


def trace_state(trace: Trace) -> State:
    """What a checkpoint keeps of a trace."""
    return {"steps": list(trace.steps), "reached": trace.reached, "reason": trace.reason}


def trace_of(noted: State) -> Trace:
    """The trace that a checkpoint keeps."""
    return Trace(tuple(noted["steps"]), reached=noted["reached"], reason=noted["reason"])


@contextmanager
def in_memory(stage: str) -> Any:
    """Puts a lack of memory into words.

    Raises:
        MemoryLackError: In its place.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not lacks_memory(error):
            raise
        raise lack(stage, error) from error
