"""The user's own images, from where they are to what each is for."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from efface.backends.base import LoadedCLIP
from efface.choosing import Lot, choose
from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.data.kinds import check_has, of_kind
from efface.data.own import check_apart, check_beside_of_use, check_of_use, open_own, open_pool
from efface.data.prompts import texts
from efface.data.sources import open_source
from efface.encoding import encode_classes
from efface.errors import EffaceWarning
from efface.methods import method_name
from efface.methods.base import ForgetMethod
from efface.opening import Options, Source, called
from efface.request import ForgetRequest, in_words
from efface.siblings import siblings


def give(
    clip: LoadedCLIP,
    given: Mapping[str, Source | None],
    request: ForgetRequest,
    method: ForgetMethod,
    held_out: Sequence[EvalData],
    options: Options,
) -> tuple[dict[str, EvalData], tuple[Lot, ...]]:
    """The sources that are given, opened, and which of their images the method is to be handed.

    Args:
        clip: the model.
        given: by what for: ``forget``, ``retain``, ``calibration``, ``pool``; None where none are.
        request: which classes are to be forgotten, and which kind of them.
        method: what they are for.
        held_out: what judges the result.
        options: how to run; which images count is for held-out ones.

    Raises:
        InputError: If a source cannot be used, the method has no use for it, or what it may be handed is held out.
    """
    _warn_of_hierarchy(request)
    opened = _opened(
        clip, {what: source for what, source in given.items() if source is not None}, request, method, options
    )
    near = siblings_of(clip, request) if {"retain", "calibration"} & {*opened} else ()
    lots = choose(request, method.needs, opened, near)
    _check_apart(lots, opened.get("forget"), held_out, request)
    return opened, lots


def _warn_of_hierarchy(request: ForgetRequest) -> None:
    """Says so where a hierarchy knows no sibling of any class that goes: the nearest texts then say which those are."""
    groups, names = request.beside.hierarchy, [target.name for target in request.targets]
    of_names = {groups[name] for name in names if name in groups}
    if groups and not any(groups.get(name) in of_names for name in request.among if name not in names):
        found = "no group" if not of_names else "no other class of the request in the group"
        text = f"the hierarchy has {found} of {in_words(names)}: siblings are the classes with the nearest texts"
        warnings.warn(text, EffaceWarning, stacklevel=4)


def siblings_of(clip: LoadedCLIP, request: ForgetRequest) -> tuple[str, ...]:
    """The names of the classes that are siblings of those that go."""
    classes = encode_classes(clip.encoder, clip.class_tokens([texts(request.templates, n) for n in request.among]))
    rows = [row for row in request.rows if row < len(request.among)]
    return tuple(request.among[i] for i in siblings(classes, rows, request.among, request.beside.hierarchy).tolist())


def _opened(
    clip: LoadedCLIP, given: Mapping[str, Source], request: ForgetRequest, method: ForgetMethod, options: Options
) -> dict[str, EvalData]:
    """The sources, after making sure that they are of use."""
    names, where = [target.name for target in request.targets], request.beside.where
    if "forget" in given:
        check_of_use(str(called(given["forget"])), method_name(method), method.needs)
    check_beside_of_use(request.beside, method_name(method), method.needs)
    opened: dict[str, EvalData] = {}
    for what, source in given.items():
        if isinstance(source, EvalData):
            opened[what] = of_kind(source, where) if what == "forget" else source
            for name in names if what == "forget" else ():
                check_has(opened[what], name)
            continue
        skipped = BadImages() if options.on_bad_image == "skip" else None
        how: dict[str, Any] = {"preprocess": clip.preprocess, "workers": options.workers, "skipped": skipped}
        if what == "forget":
            opened[what] = open_own(str(source), names, where=where, **how)
        else:
            opened[what] = open_pool(str(source), **how) if what == "pool" else open_source(str(source), **how)
    return opened


def _check_apart(
    lots: Sequence[Lot], own: EvalData | None, held_out: Sequence[EvalData], request: ForgetRequest
) -> None:
    """Refuses held-out images that a method may be handed: of what is to be forgotten any of the user's own.

    Copies are no reason to refuse where all that looks like a held-out image is to be left out.
    """
    copies = request.sifting.near_duplicates != "drop"
    if own is not None:
        check_apart(own, held_out, [target.name for target in request.targets], copies=copies)
    for lot in lots:
        if lot.role != "forget":
            check_apart(lot.source, held_out, rows=lot.rows, copies=copies)
