from collections.abc import Sequence

import pytest

from efface.demo import CLASS, demonstrate, gold_of
from efface.errors import InputError
from efface.evaluation.base import Score
from efface.report.record import Measurement, Record

# A third of the images that the demonstration measures on.
FEWER = "symbols:validation"


@pytest.fixture(scope="module", params=["vit", pytest.param("rn", marks=pytest.mark.slow)])
def found(request: pytest.FixtureRequest) -> tuple[Record, Measurement]:
    """The whole job on a tower."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("efface.demo.DATA", (FEWER,))
        demo = demonstrate(request.param)
    assert demo.gold is not None
    return demo.run.record, demo.gold


def share(scores: Sequence[Score], split: str) -> float:
    (one,) = (s.value for s in scores if (s.data, s.split, s.metric, s.towers) == (FEWER, split, "acc1", "both"))
    return one


def test_the_class_goes_and_the_others_stay(found: tuple[Record, Measurement]) -> None:
    """The class falls to a tenth at most; of the others a tenth is lost at most."""
    record, _ = found
    assert record.target == CLASS
    assert share(record.scores.before, "forget") >= 0.9
    assert share(record.scores.after, "forget") <= 0.1
    assert share(record.scores.after, "retain") >= share(record.scores.before, "retain") - 0.1


def test_gold_was_measured_on_the_same_images(found: tuple[Record, Measurement]) -> None:
    record, gold = found
    assert [(used.source, used.sha256) for used in gold.data] == [(used.source, used.sha256) for used in record.data]
    assert share(gold.scores.after, "forget") <= 0.1
    assert share(gold.scores.after, "retain") >= 0.95


def test_there_is_a_gold_model_for_one_class_alone() -> None:
    for tower in ("vit", "rn"):
        assert gold_of(tower, "knight") == f"builtin:symbols-{tower}-without-knight"
        assert gold_of(tower, "anchor") is None


@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        ("knigth", "projection", "there is no member of the world 'knigth'"),
        ("knight", "projektion", "there is no method 'projektion'"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_loads(
    name: str, method: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*given: object, **more: object) -> None:
        raise AssertionError((given, more))

    monkeypatch.setattr("efface.demo.load", load)
    with pytest.raises(InputError, match=message) as caught:
        demonstrate("rn", name, method=method)
    assert "did you mean" in caught.value.hint
