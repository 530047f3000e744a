"""Which images judge and which the attacker has, so that none is both; and which classes stand beside the class."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch

from efface.data.holdout import EvalData
from efface.data.images import lost_workers_named
from efface.data.own import batches_of, check_apart, decoded
from efface.data.subset import drawn, some_of
from efface.errors import EffaceWarning, counted
from efface.stages import stream
from efface.types import Reporter

JUDGED = 200
"""Images of the class, and of the control, that judge at most."""
GALLERY = 1000
"""Images that judge at most, those of all other classes included."""
NEAR, EACH = 20, 32
"""The classes next to the forgotten one of which an attacker has images, and how many of each at most."""


def beside_it(near: Sequence[str], held_out: EvalData, own: EvalData | None) -> tuple[str | None, tuple[str, ...]]:
    """The control, and the classes next to the forgotten one that the attacker has images of.

    Args:
        near: the names of the other classes that were to stay, those with the nearest texts first.
        held_out: images that judge.
        own: the attacker's; None where he has half of those.

    Returns:
        The nearest class that has both; else the nearest that judges, and None where there is none. And up to
        ``NEAR`` names.
    """
    judging, attackers = counts_of(held_out), counts_of(held_out if own is None else own)
    # Of one image there is no half.
    known = [name for name in near if attackers.get(name, 0) > (1 if own is None else 0)]
    judged = [name for name in near if name in judging]
    return next((name for name in judged if name in known), next(iter(judged), None)), tuple(known[:NEAR])


def counts_of(data: EvalData) -> Mapping[str, int]:
    """How many images there are of each class that has some, but for names that several classes have."""
    names, found = Counter(data.class_names), torch.bincount(data.images.labels, minlength=len(data.class_names))
    counts = zip(data.class_names, found.tolist(), strict=True)
    return {name: count for name, count in counts if count and names[name] == 1}


def warn_of_alike(data: EvalData) -> None:
    """Says so where several classes have one name: nobody knows which is meant, and neither judges or is taught."""
    alike = [name for name, count in Counter(data.class_names).items() if count > 1]
    if alike:
        text = (
            f"{data.source!r} has several classes called {', '.join(map(repr, alike[:3]))}: their images are left out"
        )
        warnings.warn(text, EffaceWarning, stacklevel=3)


def shared_out(
    held_out: EvalData, own: EvalData | None, asked: tuple[str, str], near: Sequence[str], seed: int
) -> tuple[EvalData, EvalData]:
    """The images that judge, and the attacker's: of the class, of the control, and of classes next to it.

    Raises:
        InputError: If an image of the attacker's is among those that judge, byte for byte, or several classes of his
            have the name of the class or of the control.
    """
    rng = stream(seed, "images that judge")
    wanted = tuple(dict.fromkeys([*asked, *near]))
    if own is not None:
        check_apart(own, [held_out], [name for name in wanted if own.class_of(name) is not None])
    judges, others, mine = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
    known = counts_of(held_out)
    present = [label for label in torch.unique(held_out.images.labels).tolist() if held_out.class_names[label] in known]
    share = max(1, (GALLERY - 2 * JUDGED) // max(1, len(present) - 2))
    for label in present:
        rows = drawn(held_out.images.labels, label, len(held_out.images), rng=rng)
        name = held_out.class_names[label]
        if own is None:
            half = len(rows) // 2
            mine += [rows[:half][:EACH]] if name in wanted else []
            rows = rows[half:]
        (judges if name in asked else others).append(rows[: JUDGED if name in asked else share])
    if len(others) > GALLERY - 2 * JUDGED:
        # One image a class would be too many: some classes have none.
        others = [others[row] for row in torch.randperm(len(others), generator=rng)[: GALLERY - 2 * JUDGED].tolist()]
    attackers = held_out if own is None else own
    if own is not None:
        mine = [drawn(own.images.labels, label, EACH, rng=rng) for label in own.classes_of(wanted)]
    return _rows(held_out, [*judges, *others]), _rows(attackers, mine)


def without_judging(attackers: EvalData, judges: EvalData, reporter: Reporter) -> EvalData:
    """The attacker's images less those that judge too, by what a model sees of them; it warns of these.

    A source may hold an image twice, and two sources one image in two formats: bytes do not tell.

    Raises:
        InputError: If an image cannot be decoded and is not to be skipped.
    """
    with reporter.stage("images that may be in both", len(attackers.images) + len(judges.images)) as advance:
        seen = set(_digests(judges, advance).values())
        twice = {row for row, digest in _digests(attackers, advance).items() if digest in seen}
    if not twice:
        return attackers
    text = f"{counted(len(twice), 'image')} of the attacker's left out that judge too, pixel by pixel"
    warnings.warn(text, EffaceWarning, stacklevel=3)
    kept = [row not in twice for row in range(len(attackers.images))]
    return _rows(attackers, [torch.tensor(kept).nonzero()[:, 0]])


@torch.no_grad()
@lost_workers_named()
def _digests(data: EvalData, advance: Callable[[int], None]) -> Mapping[int, str]:
    """By their places, the SHA-256 of the images that can be decoded, as a model takes them."""
    rows, found = torch.arange(len(data.images)), list[str]()
    if not len(rows):
        return {}
    for images in batches_of(data, rows):
        found += [hashlib.sha256(image.cpu().numpy().tobytes()).hexdigest() for image in images]
        advance(len(images))
    return dict(zip(rows[decoded(data, rows)].tolist(), found, strict=True))


def _rows(data: EvalData, parts: Sequence[torch.Tensor]) -> EvalData:
    return some_of(data, torch.cat([torch.zeros(0, dtype=torch.int64), *parts]).sort().values)
