import dataclasses

from efface.report.compare import asked, differing, paired_classes, paired_scores, render_comparison, with_common_names
from efface.report.record import ClassScores, DataUsed, Record, Scores, Weights
from efface.report.rows import percent
from tests.report.sample_record import CIFAR, OTHERS, TARGET, TINY, sample
from tests.report.test_page import SCRIPT, parsed


def other(**changes: object) -> Record:
    """A run that did what the sample did, but left its last class alone and hurt the first."""
    found = []
    for change in sample().classes.changes:
        value = {OTHERS[0]: -0.8, OTHERS[-1]: 0.0}.get(change.name, change.value)
        found.append(dataclasses.replace(change, value=value, low=value - 0.1, high=value + 0.1))
    classes = sample().classes
    return sample(classes=ClassScores(classes.before, classes.after, tuple(found)), **changes)


def test_both_results_stand_beside_what_was_before() -> None:
    fewer = other(scores=dataclasses.replace(sample().scores, after=sample().scores.after[:3]))
    found = {(p.data, p.split, p.metric): p for p in paired_scores((sample(), fewer))}
    first = found["/data/tiny-imagenet/validation.parquet", "forget", "acc1"]
    assert first.before == sample().scores.before[0]
    assert first.after == (sample().scores.after[0], sample().scores.after[0])
    assert found[CIFAR, "all", "acc1"].after[1] is None
    page = render_comparison((sample(), fewer), ("one", "two"))
    assert percent(sample().scores.after[0].value) in page
    assert "not measured" in page


def test_classes_whose_intervals_have_nothing_in_common_come_first() -> None:
    first, second, *rest = paired_classes((sample(), other()))
    assert (first.changes[0].name, first.apart) == (OTHERS[0], True)
    assert round(first.difference, 6) == -0.8
    assert (second.changes[0].name, second.apart) == (OTHERS[-1], False)
    assert {pair.difference for pair in rest} == {0.0}


def test_what_was_asked_otherwise_is_listed_and_nothing_else() -> None:
    assert list(differing(asked(sample()), asked(other()))) == []
    changed = other(seed=8, settings=dict(sample().settings) | {"noise": [1]})
    assert dict((name, (a, b)) for name, a, b in differing(asked(sample()), asked(changed))) == {
        "seed": ("7", "8"),
        "setting noise": ("[0.01, 0.02, 0.05, 0.1]", "[1]"),
    }


def test_settings_of_a_part_are_compared_one_by_one() -> None:
    one, two = (other(settings={"forget": {"steps": steps, "rank": 8}}) for steps in (1, 2))
    assert list(differing(asked(one), asked(two))) == [("setting forget.steps", "1", "2")]


def test_runs_that_cannot_be_compared_are_marked() -> None:
    plain = render_comparison((sample(), other()), ("one", "two"))
    data = (dataclasses.replace(sample().data[0], sha256="00" * 32), sample().data[1])
    marked = render_comparison((sample(), other(weights=Weights("00", "11", ()), target="owl", data=data)), ("a", "b"))
    for words in ("Other bases:", "Other classes:", "Other data:"):
        assert words in marked
        assert words not in plain


def test_other_images_of_one_source_are_other_data() -> None:
    chosen = (dataclasses.replace(sample().data[0], where={"domain": "sketch"}), sample().data[1])
    assert "Other data:" in render_comparison((sample(), other(data=chosen)), ("one", "two"))


def test_equal_data_at_another_place_is_paired_and_other_data_of_one_name_is_not() -> None:
    def moved(record: Record, data: tuple[DataUsed, ...], name: str) -> Record:
        after = tuple(dataclasses.replace(s, data=name if s.data == TINY else s.data) for s in record.scores.after)
        classes = ClassScores(changes=tuple(dataclasses.replace(c, data=name) for c in record.classes.changes))
        return dataclasses.replace(record, data=data, scores=Scores(after=after), classes=classes, changes=())

    tiny, cifar = sample().data
    elsewhere = moved(sample(), (dataclasses.replace(tiny, source="/mnt/val.parquet"), cifar), "/mnt/val.parquet")
    assert {p.data for p in paired_scores(with_common_names((sample(), elsewhere)))} == {TINY, CIFAR}
    page = render_comparison((sample(), elsewhere), ("one", "two"))
    assert "Other data:" not in page
    assert "No class was measured in both" not in page
    changed = moved(sample(), (dataclasses.replace(tiny, manifest="00"), cifar), TINY)
    found = list(paired_scores(with_common_names((sample(), changed))))
    assert {p.data: [score is None for score in p.after] for p in found} == {
        TINY: [False, True],
        f"{TINY} (second run)": [True, False],
        CIFAR: [False, False],
    }
    page = render_comparison((sample(), changed), ("one", "two"))
    for name in ("validation.parquet", "validation.parquet (second run)"):
        assert f"Other data:</b> {name} was measured in one of the runs alone." in page
    fewer = (dataclasses.replace(tiny, n=9999, skipped=("row 3",)), cifar)
    assert "not the same images could be decoded" in render_comparison((sample(), other(data=fewer)), ("one", "two"))


def test_images_of_other_classes_stand_in_no_row_together() -> None:
    runs = (sample(), sample(target="owl"))
    assert {(p.data, p.split) for p in paired_scores(runs)} == {(CIFAR, "all")}
    page = render_comparison(runs, ("one", "two"))
    assert "images of monarch</bdi>" not in page
    assert "images of other classes</bdi>" not in page


def test_a_comparison_parses_and_escapes_names() -> None:
    page = render_comparison((sample(), sample(target=SCRIPT, model=SCRIPT)), (SCRIPT, TARGET))
    parser = parsed(page)
    assert "<script" not in page
    assert parser.references == []
