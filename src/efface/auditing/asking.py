"""What an audit asks: the models, the class and its control, the images that judge and those that an attacker has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from efface.attacks.base import REFERENCE, Asked, Attack
from efface.attacks.registry import chosen_attacks
from efface.auditing.sharing import EACH, GALLERY, JUDGED, beside_it, shared_out, warn_of_alike, without_judging
from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.data.own import check_apart, open_own
from efface.data.prompts import texts
from efface.encoding import encode_classes
from efface.errors import InputError, offer
from efface.functional.leaves import dead_leaves
from efface.measuring import Options, Source, check_comparable
from efface.opening import open_all
from efface.report.audit import Audited, ImagesUsed, Subject
from efface.request import ClassTarget, check_templates, texts_of
from efface.stages import stream
from efface.types import TensorImages

LEAVES = 64
"""Images of no class."""
HALF = "half of the held-out ones, which do not judge"
"""Where an attacker who was given no images has his from."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to try, and how to run.

    Attributes:
        attacks: names of attacks, or attacks with settings of their own; all where there are none.
        quick: of all, the quick ones alone.
        images: the attacker's own, labelled, of the class and of others; else half of the held-out ones are his.
        seed: of all random numbers.
        options: how to run.
        members: images that the reference was trained on, where that is known.
    """

    attacks: tuple[str | Attack, ...] = ()
    quick: bool = False
    images: Source | None = None
    seed: int = 0
    options: Options = field(default_factory=Options)
    members: Source | None = None

    def chosen(self) -> tuple[Attack, ...]:
        """The attacks, what all are compared with first."""
        given = {one.name: one for one in self.attacks if not isinstance(one, str)}
        names = [one if isinstance(one, str) else one.name for one in self.attacks]
        known = chosen_attacks([name for name in names if name not in given], quick=self.quick and not given)
        if given and not any(isinstance(one, str) for one in self.attacks):
            known = known[:1]
        return (*(given.get(one.name, one) for one in known), *(o for n, o in given.items() if n != "plain"))


def ask(
    models: Mapping[str, LoadedCLIP],
    target: ClassTarget,
    held_out: EvalData,
    templates: tuple[str, ...],
    wanted: Wanted,
    beside: Sequence[str] = (),
) -> tuple[Asked, Subject]:
    """What attacks are handed, and what a document says of it.

    Args:
        models: by what they are called.
        target: the forgotten class.
        held_out: images, of which some judge.
        templates: texts with ``{}`` for a class name.
        wanted: what to try, and how to run.
        beside: other classes of ``held_out`` that were forgotten with it.

    Raises:
        InputError: If the models cannot be compared, the images cannot be used, or a name or word cannot be meant.
    """
    check_templates(templates)
    check_whole(target.name, {} if held_out.kind is None else held_out.kind.where)
    reference = models[REFERENCE]
    for called, clip in models.items():
        if called != REFERENCE:
            check_comparable(clip, reference)
    if not held_out.has_images_of(target.name):
        raise InputError(
            f"{held_out.source!r} has no image of {target.name!r}", hint=offer(target.name, held_out.class_names)
        )
    among = tuple(dict.fromkeys(held_out.class_names))
    _check_words(target, among, held_out.source)
    _check_beside(beside, target.name, held_out)
    features = encode_classes(reference.encoder, reference.class_tokens([texts(templates, one) for one in among]))
    order = (features @ features[among.index(target.name)]).argsort(descending=True, stable=True)
    own = _own(reference, target.name, wanted)
    for data in filter(None, (held_out, own)):
        warn_of_alike(data)
    forgotten = (target.name, *beside)
    control, near = beside_it([among[row] for row in order if among[row] not in forgotten], held_out, own)
    if control is None:
        raise InputError(
            f"{held_out.source!r} has no images of a class that was to stay beside {target.name!r}",
            hint="give images of other classes",
        )
    judges, attackers = shared_out(held_out, own, (target.name, control), near, wanted.seed)
    attackers = without_judging(attackers, judges, wanted.options.reporter)
    members = None if wanted.members is None else open_all(reference, [wanted.members], wanted.options)[0]
    if members is not None:
        _check_members(members, held_out, own)
    pixels = reference.encoder.pixels
    leaves = dead_leaves(LEAVES, pixels.height, pixels.width, rng=stream(wanted.seed, "images of no class"))
    asked = Asked(
        models=models,
        name=target.name,
        among=among,
        templates=templates,
        control=control,
        images=attackers if len(attackers.images) else None,
        held_out=judges,
        unrelated=TensorImages(pixels.normalize(leaves), torch.zeros(LEAVES, dtype=torch.int64)),
        seed=wanted.seed,
        device=reference.encoder.device,
        words=tuple(text for text in texts_of([target]) if text.kind != "class"),
        reporter=wanted.options.reporter,
        members=members,
        beside=tuple(beside),
    )
    subject = Subject(
        record=None,
        models={called: Audited(clip.source, digest(clip.stored_state())) for called, clip in models.items()},
        name=target.name,
        control=control,
        templates=templates,
        words=tuple(text.text for text in asked.words),
        held_out=_used(judges, f"at most {JUDGED} of the class and of the control, and {GALLERY} in all"),
        images=_used(attackers, HALF if own is None else f"at most {EACH} a class"),
        seed=wanted.seed,
        precision=str(reference.encoder.precision).removeprefix("torch."),
        members=None if members is None else _used(members, "all of them"),
        beside=tuple(beside),
    )
    return asked, subject


def check_whole(name: str, where: Mapping[str, str]) -> None:
    """Refuses one kind of a class: its others were to stay, and answer to the same name.

    Raises:
        InputError: If there is one.
    """
    if where:
        kind = ", ".join(f"{column}={value}" for column, value in where.items())
        raise InputError(
            f"of {name!r} one kind alone was to be forgotten, {kind}: its other kinds, which were to stay, have the "
            "same name, so that every attack would find the class",
            hint="efface evaluate --forget-where says what is left of a kind; an audit is of whole classes",
        )


def _check_words(target: ClassTarget, among: Sequence[str], source: str) -> None:
    """Refuses a word that is another class: what it finds is that class."""
    # Most tokenizers know no capitals.
    others = {name.casefold() for name in among} - {target.name.casefold()}
    for word in target.aliases:
        if word.casefold() in others:
            raise InputError(
                f"the word {word!r} for {target.name!r} is another class of {source!r}: what it finds is that class",
                hint="leave it out, or give images whose class names do not have it",
            )


def _check_beside(beside: Sequence[str], name: str, held_out: EvalData) -> None:
    """Refuses classes forgotten beside it that nobody could mean."""
    if name in beside:
        raise InputError(f"{name!r} is the class itself, and not beside it", hint="leave it out")
    strange = next((one for one in beside if one not in held_out.class_names), None)
    if strange is not None:
        raise InputError(
            f"{held_out.source!r} has no class {strange!r} that could be forgotten beside {name!r}",
            hint=offer(strange, held_out.class_names),
        )


def _check_members(members: EvalData, held_out: EvalData, own: EvalData | None) -> None:
    """Refuses training images among those that judge, or among the attacker's own.

    Raises:
        InputError: If an image is in both: as a member it would be told by what it is no member for.
    """
    everything = torch.arange(len(members.images))
    for others, whose in ((held_out, "that judge"), (own, "that the attacker has")):
        if others is not None:
            try:
                check_apart(members, [others], rows=everything)
            except InputError as error:
                problem = f"images that the original was trained on are among those {whose}: {error}"
                raise InputError(problem, hint="give --members that are in none of the others") from None


def _own(clip: LoadedCLIP, name: str, wanted: Wanted) -> EvalData | None:
    """The attacker's own images as they were given."""
    if wanted.images is None or isinstance(wanted.images, EvalData):
        return wanted.images
    skipped = BadImages() if wanted.options.on_bad_image == "skip" else None
    return open_own(
        str(wanted.images), [name], preprocess=clip.preprocess, workers=wanted.options.workers, skipped=skipped
    )


def _used(data: EvalData, note: str) -> ImagesUsed:
    return ImagesUsed(data.source, data.sha256, len(data.images), len(torch.unique(data.images.labels)), note)
