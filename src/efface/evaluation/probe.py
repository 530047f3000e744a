"""A linear probe: how much of a forgotten class a few labelled images bring back from the image tower's features.

Zero-shot accuracy asks whether images of a class still lie at its text. A probe asks whether they still lie apart from
those of its neighbours, wherever that is: a new linear map is fitted to features of ``k`` labelled images a class, and
answers on held-out ones. docs/attacks.md says how to read it, and why 0 is not what forgetting aims at.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.prompts import texts
from efface.encoding import encode_classes
from efface.errors import EffaceWarning, InputError, counted, offer
from efface.evaluation.features import LAYERS, Gathered, Layer, encoders_of, gather
from efface.functional.metrics import wilson_interval
from efface.functional.probes import fit_probe
from efface.functional.similarity import accuracy
from efface.request import TEMPLATES
from efface.types import Labels, Reporter, Silent

Rows = Int[Tensor, " rows"]
"""Places of images among others."""
Role = Literal["forget", "control"]
"""*forget*: the forgotten class; *control*: the class whose text is the nearest, which was not forgotten."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of every model.

    Attributes:
        neighbors: among how many other classes the class is to be told, those whose texts are the nearest.
        shots: images a class that a probe is fitted to.
        draws: how often they are drawn, for each number of shots.
        seed: of the draws.
    """

    neighbors: int = 20
    shots: tuple[int, ...] = (4, 16, 64)
    draws: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.neighbors < 1 or self.draws < 1 or not self.shots or min(self.shots) < 1:
            raise InputError(f"nothing can be asked by {self}", hint="give at least 1 of each")


@dataclass(frozen=True, slots=True)
class Recovered:
    """The recall of one class by probes of one model, with a 95 % interval.

    Attributes:
        model: what the model was called.
        layer: the features that the probes saw.
        shots: images a class that they were fitted to, fewer where a class has fewer.
        role: which class it is.
        name: its name.
        value: the share of its held-out images that were given to it, a mean over the draws.
        n: its held-out images, the same in every draw.
        low: lower end of the Wilson interval of ``value`` on ``n`` images. It does not hold what the choice of
            training images adds: that shows in ``draws``.
        high: upper end.
        draws: the recall of each draw.
        classes: between how many classes a probe decides; chance is one over it.
    """

    model: str
    layer: Layer
    shots: int
    role: Role
    name: str
    value: float
    n: int
    low: float
    high: float
    draws: tuple[float, ...]
    classes: int


def draw(labels: Labels, shots: int, *, rng: torch.Generator) -> Rows:
    """``shots`` rows of every class, drawn without repetition; all of a class that has fewer.

    Args:
        labels: on the CPU.
        shots: at least 1.
        rng: on the CPU.
    """
    chosen = []
    for label in torch.unique(labels).tolist():
        rows = torch.nonzero(labels == label)[:, 0]
        chosen.append(rows[torch.randperm(len(rows), generator=rng)[:shots]])
    return torch.cat(chosen)


def recall_by_probe(train: Gathered, test: Gathered, layer: Layer, rows: Rows, classes: int) -> Mapping[int, float]:
    """The recall of every class that has held-out images, by a probe fitted to some rows of the training images.

    Args:
        train: features of training images.
        test: features of held-out images by the same model.
        layer: which features.
        rows: which training images.
        classes: between how many the probe decides.
    """
    probe = fit_probe(train.features[layer][rows], train.labels[rows], classes)
    answered = probe(test.features[layer])
    present = torch.unique(test.labels).tolist()
    return {label: accuracy(answered[test.labels == label], test.labels[test.labels == label]) for label in present}


def recovered(
    train: Mapping[str, Gathered], test: Mapping[str, Gathered], names: Sequence[str], control: int, asking: Asking
) -> tuple[Recovered, ...]:
    """How well probes of each model know the forgotten class and the control.

    All models, layers and classes are asked with the same draws, so that they differ in the features alone.

    Args:
        train: features of training images by each model, of the same images.
        test: features of held-out images of the forgotten class and the control by each model.
        names: of the classes between which the probes decide; the first is the forgotten one.
        control: the row of the control among the names.
        asking: how many images, how often.
    """
    labels = next(iter(train.values())).labels
    rng = torch.Generator().manual_seed(asking.seed)
    drawn = {k: [draw(labels, k, rng=rng) for _ in range(asking.draws)] for k in asking.shots}
    roles: tuple[tuple[Role, int], ...] = (("forget", 0), ("control", control))
    found = []
    for model, of_train in train.items():
        for layer in LAYERS:
            for k, sets in drawn.items():
                of_draws = [recall_by_probe(of_train, test[model], layer, rows, len(names)) for rows in sets]
                for role, label in roles:
                    recalls = tuple(recalls[label] for recalls in of_draws)
                    n = int((test[model].labels == label).sum())
                    mean = sum(recalls) / len(recalls)
                    low, high = wilson_interval(mean * n, n)
                    name = names[label]
                    found.append(Recovered(model, layer, k, role, name, mean, n, low, high, recalls, len(names)))
    return tuple(found)


def probe(  # noqa: PLR0913 (keyword arguments are the interface of a verb)
    models: Mapping[str, LoadedCLIP],
    name: str,
    *,
    train: EvalData,
    test: EvalData,
    templates: Sequence[str] = TEMPLATES,
    asking: Asking | None = None,
    batch_size: int = 256,
    reporter: Reporter | None = None,
) -> tuple[Recovered, ...]:
    """How well linear probes of some models know a class that one of them forgot, and a control that none forgot.

    Args:
        models: by what they are to be called; the first is the reference, whose texts say which classes are near.
        name: the forgotten class.
        train: images to fit probes to. Of the neighbours only those that it has images of are taken. Those that are
            test images too, pixel by pixel, are left out, with a warning.
        test: other images, of which those of the class and of the control are asked for.
        templates: texts with ``{}`` for the class name.
        asking: how many images, how often, among how many classes.
        batch_size: images at a time.
        reporter: told of every image.

    Raises:
        InputError: If a source has no image of the class, all training images of a class are test images too, no
            neighbour can be the control, or a model has no penultimate features or reads images in another way.
        NotFiniteError: If a model puts out NaN or infinite features.
        EffaceError: If a process that decodes images is ended from outside.
    """
    asking, reporter = asking or Asking(), reporter or Silent()
    encoders = encoders_of(models)
    names = _nearest(next(iter(models.values())), name, train, tuple(templates), asking.neighbors)
    control = _control(names, test)
    of_train = [_label(train, known) for known in names]
    of_test = [_label(test, names[row]) if row in (0, control) else None for row in range(len(names))]
    fitted = gather(encoders, train, of_train, batch_size=batch_size, reporter=reporter)
    asked = gather(encoders, test, of_test, batch_size=batch_size, reporter=reporter)
    return recovered(_apart(fitted, asked, names, test), asked, names, control, asking)


def _apart(
    train: Mapping[str, Gathered], test: Mapping[str, Gathered], names: Sequence[str], data: EvalData
) -> Mapping[str, Gathered]:
    """The training images without those that are test images too."""
    one, seen = next(iter(train.values())), set(next(iter(test.values())).digests)
    rows = torch.tensor([row for row, digest in enumerate(one.digests) if digest not in seen], dtype=torch.int64)
    lost = set(one.labels.tolist()) - set(one.labels[rows].tolist())
    if lost:
        raise InputError(
            f"all training images of {names[min(lost)]!r} are among those of {data.source!r}",
            hint="give other images of the same classes to train on than to test on",
        )
    twice = len(one.labels) - len(rows)
    if twice:
        text = f"{counted(twice, 'training image')} left out that {data.source!r} has too"
        warnings.warn(text, EffaceWarning, stacklevel=3)
    return {model: gathered.take(rows) for model, gathered in train.items()} if twice else train


def _nearest(clip: LoadedCLIP, name: str, data: EvalData, templates: tuple[str, ...], count: int) -> tuple[str, ...]:
    """The class, then those whose texts are nearest to its own, nearest first, of those that the data has images of."""
    own = _label(data, name)
    labels = [own, *(label for label in torch.unique(data.images.labels).tolist() if label != own)]
    known = [data.class_names[label] for label in labels]
    features = encode_classes(clip.encoder, clip.class_tokens([texts(templates, of) for of in known]))
    order = (features[1:] @ features[0]).argsort(descending=True, stable=True)[:count]
    return (name, *(known[1 + row] for row in order.tolist()))


def _control(names: Sequence[str], data: EvalData) -> int:
    """The row of the nearest class that there are test images of."""
    row = next((row for row, of in enumerate(names) if row and of in data.class_names and data.has_images_of(of)), None)
    if row is None:
        raise InputError(
            f"{data.source!r} has no image of a class that could be the control of {names[0]!r}",
            hint=f"give images of {', '.join(map(repr, names[1:4]))} too" if len(names) > 1 else "give more classes",
        )
    return row


def _label(data: EvalData, name: str) -> int:
    """The label of a class that the data has images of."""
    label = data.class_of(name)
    if label is None or not (data.images.labels == label).any():
        raise InputError(f"{data.source!r} has no image of {name!r}", hint=offer(name, data.class_names))
    return label
