"""What is trained, on what, and how: a recipe, as a TOML file or as an object."""

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from efface.errors import InputError
from efface.request import TEMPLATES, check_templates

STRICT = ConfigDict(extra="forbid")
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Statistic = tuple[float, float, float]


@dataclass(frozen=True, config=STRICT)
class Model:
    """The towers.

    Attributes:
        family: whose format: open_clip's or transformers'.
        config: what the family calls its configuration: open_clip's ``model_cfg``, or what ``CLIPConfig`` takes.
            Size of vocabulary and image follow from tokenizer and pixels, and need not be said.
        stored: the dtype of the exported weights; training keeps them in fp32.
    """

    family: Literal["open_clip", "transformers"]
    config: dict[str, Any]
    stored: Literal["fp32", "fp16"] = "fp32"

    @model_validator(mode="after")
    def _config_is_plain(self) -> "Model":
        # TOML has dates, which neither JSON nor a tower has a use for.
        json.dumps(self.config, default=_refuse_value)
        return self


@dataclass(frozen=True, config=STRICT)
class Tokenizer:
    """How texts become tokens.

    Attributes:
        kind: ``words`` makes a vocabulary of the words in the training captions and in the class texts of the
            validation data; ``folder`` takes a tokenizer that transformers can load.
        path: the folder, for ``folder``.
        more: texts whose words go into the vocabulary too, so that models of different data can share one.
    """

    kind: Literal["words", "folder"] = "words"
    path: str = ""
    more: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _path_goes_with_folder(self) -> "Tokenizer":
        if (self.kind == "folder") != bool(self.path):
            raise ValueError(f"kind {self.kind!r} and path {self.path!r} do not go together")
        return self


@dataclass(frozen=True, config=STRICT)
class Pixels:
    """How images are read.

    Attributes:
        size: width and height, in pixels.
        mean: what is subtracted from pixels in [0, 1].
        std: what they are divided by then.
    """

    size: Positive
    mean: Statistic = (0.48145466, 0.4578275, 0.40821073)
    std: Statistic = (0.26862954, 0.26130258, 0.27577711)

    @model_validator(mode="after")
    def _std_divides(self) -> "Pixels":
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}: each must be above 0")
        return self


@dataclass(frozen=True, config=STRICT)
class Data:
    """What is learned from, and what tells how well.

    Attributes:
        train: images with captions or labels.
        validation: labelled images for zero-shot accuracy; any number of sources.
        templates: texts with ``{}`` for a class name: captions of labelled images, and class texts in validation.
        without: what is left out of training, kind by kind; ``classes`` are class names.
        levels: the levels of captions that batches draw from, counted from 0; one that stands here twice is drawn twice
            as often. Empty: all alike.
        first_levels: the same for the first ``first_steps`` steps: what is to be learned before all else.
        first_steps: how many steps these are.
    """

    train: str
    validation: tuple[str, ...] = ()
    templates: tuple[str, ...] = TEMPLATES
    without: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    levels: tuple[Count, ...] = ()
    first_levels: tuple[Count, ...] = ()
    first_steps: Count = 0

    @model_validator(mode="after")
    def _templates_have_a_place(self) -> "Data":
        try:
            check_templates(self.templates)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _first_levels_go_with_first_steps(self) -> "Data":
        if bool(self.first_levels) != bool(self.first_steps):
            raise ValueError(f"first_levels {self.first_levels} and first_steps {self.first_steps} do not go together")
        return self


@dataclass(frozen=True, config=STRICT)
class Training:
    """How long and how fast.

    Attributes:
        batch_size: images a step, over all processes.
        steps: how many; or give ``epochs``.
        epochs: passes over the data, the last incomplete batch of each left out.
        loss: ``clip`` is the softmax loss, ``siglip`` the sigmoid loss.
        learning_rate: the highest, reached after the warm-up.
        warmup_steps: over which the learning rate rises in a line.
        min_lr_ratio: what it falls to along a cosine, as a share of the highest.
        weight_decay: AdamW's, on matrices that are no positions.
        betas: AdamW's.
        eps: AdamW's.
        grad_clip: the greatest norm of all gradients; 0 for none.
        logit_scale: what cosines are multiplied with at the start; 0 takes the publication's, 14.3 or 10.
        logit_bias: what the sigmoid loss adds to them at the start.
        max_logit_scale: the scale is kept between 1 and this.
        precision: of the towers; weights and loss are fp32 whatever this says.
        ema: the decay of averaged weights, which are then what is judged and exported; 0 for none.
        shift: each image is moved by up to this many pixels, another way each time it is seen; 0 for not at all.
        channels_last: the memory layout that convolutions are often faster in.
        seed: every random number follows from it.
        checkpoint_every: steps between checkpoints; 0 for none but the last.
        log_every: steps between lines of the log.
        eval_every: steps between evaluations; 0 for none but the last.
    """

    batch_size: Positive
    steps: Count = 0
    epochs: Count = 0
    loss: Literal["clip", "siglip"] = "clip"
    learning_rate: float = Field(default=5e-4, gt=0)
    warmup_steps: Count = 0
    min_lr_ratio: float = Field(default=0.0, ge=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.98)
    eps: float = Field(default=1e-6, gt=0)
    grad_clip: float = Field(default=1.0, ge=0)
    logit_scale: float = Field(default=0.0, ge=0)
    logit_bias: float = -10.0
    max_logit_scale: float = Field(default=100.0, ge=1)
    precision: Literal["no", "bf16", "fp16"] = "no"
    ema: float = Field(default=0.0, ge=0, lt=1)
    shift: Count = 0
    channels_last: bool = False
    seed: int = Field(default=0, ge=0, lt=2**63)
    checkpoint_every: Count = 1000
    log_every: Positive = 50
    eval_every: Count = 0

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.steps > 0) == (self.epochs > 0):
            raise ValueError(f"steps is {self.steps} and epochs is {self.epochs}: give one of them")
        return self

    @property
    def first_scale(self) -> float:
        """What cosines are multiplied with at the start."""
        return self.logit_scale or (1 / 0.07 if self.loss == "clip" else 10.0)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, out of ``steps``: a line up, then half a cosine down."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        falling = (1 + math.cos(math.pi * min(1.0, share))) / 2
        return self.learning_rate * (self.min_lr_ratio + (1 - self.min_lr_ratio) * falling)


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """All that decides what comes out, on one machine with one set of versions."""

    model: Model
    pixels: Pixels
    data: Data
    training: Training
    tokenizer: Tokenizer = Field(default_factory=Tokenizer)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain tables, as JSON and TOML have them."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in a TOML file, with some values changed.

    Args:
        path: the file.
        changes: values by dotted name, such as ``training.steps``.

    Raises:
        InputError: If it is no TOML, or keys or values cannot be used; all of them are named at once.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}", hint="give a recipe in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} is no TOML: {error}", hint="docs/pretraining.md shows a recipe") from None
    for name, value in (changes or {}).items():
        _put(tables, name, value)
    return recipe_from(tables)


def recipe_from(tables: Mapping[str, Any]) -> Recipe:
    """The recipe that plain tables say.

    Raises:
        InputError: If keys or values cannot be used; all of them are named at once.
    """
    try:
        return TypeAdapter(Recipe).validate_python(dict(tables))
    except ValidationError as error:
        told = [_told(found["type"], found["loc"], found["input"], found["msg"]) for found in error.errors()]
    hints = dict.fromkeys(hint for _, hint in told)
    raise InputError("; ".join(problem for problem, _ in told), hint="; ".join(hints))


def _put(tables: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        tables = tables.setdefault(part, {})
        if not isinstance(tables, dict):
            raise InputError(f"{name!r} leads through {part!r}, which is no table", hint="write TABLE.NAME=VALUE")
    tables[last] = value


def _refuse_value(value: Any) -> None:
    raise ValueError(f"config holds {value}, which is a {type(value).__name__}: no text, number, truth value or list")


def _told(kind: str, place: tuple[int | str, ...], value: Any, message: str) -> tuple[str, str]:
    """A problem and what would be right, in words."""
    name = ".".join(map(str, place)) or "the recipe"
    if kind == "unexpected_keyword_argument":
        known = _keys_at(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"there is no {name}", hint
    if kind == "missing":
        return f"{name} is missing", "docs/pretraining.md shows a recipe"
    hint = "docs/pretraining.md lists every value"
    if kind == "value_error":
        return f"{name}: {message.removeprefix('Value error, ')}", hint
    return f"{name} is {value!r}: {message[:1].lower() + message[1:]}", hint


def _keys_at(place: tuple[int | str, ...]) -> list[str]:
    kind: Any = Recipe
    for part in place:
        kind = get_type_hints(kind).get(str(part))
    return [entry.name for entry in dataclasses.fields(kind)]
