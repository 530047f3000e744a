"""What is kept of an evaluation beyond ranks: what images were taken for, what texts find, and some pictures."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from efface.evaluation.base import Pair
from efface.evaluation.retrieval import Nearest, Retrieved, nearer, none_yet
from efface.types import ClassFeatures, Images, Labels, PixelSpace, State

PICTURE = 64
"""The longer side, in pixels, of a picture that is kept."""
Picture = Float[Tensor, "3 _ _"]
"""Pixels in [0, 1], on axes of height and width."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What images were taken for, and what class texts find.

    Attributes:
        texts: the class texts of the base.
        called: under each pair of towers, the class that each image was taken for.
        nearest: under each pair, the images nearest to each class text.
        pictures: the images that the forgotten class's text finds before and after.
        places: of each image in the source, where those that could not be decoded have one too.
    """

    texts: ClassFeatures
    called: Mapping[Pair, Labels]
    nearest: Mapping[Pair, Nearest]
    pictures: Mapping[int, Picture]
    places: Int[Tensor, " batch"]


@dataclass(slots=True)
class Gathering:
    """The detail of one pass over the images of a source.

    Attributes:
        texts: the class texts of the base.
        targets: the labels of the forgotten classes; without any no pictures are kept.
        pixels: how the images were made of pixels.
        count: how many may come.
    """

    texts: ClassFeatures
    targets: tuple[int, ...]
    pixels: PixelSpace
    count: int
    _seen: int = 0
    _called: dict[Pair, Labels] = field(default_factory=dict)
    _nearest: dict[Pair, Nearest] = field(default_factory=dict)
    _pictures: dict[int, Picture] = field(default_factory=dict)

    def add(
        self, images: Images, cosines: Mapping[Pair, Float[Tensor, "batch classes"]], called: Mapping[Pair, Labels]
    ) -> None:
        """Takes in the next batch.

        Args:
            images: as the model takes them.
            cosines: under each pair of towers, of each image with every class text.
            called: under each pair, the class that each image was taken for.
        """
        for pair, near in cosines.items():
            room = self._called.setdefault(pair, torch.empty(self.count, dtype=torch.int64))
            room[self._seen : self._seen + len(near)] = called[pair]
            known = self._nearest.get(pair) or none_yet(near.shape[1])
            self._nearest[pair] = nearer(known, near.cpu(), self._seen)
        if self.targets:
            finds = [self._nearest[pair].rows for pair in ("before", "both") if pair in self._nearest]
            self._keep(images, {row for rows in finds for target in self.targets for row in rows[target].tolist()})
        self._seen += len(images)

    def detail(self, left_out: Collection[int] = ()) -> Detail:
        """What was gathered.

        Args:
            left_out: the places in the source of images that did not come.
        """
        called = {pair: room[: self._seen] for pair, room in self._called.items()}
        places = [place for place in range(self._seen + len(left_out)) if place not in left_out]
        pictures = dict(sorted(self._pictures.items()))
        return Detail(self.texts.cpu(), called, dict(self._nearest), pictures, torch.tensor(places))

    def state(self) -> State:
        """What it takes to go on: the arguments of :meth:`load_`."""
        return {"seen": self._seen, "called": self._called, "pictures": self._pictures} | {
            "nearest": {pair: (found.cosines, found.rows) for pair, found in self._nearest.items()}
        }

    def load_(self, state: State) -> None:
        """Goes back to a state."""
        self._seen, self._called, self._pictures = state["seen"], state["called"], state["pictures"]
        self._nearest = {pair: Nearest(*found) for pair, found in state["nearest"].items()}

    def _keep(self, images: Images, wanted: set[int]) -> None:
        for row in set(self._pictures) - wanted:
            del self._pictures[row]
        for row in wanted - set(self._pictures):
            # Those of earlier batches are kept already: what is not among them came just now.
            self._pictures[row] = _small(self.pixels.denormalize(images[row - self._seen, None].cpu()))


def retrieved(
    data: str, class_names: tuple[str, ...], labels: Labels, targets: tuple[int, ...], detail: Detail, first: int
) -> Iterable[Retrieved]:
    """What the text of each forgotten class finds, before and after.

    Args:
        data: the source as given.
        class_names: its label set.
        labels: the class of every image.
        targets: the labels of the forgotten classes.
        detail: what was kept of the pass.
        first: where the first of its pictures stands on the sheet.
    """
    place = {row: first + i for i, row in enumerate(detail.pictures)}
    pairs: tuple[tuple[Pair, str], ...] = (("before", "before"), ("both", "after"))
    measured = [(target, pair, when) for target in targets for pair, when in pairs if pair in detail.nearest]
    for target, pair, when in measured:
        found, text = detail.nearest[pair], class_names[target]
        for i, row in enumerate(found.rows[target].tolist()):
            name, cosine = class_names[int(labels[row])], float(found.cosines[target, i])
            yield Retrieved(data, when, i + 1, int(detail.places[row]), name, cosine, place[row], text)


def _small(pixels: Images) -> Picture:
    height, width = pixels.shape[-2:]
    scale = min(1.0, PICTURE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small: Tensor = F.interpolate(pixels.float(), size=size, mode="bilinear", antialias=True)
    return small[0].clamp(0, 1)
