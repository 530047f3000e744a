"""Held-out images, opened, and how a verb is to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.data.kinds import judging_kind, of_classes_so
from efface.data.sources import open_source
from efface.errors import InputError, offer
from efface.request import listed, twice
from efface.types import Reporter, Silent

Source = str | Path | EvalData
ON_BAD_IMAGE = ("stop", "skip")


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, where it does not change what is asked.

    Attributes:
        batch_size: images at a time in evaluation.
        workers: processes that decode images; 0 decodes in this one.
        reporter: told how far it is.
        where: which images of each source count: a value for some of its columns.
        on_bad_image: ``stop`` at an image that cannot be decoded, or ``skip`` it: then it is named in the record, and
            every n is without it.
        max_memory: bytes of memory to keep below by taking fewer images at a time: of a GPU, which torch is held to, or
            of this process; None for no such limit. Another number of images at a time may round differently.
    """

    batch_size: int = 256
    workers: int = 0
    reporter: Reporter = field(default_factory=Silent)
    where: Mapping[str, str] = field(default_factory=dict)
    on_bad_image: str = "stop"
    max_memory: int | None = None

    def __post_init__(self) -> None:
        if self.on_bad_image not in ON_BAD_IMAGE:
            raise InputError(
                f"{self.on_bad_image!r} says not what to do at a bad image", hint=offer(self.on_bad_image, ON_BAD_IMAGE)
            )
        # At once, and not when the first batch is to be measured, after all the work.
        if self.max_memory is not None and (not isinstance(self.max_memory, int) or self.max_memory < 1):
            raise InputError(
                f"the limit of memory is {self.max_memory!r}",
                hint="give a number of bytes above 0, such as 4_000_000_000",
            )


def open_all(
    clip: LoadedCLIP,
    data: Sequence[Source],
    options: Options,
    names: Sequence[str] = (),
    forget_where: Mapping[str, str] | None = None,
) -> list[EvalData]:
    """Every source, read with the model's preprocessing; what is open already stays as it is.

    Args:
        clip: the model.
        data: the sources.
        options: how to run.
        names: the classes of which those images are to be forgotten that are of a kind.
        forget_where: what the kind is told by; nothing for all of their images.

    Raises:
        InputError: If one cannot be used, or stands twice: its figures would have one name.
    """
    given = listed("data", data)
    again = twice([source.source if isinstance(source, EvalData) else str(source) for source in given])
    if again:
        raise InputError(f"the images {again[0]!r} are given twice", hint="give them once")
    opened = [source if isinstance(source, EvalData) else _open(clip, str(source), options) for source in given]
    return [judging_kind(source, names, forget_where or {}) for source in opened]


def classes_so(held_out: Sequence[EvalData]) -> tuple[str, ...]:
    """The classes that have images of the kind in any source; none where no kind was asked for."""
    found = (name for source in held_out if source.kind is not None for name in of_classes_so(source))
    return tuple(dict.fromkeys(found))


def _open(clip: LoadedCLIP, source: str, options: Options) -> EvalData:
    return open_source(
        source,
        preprocess=clip.preprocess,
        workers=options.workers,
        where=options.where,
        skipped=BadImages() if options.on_bad_image == "skip" else None,
    )


def called(images: Source | None) -> str | None:
    """A source as the user gave it; None for none."""
    return None if images is None else images.source if isinstance(images, EvalData) else str(images)
