"""Membership: whether a model is surer of images that it was trained on than of others of the same class.

A logistic regression learns, on classes that were not forgotten, to tell images that the reference was trained on from
held-out ones by how sure the model is of them, equally many of both. Then it is asked about the class: what share of
its training images it calls members, and what share of its held-out images, which never were. Only what the first lies
above the second is known of the class's own images; a share alone says how sure the model is of the class.

Signals are the entropy of the answer alone (as in Chundawat et al., AAAI 2023), or correctness, confidence, entropy and
modified entropy together (after Song and Mittal 2021, and the suite that Fan et al. 2024 use), see
:mod:`efface.functional.membership` for how their published code differs from their formulas. Attacks on a population
overstate what is known of one image (Hayes et al. 2024, arXiv 2403.01218), so these rows are not judged.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.attacks.base import BATCH, Asked, NotTried, Role, Row, Trial
from efface.attacks.pictures import pictures
from efface.data.holdout import EvalData
from efface.encoding import finite
from efface.functional.membership import signals
from efface.functional.probes import Probe, fit_probe
from efface.functional.similarity import zero_shot_logits
from efface.types import ClassFeatures, DualEncoder, Reporter, TensorImages

COLUMNS: Mapping[str, tuple[int, ...]] = {"entropy": (2,), "four signals": (0, 1, 2, 3)}
"""Of :func:`~efface.functional.membership.signals`."""
REST = "rest"
"""Neither the class nor the control: what the regression learns from."""
Shown = Mapping[str, TensorImages]
"""By role, or of the rest."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Membership:
    """Whether training images of the class are told from others of it."""

    fitted: int = Field(default=600, ge=2, description="images of other classes to learn from, of either kind, at most")
    images: int = Field(default=120, ge=1, description="training images of each class, at most")

    name: ClassVar[str] = "membership"
    summary: ClassVar[str] = "whether training images of the class are told from others, by how sure the model is"
    tells: ClassVar[str] = "the model is surer of the class's training images than of others of the class"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Asks every model the same of the same images.

        Raises:
            NotTried: If it is not known what the reference was trained on, or images of a class are missing.
        """
        if asked.members is None:
            raise NotTried("it is not known which images the reference was trained on", hint="give some of them")
        members, others = (self.shown(asked, source, rng) for source in (asked.members, asked.held_out))
        equal = min(len(members[REST]), len(others[REST]))
        rows: list[Row] = []
        with reporter.stage("membership", len(asked.models)) as advance:
            for called, clip in asked.models.items():
                classes = asked.texts(called).to(clip.encoder.device)
                inside, outside = (
                    {of: _signals(clip.encoder, images, classes) for of, images in shown.items()}
                    for shown in (members, others)
                )
                for name, columns in COLUMNS.items():
                    fitted = torch.cat([inside[REST][:equal, columns], outside[REST][:equal, columns]])
                    probe = fit_probe(fitted, (torch.arange(len(fitted)) < equal).long(), 2)
                    for kind, found in (("members", inside), ("held out", outside)):
                        rows += _called(
                            called, probe, f"{name}, {kind}", {of: s[:, columns] for of, s in found.items()}
                        )
                advance(1)
        return tuple(rows)

    def shown(self, asked: Asked, source: EvalData, rng: torch.Generator) -> Shown:
        """Images of the class, of the control and of all other classes together."""
        wanted: dict[str, tuple[tuple[int, ...], int]] = {role: ((row,), self.images) for role, row in asked.roles}
        wanted[REST] = asked.others, self.fitted
        return {of: pictures(source, asked.among, rows, most=most, rng=rng) for of, (rows, most) in wanted.items()}


@torch.no_grad()
def _signals(encoder: DualEncoder, images: TensorImages, classes: ClassFeatures) -> Float[Tensor, "_ signals"]:
    found = []
    for part, labels in images.batches(BATCH):
        features = finite(encoder.encode_image(part.to(encoder.device)), "image")
        found.append(signals(zero_shot_logits(features, classes, encoder.logit_scale).cpu(), labels))
    return torch.cat(found)


def _called(model: str, probe: Probe, setting: str, found: Mapping[str, Tensor]) -> Iterator[Row]:
    """What share of the images of each role is called members."""
    roles: tuple[Role, ...] = ("forget", "control")
    for role in roles:
        yield Trial(Membership.name, setting, "measure").row(model, role, probe(found[role]) == 1)
