"""Restore: the third stage of ``subgroup``. Less of the edit, where that forgets as surely and keeps more.

The weights become ``c theta + (1 - c) theta_0``, a mixture of the edited model and the reference. ``c`` is searched for
on calibration images, which nothing was trained on. Allowed are coefficients with which few enough of the images to
forget are answered with their class: of those, of those trained on, and of varied copies of both. Of the allowed ones
that with which most of the other images are answered right is taken, if it wins at least ``gain``, and three images,
over the largest one, which is taken else. Where both towers were edited, each can get a coefficient of its own
afterwards.

Zhang et al., CVPR 2025 (arXiv 2506.03117), by model soups; what they leave open is in docs/methods/subgroup.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.encoding import encode_classes
from efface.functional.augment import varied
from efface.functional.averaging import soup
from efface.functional.searching import Measured, best_of, by_bisection, by_grid
from efface.functional.similarity import accuracy
from efface.methods.course import whole
from efface.methods.subgroup.answers import answered, meanings, share_left
from efface.methods.subgroup.low_rank import write_
from efface.types import (
    DualEncoder,
    ForgetData,
    LabelledImages,
    Needs,
    Reporter,
    Step,
    TensorImages,
    Tower,
    Trace,
)

TOWERS: tuple[Tower, Tower] = ("image", "text")
WON = 3
"""Right answers that less of the edit has to win at least: one or two of a few images may be chance."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Restore:
    """A mixture of the edited model and the reference, by a search on calibration images."""

    calibration_images: int = Field(default=200, ge=0, description="of each side, that nothing was trained on")
    search: Literal["bisection", "grid"] = Field(
        default="bisection", description="for the least coefficient that forgets, or through equal steps from 0 to 1"
    )
    evaluations: int = Field(default=6, ge=2, description="coefficients that are tried, at most")
    towers: Literal["together", "apart"] = Field(
        default="together", description="one coefficient for all, or one of its own for each tower as well"
    )
    copies: int = Field(default=4, ge=0, description="varied copies of each image to forget, that tell with it")
    gain: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="share of right calibration answers that less of the edit has to win, three at least; 0: none",
    )
    batch_size: int = Field(default=256, ge=1, description="images at a time")
    stop_accuracy: float = Field(
        default=0.02, ge=0, lt=1, description="images to forget that may still be answered with their class"
    )

    summary: ClassVar[str] = (
        "less of the edit where that forgets as surely and keeps more (the third stage of subgroup)"
    )

    @property
    def needs(self) -> Needs:
        """Images of both sides that nothing was trained on."""
        return Needs(calibration_images=self.calibration_images)

    def edit_(
        self, model: DualEncoder, reference: DualEncoder, data: ForgetData, *, rng: torch.Generator, reporter: Reporter
    ) -> Trace:
        """Searches, and leaves the best mixture in the model; where none forgets the edited weights."""
        if data.calibration_forget is None:
            # Images that were trained on forget sooner than others: with what they allow, others would come back.
            why = "there are no images to forget that nothing was trained on"
            return Trace(({"left_out": why},), reached=True, reason=f"restoring was left out: {why}")
        mixtures = _Mixtures(self, model, reference, data, rng)
        apart = TOWERS if self.towers == "apart" and all(mixtures.ends[tower] for tower in TOWERS) else ()
        with reporter.stage("mixing with the reference, mixtures", None) as advance:
            best = self._searched(mixtures, TOWERS, advance)
            mixtures.keep_(TOWERS, 1.0 if best is None else best.coefficient)
            for tower in apart:
                if best is not None:
                    current = replace(best, coefficient=mixtures.coefficients[tower])
                    best = self._searched(mixtures, (tower,), advance, current) or current
                    mixtures.keep_((tower,), best.coefficient)
        return self._trace(mixtures, best)

    def _searched(
        self,
        mixtures: "_Mixtures",
        towers: tuple[Tower, ...],
        advance: Callable[[int], None],
        current: Measured | None = None,
    ) -> Measured | None:
        """The best coefficient for these towers, the other's as it is; the current one if none is better."""

        def measure(coefficient: float) -> Measured:
            advance(1)
            return mixtures.measured(towers, coefficient)

        search = by_grid if self.search == "grid" else by_bisection
        path = search(measure, self.stop_accuracy, self.evaluations)
        return best_of(path, self.stop_accuracy, mixtures.gain(self.gain), current)

    def _trace(self, mixtures: "_Mixtures", best: Measured | None) -> Trace:
        steps, whole = tuple(mixtures.steps), mixtures.whole
        if best is None and whole > self.stop_accuracy:
            why = f"with all of the edit {whole:.1%} of the images to forget are answered with their class"
            why += f", more than {self.stop_accuracy:.1%}"
            return Trace(steps, False, f"no mixture with the reference forgets: {why}; the edited weights are kept")
        if best is None:
            return Trace(steps, True, "no mixture with the reference forgets as surely; the edited weights are kept")
        of_towers = (f"{mixtures.coefficients[t]:.3g} of the edit of the {t} tower" for t in TOWERS if mixtures.ends[t])
        reason = f"at most {best.forget:.1%} of the images to forget are answered with their class with "
        return Trace(steps, True, reason + (" and ".join(of_towers) or "nothing edited"))


class _Mixtures:
    """Mixtures of a model, as it was found, and its reference.

    Attributes:
        ends: of each tower the weights in which they differ, by name: the reference's and the model's.
        coefficients: how much of the model there is in each tower, when nothing is being tried.
        steps: what was tried, and what it was worth.
        whole: the share of images to forget that are answered with their class with all of the edit.
    """

    def __init__(
        self,
        settings: Restore,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        rng: torch.Generator,
    ) -> None:
        self._settings, self._model, self._class_tokens = settings, model, data.class_tokens
        self._of = meanings(data)
        self._forget = [images for images in (data.forget, data.calibration_forget) if images is not None]
        self._copies = _copies(reference, self._forget, settings.copies, rng=rng) if settings.copies else None
        self._others = next((one for one in (data.calibration, data.retain, data.guard) if one is not None), None)
        self.ends = {tower: _differing(model, reference, tower) for tower in TOWERS}
        self.coefficients: dict[Tower, float] = dict.fromkeys(TOWERS, 1.0)
        self.steps: list[Step] = []
        self.whole = 1.0
        self._classes = encode_classes(model, data.class_tokens)

    def measured(self, towers: tuple[Tower, ...], coefficient: float) -> Measured:
        """What a coefficient for some towers is worth."""
        tried = {**self.coefficients, **dict.fromkeys(towers, coefficient)}
        self._mix_(tried)
        if self.ends["text"]:
            self._classes = encode_classes(self._model, self._class_tokens)
        # Of neither set too many: of those that nothing was trained on there may be few.
        left = max(self._left(images) for images in self._forget)
        notes = {"forget_accuracy": left}
        if self._copies is not None:
            notes["copies_accuracy"] = self._left(self._copies)
        found = Measured(coefficient, max(notes.values()), self._right())
        of = {f"{tower}_coefficient": tried[tower] for tower in TOWERS if self.ends[tower]}
        searched = " and ".join(tower for tower in towers if self.ends[tower])
        accuracies = {**notes, "calibration_accuracy": found.keep}
        self.steps.append({"towers": searched, "coefficient": coefficient, **of, **accuracies})
        self.whole = left if set(tried.values()) == {1.0} else self.whole
        return found

    def gain(self, share: float) -> float:
        """What less of the edit has to win: that share, but no fewer than :data:`WON` images."""
        n = 0 if self._others is None else len(self._others)
        return max(share, WON / n) if share and n else share

    def keep_(self, towers: tuple[Tower, ...], coefficient: float) -> None:
        """Leaves these towers of the model at a coefficient."""
        self.coefficients = {**self.coefficients, **dict.fromkeys(towers, coefficient)}
        self._mix_(self.coefficients)

    def _mix_(self, coefficients: Mapping[Tower, float]) -> None:
        for tower, ends in self.ends.items():
            mixed = {name: soup(base, edited, coefficients[tower]) for name, (base, edited) in ends.items()}
            write_(self._model, mixed)

    def _left(self, images: LabelledImages) -> float:
        answers, labels = answered(self._model, self._classes, images, self._settings.batch_size)
        return share_left(answers, labels, self._of)

    def _right(self) -> float:
        """The share of the images to keep that are answered right; 0 where there are none: then the edit stays."""
        if self._others is None:
            return 0.0
        return accuracy(*answered(self._model, self._classes, self._others, self._settings.batch_size))


def _copies(model: DualEncoder, images: Sequence[LabelledImages], count: int, *, rng: torch.Generator) -> TensorImages:
    """So many varied copies of each of the images."""
    plain, labels = whole(images, model.device)
    pixels = model.pixels.denormalize(plain).clamp(0, 1)
    made = [model.pixels.normalize(varied(pixels, rng=rng)) for _ in range(count)]
    return TensorImages(torch.cat(made), labels.repeat(count))


def _differing(model: DualEncoder, reference: DualEncoder, tower: Tower) -> dict[str, tuple[Tensor, Tensor]]:
    """The weights of a tower in which two models differ: the reference's and the model's."""
    mine = {id(p) for group in model.weights(tower) for p in group.parameters}
    base = dict(reference.module.named_parameters())
    return {
        name: (base[name].detach().clone(), p.detach().clone())
        for name, p in model.module.named_parameters()
        if id(p) in mine and not torch.equal(p, base[name])
    }
