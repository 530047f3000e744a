"""The verb check: has a forgotten class come back in a model that was made from the result?

The rule: on the images of the class, with the descendant's two towers and with each of them beside the other of the
result, top-1 accuracy is compared with the result's, image by image. The class is *back* where the paired 95 % interval
of the rise lies wholly above a margin. With one tower of each, a class that came back in one is found though the other
hides it.
"""

import json
from collections.abc import Sequence
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
from efface.measuring import Options, check_comparable, measure, open_all
from efface.report.document import Sealed
from efface.report.record import Measurement
from efface.verifying.folder import check_data, check_weights, opener
from efface.verifying.rerun import PRECISIONS

MARGIN = 0.05
"""What a rise must exceed: less is no return of the class, though it may be more than chance on many images."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        data: the source.
        towers: which towers are the descendant's; the other is the result's.
        result: accuracy of the result on images of the class.
        descendant: that of the descendant.
        n: images.
        rise: the second less the first.
        low: lower end of the rise's paired 95 % interval.
        high: upper end.
        smallest: the smallest rise that would have been called a return on so many images.
        back: whether the class is back.
    """

    data: str
    towers: Towers
    result: float
    descendant: float
    n: int
    rise: float
    low: float
    high: float
    smallest: float
    back: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a forgotten class in a descendant.

    Attributes:
        run: the run that it was forgotten in.
        model: the descendant.
        target: the class.
        margin: what a rise must exceed.
        weights: sha256 of the descendant's weights.
        cases: three a source.
    """

    run: str
    model: str
    target: str
    margin: float
    weights: str
    cases: tuple[Case, ...]

    @property
    def back(self) -> bool:
        """Whether the class is back in any case."""
        return any(case.back for case in self.cases)

    def to_json(self) -> str:
        """As JSON: the fields, and ``back``."""
        return json.dumps({"back": self.back, **asdict(self)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def check(
    model: str,
    run: str | Path,
    *,
    data: Sequence[str] = (),
    margin: float = MARGIN,
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
        device: as torch names it.
        options: how to run; which images count is for those in ``data``.

    Raises:
        InputError: If the run is not as its record says, the descendant cannot be compared with it, or the images of
            the class are too few to tell anything.
    """
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
    found = measure((result, descendant), held_out, sealed.templates, sealed.target, options).measurement
    cases = tuple(_cases(found, margin))
    if all(case.smallest > 1 for case in cases):
        n = max(case.n for case in cases)
        raise InputError(
            f"{n} images of {sealed.target!r} are too few: not even all of them right would be a rise above {margin:g}",
            hint="give more images of the class with --eval",
        )
    return Outcome(str(run), model, sealed.target, margin, str(found.weights.result), cases)


def smallest_rise(right: int, n: int, margin: float) -> float:
    """The smallest rise whose interval lies wholly above the margin, if no image that was right becomes wrong.

    Args:
        right: images that the result has right.
        n: images.
        margin: in [0, 1).

    Returns:
        In [0, 1]; infinity where not even all images right would do.
    """
    before = torch.arange(n) < right

    def is_told(gained: int) -> bool:
        return paired_change(before, torch.arange(n) < right + gained)[1] > margin

    low, high = 0, n - right
    if not is_told(high):
        return float("inf")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_told(middle) else (middle, high)
    return high / n


def _images(sealed: Sealed, data: Sequence[str], result: LoadedCLIP, options: Options) -> list[EvalData]:
    if data:
        held_out = open_all(result, data, options)
    elif options.where:
        raise InputError("--where without --eval: the run's own images are those of its record", hint="leave it out")
    else:
        checked, held_out = check_data(sealed.data, (), opener(result.preprocess, options.workers), required=True)
        if checked.status == "failed":
            raise InputError(f"the run's images cannot be used: {checked.reasons[0]}", hint="give others with --eval")
    found = [source for source in held_out if source.has_images_of(sealed.target)]
    if not found:
        raise InputError(f"there are no images of {sealed.target!r} to check on", hint="give some with --eval")
    return found


def _cases(found: Measurement, margin: float) -> list[Case]:
    before = {s.data: s for s in found.scores.before if (s.split, s.metric) == ("forget", "acc1")}
    after = {(s.data, s.towers): s for s in found.scores.after if (s.split, s.metric) == ("forget", "acc1")}
    cases = []
    for change in found.changes:
        if (change.split, change.metric) == ("forget", "acc1"):
            old, new = before[change.data].value, after[change.data, change.towers].value
            smallest = smallest_rise(round(old * change.n), change.n, margin)
            rise, low, high = change.value, change.low, change.high
            cases.append(
                Case(change.data, change.towers, old, new, change.n, rise, low, high, smallest, back=low > margin)
            )
    return cases
