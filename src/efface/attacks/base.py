"""What an attack is handed, what it hands back, and what every attack has in common.

An attack tries to bring a forgotten class back, or measures how much of it is left. It sees finished models: the
*reference* that the class was forgotten from, the *edited* one, and *gold*, which was trained without the class, where
there is one. It asks all of them the same, about the class and about a *control* that was not forgotten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.own import taken
from efface.data.prompts import texts
from efface.encoding import encode_classes
from efface.errors import EffaceError
from efface.evaluation.features import Gathered, Layer, encoders_of, gather
from efface.functional.metrics import drawn_interval, wilson_interval
from efface.functional.probes import Vectors
from efface.functional.similarity import class_features
from efface.records.fields import Count, Finite, Positive, Share
from efface.request import TargetText
from efface.types import ClassFeatures, LabelledImages, Labels, Reporter, Silent, TensorImages

Role = Literal["forget", "control"]
"""*forget*: the forgotten class; *control*: the class whose text is the nearest in the reference, not forgotten."""
Kind = Literal["output", "features", "training", "level", "measure"]
"""How a row is judged, by what a class that was never learned has there. *output*: nothing, since texts and images must
find each other. *features*: something, since images that nobody named lie apart too. *training*: likewise, as any class
can be taught; rows of the control are of it under a name that was never learned, and a class that comes back no further
than that was taught and not revived. *level*: a place somewhere among the other names. *measure*: nobody knows; such a
row is not judged."""
Source = Literal["held_out", "images"]
"""*held_out*: the images that judge; *images*: the attacker's own."""
REFERENCE, EDITED, GOLD = "reference", "edited", "gold"
UNKNOWN = "unknown"
"""A model that is none: what the same attack makes, in the edited model, of the class under a name that was never
learned, where an attack can tell."""
NEVER_LEARNED = "blicket"
"""A name that no vocabulary has a meaning for."""
PLAIN = "plain"
"""The attack that is none, and comes first: what all others are compared with."""
TOWERS = "towers"
"""The attack that puts an image tower beside texts of another model."""
PENULTIMATE_LIKENESS, FINAL_LIKENESS = (
    "penultimate likeness",
    "final likeness",
)
"""Settings of ``plain``, how like the original's features are: they tell which part of the image tower changed."""
BATCH = 256


class NotTried(EffaceError):
    """An attack that cannot be tried with what it was handed; it says what would be needed."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one attack brought back of one class in one model: a share, with a 95 % interval.

    Attributes:
        attack: its name.
        setting: what was tried, such as ``k = 4, penultimate``; equal for all models and both classes.
        kind: how it is judged.
        model: ``reference``, ``edited`` or ``gold``; ``unknown`` for the edited one and a name that was never learned.
        role: which class.
        value: in [0, 1], 1 where all of it is there.
        n: of how many images, or texts.
        low: lower end of the interval.
        high: upper end.
        cost: what the attacker paid: images, steps, seconds and the like.
        others: from how many other classes the class was told apart, by their images or names; None where nobody says.
    """

    attack: str
    setting: str
    kind: Kind
    model: str
    role: Role
    value: Share
    n: Positive
    low: Share
    high: Share
    cost: Mapping[str, Finite | int | str] = field(default_factory=dict)
    others: Count | None = None


@runtime_checkable
class Attack(Protocol):
    """A way to bring a class back. Settings are the fields of a frozen pydantic dataclass, as those of a method are.

    Attributes:
        name: under which it is asked for.
        summary: what it does, in a line.
        tells: what is known of a model in which it brings the class back, in words that follow a colon.
        quick: whether it is part of a quick audit.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    tells: ClassVar[str]
    quick: ClassVar[bool]

    def run(self, asked: "Asked", *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Tries it on every model.

        Args:
            asked: the models, the class, and images; nothing in it may be changed.
            rng: of all random numbers, on the CPU.
            reporter: told how far it is.

        Raises:
            NotTried: If it lacks something; the audit goes on with the others.
        """
        ...


@dataclass(frozen=True, eq=False)
class Asked:
    """All that an attack gets to see. What several attacks need is computed once, and shared.

    Attributes:
        models: under ``reference``, ``edited`` and, where there is one, ``gold``.
        name: the forgotten class.
        among: the names of all classes that are told apart, ``name`` among them; labels are rows of it.
        templates: texts with ``{}`` for a class name.
        control: the name of the class whose text is the nearest in the reference.
        images: the attacker's own, labelled; none of them is held out. None where there are none.
        held_out: the images that judge.
        unrelated: images of no class.
        seed: all random numbers follow from it.
        device: where the models are.
        words: aliases and phrases that stand for the class.
        reporter: told of images that are encoded for all attacks together.
        members: images that the reference was trained on, where that is known.
        beside: the names of classes that were forgotten with it: no attack may count them among what was to stay.
    """

    models: Mapping[str, LoadedCLIP]
    name: str
    among: tuple[str, ...]
    templates: tuple[str, ...]
    control: str
    images: EvalData | None
    held_out: EvalData
    unrelated: LabelledImages
    seed: int
    device: torch.device
    words: tuple[TargetText, ...] = ()
    reporter: Reporter = field(default_factory=Silent)
    members: EvalData | None = None
    beside: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[tuple[Role, int], ...]:
        """The forgotten class and the control, each with its row in ``among``."""
        return (("forget", self.own), ("control", self.among.index(self.control)))

    @property
    def own(self) -> int:
        """The row of the forgotten class in ``among``."""
        return self.among.index(self.name)

    @property
    def others(self) -> tuple[int, ...]:
        """The rows in ``among`` of the classes that were to stay, less the control."""
        left_out = {self.name, self.control, *self.beside}
        return tuple(row for row, name in enumerate(self.among) if name not in left_out)

    def features(self, model: str, source: Source, layer: Layer) -> Vectors:
        """The image features of a source by a model, an image a row; see :meth:`labels` for their classes.

        Raises:
            NotTried: If the attacker has no images, and they are asked for.
            InputError: If a model has no penultimate features.
        """
        return self.gathered(source)[model].features[layer]

    def labels(self, source: Source) -> Labels:
        """The rows in ``among`` of the images of a source, in the order of their features."""
        return next(iter(self.gathered(source).values())).labels

    def gathered(self, source: Source) -> Mapping[str, Gathered]:
        """Features of the images of a source by every model.

        Raises:
            NotTried: If the attacker has no images, and they are asked for.
        """
        if source not in self._gathered:
            data = self.held_out if source == "held_out" else self.attackers()
            rows = [_label(data, name) for name in self.among]
            encoders = encoders_of(self.models)
            self._gathered[source] = gather(encoders, data, rows, batch_size=BATCH, reporter=self.reporter)
        return self._gathered[source]

    def pictures(self, source: Source, names: tuple[str, ...]) -> TensorImages:
        """The images of some classes of a source as model input; labels are rows of ``among``.

        Raises:
            NotTried: If the attacker has no images, and they are asked for.
        """
        if (source, names) not in self._pictures:
            data = self.held_out if source == "held_out" else self.attackers()
            place = {data.class_of(name): self.among.index(name) for name in names}
            rows = torch.tensor([row for row, label in enumerate(data.images.labels.tolist()) if label in place])
            images, kept = taken(data, rows)
            labels = torch.tensor([place[label] for label in data.images.labels[rows[kept]].tolist()])
            self._pictures[source, names] = TensorImages(images, labels)
        return self._pictures[source, names]

    def attackers(self) -> EvalData:
        """The attacker's own images.

        Raises:
            NotTried: If there are none.
        """
        if self.images is None:
            raise NotTried("it needs images of the class", hint="give some with --images")
        return self.images

    def texts(self, model: str, templates: tuple[str, ...] | None = None) -> ClassFeatures:
        """The text features of all classes by a model, in these templates, else in those of the request."""
        wanted = templates or self.templates
        key = (model, wanted)
        if key not in self._texts and len(wanted) > 1:
            single = [self.texts(model, (template,)) for template in wanted]
            self._texts[key] = class_features(torch.stack(single, dim=1))
        elif key not in self._texts:
            clip = self.models[model]
            tokens = clip.class_tokens([texts(wanted, name) for name in self.among])
            self._texts[key] = encode_classes(clip.encoder, tokens).cpu()
        return self._texts[key]

    def unnamed(self, model: str, templates: tuple[str, ...] | None = None) -> ClassFeatures:
        """The same with a name that was never learned in the place of the forgotten class's."""
        clip, wanted, found = self.models[model], templates or self.templates, self.texts(model, templates).clone()
        if (model, wanted) not in self._unnamed:
            tokens = clip.class_tokens([texts(wanted, NEVER_LEARNED)])
            self._unnamed[model, wanted] = encode_classes(clip.encoder, tokens)[0].cpu()
        found[self.own] = self._unnamed[model, wanted]
        return found

    @cached_property
    def _gathered(self) -> dict[str, Mapping[str, Gathered]]:
        return {}

    @cached_property
    def _pictures(self) -> dict[tuple[Source, tuple[str, ...]], TensorImages]:
        return {}

    @cached_property
    def _unnamed(self) -> dict[tuple[str, tuple[str, ...]], Float[Tensor, " dim"]]:
        return {}

    @cached_property
    def _texts(self) -> dict[tuple[str, tuple[str, ...]], Float[Tensor, "classes dim"]]:
        return {}


def _label(data: EvalData, name: str) -> int | None:
    """The label of a class of which the source has images; None where several are called so: nobody knows which."""
    return data.class_of(name) if data.class_names.count(name) == 1 and data.has_images_of(name) else None


@dataclass(frozen=True, slots=True)
class Trial:
    """What the rows of one attack in one setting have in common."""

    attack: str
    setting: str
    kind: Kind
    cost: Mapping[str, float | int | str] = field(default_factory=dict)
    others: int | None = None

    def row(self, model: str, role: Role, right: Bool[Tensor, " n"]) -> Row:
        """The share of the right ones, with its Wilson interval."""
        return self.mean(model, role, right.double().mean().item(), len(right))

    def mean(self, model: str, role: Role, value: float, n: int) -> Row:
        """A share of ``n``, or a mean over as many of numbers in [0, 1], with the Wilson interval of that share."""
        low, high = wilson_interval(value * n, n)
        return self._row(model, role, value, n, (low, high))

    def over_draws(self, model: str, role: Role, values: Sequence[float], n: int) -> Row:
        """The mean of the shares that several draws of the attacker's images found on the same ``n``.

        The interval covers which images judge and which the attacker drew, see
        :func:`~efface.functional.metrics.drawn_interval`.
        """
        value, *ends = drawn_interval(values, n)
        return self._row(model, role, value, n, (ends[0], ends[1]))

    def _row(self, model: str, role: Role, value: float, n: int, ends: tuple[float, float]) -> Row:
        return Row(self.attack, self.setting, self.kind, model, role, value, n, *ends, self.cost, self.others)
