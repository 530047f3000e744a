"""What is left out of the images that a method works on: near duplicates of others, and outliers.

Of the images to forget those that look like none of their class are named, and left out where that is asked for. What
shows the picture of one to forget is no image to stay, and what is trained on is none to calibrate by. And what judges
a result was not worked on: not the file, which :func:`efface.data.own.check_apart` sees to, nor the picture.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from efface.data.alike import BATCH, Looks, Match, Origin, in_order, looks, matches
from efface.data.holdout import EvalData
from efface.data.sifted import (
    PARTS,
    Duplicate,
    Outlier,
    Part,
    Sifted,
    refuse_or_say,
    words_on_duplicates,
    words_on_outliers,
)
from efface.data.symbols import SymbolImages
from efface.encoding import finite
from efface.errors import EffaceWarning, InputError
from efface.fitting import Fitting
from efface.functional.outliers import FEWEST, limit, strangeness
from efface.sifting import Sifting
from efface.types import DualEncoder, Features, ForgetData, LabelledImages, Reporter, TensorImages


@dataclass(frozen=True, slots=True)
class _Piece:
    """The images of one part that are left."""

    part: Part
    looks: Looks
    origin: Origin | None

    def name(self, row: int) -> str:
        return f"image {row} of {self.part}" if self.origin is None else self.origin.name(row)

    def of_symbols(self) -> bool:
        return self.origin is not None and isinstance(self.origin.source.images, SymbolImages)

    def without(self, rows: Sequence[int]) -> "_Piece":
        left = ~torch.isin(self.looks.rows, torch.tensor(rows, dtype=torch.int64))
        return replace(self, looks=self.looks.take(left.nonzero()[:, 0]))


def sift(  # noqa: PLR0913 (all that it looks at)
    encoder: DualEncoder,
    data: ForgetData,
    origins: Mapping[Part, Origin],
    held_out: Sequence[EvalData],
    how: Sifting,
    classes: Mapping[int, str],
    reporter: Reporter,
) -> tuple[ForgetData, Mapping[Part, Int[Tensor, " left"]], Sifted]:
    """The data without what is to be left out.

    Args:
        encoder: the base, which says what looks alike.
        data: with the user's images; what there is none of is passed over.
        origins: of each part where its images come from, as far as it is known.
        held_out: what judges the result.
        how: what to do with what is found.
        classes: the class that each label of the images to forget means.
        reporter: told of every image.

    Returns:
        The data, the places of the images that are left of each part, and what was found.

    Raises:
        InputError: If no image of a class is left, or a held-out image cannot be decoded and is not to be skipped.
        LeakError: If held-out images are near duplicates of images given to work on, and that is to be refused.
    """
    given = [(part, images) for part in PARTS if (images := getattr(data, part)) is not None and len(images)]
    pieces = [_Piece(part, looks(images, encoder.pixels, reporter, part), origins.get(part)) for part, images in given]
    compared: dict[str, int] = {piece.part: len(piece.looks.rows) for piece in pieces}
    strange: list[Outlier] = []
    if data.forget is not None:
        rows, strange = _outliers(encoder, pieces[0], data.forget, classes, dropped=how.drop_outliers)
        pieces[0] = pieces[0].without(rows if how.drop_outliers else [])
    pieces, among = _apart_among(encoder, pieces, dropped=how.near_duplicates != "allow")
    pieces, leaks = _apart_from(encoder, pieces, held_out, how, reporter)
    for text in (*words_on_outliers(strange), *words_on_duplicates(among)):
        warnings.warn(text, EffaceWarning, stacklevel=4)
    refuse_or_say(leaks, how)
    found = Sifted(how.near_duplicates, how.drop_outliers, compared, tuple(strange), (*among, *leaks))
    left = {piece.part: piece.looks.rows for piece in pieces}
    kept = {part: _kept(images, left[part]) for part, images in given}
    if data.forget is not None:
        _check_left(data.forget, kept["forget"], classes)
    return replace(data, **kept), left, found  # type: ignore[arg-type]


def _outliers(
    encoder: DualEncoder, piece: _Piece, images: LabelledImages, classes: Mapping[int, str], *, dropped: bool
) -> tuple[list[int], list[Outlier]]:
    """The rows of the images that look like none of their class, and what there is to say of them."""
    fitting, parts = Fitting(BATCH), list[Features]()
    with torch.no_grad():
        for batch in in_order(images, piece.looks.rows):
            found = fitting(lambda part: encoder.encode_image(part.to(encoder.device)), batch)
            parts.append(finite(found, "image").cpu())
    features, names = torch.cat(parts), [classes[label] for label in images.labels[piece.looks.rows].tolist()]
    rows, strange = [], []
    for name in dict.fromkeys(names):
        places = torch.tensor([place for place, of in enumerate(names) if of == name])
        if len(places) < FEWEST:
            continue
        most = limit(len(places))
        for place, deviation in zip(places.tolist(), strangeness(features[places]).tolist(), strict=True):
            if deviation > most:
                rows.append(int(piece.looks.rows[place]))
                strange.append(Outlier(piece.name(rows[-1]), name, deviation, most, dropped))
    return rows, strange


def _apart_among(
    encoder: DualEncoder, pieces: Sequence[_Piece], *, dropped: bool
) -> tuple[list[_Piece], list[Duplicate]]:
    """The pieces without what shows the picture of one of a piece before it."""
    kept, found = list[_Piece](), list[Duplicate]()
    for piece in pieces:
        for before in kept:
            exact_only = piece.of_symbols() and before.of_symbols()
            same = matches(encoder, piece.looks, before.looks, exact_only=exact_only)
            found += [_told(piece, match, before.name(match.other), before.part, dropped) for match in same]
            if dropped:
                piece = piece.without([match.row for match in same])
        kept.append(piece)
    return kept, found


def _apart_from(
    encoder: DualEncoder, pieces: list[_Piece], held_out: Sequence[EvalData], how: Sifting, reporter: Reporter
) -> tuple[list[_Piece], list[Duplicate]]:
    """The pieces without what shows the picture of a held-out image, where that is to be left out."""
    found, dropped = list[Duplicate](), how.near_duplicates == "drop"
    for source in held_out:
        # Signs of the embedded world have few looks: apart are those of which no scene is the same, see check_apart.
        is_symbols = isinstance(source.images, SymbolImages)
        asked = [piece for piece in pieces if not (is_symbols and piece.of_symbols())]
        if not asked:
            continue
        others = looks(source.images, encoder.pixels, reporter, source.source)
        origin = Origin(source, torch.arange(len(source.images)))
        for i, piece in enumerate(pieces):
            if piece in asked:
                same = matches(encoder, piece.looks, others)
                found += [_told(piece, match, origin.name(match.other), source.source, dropped) for match in same]
                pieces[i] = piece.without([match.row for match in same] if dropped else [])
    return pieces, found


def _told(piece: _Piece, match: Match, other: str, of: str, dropped: bool) -> Duplicate:
    name = piece.name(match.row)
    return Duplicate(name, piece.part, other, of, match.exact, match.signs, match.cosine, dropped)


def _kept(images: LabelledImages, rows: Int[Tensor, " left"]) -> LabelledImages | None:
    if len(rows) == len(images):
        return images
    return TensorImages(torch.cat(list(in_order(images, rows))), images.labels[rows]) if len(rows) else None


def _check_left(given: LabelledImages, left: LabelledImages | None, classes: Mapping[int, str]) -> None:
    labels = [] if left is None else left.labels.tolist()
    names = {classes[label] for label in labels}
    for label in given.labels.tolist():
        if classes[label] not in names:
            raise InputError(
                f"no image of {classes[label]!r} is left: all are near duplicates of images to be judged on",
                hint="give other images of it",
            )
