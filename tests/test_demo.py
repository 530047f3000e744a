import pytest

from efface.demo import CLASS, demonstrate, gold_of
from efface.errors import InputError
from efface.report.record import Measurement, Record

# All of these run the whole job; one run serves them.


@pytest.fixture(scope="module", params=["rn"])
def found(request: pytest.FixtureRequest) -> tuple[Record, Measurement]:
    demo = demonstrate(request.param)
    assert demo.gold is not None
    return demo.run.record, demo.gold


def share(scores: object, data: str, split: str) -> float:
    (one,) = (
        s.value
        for s in scores  # type: ignore[attr-defined]
        if (s.data, s.split, s.metric, s.towers) == (data, split, "acc1", "both")
    )
    return float(one)


def test_the_class_goes_and_the_others_stay(found: tuple[Record, Measurement]) -> None:
    """The class falls to a tenth at most; of the others a tenth is lost at most."""
    record, _ = found
    assert record.target == CLASS
    for data in ("symbols:test", "symbols:unseen"):
        assert share(record.scores.before, data, "forget") >= 0.9
        assert share(record.scores.after, data, "forget") <= 0.1
        assert share(record.scores.after, data, "retain") >= share(record.scores.before, data, "retain") - 0.1


def test_gold_was_measured_on_the_same_images(found: tuple[Record, Measurement]) -> None:
    record, gold = found
    assert [(used.source, used.sha256) for used in gold.data] == [(used.source, used.sha256) for used in record.data]
    assert share(gold.scores.after, "symbols:test", "forget") <= 0.1
    assert share(gold.scores.after, "symbols:test", "retain") >= 0.95


def test_a_tower_without_gold_is_demonstrated_without() -> None:
    demo = demonstrate("vit")
    assert demo.gold is None
    assert share(demo.run.record.scores.after, "symbols:test", "forget") <= 0.1


def test_there_is_a_gold_model_for_one_class_alone() -> None:
    assert gold_of("rn", "knight") == "builtin:symbols-rn-without-knight"
    assert gold_of("rn", "anchor") is None


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
