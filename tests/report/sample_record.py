"""A record such as a run on natural images would write, with made-up numbers."""

import dataclasses
import math
from typing import Any

from efface.beside import Beside
from efface.data.sifted import Sifted
from efface.evaluation.base import Change, ClassScore, Metric, Score, Split, Towers
from efface.evaluation.collateral import ClassChange, Confusion
from efface.evaluation.retrieval import Retrieved
from efface.functional.metrics import wilson_interval
from efface.report.record import ClassScores, DataUsed, OtherTextScores, Record, Scores, Weights
from efface.types import Step, Trace

TINY, CIFAR = "/data/tiny-imagenet/validation.parquet", "cifar10"
TARGET = "monarch"
OTHERS = (
    "goldfish", "European fire salamander", "bullfrog", "tailed frog", "American alligator", "boa constrictor",
    "trilobite", "scorpion", "black widow", "tarantula", "centipede", "goose", "koala", "jellyfish", "brain coral",
)  # fmt: skip
AMONG = (TARGET, *OTHERS)

# data, split, metric, towers, right before and after, n
Measured = tuple[str, Split, Metric, Towers, int, int, int]
MEASURED: tuple[Measured, ...] = (
    (TINY, "forget", "acc1", "both", 27, 0, 50),
    (TINY, "forget", "acc5", "both", 42, 6, 50),
    (TINY, "retain", "acc1", "both", 2205, 1271, 9950),
    (TINY, "retain", "acc5", "both", 4710, 3406, 9950),
    (TINY, "retain", "mean_per_class_recall", "both", 2205, 1271, 9950),
    (TINY, "forget", "acc1", "image", 27, 3, 50),
    (TINY, "forget", "acc1", "text", 27, 28, 50),
    (TINY, "retain", "acc1", "image", 2205, 1302, 9950),
    (TINY, "retain", "acc1", "text", 2205, 2199, 9950),
    (CIFAR, "all", "acc1", "both", 6861, 6777, 10000),
)


def _score(measured: Measured, right: int) -> Score:
    data, split, metric, towers, *_, n = measured
    low, high = wilson_interval(right, n)
    return Score(data, split, metric, towers, right / n, n, low, high, split != "forget")


def _change(measured: Measured) -> Change:
    data, split, metric, towers, before, after, n = measured
    half = 1.96 * math.sqrt(abs(after - before) + 1) / n
    value = (after - before) / n
    return Change(data, split, metric, towers, value, n, value - half, value + half)


def _class_scores(rights: list[int]) -> tuple[ClassScore, ...]:
    return tuple(
        ClassScore(TINY, name, "forget" if name == TARGET else "retain", "both", r / 50, 50, *wilson_interval(r, 50))
        for name, r in zip(AMONG, rights, strict=True)
    )


def _class_changes(changes: list[int]) -> tuple[ClassChange, ...]:
    found = []
    for i, (name, change) in enumerate(zip(AMONG, changes, strict=True)):
        split: Split = "forget" if name == TARGET else "retain"
        value = change / 50
        found.append(ClassChange(TINY, name, split, value, 50, value - 0.1, value + 0.1, i / 20))
    return tuple(found)


def _steps() -> tuple[Step, ...]:
    tensors = [f"visual.attnpool.{name}_proj.weight" for name in "qkvc"] + [
        "transformer.resblocks.0.attn.in_proj_weight"
    ]
    return tuple(
        {
            "round": i + 1,
            "noise": 0.01 * (1 + i // 3),
            "learning_rate": 2e-6 * 2**i,
            "loss": 1.9 / (i + 1),
            "accuracy": max(0.0, 1 - 0.15 * i),
            "kept": i % 3 != 1,
            "tensors": tensors,
        }
        for i in range(7)
    )


def sample(**changes: Any) -> Record:
    """The record, with some fields replaced; of another target it is the only one."""
    targets = {"targets": (changes["target"],)} if "target" in changes else {}
    return dataclasses.replace(_sample(), **targets | changes)


def named(name: str, data: str = TINY) -> Record:
    """The record with another name for the forgotten class and for its data, wherever they stand."""
    record = sample(target=name, among=(name, *OTHERS))
    scores, classes = record.scores, record.classes
    return dataclasses.replace(
        record,
        scores=Scores(_renamed(scores.before, data=data), _renamed(scores.after, data=data)),
        changes=_renamed(record.changes, data=data),
        confusion=tuple(_renamed_confusion(c, name, data) for c in record.confusion),
        classes=ClassScores(
            (*_renamed(classes.before[:1], name=name), *classes.before[1:]),
            (*_renamed(classes.after[:1], name=name), *classes.after[1:]),
            (*_renamed(classes.changes[:1], name=name), *classes.changes[1:]),
        ),
    )


def large(classes: int, sources: int, skipped: int) -> Record:
    """The record of a run on so many sources of so many classes, of each so many images left out."""
    names = (TARGET, *(f"a class with the number {i}" for i in range(1, classes)))
    places = [f"/data/set-{i}/validation.parquet" for i in range(sources)]
    left_out = tuple(f"row {i}: cannot be decoded, the stream is broken" for i in range(skipped))
    parts: dict[str, list[Any]] = {"before": [], "after": [], "changes": []}
    for place in places:
        for i, name in enumerate(names):
            split: Split = "retain" if i else "forget"
            scores = [ClassScore(place, name, split, "both", r / 50, 50, *wilson_interval(r, 50)) for r in (25, 24)]
            parts["before"].append(scores[0])
            parts["after"].append(scores[1])
            value = 0.2 * math.sin(i)
            change = ClassChange(place, name, split, value, 50, value - 0.1, value + 0.1, math.sqrt(i / classes))
            parts["changes"].append(change)
    return sample(
        among=names,
        data=tuple(DataUsed(place, "12" * 32, 10000, classes, "56" * 32, {}, left_out) for place in places),
        classes=ClassScores(**{part: tuple(found) for part, found in parts.items()}),
    )


def _renamed(scores: tuple[Any, ...], **changes: str) -> tuple[Any, ...]:
    return tuple(
        dataclasses.replace(s, **{k: v for k, v in changes.items() if k != "data" or s.data == TINY}) for s in scores
    )


def _renamed_confusion(found: Confusion, name: str, data: str) -> Confusion:
    of, called = (name if one == TARGET else one for one in (found.name, found.called))
    return dataclasses.replace(found, data=data, name=of, called=called)


def _sample() -> Record:
    synthesis_steps = [{"image": i, "iterations": 12 + i, "probability": 0.97, "accepted": True} for i in range(64)]
    return Record(
        model="local-dir:/home/someone/models/tiny-natural-rn",
        target=TARGET,
        among=AMONG,
        templates=("a photo of a {}.", "a drawing of a {}."),
        method="lip",
        preset="default",
        settings={
            "learning_rate": 2e-6,
            "noise": [0.01, 0.02, 0.05, 0.1],
            "stages": {"resnet": {"image": [5, 7, 10, 13, 15, 20, 25], "text": [5, 7]}, "vit": {}},
            "keep_rejected": False,
            "stop_accuracy": 0.1,
            "limit": None,
        },
        synthesis={
            "settings": {"iterations": 3000, "blur_every": 10, "noise": [0.1, 0.2]},
            "steps": synthesis_steps,
            "reached": True,
            "reason": "64 of 64 images were accepted in 71 attempts",
        },
        guard={"kind": "BatchAscent", "settings": {"steps": 20}, "images": 512, "nearest": 32},
        seed=7,
        device="cpu",
        precision="float32",
        batch_size=256,
        trace=Trace(_steps(), reached=True, reason="accuracy on the synthetic images fell to 0.1, the limit is 0.1"),
        reached=True,
        reason="accuracy on the synthetic images fell to 0.1, the limit is 0.1",
        weights=Weights("ab" * 32, "cd" * 32, tuple(f"visual.layer{i}.weight" for i in range(19))),
        data=(DataUsed(TINY, "12" * 32, 10000, 200, "56" * 32), DataUsed(CIFAR, "34" * 32, 10000, 10, "78" * 32)),
        scores=Scores(
            tuple(_score(m, m[4]) for m in MEASURED if m[3] == "both"), tuple(_score(m, m[5]) for m in MEASURED)
        ),
        changes=tuple(_change(m) for m in MEASURED),
        classes=ClassScores(
            _class_scores([27] + [31 - i for i in range(15)]),
            _class_scores([0] + [31 - 2 * i for i in range(14)] + [20]),
            _class_changes([0 - 27] + [-i for i in range(14)] + [3]),
        ),
        confusion=(
            Confusion(TINY, TARGET, TARGET, 27, 0, 50),
            Confusion(TINY, TARGET, "goldfish", 3, 21, 50),
            Confusion(TINY, "koala", TARGET, 6, 0, 50),
        ),
        retrieved=tuple(
            Retrieved(TINY, when, i + 1, 100 + i, name, 0.31 - 0.01 * i, i, TARGET)
            for when, name in (("before", TARGET), ("after", "goldfish"))
            for i in range(3)
        ),
        environment={"efface": "0.1.0", "python": "3.12.3", "torch": "2.15.0", "machine": "x86_64, 2 cores"},
        timing={"synthesis": 31.0, "method": 74.5, "evaluation": 40.25},
        seconds=146.2,
        peak_memory_bytes=1_931_000_000,
        created="2026-01-31T12:00:00Z",
        targets=(TARGET,),
        aliases={},
        phrases={},
        images=None,
        sifted=Sifted(),
        other_texts=OtherTextScores(),
        beside=Beside(),
        handed=(),
        summaries=(),
    )
