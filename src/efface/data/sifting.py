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
from efface.types import DualEncoder, Features, Reporter

Places = Int[Tensor, " left"]
"""Which of the images of a part, by their place among them."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """The images of one part that are left."""

    part: Part
    looks: Looks
    origin: Origin

    def of_symbols(self) -> bool:
        return isinstance(self.origin.source.images, SymbolImages)

    def without(self, rows: Sequence[int]) -> "_Piece":
        left = ~torch.isin(self.looks.rows, torch.tensor(rows, dtype=torch.int64))
        return replace(self, looks=self.looks.take(left.nonzero()[:, 0]))


def sift(
    encoder: DualEncoder,
    given: Mapping[Part, Origin],
    names: Mapping[Part, Sequence[str]],
    held_out: Sequence[EvalData],
    how: Sifting,
    reporter: Reporter,
) -> tuple[Mapping[Part, Places], Sifted]:
    """What is left of images that were given, and what was found among them.

    Args:
        encoder: the base, which says what looks alike.
        given: the user's images of each part that there is.
        names: the class of each image of the parts that are to be forgotten.
        held_out: what judges the result.
        how: what to do with what is found.
        reporter: told of every image.

    Returns:
        Of each part which images are left, by their place among its images; and what was found. Those that cannot be
        decoded are left as they are.

    Raises:
        InputError: If no image of a class is left, none to stay, or none of a pool; or one cannot be decoded and is not
            to be skipped.
        LeakError: If held-out images are near duplicates of images given to work on, and that is to be refused.
    """
    pieces = [
        _Piece(part, looks(given[part].source, encoder.pixels, reporter, given[part].rows), given[part])
        for part in PARTS
        if part in given
    ]
    compared: dict[str, int] = {piece.part: len(piece.looks.rows) for piece in pieces}
    pieces, strange = _without_outliers(encoder, pieces, names, dropped=how.drop_outliers)
    pieces, among = _apart_among(encoder, pieces, dropped=how.near_duplicates != "allow")
    pieces, leaks = _apart_from(encoder, pieces, held_out, how, reporter)
    for text in (*words_on_outliers(strange), *words_on_duplicates(among)):
        warnings.warn(text, EffaceWarning, stacklevel=4)
    refuse_or_say(leaks, how)
    left = {piece.part: _left(piece) for piece in pieces}
    if "forget" in given:
        _check_left(names["forget"], left["forget"])
    _check_any_left(left, given)
    found = Sifted(how.near_duplicates, how.drop_outliers, compared, tuple(strange), (*among, *leaks))
    return left, found


def _without_outliers(
    encoder: DualEncoder, pieces: Sequence[_Piece], names: Mapping[Part, Sequence[str]], *, dropped: bool
) -> tuple[list[_Piece], list[Outlier]]:
    """The pieces without images to forget that look like none of their class, and what there is to say of these.

    Those that are put aside are looked at together with the others: one of them decides as much.
    """
    asked = [piece for piece in pieces if piece.part in names]
    found = [(piece, row) for piece in asked for row in piece.looks.rows.tolist()]
    of = [name for piece in asked for name in _names_left(piece, names[piece.part])]
    features = _features(encoder, asked) if found else torch.empty(0)
    rows, strange = {piece.part: list[int]() for piece in asked}, []
    for name in dict.fromkeys(of):
        places = torch.tensor([place for place, other in enumerate(of) if other == name])
        if len(places) < FEWEST:
            continue
        most, deviations = limit(len(places)), strangeness(features[places])
        for place, deviation in zip(places.tolist(), deviations.tolist(), strict=True):
            if deviation > most:
                piece, row = found[place]
                rows[piece.part].append(row)
                strange.append(Outlier(piece.origin.name(row), name, deviation, most, dropped))
    return [piece.without(rows.get(piece.part, []) if dropped else []) for piece in pieces], strange


def _names_left(piece: _Piece, names: Sequence[str]) -> list[str]:
    """The class of each image that can be decoded."""
    class_of = dict(zip(piece.origin.rows.tolist(), names, strict=True))
    return [class_of[row] for row in piece.looks.rows.tolist()]


def _features(encoder: DualEncoder, pieces: Sequence[_Piece]) -> Features:
    """Of all images of some pieces, one piece after the other."""
    fitting, parts = Fitting(BATCH), list[Features]()
    with torch.no_grad():
        for piece in pieces:
            for batch in in_order(piece.looks.images, piece.looks.rows):
                found = fitting(lambda part: encoder.encode_image(part.to(encoder.device)), batch)
                parts.append(finite(found, "image").cpu())
    return torch.cat(parts)


def _apart_among(
    encoder: DualEncoder, pieces: Sequence[_Piece], *, dropped: bool
) -> tuple[list[_Piece], list[Duplicate]]:
    """The pieces without what shows the picture of one of a piece before it; a pool without what it shows before.

    Images of a pool come to be of several parts yet.
    """
    kept, found = list[_Piece](), list[Duplicate]()
    for piece in pieces:
        for before in [*kept, *([piece] if piece.part == "pool" else [])]:
            exact_only = piece.of_symbols() and before.of_symbols()
            others = None if before.part == piece.part else before.looks
            same = matches(encoder, piece.looks, others, exact_only=exact_only)
            found += [_told(piece, match, before.origin.name(match.other), before.part, dropped) for match in same]
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
        origin = Origin(source, torch.arange(len(source.images)))
        others = looks(source, encoder.pixels, reporter, origin.rows)
        for i, piece in enumerate(pieces):
            if piece in asked:
                same = matches(encoder, piece.looks, others)
                found += [_told(piece, match, origin.name(match.other), source.source, dropped) for match in same]
                pieces[i] = piece.without([match.row for match in same] if dropped else [])
    return pieces, found


def _told(piece: _Piece, match: Match, other: str, of: str, dropped: bool) -> Duplicate:
    name = piece.origin.name(match.row)
    return Duplicate(name, piece.part, other, of, match.exact, match.signs, match.cosine, dropped)


def _left(piece: _Piece) -> Places:
    """The places of the images that were not left out; what cannot be decoded was not."""
    rows = piece.origin.rows
    skipped = torch.tensor(list(piece.origin.source.skipped.reasons), dtype=torch.int64)
    return (torch.isin(rows, piece.looks.rows) | torch.isin(rows, skipped)).nonzero()[:, 0]


def _check_any_left(left: Mapping[Part, Places], given: Mapping[Part, Origin]) -> None:
    """Refuses to go on without what a user gave to hold on to: other images would take its place unasked."""
    for part in ("retain", "pool"):
        if part in left and len(given[part].rows) and not len(left[part]):
            raise InputError(
                f"none of the images of {given[part].source.source!r} is left: all are near duplicates of others",
                hint="give other images; or --near-duplicates allow keeps them all",
            )


def _check_left(names: Sequence[str], left: Places) -> None:
    kept = {names[place] for place in left.tolist()}
    lost = next((name for name in names if name not in kept), None)
    if lost is not None:
        raise InputError(
            f"no image of {lost!r} is left: all are near duplicates of images to be judged on",
            hint="give other images of it",
        )
