"""What images that a user gives are for: nothing twice, and of what is to go nothing that is to stay."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efface.beside import Beside
from efface.choosing import Lot, choose, stratified
from efface.data.holdout import EvalData
from efface.data.kinds import of_kind
from efface.errors import InputError
from efface.request import ClassTarget, ForgetRequest
from efface.types import Needs, TensorImages

NAMES = ("cat", "dog", "fox", "owl")
WHERE = {"color": "red"}
NEEDS = Needs(forget_images=6, retain_images=10, calibration_images=4)


def source(name: str, each: int = 10, classes: tuple[str, ...] = NAMES) -> EvalData:
    """Of each class as many images, every other one red."""
    labels = torch.arange(len(classes)).repeat_interleave(each)
    images = TensorImages(torch.zeros(len(labels), 3, 1, 1), labels)
    columns = {"color": ["red" if i % 2 == 0 else "blue" for i in range(len(labels))]}
    return EvalData(name, images, classes, name, columns=columns)


def asked(*targets: str, where: dict[str, str] | None = None, **more: Any) -> ForgetRequest:
    beside = Beside(WHERE if where is None else where)
    return ForgetRequest(tuple(map(ClassTarget, targets or ("dog",))), NAMES, images="own", beside=beside, **more)


def chosen(request: ForgetRequest, needs: Needs = NEEDS, **given: EvalData) -> dict[str, Lot]:
    if "forget" in given:
        given["forget"] = of_kind(given["forget"], request.beside.where)
    return {lot.role: lot for lot in choose(request, needs, given, near=("cat",))}


def names_of(lot: Lot) -> list[str]:
    """The class of each image, by the source; and by its label, which must be the same."""
    found = [lot.source.class_names[label] for label in lot.source.images.labels[lot.rows].tolist()]
    assert found == [NAMES[label] for label in lot.labels.tolist()]
    return found


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.integers(0, 60),
    st.integers(0, 2**31),
)
def test_strata_have_their_shares_and_others_make_up_for_what_lacks(
    sizes: list[int], weights: list[float], count: int, seed: int
) -> None:
    total = sum(weights[: len(sizes)])
    shares = [weight / max(total, 1.0) for weight in weights[: len(sizes)]]
    strata = list(torch.split(torch.arange(sum(sizes)), sizes))
    rows = stratified(strata, shares, count, rng=torch.Generator().manual_seed(seed)).tolist()
    assert len(rows) == len(set(rows)) == min(count, sum(sizes))
    assert set(rows) <= set(range(sum(sizes)))
    for stratum, share in zip(strata, shares, strict=True):
        assert len({*rows} & {*stratum.tolist()}) >= min(len(stratum), int(share * count))


def test_of_own_images_a_fifth_is_put_aside_and_none_is_of_another_kind_or_class() -> None:
    lots = chosen(asked(), forget=source("own", 20))
    assert len(lots["forget"].rows) == 6
    # Ten are red: of the four that are too many for training all are put aside.
    assert len(lots["calibration_forget"].rows) == 4
    both = torch.cat([lots[role].rows for role in ("forget", "calibration_forget")]).tolist()
    assert sorted(both) == list(range(20, 40, 2))
    few = chosen(asked(), forget=source("own", 10))
    assert (len(few["forget"].rows), len(few["calibration_forget"].rows)) == (4, 1)
    # Of so few none can be spared, and a method that chooses nothing is handed all.
    assert {role: len(lot.rows) for role, lot in chosen(asked(), forget=source("own", 8)).items()} == {"forget": 4}
    plain = chosen(asked(), Needs(forget_images=6), forget=source("own", 10))
    assert {role: len(lot.rows) for role, lot in plain.items()} == {"forget": 5}


def test_what_is_to_stay_has_other_kinds_of_the_class_its_siblings_and_others() -> None:
    lots = chosen(asked(), forget=source("own"), retain=source("stay", 20))
    retain, calibration = (names_of(lots[role]) for role in ("retain", "calibration"))
    assert [retain.count(name) for name in ("dog", "cat")] == [5, 2]
    assert len(retain) == 10
    assert len(calibration) == 4
    assert not {*lots["retain"].rows.tolist()} & {*lots["calibration"].rows.tolist()}
    # No red dog is to stay.
    assert all(row % 2 for lot in lots.values() if lot.source.source == "stay" for row in lot.rows if 20 <= row < 40)
    assert lots["retain"].how == "5 of the class itself, 2 of its siblings, 3 of others, drawn by the seed"
    again = chosen(asked(), forget=source("own"), retain=source("stay", 20))
    assert torch.equal(again["retain"].rows, lots["retain"].rows)
    assert not torch.equal(chosen(asked(seed=1), retain=source("stay", 20))["retain"].rows, lots["retain"].rows)


def test_beside_several_classes_that_go_there_is_more_to_stay() -> None:
    stay, needs = source("stay", 400), Needs(retain_images=250)
    assert len(chosen(asked(), needs, retain=stay)["retain"].rows) == 250
    lot = chosen(asked("dog", "fox", "owl"), needs, retain=stay)["retain"]
    # Three times as many would be more than 600.
    assert len(lot.rows) == 500
    assert lot.how.startswith("250 of the class itself")
    assert len(chosen(asked("dog", "fox"), Needs(retain_images=700), retain=stay)["retain"].rows) == 700


def test_one_source_can_be_all_and_no_image_has_two_purposes() -> None:
    whole = source("photos", 20)
    lots = chosen(asked(), forget=whole, retain=whole, calibration=whole)
    rows = torch.cat([lot.rows for lot in lots.values()]).tolist()
    assert set(lots) == {"forget", "calibration_forget", "retain", "calibration"}
    assert len(rows) == len(set(rows))


def test_images_to_choose_by_are_of_both_sides() -> None:
    lots = chosen(asked(), forget=source("own", 20), retain=source("stay"), calibration=source("more", 20))
    assert lots["calibration_forget"].source.source == lots["calibration"].source.source == "more"
    assert len(lots["calibration_forget"].rows) == len(lots["calibration"].rows) == 4
    assert names_of(lots["calibration_forget"]) == ["dog"] * 4
    assert len(lots["forget"].rows) == 6


def test_without_a_kind_no_image_of_the_class_is_held_to_stay() -> None:
    lots = chosen(asked(where={}), forget=source("own"), retain=source("stay", 20), calibration=source("more", 20))
    assert "dog" not in names_of(lots["retain"]) + names_of(lots["calibration"])
    assert names_of(lots["calibration_forget"]) == ["dog"] * 4
    assert lots["retain"].note.startswith("20 images of dog are not held, as all of it is to go")
    with pytest.raises(InputError, match="no image of 'stay' that is to stay"):
        chosen(asked(where={}), retain=source("stay", classes=("dog",)))


def test_of_one_source_for_training_and_choosing_a_part_is_put_aside() -> None:
    stay = source("stay", 5)
    lots = chosen(asked(), retain=stay, calibration=stay)
    assert (len(lots["retain"].rows), len(lots["calibration"].rows)) == (10, 4)
    few = source("stay", 3)
    lots = chosen(asked(), retain=few, calibration=few)
    assert len(lots["calibration"].rows) >= 2
    assert not {*lots["retain"].rows.tolist()} & {*lots["calibration"].rows.tolist()}


def test_of_what_stays_a_part_of_the_class_and_of_its_siblings_is_put_aside_too() -> None:
    # Training alone would take all twenty that are left of the class, and all of its siblings.
    needs = Needs(forget_images=6, retain_images=120, calibration_images=40)
    lots = chosen(asked(), needs, retain=source("stay", 40))
    retain, calibration = (names_of(lots[role]) for role in ("retain", "calibration"))
    assert [calibration.count(name) for name in ("dog", "cat")] == [4, 8]
    assert [retain.count(name) for name in ("dog", "cat")] == [16, 32]
    assert lots["retain"].note == "the method asks for 120 images to stay, and is handed 112"
    assert not lots["calibration"].note
    assert not chosen(asked(), retain=source("stay", 40))["retain"].note


def test_images_to_choose_by_may_all_be_of_what_goes() -> None:
    dogs = source("more", classes=("dog",))
    lots = chosen(asked(where={}), forget=source("own"), retain=source("stay", 20), calibration=dogs)
    assert names_of(lots["calibration_forget"]) == ["dog"] * 4
    assert lots["calibration"].source.source == "stay"
    assert not {*lots["retain"].rows.tolist()} & {*lots["calibration"].rows.tolist()}
    assert "calibration" not in chosen(asked(where={}), forget=source("own"), calibration=dogs)
    with pytest.raises(InputError, match="no image of 'more' that is to stay is of one of the 4 class names"):
        chosen(asked(where={}), calibration=source("more", classes=("emu",)))


def test_of_a_kind_of_several_classes_each_has_its_own_images() -> None:
    lots = chosen(asked("dog", "fox"), forget=source("own", 20))
    assert names_of(lots["forget"]) == ["dog"] * 6 + ["fox"] * 6
    assert names_of(lots["calibration_forget"]) == ["dog"] * 4 + ["fox"] * 4


def test_classes_that_are_none_of_the_request_are_left_aside_and_said() -> None:
    strange = source("stay", classes=("dog", "emu"))
    lot = chosen(asked(), retain=strange)["retain"]
    assert names_of(lot) == ["dog"] * 4
    assert lot.note.startswith("10 images of classes that are none of the class names are left aside; the method asks")
    with pytest.raises(InputError, match="no image of 'stay' that is to stay is of one of the 4 class names"):
        chosen(asked(), retain=source("stay", classes=("emu", "yak")))
    # Red dogs cannot be told from others where there are no colors.
    blind = EvalData("stay", source("stay").images, NAMES, "stay")
    with pytest.raises(InputError, match="'stay' has no columns"):
        chosen(asked(), retain=blind)


def test_of_a_pool_labels_are_not_looked_at() -> None:
    lot = chosen(asked(), pool=source("any", 3))["pool"]
    assert sorted(lot.rows.tolist()) == list(range(12))
    assert not lot.labels.any()
