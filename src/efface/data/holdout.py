"""Images that judge a result. No method and no synthesis may import this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor

from efface.data.images import BadImages
from efface.errors import InputError
from efface.types import LabelledImages


@dataclass(frozen=True, slots=True)
class Kind:
    """Images of one kind, which alone are to be forgotten of a class.

    Attributes:
        where: what they are told by, a value a column.
        rows: whether each image of the source is so, of whatever class.
    """

    where: Mapping[str, str]
    rows: Bool[Tensor, " images"]


@dataclass(frozen=True, slots=True)
class EvalData:
    """One source of held-out images.

    Attributes:
        source: as the user gave it.
        images: the images; a label is a row of ``class_names``.
        class_names: this data's own label set.
        sha256: of the files' bytes, so that a figure can be traced to its images.
        where: what the images were chosen by, a value a column.
        skipped: told of images that cannot be decoded, where such are left out.
        columns: what else is known of the images, one value an image.
        kind: of a class that is to be forgotten only such images count, and its others stay; None where all count.
    """

    source: str
    images: LabelledImages
    class_names: tuple[str, ...]
    sha256: str
    where: Mapping[str, str] = field(default_factory=dict)
    skipped: BadImages = field(default_factory=BadImages)
    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)
    kind: Kind | None = None

    def has_images_of(self, name: str) -> bool:
        """Whether any image is of the class, and of the kind where only those of one kind count.

        Raises:
            InputError: If several classes have the name.
        """
        return bool(self.to_forget([name]).any())

    def to_forget(self, names: Sequence[str]) -> Bool[Tensor, " images"]:
        """Which images are of the classes, and of the kind where only those of one kind count.

        Raises:
            InputError: If several classes have one of the names.
        """
        found = self.of_classes(names)
        return found if self.kind is None else found & self.kind.rows

    def of_classes(self, names: Sequence[str]) -> Bool[Tensor, " images"]:
        """Which images are of the classes, of whatever kind.

        Raises:
            InputError: If several classes have one of the names.
        """
        return torch.isin(self.images.labels, torch.tensor(self.classes_of(names), dtype=torch.int64))

    def classes_of(self, names: Sequence[str]) -> tuple[int, ...]:
        """The labels of those of the class names that this data has.

        Raises:
            InputError: If several classes have one of the names.
        """
        return tuple(label for label in map(self.class_of, names) if label is not None)

    def class_of(self, name: str) -> int | None:
        """The label of a class name; None where this data does not have the class.

        Raises:
            InputError: If several classes have the name.
        """
        if self.class_names.count(name) > 1:
            raise InputError(
                f"{self.source!r} has several classes called {name!r}", hint="give each its own name in classnames.txt"
            )
        return self.class_names.index(name) if name in self.class_names else None
