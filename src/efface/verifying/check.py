"""The verb check: has a forgotten class come back in a model that was made from the result?

The rule: on the images of the class, with the descendant's two towers and with each of them beside the other of the
result, top-1 accuracy is compared with the result's, image by image. The class is *back* where the paired 95 % interval
of the rise lies wholly above a margin. With one tower of each, a class that came back in one is found though the other
hides it. A comparison that would notice nothing but a return of more than a stated size tells nothing, and passes for
nothing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from efface.backends import load
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.errors import InputError
from efface.evaluation.base import Towers
from efface.export.folder import model_source, read_run
from efface.functional.metrics import paired_change
from efface.measuring import check_comparable, measure
from efface.opening import Options, open_all
from efface.report.document import Sealed
from efface.report.record import Measurement
from efface.report.rows import percent
from efface.request import ClassTarget
from efface.verifying.folder import check_data, check_weights, opener
from efface.verifying.rerun import PRECISIONS

MARGIN = 0.05
"""What a rise must exceed: less is no return of the class, though it may be more than chance on many images."""
NOTICE = 0.5
"""What a comparison must be able to notice to count: with few images, or where the result has most of them right, the
smallest rise that could be called a return is a larger one."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        name: the class.
        data: the source.
        towers: which towers are the descendant's; the other is the result's.
        result: accuracy of the result on images of the class.
        descendant: that of the descendant.
        n: images.
        rise: the second less the first.
        low: lower end of the rise's paired 95 % interval.
        high: upper end.
        smallest: the smallest rise that would have been called a return on these images; None where none would.
        back: whether the class is back.
        untold: why this tells nothing; empty where it tells something.
    """

    name: str
    data: str
    towers: Towers
    result: float
    descendant: float
    n: int
    rise: float
    low: float
    high: float
    smallest: float | None
    back: bool
    untold: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a forgotten class in a descendant.

    Attributes:
        run: the run that it was forgotten in.
        model: the descendant.
        target: the class, or several in words.
        margin: what a rise must exceed.
        notice: a comparison that would notice only a larger rise tells nothing.
        weights: sha256 of the descendant's weights.
        cases: three a class and source.
    """

    run: str
    model: str
    target: str
    margin: float
    notice: float
    weights: str
    cases: tuple[Case, ...]

    @property
    def back(self) -> bool:
        """Whether the class is back in any case."""
        return any(case.back for case in self.cases)

    def to_json(self) -> str:
        """As JSON: the fields, and ``back``."""
        document = {"back": self.back, **asdict(self)}
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def check(  # noqa: PLR0913 (one parameter a choice)
    model: str,
    run: str | Path,
    *,
    data: Sequence[str] = (),
    margin: float = MARGIN,
    notice: float = NOTICE,
    device: str = "cpu",
    options: Options | None = None,
) -> Outcome:
    """Compares a descendant with the result of a run on images of the forgotten class.

    Args:
        model: the descendant, made from the run's result by whatever means that keep its tensors' names and shapes.
        run: the run folder.
        data: held-out images; those of the run where none are given, which must be as they were, and are chosen and
            left out as they were then.
        margin: what a rise must exceed, in [0, 1).
        notice: the largest rise that may go unnoticed, in (0, 1].
        device: as torch names it.
        options: how to run; which images count is for those in ``data``.

    Raises:
        InputError: If the margin is not below ``notice``, the run is not as its record says, the descendant cannot be
            compared with it, or no comparison tells anything: it says why.
    """
    if margin >= notice:
        raise InputError(
            f"no rise of {percent(notice)} points lies above a margin of {percent(margin)}",
            hint="give a smaller --margin, or a larger --notice",
        )
    folder, options = Path(run), options or Options()
    sealed = read_run(folder)
    weights = check_weights(folder, sealed)
    if weights.status != "passed":
        raise InputError(
            f"the model in {str(folder)!r} is not that of its record: {weights.reasons[0]}",
            hint="efface verify says more",
        )
    result, descendant = (
        load(source, device=device, precision=PRECISIONS[sealed.precision]) for source in (model_source(folder), model)
    )
    check_comparable(descendant, result)
    held_out = _images(sealed, data, result, options)
    cases: list[Case] = []
    # One class at a time: what comes back of one may be less than what goes of another.
    for name in sealed.names:
        of_class = [source for source in held_out if source.has_images_of(name)]
        found = measure((result, descendant), of_class, sealed.templates, [ClassTarget(name)], options).measurement
        cases += _cases(found, margin, notice)
    if all(case.untold for case in cases):
        raise InputError(
            f"nothing can be told of {sealed.label!r}: {cases[0].untold}",
            hint="give other images of the class, or more, with --eval",
        )
    return Outcome(str(run), model, sealed.label, margin, notice, str(found.weights.result), tuple(cases))


def smallest_rise(right: int, n: int, margin: float) -> float | None:
    """The smallest rise whose interval lies wholly above the margin, if no image that was right becomes wrong.

    Args:
        right: images that the result has right.
        n: images.
        margin: in [0, 1).

    Returns:
        In [0, 1]; None where not even all images right would do.
    """
    before = torch.arange(n) < right

    def is_told(gained: int) -> bool:
        return paired_change(before, torch.arange(n) < right + gained)[1] > margin

    low, high = 0, n - right
    if not is_told(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_told(middle) else (middle, high)
    return high / n


def _images(sealed: Sealed, data: Sequence[str], result: LoadedCLIP, options: Options) -> list[EvalData]:
    if data:
        held_out = open_all(result, data, options, sealed.names, sealed.beside.where)
    elif options.where:
        raise InputError("--where without --eval: the run's own images are those of its record", hint="leave it out")
    else:
        checked, held_out = check_data(sealed.data, (), opener(result.preprocess, options.workers), required=True)
        if checked.status == "failed":
            raise InputError(f"the run's images cannot be used: {checked.reasons[0]}", hint="give others with --eval")
    for name in sealed.names:
        if not any(source.has_images_of(name) for source in held_out):
            raise InputError(f"there are no images of {name!r} to check on", hint="give some with --eval")
    return [source for source in held_out if any(map(source.has_images_of, sealed.names))]


def _cases(found: Measurement, margin: float, notice: float) -> Iterator[Case]:
    before = {s.data: s for s in found.scores.before if (s.split, s.metric) == ("forget", "acc1")}
    after = {(s.data, s.towers): s for s in found.scores.after if (s.split, s.metric) == ("forget", "acc1")}
    for change in found.changes:
        if (change.split, change.metric) == ("forget", "acc1"):
            old, new = before[change.data].value, after[change.data, change.towers].value
            right = round(old * change.n)
            back = change.low > margin
            yield Case(
                name=str(found.name),
                data=change.data,
                towers=change.towers,
                result=old,
                descendant=new,
                n=change.n,
                rise=change.value,
                low=change.low,
                high=change.high,
                smallest=smallest_rise(right, change.n, margin),
                back=back,
                untold="" if back else _untold(right, change.n, margin, notice),
            )


def _untold(right: int, n: int, margin: float, notice: float) -> str:
    """Why nothing can be told where the result has some images right; empty where something can."""
    if _is_noticed(smallest_rise(right, n, margin), notice):
        return ""
    rise = f"no rise of {percent(notice)} points would be called a return"
    if _is_noticed(smallest_rise(0, n, margin), notice):
        return f"the result has {percent(right / n)} % of the {n} images right: {rise}"
    return f"{n} images are too few: {rise}"


def _is_noticed(smallest: float | None, notice: float) -> bool:
    # A share of n images may differ from the same share as written in its last bit.
    return smallest is not None and smallest <= notice + 1e-9
