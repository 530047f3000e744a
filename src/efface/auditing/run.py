"""The verb audit: tries to bring a forgotten class back, and says what that says of the model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from efface.attacks.base import EDITED, GOLD, REFERENCE, Asked
from efface.attacks.run import Tried, run_attacks
from efface.attacks.verdict import judge
from efface.auditing.asking import Wanted, ask, check_whole
from efface.auditing.gold import check_gold
from efface.auditing.kept import found_before, partial_of
from efface.backends import load
from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.errors import InputError, offer
from efface.export.folder import model_source, page_of, read_run, replace_file
from efface.export.place import AUDIT, PAGE
from efface.measuring import Source
from efface.opening import open_all
from efface.report.audit import Audit, Subject
from efface.report.document import Sealed
from efface.report.environment import environment, now
from efface.request import TEMPLATES, ClassTarget, listed, targets_of
from efface.stages import stream
from efface.verifying.folder import check_data, check_weights, opener
from efface.verifying.rerun import PRECISIONS


def audit(  # noqa: PLR0913 (keyword arguments are the interface of a verb)
    clip: LoadedCLIP,
    name: str,
    *,
    against: LoadedCLIP,
    data: Source,
    gold: LoadedCLIP | None = None,
    aliases: Sequence[str] = (),
    phrases: Sequence[str] = (),
    beside: Sequence[str] = (),
    templates: Sequence[str] = TEMPLATES,
    wanted: Wanted | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Audit:
    """Tries to bring a class back that a model was made to forget.

    Args:
        clip: the edited model.
        name: the forgotten class.
        against: the model that it was made from.
        data: held-out images, told apart among their own class names.
        gold: a model that was trained as ``against`` was, without the class; what forgetting aims at.
        aliases: other names that the class is asked for by.
        phrases: texts that it is asked for by, used as they are.
        beside: other classes that the model was made to forget too: none of them is a control, or to stay.
        templates: texts with ``{}`` for the class name.
        wanted: what to try, and how to run.
        out: a file for what was found; what an audit of the same models, images and seed wrote there is not tried
            again.
        overwrite: try everything again, and replace an audit of others; one that was stopped while it did so goes on.

    Raises:
        InputError: If the models cannot be compared, the images cannot be used, gold is none, or the file holds an
            audit of others.
    """
    used = wanted or Wanted()
    (target,) = targets_of([name], aliases, phrases)
    (held_out,) = open_all(clip, [data], used.options)
    models = {REFERENCE: against, EDITED: clip} | ({} if gold is None else {GOLD: gold})
    asked, subject = ask(models, target, held_out, listed("templates", templates), used, listed("beside", beside))
    return _kept(asked, subject, used, None if out is None else Path(out), overwrite=overwrite)


def audit_run(  # noqa: PLR0913 (one parameter a choice)
    folder: str | Path,
    *,
    name: str | None = None,
    against: str | None = None,
    gold: str | None = None,
    data: str | None = None,
    device: str = "cpu",
    words: Sequence[str] = (),
    wanted: Wanted | None = None,
    overwrite: bool = False,
) -> Audit:
    """Audits a run, and writes what was found into its folder, its page included.

    What an audit of the same run with the same images and seed found before is not tried again: one that was stopped
    goes on attack by attack, and one that asks for more attacks adds them.

    Args:
        folder: the run folder.
        name: the class, where several were forgotten.
        against: the base, where it is not to be found under the name that the record has for it.
        gold: a model that was trained as the base was, without the class.
        data: held-out images; by default the run's own, which must be as they were.
        device: as torch names it.
        words: other names that the class is asked for by, beside the run's aliases and phrases.
        wanted: what to try, and how to run.
        overwrite: try everything again, and replace an audit of another class, gold, images or seed; one that was
            stopped while it did so goes on.

    Raises:
        InputError: If the run is not as its record says, forgot one kind of a class, or has an audit of another
            subject; if the models or images cannot be used, or gold is none.
    """
    folder, used = Path(folder), wanted or Wanted()
    sealed = read_run(folder)
    target = _target(sealed.forgotten, name)
    check_whole(target.name, sealed.beside.where)
    target = replace(target, aliases=tuple(dict.fromkeys([*target.aliases, *words])))
    models = _models(folder, sealed, against, gold, device)
    if data is not None:
        (held_out,) = open_all(models[EDITED], [data], used.options)
    else:
        held_out = _own_images(sealed, target.name, models[EDITED], used)
    beside = _beside(sealed.forgotten, target.name, held_out)
    asked, subject = ask(models, target, held_out, sealed.templates, used, beside)
    subject = replace(subject, record=sealed.sha256)
    done = _kept(asked, subject, used, folder / AUDIT, overwrite=overwrite)
    replace_file(folder / PAGE, page_of(folder, sealed))
    return done


def _target(forgotten: Sequence[ClassTarget], name: str | None) -> ClassTarget:
    names = [target.name for target in forgotten]
    if name is None and len(names) > 1:
        raise InputError(f"the run forgot {len(names)} classes", hint=f"choose one with --class: {', '.join(names)}")
    if name is not None and name not in names:
        raise InputError(f"the run did not forget {name!r}", hint=offer(name, names))
    return forgotten[0 if name is None else names.index(name)]


def _beside(forgotten: Sequence[ClassTarget], name: str, held_out: EvalData) -> tuple[str, ...]:
    """The other classes that the run forgot, as far as the images that judge are told apart from them."""
    names = [word for one in forgotten if one.name != name for word in (one.name, *one.aliases)]
    return tuple(word for word in dict.fromkeys(names) if word in held_out.class_names)


def _models(folder: Path, sealed: Sealed, against: str | None, gold: str | None, device: str) -> dict[str, LoadedCLIP]:
    """The base, the result and gold, after making sure that the first two are those of the record."""
    weights = check_weights(folder, sealed)
    if weights.status != "passed":
        problem = f"the model in {str(folder)!r} is not that of its record: {weights.reasons[0]}"
        raise InputError(problem, hint="efface verify says more")
    sources = {REFERENCE: against or sealed.model, EDITED: model_source(folder)} | ({GOLD: gold} if gold else {})
    precision = PRECISIONS[sealed.precision]
    models = {called: load(source, device=device, precision=precision) for called, source in sources.items()}
    if digest(models[REFERENCE].stored_state()) != sealed.weights.base:
        raise InputError(f"{sources[REFERENCE]!r} is not the base of this run", hint="name the base with --against")
    return models


def _own_images(sealed: Sealed, name: str, clip: LoadedCLIP, wanted: Wanted) -> EvalData:
    """The run's own images of the class, as they were."""
    opened = opener(clip.preprocess, wanted.options.workers)
    checked, found = check_data(sealed.data, (), opened, required=True)
    if checked.status == "failed":
        raise InputError(f"the run's images cannot be used: {checked.reasons[0]}", hint="give others with --eval")
    for source in found:
        if source.has_images_of(name):
            return source
    raise InputError(f"there are no images of {name!r} to audit on", hint="give some with --eval")


def _kept(asked: Asked, subject: Subject, wanted: Wanted, out: Path | None, *, overwrite: bool) -> Audit:
    """The audit, which goes on from what a file holds, and is written there attack by attack."""
    known = {} if out is None else found_before(out, subject, again=overwrite)
    check_gold(asked, subject)

    def note(found: Audit) -> None:
        if out is not None:
            replace_file(partial_of(out, again=overwrite), found.to_json())

    done = _audited(asked, subject, wanted, known, note)
    if out is not None:
        replace_file(out, done.to_json())
        for again in (True, False):
            partial_of(out, again=again).unlink(missing_ok=True)
    return done


def _audited(
    asked: Asked, subject: Subject, wanted: Wanted, known: Mapping[str, Tried], note: Callable[[Audit], None]
) -> Audit:
    begun = now()

    def document(tried: tuple[Tried, ...]) -> Audit:
        return Audit(
            subject=subject,
            tried=tried,
            verdict=judge(
                [row for one in tried for row in one.rows],
                failed={one.attack: one.failed for one in tried if one.failed is not None},
            ),
            device=str(asked.device),
            environment=environment(),
            seconds=round(sum(one.seconds for one in tried), 3),
            created=begun,
        )

    tried = run_attacks(
        asked,
        wanted.chosen(),
        rng=partial(_stream, wanted.seed),
        known=known,
        note=lambda found: note(document(found)),
        reporter=wanted.options.reporter,
    )
    return document(tried)


def _stream(seed: int, name: str) -> torch.Generator:
    return stream(seed, f"attack {name}")
