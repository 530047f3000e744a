import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.report.record import Scores
from efface.report.rows import (
    by_class,
    headline,
    interval,
    is_local,
    percent,
    points,
    score_rows,
    short_names,
    split_words,
    statement,
)
from tests.report.sample_record import CIFAR, MEASURED, sample


def test_numbers_are_percent_with_one_decimal() -> None:
    assert [percent(x) for x in (0.0, 0.123, 0.12345, 1.0)] == ["0.0", "12.3", "12.3", "100.0"]
    assert [points(x) for x in (-0.54, 0.02, 0.0, -0.0001)] == ["-54.0", "+2.0", "+0.0", "+0.0"]
    assert interval(0.12, 0.345) == "12.0 to 34.5"


@given(st.floats(-1, 1))
def test_no_number_is_minus_zero(value: float) -> None:
    assert percent(value) != "-0.0"
    assert points(value) != "-0.0"
    assert abs(float(points(value)) - 100 * value) <= 0.05 + 1e-9


def test_splits_name_the_class() -> None:
    assert split_words("forget", "gorilla") == "images of gorilla"


def test_rows_pair_what_was_measured_alike() -> None:
    rows = score_rows(sample(), ["both"])
    wanted = [m for m in MEASURED if m[3] == "both"]
    assert [(r.data, r.split, r.metric, r.towers) for r in rows] == [m[:4] for m in wanted]
    for row, (*_, before, after, n) in zip(rows, wanted, strict=True):
        assert row.before is not None
        assert row.after is not None
        assert row.change is not None
        assert (row.before.value, row.after.value, row.n) == (before / n, after / n, n)
        assert row.change.value == pytest.approx(row.after.value - row.before.value)


def test_the_base_with_mixed_towers_is_the_base() -> None:
    rows = score_rows(sample(), ["image"])
    assert [row.before.towers for row in rows if row.before is not None] == ["both", "both"]


def test_a_row_has_none_for_what_was_not_measured() -> None:
    record = sample()
    rows = score_rows(dataclasses.replace(record, scores=Scores(record.scores.before, ()), changes=()), ["both"])
    assert rows
    assert all(row.after is None and row.change is None and row.n > 0 for row in rows)


def test_a_title_says_suppression_only_where_the_accuracy_on_the_class_fell_beyond_its_interval() -> None:
    record = sample()
    assert headline(record) == "measured suppression in"
    unsure = tuple(dataclasses.replace(c, high=0.01) if c.split == "forget" else c for c in record.changes)
    assert headline(sample(changes=unsure)) == "edited copy of"
    assert headline(sample(changes=())) == "edited copy of"
    assert headline(sample(weights=dataclasses.replace(record.weights, result=None))) == "no changed model of"


def test_a_statement_says_what_was_measured_on_what_under_which_attacks_and_for_which_weights() -> None:
    record = sample()
    weights = f"for weights sha256 {record.weights.result}"
    # cifar10 has no image of a monarch: its figures say nothing of the class.
    on = "monarch on validation.parquet under no attack"
    assert statement(record) == f"measured suppression of {on}, {weights}"
    assert statement(sample(changes=())) == f"measured accuracy on {on}, {weights}"
    others = [score for score in record.scores.after if score.data == CIFAR]
    only_others = sample(scores=Scores((), tuple(others)), changes=record.changes[-1:])
    for none in (only_others, sample(data=(), scores=Scores(), changes=())):
        assert statement(none) == f"nothing was measured on images of monarch, {weights}"
    without = dataclasses.replace(record.weights, result=None)
    assert statement(sample(weights=without)) == "no model was made that suppresses monarch"


def test_a_statement_speaks_of_suppression_only_where_the_accuracy_fell() -> None:
    record = sample()
    second = [dataclasses.replace(score, data=CIFAR) for score in record.scores.after if score.split == "forget"]
    kept = dataclasses.replace(record.changes[0], data=CIFAR, value=-0.02, low=-0.06, high=0.02)
    both = sample(scores=Scores(record.scores.before, (*record.scores.after, *second)), changes=(*record.changes, kept))
    said = f"measured suppression of monarch on validation.parquet under no attack, for weights sha256 {'cd' * 32}"
    assert statement(both) == f"{said}; no fall beyond its 95 % interval on cifar10"
    unmoved = tuple(dataclasses.replace(c, high=0.01) for c in both.changes)
    assert "measured accuracy on monarch on validation.parquet, cifar10" in statement(
        dataclasses.replace(both, changes=unmoved)
    )


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("local-dir:/home/me/clip", "clip"),
        ("local-dir:models/clip/", "clip"),
        ("/data/val.parquet", "val.parquet"),
        ("~/val", "val"),
        ("../shared/val", "val"),
        ("C:\\Users\\me\\val", "val"),
        ("file:/x/val", "val"),
        ("/", "local"),
    ],
)
def test_local_names_lose_their_folders(name: str, short: str) -> None:
    assert is_local(name)
    assert short_names([name]) == {name: short}


@pytest.mark.parametrize("name", ["cifar10", "openai/clip-vit-base-patch16", "ViT-B-32:openai", "hf-hub:timm/x"])
def test_public_names_stay(name: str) -> None:
    assert not is_local(name)
    assert short_names([name]) == {name: name}


def test_names_that_would_be_alike_keep_what_tells_them_apart() -> None:
    names = ["/a/x/val", "/b/x/val", "/b/test"]
    assert short_names(names) == dict(zip(names, ["a/x/val", "b/x/val", "test"], strict=True))


@given(st.lists(st.text(alphabet="ab/.~:\\")))
def test_shortening_ends_and_leaves_no_absolute_path(names: list[str]) -> None:
    short = short_names(names)
    assert set(short) == set(names)
    assert not any(is_local(name) and short[name].startswith(("/", "~/", "\\")) for name in names)


def test_mean_recall_over_one_class_is_not_said_twice() -> None:
    again = [
        dataclasses.replace(s, metric="mean_per_class_recall") for s in sample().scores.after if s.split == "forget"
    ]
    record = sample(scores=Scores(sample().scores.before, (*sample().scores.after, *again)))
    assert score_rows(record, ["both"]) == score_rows(sample(), ["both"])


def test_two_classes_of_one_name_are_told_apart_by_their_order() -> None:
    first, second, *_ = sample().classes.after
    twin = dataclasses.replace(second, name=first.name)
    numbered = by_class([first, twin])
    assert numbered == {(first.data, first.name, 0): first, (first.data, first.name, 1): twin}
