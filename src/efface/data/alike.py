"""Near duplicates: images that show the same picture as one of others, those that judge a result say.

Each image is hashed once, as the model takes it, and hashes are compared all with all, which costs next to nothing
beside decoding. Only pairs with nearly the same hash are looked at: they are near duplicates if their thumbnails agree
in color and the model tells them no further apart than it tells a picture from its own blurred copy. Equal pixels need
no more.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from efface.data.holdout import EvalData
from efface.data.images import Rows, StoredImages, lost_workers_named
from efface.data.symbols import SymbolImages
from efface.encoding import finite
from efface.fitting import Fitting
from efface.functional.alike import SIGNS, Hashes, blurred, close_pairs, hashes, thumbnails
from efface.types import DualEncoder, Features, Images, LabelledImages, PixelSpace, Reporter, TensorImages

BATCH = 64
MOST_SIGNS = 10
"""Signs of the 63 in which the hashes of near duplicates differ at most."""
LEAST_CORRELATION = 0.9
"""Of their thumbnails."""
LEAST_DISTANCE = 0.1
"""Cosines less than this below 1 are near for any picture."""
BLURS = 2.0
"""How many times as far apart as a picture and its blurred copy the features of near duplicates may lie."""
TRIED = 20
"""Pairs with nearly the same hash that are looked at an image, the nearest first: of a thousand copies some will do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Some of the images of a source.

    Attributes:
        source: where they are.
        rows: their places there.
    """

    source: EvalData
    rows: Rows

    def name(self, row: int) -> str:
        """What the image of a row is called."""
        if isinstance(self.source.images, StoredImages):
            return self.source.images.rows[row].name
        return f"image {row} of {self.source.source}"


@dataclass(frozen=True, slots=True)
class Looks:
    """Images, and what is compared of them.

    Attributes:
        images: all of them.
        rows: those that can be decoded, by their place.
        hashes: of each of those.
        digests: of each of those, over its pixels as the model takes them.
    """

    images: LabelledImages
    rows: Rows
    hashes: Hashes
    digests: tuple[bytes, ...]

    def take(self, places: Rows) -> "Looks":
        """Some of those that can be decoded."""
        digests = tuple(self.digests[place] for place in places.tolist())
        return Looks(self.images, self.rows[places], self.hashes[places], digests)


@dataclass(frozen=True, slots=True)
class Match:
    """Two near duplicates.

    Attributes:
        row: of the first images.
        other: of the others.
        exact: whether all pixels are equal.
        signs: in which their hashes differ, of 63.
        cosine: of their features in the model.
    """

    row: int
    other: int
    exact: bool
    signs: int
    cosine: float


@lost_workers_named()
def looks(source: EvalData, pixels: PixelSpace, reporter: Reporter, rows: Rows) -> Looks:
    """Looks at some images once.

    Args:
        source: where they are; those on disk are decoded a batch at a time.
        pixels: how the model reads them.
        reporter: told of every image.
        rows: which images.

    Raises:
        InputError: If one cannot be decoded and is not to be skipped.
    """
    found: list[Hashes] = [torch.zeros((0, SIGNS), dtype=torch.int8)]
    digests: list[bytes] = []
    with reporter.stage(f"near duplicates in {Path(source.source).name}", len(rows)) as advance:
        for batch in in_order(source.images, rows):
            found.append(hashes(pixels.denormalize(batch)).cpu())
            digests += [hashlib.blake2b(image.cpu().numpy().tobytes(), digest_size=16).digest() for image in batch]
            advance(len(batch))
    skipped = torch.tensor(list(source.skipped.reasons), dtype=torch.int64)
    return Looks(source.images, rows[~torch.isin(rows, skipped)], torch.cat(found), tuple(digests))


@torch.no_grad()
@lost_workers_named()
def matches(
    encoder: DualEncoder, first: Looks, others: Looks | None = None, *, exact_only: bool = False
) -> tuple[Match, ...]:
    """The first images that have a near duplicate among the others, each with its nearest.

    Args:
        encoder: the model whose features are compared.
        first: the images that are asked for, in whose order the answer is.
        others: the images that they may be near to; without them, of the first those that come before.
        exact_only: only images of equal pixels count.

    Raises:
        NotFiniteError: If a feature is NaN or infinite.
    """
    is_within, others = others is None, others or first
    known = {digest: place for place, digest in reversed(list(enumerate(others.digests)))}
    found = {
        place: Match(int(first.rows[place]), int(others.rows[known[digest]]), exact=True, signs=0, cosine=1.0)
        for place, digest in enumerate(first.digests)
        if digest in known and not (is_within and known[digest] == place)
    }
    pairs = close_pairs(first.hashes, others.hashes, MOST_SIGNS)
    pairs = pairs[pairs[:, 1] < pairs[:, 0]] if is_within else pairs
    unknown = torch.tensor([place not in found for place in range(len(first.rows))], dtype=torch.bool)
    pairs = pairs[unknown[pairs[:, 0]]] if not exact_only else pairs[:0]
    signs = (first.hashes[pairs[:, 0]] != others.hashes[pairs[:, 1]]).sum(dim=1)
    pairs, signs = _nearest(pairs, signs)
    fitting = Fitting(BATCH)
    done = 0
    sides = (in_order(looked.images, looked.rows[pairs[:, side]]) for side, looked in enumerate((first, others)))
    for one, other in zip(*sides, strict=True):
        same, cosines = _compare(encoder, fitting, one, other)
        for i in same.nonzero()[:, 0].tolist():
            place, partner = pairs[done + i].tolist()
            match = Match(
                int(first.rows[place]), int(others.rows[partner]), False, int(signs[done + i]), float(cosines[i])
            )
            # They come by the number of signs in which they differ.
            found.setdefault(place, match)
        done += len(one)
    return tuple(found[place] for place in sorted(found))


def in_order(images: LabelledImages, rows: Rows) -> Iterator[Images]:
    """The images of these rows in this order, some at a time; skipped ones do not come."""
    if not len(rows):
        return
    if isinstance(images, StoredImages | SymbolImages):
        yield from (batch for batch, _ in images.in_order(rows, BATCH))
        return
    held = images.images if isinstance(images, TensorImages) else torch.cat([part for part, _ in images.batches(BATCH)])
    yield from (held[some.to(held.device)] for some in torch.split(rows, BATCH))


def _nearest(
    pairs: Int[Tensor, "pairs 2"], signs: Int[Tensor, " pairs"]
) -> tuple[Int[Tensor, "kept 2"], Int[Tensor, " kept"]]:
    """Of each first image the pairs with the fewest signs, those with the fewest first; and their signs."""
    order = signs.argsort(stable=True)
    seen: dict[int, int] = {}
    kept = []
    for i, place in zip(order.tolist(), pairs[order, 0].tolist(), strict=True):
        seen[place] = seen.get(place, 0) + 1
        if seen[place] <= TRIED:
            kept.append(i)
    return pairs[kept], signs[kept]


def _compare(
    encoder: DualEncoder, fitting: Fitting, one: Images, other: Images
) -> tuple[Bool[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Whether each image of one side is a near duplicate of that of the other; and the cosines of those asked for."""
    space = encoder.pixels

    def features(images: Images) -> Features:
        return finite(fitting(lambda part: encoder.encode_image(part.to(encoder.device)), images), "image").cpu()

    shown = [space.denormalize(images.cpu()).clamp(0, 1) for images in (one, other)]
    same = (thumbnails(shown[0]) * thumbnails(shown[1])).sum(dim=1) >= LEAST_CORRELATION
    cosines = torch.full((len(one),), -1.0)
    if same.any():
        ours, theirs = (features(images[same.to(images.device)]) for images in (one, other))
        cosines[same] = (ours * theirs).sum(dim=1)
        moved = [
            1 - (seen * features(space.normalize(blurred(pixels[same])))).sum(dim=1)
            for seen, pixels in zip((ours, theirs), shown, strict=True)
        ]
        allowed = (BLURS * torch.maximum(*moved)).clamp_min(LEAST_DISTANCE)
        same[same.clone()] = 1 - cosines[same] <= allowed
    return same, cosines
