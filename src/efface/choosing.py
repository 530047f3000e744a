"""Which of the user's images a method is handed: of what is to go, of what is to stay, and to choose a setting by.

Nothing is decoded here. No image has two purposes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from efface.data.holdout import EvalData
from efface.data.kinds import judging_kind
from efface.data.own import rows_of
from efface.errors import InputError, counted
from efface.request import ForgetRequest, in_words
from efface.stages import stream
from efface.types import Labels, Needs

Role = Literal["forget", "calibration_forget", "retain", "calibration", "pool"]
"""What images are for; both kinds of calibration are to choose a setting by, and nothing is trained on them."""
Rows = Int[Tensor, " _"]
ASIDE = 5
"""One of so many images is put aside to choose a setting by, where no images are given for that."""
SHARES = (0.5, 0.25, 0.25)
"""Of the images to stay those that are to be of the class itself, of its siblings, and of others, where there are as
many."""
MOST = 600
"""Images to stay of several classes, at most, where a method asks for fewer of one."""
POOL = 2000
"""Images without labels that are looked at, at most."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Images of a source for one purpose.

    Attributes:
        role: the purpose.
        source: where they are.
        rows: their places in it.
        labels: of each a row of the class texts; 0 for those of a pool.
        how: how they were chosen, in words.
        note: what there is to say of them; empty for nothing.
    """

    role: Role
    source: EvalData
    rows: Rows
    labels: Labels
    how: str
    note: str = ""


@dataclass(slots=True)
class _Left:
    """Which images of each source have no purpose yet."""

    used: dict[tuple[str, tuple[tuple[str, str], ...]], Rows] = field(default_factory=dict)

    def of(self, source: EvalData, rows: Rows) -> Rows:
        return rows[~torch.isin(rows, self.used.get(_place(source), rows[:0]))]

    def take(self, source: EvalData, rows: Rows) -> Rows:
        self.used[_place(source)] = torch.cat([self.used.get(_place(source), rows[:0]), rows])
        return rows


def choose(
    request: ForgetRequest, needs: Needs, given: Mapping[str, EvalData], near: Sequence[str] = ()
) -> tuple[Lot, ...]:
    """The images for each purpose that the method has and images are given for.

    Args:
        request: its seed decides.
        needs: what the method asks for.
        given: by what for: ``forget``, ``retain``, ``calibration``, ``pool``.
        near: the names of the classes that are siblings of those that go.

    Raises:
        InputError: If none of the images that are to stay is of a class of the request, or not told apart from those
            that are to go.
    """
    left = _Left()
    lots: list[Lot] = []
    names = [target.name for target in request.targets]
    staying = {
        what: judging_kind(given[what], names, request.beside.where)
        for what in ("retain", "calibration")
        if what in given
    }
    own, calibration = given.get("forget"), staying.get("calibration")
    # Of one source for both a part is put aside as of any other.
    if needs.calibration_images and calibration is not None and not (own is not None and _is_same(own, calibration)):
        lots += _also_to_forget(request, calibration, needs.calibration_images, left)
    if needs.forget_images and own is not None:
        aside = 0 if lots else needs.calibration_images
        lots = [*_to_forget(request, own, needs.forget_images, aside, left), *lots]
    lots += _to_stay(request, needs, staying, near, left)
    if "pool" in given:
        pool = given["pool"]
        rows = left.of(pool, torch.arange(len(pool.images)))
        rows = _shuffled(rows, stream(request.seed, "pool"))[:POOL]
        lots.append(Lot("pool", pool, rows, torch.zeros_like(rows), "drawn by the seed"))
    return tuple(lots)


def few(role: Role, wanted: int, found: int) -> str:
    """What there is to say where there are fewer images than a method asks for; empty where there are enough."""
    what = "to stay" if role == "retain" else "to choose by"
    return f"the method asks for {counted(wanted, 'image')} {what}, and is handed {found}" if found < wanted else ""


def stratified(strata: Sequence[Rows], shares: Sequence[float], count: int, *, rng: torch.Generator) -> Rows:
    """Rows of several strata, each with its share of them, as far as it has as many; what lacks comes from the others.

    Args:
        strata: rows, each in one stratum.
        shares: of all of them, in [0, 1], as many as there are strata.
        count: how many rows, at most.
        rng: on the CPU.
    """
    shuffled = [_shuffled(stratum, rng) for stratum in strata]
    firsts = [rows[: int(share * count)] for rows, share in zip(shuffled, shares, strict=True)]
    rest = [rows[len(first) :] for rows, first in zip(shuffled, firsts, strict=True)]
    # What lacks in one stratum is made up for by the last first: there are most of those, as a rule.
    return torch.cat([*firsts, *reversed(rest)])[:count]


def _to_forget(request: ForgetRequest, own: EvalData, count: int, aside: int, left: _Left) -> Iterator[Lot]:
    """Images of each class, shared out among its texts; some of them are put aside."""
    rng, chosen, kept = stream(request.seed, "own images"), [], []
    labels: list[int] = []
    for target in request.targets:
        order = _shuffled(left.of(own, rows_of(own, target.name)), rng)
        spare = min(aside, max(len(order) // ASIDE, len(order) - count)) if len(order) >= ASIDE else 0
        some = order[: min(count, len(order) - spare)]
        labels += [
            row for row, n in zip(request.rows, counts(request, len(some), target.name), strict=True) for _ in range(n)
        ]
        chosen.append(some)
        kept.append(order[len(some) : len(some) + spare])
    yield Lot("forget", own, left.take(own, torch.cat(chosen)), torch.tensor(labels), "drawn by the seed")
    if any(map(len, kept)):
        how = "put aside of the images that are to be forgotten"
        yield Lot("calibration_forget", own, left.take(own, torch.cat(kept)), _of_classes(request, kept), how)


def counts(request: ForgetRequest, images: int, name: str | None = None) -> tuple[int, ...]:
    """How many images of each text: of a class ``images``, shared evenly with its aliases and phrases.

    What cannot be shared evenly goes to the first of them; the class is the first.

    Args:
        request: what is to be forgotten.
        images: of each class.
        name: of one class alone; the texts of others get none.
    """
    found, of_class = [], [text.name for text in request.texts]
    for i, owner in enumerate(of_class):
        share, left = divmod(images if name in (None, owner) else 0, of_class.count(owner))
        found.append(share + (of_class[:i].count(owner) < left))
    return tuple(found)


def _also_to_forget(request: ForgetRequest, source: EvalData, count: int, left: _Left) -> Iterator[Lot]:
    """Images to choose by that are of the kind that is to go."""
    rng = stream(request.seed, "calibration, to forget")
    found = [_shuffled(rows_of(source, target.name), rng)[:count] for target in request.targets]
    if any(map(len, found)):
        how = "those that are to be forgotten of the images to choose by"
        yield Lot("calibration_forget", source, left.take(source, torch.cat(found)), _of_classes(request, found), how)


def _of_classes(request: ForgetRequest, rows: Sequence[Rows]) -> Labels:
    """The rows of the class texts for images of each target in turn."""
    found = zip(request.rows, rows, strict=False)
    return torch.cat([torch.full((len(of_class),), row, dtype=torch.int64) for row, of_class in found])


def _to_stay(
    request: ForgetRequest, needs: Needs, given: Mapping[str, EvalData], near: Sequence[str], left: _Left
) -> Iterator[Lot]:
    """Images that are to stay: to train on, and to choose by; these from the same source where it is the only one."""
    retain, calibration = given.get("retain"), given.get("calibration")
    has_own = calibration is not None and not (retain is not None and _is_same(calibration, retain))
    if calibration is not None and has_own:
        # All of them may be of what is to go.
        all_go = bool(calibration.to_forget([target.name for target in request.targets]).any())
        has_own = any(map(len, _strata(request, calibration, near, left, may_lack=all_go)[0]))
    if retain is not None and needs.retain_images:
        strata, note = _strata(request, retain, near, left)
        # Each class that goes brings as many images to forget: what stays weighs as much beside several as beside one.
        wanted = needs.retain_images * max(1, min(len(request.targets), MOST // max(1, needs.retain_images)))
        spared = strata if has_own else _spared(request, strata, needs.calibration_images)
        yield _drawn(request, "retain", retain, spared, wanted, left, note)
    source = calibration if has_own else retain
    if source is not None and needs.calibration_images:
        strata, note = _strata(request, source, near, left, may_lack=not has_own)
        if any(map(len, strata)):
            lot = _drawn(request, "calibration", source, strata, needs.calibration_images, left, note)
            # What there is to say of one source is said once.
            yield lot if has_own else replace(lot, note="")


def _spared(request: ForgetRequest, strata: Sequence[Rows], calibration: int) -> list[Rows]:
    """The strata less what is put aside to choose by: of each the same part, so that none is missing there."""
    rng = stream(request.seed, "put aside of what stays")
    shuffled = [_shuffled(stratum, rng) for stratum in strata]
    aside = stratified([rows[: len(rows) // ASIDE] for rows in shuffled], SHARES, calibration, rng=rng)
    # What of few images cannot be shared out comes from the others.
    rest = torch.cat([rows[len(rows) // ASIDE :] for rows in reversed(shuffled)])
    lacking = min(calibration, sum(map(len, strata)) // ASIDE) - len(aside)
    kept_back = torch.cat([aside, rest[: max(0, lacking)]])
    return [stratum[~torch.isin(stratum, kept_back)] for stratum in strata]


def _drawn(  # noqa: PLR0913 (all that a draw is made of)
    request: ForgetRequest, role: Role, source: EvalData, strata: Sequence[Rows], count: int, left: _Left, note: str
) -> Lot:
    rows = left.take(source, stratified(strata, SHARES, count, rng=stream(request.seed, role)))
    parts = [int(torch.isin(stratum, rows).sum()) for stratum in strata]
    how = f"{parts[0]} of the class itself, {parts[1]} of its siblings, {parts[2]} of others, drawn by the seed"
    note = "; ".join(filter(None, (note, few(role, count, len(rows)))))
    return Lot(role, source, rows, _rows_of_classes(request, source)[rows], how, note)


def _strata(
    request: ForgetRequest, source: EvalData, near: Sequence[str], left: _Left, *, may_lack: bool = False
) -> tuple[tuple[Rows, Rows, Rows], str]:
    """The images that are to stay of the classes themselves, of their siblings, and of others; and what to say of them.

    Raises:
        InputError: If there are none, and some are wanted.
    """
    names = [target.name for target in request.targets]
    of_targets, known = source.of_classes(names), _rows_of_classes(request, source) >= 0
    goes: Bool[Tensor, " images"] = source.to_forget(names)
    stays = known & ~goes
    of_near = torch.isin(source.images.labels, torch.tensor(_labels_of(source, near), dtype=torch.int64))
    parts = (of_targets, of_near & ~of_targets, ~of_near & ~of_targets)
    own, siblings, others = (left.of(source, (stays & part).nonzero()[:, 0]) for part in parts)
    if not may_lack and not len(own) + len(siblings) + len(others):
        raise InputError(
            f"no image of {source.source!r} that is to stay is of one of the {len(request.among)} class names",
            hint="give the class names that it has with --classnames, or other images",
        )
    unknown, notes = int((~known).sum()), []
    if unknown:
        notes.append(f"{counted(unknown, 'image')} of classes that are none of the class names are left aside")
    if goes.any() and not request.beside.where:
        aside = f"{counted(int(goes.sum()), 'image')} of {in_words(names)} are not held, as all of it is to go"
        notes.append(f"{aside}; to keep other kinds of it, say with --where which is to be forgotten")
    return (own, siblings, others), "; ".join(notes)


def _rows_of_classes(request: ForgetRequest, source: EvalData) -> Labels:
    """Of each image the row of its class among the class names of the request; -1 where it is none of these."""
    place = {name: row for row, name in enumerate(request.among)}
    rows = torch.tensor([place.get(name, -1) for name in source.class_names], dtype=torch.int64)
    return rows[source.images.labels]


def _labels_of(source: EvalData, names: Iterable[str]) -> list[int]:
    wanted = set(names)
    return [label for label, name in enumerate(source.class_names) if name in wanted]


def _shuffled(rows: Rows, rng: torch.Generator) -> Rows:
    return rows[torch.randperm(len(rows), generator=rng)]


def _is_same(one: EvalData, other: EvalData) -> bool:
    return _place(one) == _place(other)


def _place(source: EvalData) -> tuple[str, tuple[tuple[str, str], ...]]:
    return source.sha256, tuple(sorted(source.where.items()))
