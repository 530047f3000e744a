import dataclasses
import io
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.errors import NotFiniteError
from efface.evaluation.zero_shot import Answers, OtherTexts, answer, changes, class_scores, scores
from efface.functional.metrics import wilson_interval
from efface.request import TargetText
from efface.testing import CLASSES, TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import Images, Labels, Silent, State, TensorImages

NAMES = tuple(f"class {i}" for i in range(CLASSES))
# Ten images: three of class 0, of which one is right, one second and one far off; seven of class 1, five right.
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
BEFORE = torch.tensor([0, 1, 5, 0, 0, 0, 0, 0, 2, 5])
AFTER = torch.tensor([3, 1, 5, 0, 0, 0, 0, 2, 0, 5])


def answers(targets: tuple[int, ...] = (0,), names: tuple[str, ...] = NAMES) -> Answers:
    return Answers("data", names, targets, LABELS, {"before": BEFORE, "both": AFTER})


def held_out() -> EvalData:
    return EvalData("held out", tiny_images(10, rng=torch.Generator().manual_seed(5)), NAMES, "0" * 64)


def ask(base: TinyDualEncoder, edited: TinyDualEncoder | None, batch_size: int = 16) -> Answers:
    return answer(
        (base, edited), held_out(), tiny_class_tokens(), targets=(2,), batch_size=batch_size, reporter=Silent()
    )


def test_scores_by_hand() -> None:
    found = {(s.split, s.metric): s for s in scores(answers(), "before")}
    expected: dict[tuple[str, str], tuple[float, int]] = {
        ("forget", "acc1"): (1 / 3, 3),
        ("forget", "acc5"): (2 / 3, 3),
        ("forget", "mean_per_class_recall"): (1 / 3, 3),
        ("retain", "acc1"): (5 / 7, 7),
        ("retain", "acc5"): (6 / 7, 7),
        ("retain", "mean_per_class_recall"): (5 / 7, 7),
        ("all", "acc1"): (6 / 10, 10),
        ("all", "acc5"): (8 / 10, 10),
        ("all", "mean_per_class_recall"): ((1 / 3 + 5 / 7) / 2, 10),
    }
    assert {key: s.n for key, s in found.items()} == {key: n for key, (_, n) in expected.items()}
    assert [s.value for s in found.values()] == pytest.approx([value for value, _ in expected.values()])
    assert (found["retain", "acc1"].low, found["retain", "acc1"].high) == wilson_interval(5, 7)
    assert [s.split for s in found.values() if not s.higher_is_better] == ["forget"] * 3


def test_of_a_class_of_which_one_kind_was_to_go_the_others_are_siblings() -> None:
    # Of class 0 the first and the third were to go; that the fourth and the last, of class 1, are so too is nothing.
    kind = torch.tensor([1, 0, 1, 1, 0, 0, 0, 0, 0, 1]).bool()
    found = dataclasses.replace(answers(), kind=kind)
    of = {(s.split, s.metric): (s.value, s.n) for s in scores(found, "before") if s.metric == "acc1"}
    assert of == {
        ("forget", "acc1"): (1 / 2, 2),
        ("siblings", "acc1"): (0.0, 1),
        ("retain", "acc1"): (5 / 7, 7),
        ("all", "acc1"): (6 / 10, 10),
    }
    assert [(s.name, s.split, s.n) for s in class_scores(found, "before")] == [
        ("class 0", "forget", 2), ("class 0", "siblings", 1), ("class 1", "retain", 7)
    ]  # fmt: skip
    # Mean recall is over classes, whatever they are parted into.
    (mean,) = (s for s in scores(found, "before") if (s.split, s.metric) == ("all", "mean_per_class_recall"))
    assert mean.value == pytest.approx((1 / 3 + 5 / 7) / 2)


def test_data_without_the_class_has_one_split() -> None:
    assert {s.split for s in scores(answers(()), "before")} == {"all"}
    assert {s.split for s in class_scores(answers(()), "before")} == {"all"}


def test_top_five_of_five_classes_is_left_out() -> None:
    five = answers(names=NAMES[:5])
    assert {s.metric for s in scores(five, "both")} == {"acc1", "mean_per_class_recall"}
    assert {c.metric for c in changes(five, "both")} == {"acc1", "mean_per_class_recall"}


def test_class_scores_by_hand_leave_out_classes_without_images() -> None:
    found = class_scores(answers(), "both")
    assert [(s.name, s.split, s.n) for s in found] == [("class 0", "forget", 3), ("class 1", "retain", 7)]
    assert [s.value for s in found] == pytest.approx([0.0, 5 / 7])


def test_changes_are_paired() -> None:
    # Class 1 lost one image and gained another: no change in the mean, yet an interval that is not empty.
    found = {(c.split, c.metric): c for c in changes(answers(), "both")}
    assert found["forget", "acc1"].value == pytest.approx(-1 / 3)
    retain = found["retain", "acc1"]
    assert retain.value == pytest.approx(0)
    assert retain.low < 0 < retain.high


def test_splits_without_images_are_left_out() -> None:
    alone = dataclasses.replace(answers(), labels=torch.zeros_like(LABELS))
    assert {s.split for s in scores(alone, "both")} == {"forget", "all"}
    unseen = answers(targets=(5,))
    assert {c.split for c in changes(unseen, "both")} == {"retain", "all"}


def test_a_model_that_puts_out_nan_is_refused_rather_than_scored() -> None:
    model = tiny_dual_encoder(steps=0)
    with torch.no_grad():
        model.module.get_parameter("image.stem.bias").fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="the image tower puts out NaN"):
        ask(tiny_dual_encoder(steps=0), model)


def test_ranks_follow_a_full_sort_of_the_cosines() -> None:
    model = tiny_dual_encoder(steps=0)  # random, so that ranks differ
    found = ask(model, None)
    data = tiny_images(10, rng=torch.Generator().manual_seed(5))
    cosines = (model.encode_image(data.images) @ model.encode_text(tiny_class_tokens()[:, 0]).T).detach()
    right = cosines.gather(1, data.labels[:, None])
    by_sort = (cosines > right).sum(dim=1).clamp(max=5)
    assert torch.equal(found.ranks["before"], by_sort)
    assert torch.equal(found.labels, data.labels)
    assert by_sort.unique().numel() > 1  # type: ignore[no-untyped-call]


def test_answers_do_not_depend_on_the_batch_size() -> None:
    base, edited = tiny_dual_encoder(steps=5), tiny_dual_encoder(steps=10)
    whole, pieces = ask(base, edited, 1000), ask(base, edited, 7)
    assert all(torch.equal(whole.ranks[pair], pieces.ranks[pair]) for pair in whole.ranks)


def edited_text() -> TinyDualEncoder:
    """The trained model with the text of class 2 turned round, and nothing else changed."""
    model = tiny_dual_encoder()
    with torch.no_grad():
        model.module.get_parameter("text.table.weight")[2] *= -1
        model.module.get_parameter("text.block.weight").zero_()
        model.module.get_parameter("text.block.bias").zero_()
    return model


def forget_share(found: Answers, ranks: Tensor) -> float:
    return (ranks[found.labels == 2] == 0).float().mean().item()


def test_mixed_towers_show_which_tower_was_edited() -> None:
    base = tiny_dual_encoder()
    found = ask(base, edited_text())
    # With the edited image tower, which was not edited, and the original texts nothing is forgotten.
    assert torch.equal(found.ranks["image"], found.ranks["before"])
    assert forget_share(found, found.ranks["before"]) > 0.9
    assert torch.equal(found.ranks["text"], found.ranks["both"])
    assert forget_share(found, found.ranks["text"]) < 0.1


def test_a_model_alone_answers_for_itself_only() -> None:
    assert set(ask(tiny_dual_encoder(steps=0), None).ranks) == {"before"}


def test_nothing_is_edited() -> None:
    base, edited = tiny_dual_encoder(batch_norm=True), tiny_dual_encoder(batch_norm=True, seed=1)
    before = {n: t.clone() for m in (base, edited) for n, t in m.module.state_dict(prefix=str(id(m))).items()}
    ask(base, edited)
    after = {n: t for m in (base, edited) for n, t in m.module.state_dict(prefix=str(id(m))).items()}
    assert all(torch.equal(before[n], after[n]) for n in before)


class Stop(Exception):
    """The end of a pass."""


class Note:
    """A checkpoint that ends the pass after so many batches, and remembers what was noted then."""

    def __init__(self, batches: int) -> None:
        self.left, self.state = batches, b""

    def take(self) -> State | None:
        return torch.load(io.BytesIO(self.state), weights_only=True) if self.state else None

    def offer(self, state: Callable[[], State]) -> None:
        self.left -= 1
        if self.left == 0:
            buffer = io.BytesIO()
            torch.save(state(), buffer)
            self.state = buffer.getvalue()
            raise Stop


@pytest.mark.parametrize("broken", [(), (3,), (0, 1, 2, 3, 4, 5, 20, 29), (24, 25, 26, 27, 28, 29)])
def test_a_pass_goes_on_after_the_batch_that_was_noted(broken: tuple[int, ...]) -> None:
    base, edited = tiny_dual_encoder(), tiny_dual_encoder(seed=1, steps=0)

    other = OtherTexts((TargetText("another", "alias", NAMES[2]),), (2,), tiny_class_tokens()[[4]])

    def source() -> EvalData:
        skipped = BadImages()
        return EvalData("held out", Leaving(tiny(), broken, skipped), NAMES, "0" * 64, skipped=skipped)

    def ask_on(data: EvalData, note: Note) -> Answers:
        how = {"targets": (2,), "batch_size": 6, "reporter": Silent(), "checkpoint": note, "other": other}
        return answer((base, edited), data, tiny_class_tokens(), **how)  # type: ignore[arg-type]

    whole_data = source()
    whole = ask_on(whole_data, Note(-1))
    for batches in (1, 2, 4):
        note, data = Note(batches), source()
        with pytest.raises(Stop):
            ask_on(data, note)
        again_data = source()
        again = ask_on(again_data, note)
        assert again_data.skipped.reasons == whole_data.skipped.reasons
        assert torch.equal(again.labels, whole.labels)
        assert all(torch.equal(again.ranks[pair], ranks) for pair, ranks in whole.ranks.items())
        assert all(torch.equal(again.by_other_text[pair], right) for pair, right in whole.by_other_text.items())
        assert again.detail is not None
        assert whole.detail is not None
        assert torch.equal(again.detail.places, whole.detail.places)
        for pair, near in whole.detail.nearest.items():
            assert torch.equal(again.detail.nearest[pair].rows, near.rows)
            assert torch.equal(again.detail.nearest[pair].cosines, near.cosines)
        assert again.detail.pictures.keys() == whole.detail.pictures.keys()
        assert all(torch.equal(again.detail.pictures[k], p) for k, p in whole.detail.pictures.items())


def test_the_forget_split_is_the_images_of_any_class_and_right_is_the_own_one() -> None:
    found = {(s.split, s.metric): s for s in scores(answers((1, 0)), "before")}
    # Six of all ten are right by their own class; nothing is left that stays.
    assert (found["forget", "acc1"].value, found["forget", "acc1"].n) == (6 / 10, 10)
    assert not any(split == "retain" for split, _ in found)


def test_a_second_pass_over_the_same_data_begins_at_the_first_image() -> None:
    skipped = BadImages()
    data = EvalData("held out", Leaving(tiny(), (3,), skipped), NAMES, "0" * 64, skipped=skipped)
    found = [
        answer((tiny_dual_encoder(), None), data, tiny_class_tokens(), targets=(2,), batch_size=6, reporter=Silent())
        for _ in range(2)
    ]
    assert torch.equal(found[0].labels, found[1].labels)
    assert list(skipped.reasons) == [3]


def tiny() -> TensorImages:
    return tiny_images(5, rng=torch.Generator().manual_seed(5))


@dataclasses.dataclass(frozen=True)
class Leaving:
    """Images of which some cannot be decoded and are left out, as those on disk are."""

    images: TensorImages
    broken: tuple[int, ...]
    skipped: BadImages

    @property
    def labels(self) -> Labels:
        return self.images.labels

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, size: int, *, rng: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Images, Labels]]:
        for begin in range(first, len(self), size):
            rows = range(begin, min(begin + size, len(self)))
            self.skipped.reasons.update({row: "broken" for row in rows if row in self.broken})
            left = [row for row in rows if row not in self.broken]
            if left:
                yield self.images.images[left], self.labels[left]
