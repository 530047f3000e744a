r"""Reassign: where the class leads, hand the image over to the class that comes second; leave all else as it is.

The edited image tower is taught by the reference itself, corrected in closed form: of an image whose first choice is
the class, with the text ``t_1``, and whose second is another, with ``t_2``,

    f' = f - (m + d) (t_1 - t_2) / ||t_1 - t_2||^2,        m = f.(t_1 - t_2),

scaled to unit length: now the second leads by ``d``. Of the class's images in which it does already, and of any other
image, ``f' = f``, but that an image of the guard which the class leads in is handed over too, with ``d = 0``. ``d`` is
``strength`` times what the class leads by now, weighted with how sure the model is. The loss is the squared distance
to that, on two kinds of images made by the model itself: images of the class, and a guard that stands for all that is
to stay: images of the nearest and of random other classes, and dead leaves, random shapes of no class. Of the image
tower only the last blocks move; what they start from is computed once for each image and some varied copies of it, so
that a step costs the last blocks alone.

An eighth of the guard is not trained on. Where that is not answered as before at the end, or one class has lost half of
its guard images, the edit is thrown away and begun anew: with a firm guard, whose loss weighs more
(:mod:`efface.methods.handing`), then one block deeper, where the same is learned with smaller changes, then with half
of that strength (:mod:`efface.methods.attempts`); if all lose the guard, the one that loses least of it stands. Then a
word of the class's name loses its meaning (:mod:`efface.methods.unnaming`), unless guard or class fare worse by that.

The default of ``lip`` (Kravets and Namboodiri, WACV 2025, arXiv 2407.07485): it keeps their setting, a name and nothing
else, their synthetic images and their stop on the accuracy on these, and puts this loss in the place of theirs, which
has nothing that holds the other classes. docs/methods/lip.md says what was tried.
Use when only a name is at hand. Weak when the images that the model makes of the class are far from real ones.
Cost: a forward pass for each image and copy; a forward and backward pass of the last blocks a step and image; of the
whole text tower one a step and text, 16 texts or up to 48; where the guard does not hold, that of the image tower anew,
three times at most.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from efface.cut import BATCH, CutTower
from efface.encoding import encode_classes
from efface.methods.attempts import Edit, Ladder, Tried, told_of_class, told_of_guard
from efface.methods.base import only_trainable
from efface.methods.course import Course
from efface.methods.handing import EVEN, FIRM, Handing
from efface.methods.pool import Pool, pool_of
from efface.methods.unnaming import Unnaming, undo_
from efface.methods.words import CARRIERS
from efface.seeds import draw_seed, seeded
from efface.types import (
    Checkpoint,
    DualEncoder,
    ForgetData,
    Needs,
    Reporter,
    State,
    Step,
    Trace,
    Unkept,
    Within,
)

ROUND = 50
JUDGED = ("accuracy", "guard_agreement", "guard_kept", "guard_classes")


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Reassign:
    """Images of the class are handed over to their second choice, and a guard holds the rest."""

    images: int = Field(default=192, ge=1, description="images of the class to work on")
    guard_images: int = Field(default=512, ge=0, description="images of other classes that hold the rest")
    leaves: int = Field(default=1536, ge=8, description="random images of shapes that hold the rest")
    copies: int = Field(default=3, ge=0, description="varied copies of each image")
    mixed: float = Field(default=0.6, ge=0, le=1, description="share of the guard's copies that mix two images")
    strength: float = Field(
        default=3.3,
        ge=0,
        description="what the second choice is to lead by, in times of what the class leads by now; 2.4 times as much "
        "with a firm guard",
    )
    blocks: int = Field(default=1, ge=1, description="last blocks of the image tower that move, and what follows them")
    steps: int = Field(default=200, ge=1, description="of AdamW, in rounds of fifty")
    batch_size: int = Field(default=48, ge=1, description="images of the class a step")
    guard_batch_size: int = Field(default=192, ge=1, description="images of the guard a step")
    learning_rate: float = Field(
        default=1e-3,
        gt=0,
        description="of AdamW in the first step; a cosine takes it to 0; three times as much with a firm guard",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW")
    stop_accuracy: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="the goal: accuracy on the images of the class, of several names on those of each",
    )
    guard_agreement: float = Field(
        default=0.97,
        ge=0,
        le=1,
        description="and the share answered as before, of the surer half of guard images not trained on",
    )
    guard_kept: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="and the share that is answered as before of the guard images of each class that four or more of "
        "them, trained on mostly, were answered with",
    )
    attempts: int = Field(
        default=4,
        ge=1,
        le=8,
        description="edits at most, where the guard does not hold: with a firm one, deeper, with half that strength",
    )
    text_steps: int = Field(
        default=100, ge=0, description="of AdamW on a word of the name; 0 leaves all texts as they are"
    )
    text_learning_rate: float = Field(default=1e-2, gt=0, description="likewise")

    summary: ClassVar[str] = "synthetic images of the class handed over to their second choice, a synthetic guard"

    @property
    def needs(self) -> Needs:
        """Images of the class and of others, and texts of all classes in some more prompts."""
        prompts = CARRIERS if self.text_steps else ()
        return Needs(forget_images=self.images, guard_images=self.guard_images, more_prompts=prompts)

    def edit_(
        self,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        *,
        rng: torch.Generator,
        reporter: Reporter,
        checkpoint: Checkpoint | None = None,
    ) -> Trace:
        """Trains the last blocks of the image tower, anew if the guard says so, then a word of the class's name."""
        # The towers draw apart, so that the settings of neither change the other's edit; the pool is drawn again,
        # wherever a run goes on.
        known = (checkpoint or Unkept()).take() or {
            "pool seed": draw_seed(rng),
            "text seed": draw_seed(rng),
            "steps": [],
            "tried": [],
            "best": None,
            "done": 0,
            "part": None,
        }
        run = _Run(self, model, reference, data, rng, reporter, known)
        while (following := run.ladder.following(run.tried)) is not None:
            run.try_(following, checkpoint or Unkept())
        found, texts = run.unname_(run.settle_())
        labels = [] if data.forget is None else [row for _, rows in data.forget.batches(BATCH) for row in rows.tolist()]
        reason = f"{told_of_class(found, labels)}, {told_of_guard(found)}{texts}"
        reached = found.accuracy <= self.stop_accuracy and run.ladder.holds(found)
        return Trace(tuple(run.steps), reached=reached, reason=reason)


class _Run:
    """How far the search for an edit is."""

    def __init__(  # noqa: PLR0913 (all that an edit is handed)
        self,
        settings: Reassign,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        rng: torch.Generator,
        reporter: Reporter,
        known: State,
    ) -> None:
        s, self.settings, self.model, self.reference = settings, settings, model, reference
        self.data, self.rng, self.reporter = data, rng, reporter
        # The whole tower is taken only where it was asked for.
        deepest = s.blocks + 1 if CutTower(reference, s.blocks + 1).tail else s.blocks
        first = Edit(s.blocks, s.strength)
        self.ladder = Ladder(first, deepest, s.attempts, s.guard_agreement, s.guard_kept)
        self.seeds: tuple[int, int] = known["pool seed"], known["text seed"]
        self.steps: list[Step] = list(known["steps"])
        self.tried = [Tried(Edit(*edit), *came_to) for edit, *came_to in known["tried"]]
        self.best: list[Tensor] | None = known["best"]
        self.course = self._course(known["done"])
        self.part = known["part"]
        self._pool: tuple[int, Pool] | None = None

    def state(self) -> dict[str, Any]:
        """What is noted of the search; the edit that is under way notes its own."""
        tried = [[list(edit), *came_to] for edit, *came_to in self.tried]
        pool, text = self.seeds
        known = {"pool seed": pool, "text seed": text, "steps": self.steps, "tried": tried}
        return known | {"best": self.best, "done": self.course.done}

    def _course(self, done: int) -> Course:
        """The training of one edit, so far."""
        s = self.settings
        return Course(
            "handing over, steps", s.steps, ROUND, s.learning_rate, True, self.rng, done, weight_decay=s.weight_decay
        )

    def pool(self, blocks: int) -> Pool:
        """What is trained on, for so many blocks."""
        if self._pool is None or self._pool[0] != blocks:
            # Not two at once: a pool is most of the memory.
            self._pool, rng, s = None, seeded(self.seeds[0], self.rng.device), self.settings
            made = partial(pool_of, leaves=s.leaves, copies=s.copies, mixed=s.mixed, rng=rng, reporter=self.reporter)
            self._pool = blocks, made(CutTower(self.reference, blocks), self.data)
        return self._pool[1]

    def try_(self, edit: Edit, checkpoint: Checkpoint) -> None:
        """One edit to its end; then the weights go back, if it is not the last."""
        tower, pool = CutTower(self.model, edit.blocks), self.pool(edit.blocks)
        s, how = self.settings, FIRM if edit.firm else EVEN
        course = self.course = replace(self.course, learning_rate=how.rate * s.learning_rate)
        sizes = s.batch_size, s.guard_batch_size
        run = Handing(tower, pool, pool.wanted(edit.strength), course, sizes, how)
        within, self.part = Within(checkpoint, self.part, self.state), None

        def judge() -> tuple[bool, Step]:
            return False, dict(zip(JUDGED, pool.judge(tower), strict=True))

        with only_trainable(self.model.module, tower.groups()) as weights:
            steps = course.fit_(weights, run.batch, run.loss, judge, self.reporter, within)
        self.steps += [{"tower": "image", **edit._asdict(), **step} for step in steps]
        came_to = (float(steps[-1][name]) for name in JUDGED)  # type: ignore[arg-type]
        self.tried.append(Tried(edit, *came_to))
        self.course = self._course(0)
        if self.ladder.following(self.tried) is not None:
            if self.ladder.best(self.tried) == len(self.tried) - 1:
                self.best = [weight.detach().clone() for weight in weights]
            self.put_(edit.blocks, weights_of(self.reference, edit.blocks))

    def put_(self, blocks: int, values: Iterable[Tensor]) -> None:
        """Gives the last blocks of the image tower such weights."""
        with torch.no_grad():
            for weight, value in zip(weights_of(self.model, blocks), values, strict=True):
                weight.copy_(value)

    def settle_(self) -> Tried:
        """The edit with which the guard holds best: where that is not the last one, its weights come back."""
        last, chosen = self.tried[-1], self.tried[self.ladder.best(self.tried)]
        if chosen is not last:
            self.put_(last.edit.blocks, weights_of(self.reference, last.edit.blocks))
            self.put_(chosen.edit.blocks, self.best or [])
        return chosen

    def unname_(self, chosen: Tried) -> tuple[Tried, str]:
        """Unnames the texts, and gives them back where that costs; what it came to then, and what to say."""
        s, tower = self.settings, CutTower(self.model, chosen.edit.blocks)
        unnaming, rng = Unnaming(s.text_steps, s.text_learning_rate), seeded(self.seeds[1], self.rng.device)
        found = unnaming.edit_(self.model, self.reference, self.data, rng=rng, reporter=self.reporter)
        if not found.steps:
            because = f"; the texts stay as they were: {found.reason}" if found.reason else ""
            return chosen, because
        classes = encode_classes(self.model, self.data.class_tokens)
        judged = self.pool(chosen.edit.blocks).judge(tower, classes)
        unnamed = Tried(chosen.edit, *judged)
        keep = self._is_as_good(unnamed, chosen)
        *earlier, last = found.steps
        noted = {**last, **dict(zip(JUDGED, judged, strict=True))}
        self.steps += [{**step, "kept": keep} for step in (*earlier, noted)]
        if keep:
            return unnamed, f"; by the image tower alone it would be {chosen.accuracy:.1%}"
        undo_(self.model, self.reference, self.data, found.words)
        because = (
            f"; the texts stay as they were: without the name {unnamed.accuracy:.1%} of the class would be left, and "
            f"{told_of_guard(unnamed)}"
        )
        return chosen, because

    def _is_as_good(self, unnamed: Tried, chosen: Tried) -> bool:
        """Whether texts without the name may stay: the guard and the class fare no worse than they may, or did."""
        s = self.settings
        holds = unnamed.agreement >= min(chosen.agreement, s.guard_agreement)
        keeps = unnamed.kept >= min(chosen.kept, s.guard_kept)
        return holds and keeps and unnamed.accuracy <= max(chosen.accuracy, s.stop_accuracy)


def weights_of(model: DualEncoder, blocks: int) -> list[nn.Parameter]:
    """Those of the last blocks of the image tower and of what follows them."""
    return [p for group in CutTower(model, blocks).groups() for p in group.parameters]
