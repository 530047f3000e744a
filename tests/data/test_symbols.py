from collections.abc import Iterable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from efface.data.captions import Asked, open_captioned
from efface.data.sources import open_source
from efface.data.symbols import SymbolCaptions, drawn, open_captioned_symbols, open_symbols, select
from efface.errors import InputError
from efface.symbols.catalogue import DESIGNS, GROUP_OF, GROUPS, MEMBERS
from efface.symbols.compose import SIZE
from efface.symbols.splits import SPLITS, scenes
from efface.types import PixelSpace

PIXELS = PixelSpace((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), SIZE, SIZE)


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def test_a_split_is_a_source_like_any_other() -> None:
    data = open_source("symbols:validation", preprocess=as_tensor)
    assert data.class_names == MEMBERS
    assert len(data.images) == SPLITS["validation"].size
    images, labels = next(data.images.batches(5))
    assert labels.tolist() == [0, 1, 2, 3, 4]
    expected = torch.from_numpy(drawn(scenes("validation").take(slice(0, 5)))).permute(0, 3, 1, 2) / 255
    assert torch.equal(images, expected)


def test_groups_are_the_same_images_with_wider_labels() -> None:
    members = open_source("symbols:validation", preprocess=as_tensor)
    groups = open_source("symbols:validation:groups", preprocess=as_tensor)
    assert groups.class_names == tuple(group.name for group in GROUPS)
    assert groups.images.labels.tolist() == [GROUP_OF[label] for label in members.images.labels]
    assert groups.sha256 == members.sha256


def test_a_generator_shuffles_and_keeps_images_with_their_labels() -> None:
    data = open_symbols("symbols:validation", preprocess=as_tensor, where={"group": "card suit"})
    stored = dict(zip(*_by_pixels(data.images.batches(7)), strict=True))
    keys, labels = _by_pixels(data.images.batches(7, rng=torch.Generator().manual_seed(1)))
    assert dict(zip(keys, labels, strict=True)) == stored
    assert labels != data.images.labels.tolist()


def _by_pixels(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[bytes], list[int]]:
    keys, labels = [], []
    for images, some in batches:
        keys += [image.numpy().tobytes() for image in images]
        labels += some.tolist()
    return keys, labels


def test_one_design_of_one_member_is_a_third_of_its_images() -> None:
    data = open_symbols("symbols:test", preprocess=as_tensor, where={"member": "knight", "design": "notation"})
    assert len(data.images) == SPLITS["test"].size / len(MEMBERS) / DESIGNS == 20
    assert set(data.images.labels.tolist()) == {MEMBERS.index("knight")}


def test_where_holds_for_every_scene_that_is_kept() -> None:
    kept = select(scenes("test"), {"color": "red", "style": "outline", "group": "chess piece"})
    assert (kept.color == 0).all()
    assert (kept.style == 1).all()
    assert (kept.member < 6).all()


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("symbols:tset", "there is no split 'tset'", "did you mean test?"),
        ("symbols:test:group", "there is no level 'group'", "did you mean groups?"),
        ("symbols:", "there is no split ''", "train, validation, test, unseen, forget, retain, calibration"),
    ],
)
def test_a_wrong_name_is_refused(source: str, message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_source(source, preprocess=as_tensor)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"shape": "round"}, "have no 'shape'"),
        ({"color": "gray"}, "there is no color 'gray'"),
        ({"design": "letter"}, "there is no design 'letter'"),
        ({"member": "knight", "design": "morse"}, "no image is all of"),
    ],
)
def test_a_wrong_selection_is_refused(where: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_symbols("symbols:test", preprocess=as_tensor, where=where)


def test_captions_belong_to_the_images_that_are_handed_out() -> None:
    """Rows in a given order, normalised as the model wants them, and captions that name what the scene holds."""
    chosen = scenes("validation").take(slice(0, 200))
    paired = SymbolCaptions("symbols:validation", chosen, PIXELS)
    rows = torch.tensor([150, 3, 77])
    (images,) = paired.in_order(rows, 3)
    expected = torch.from_numpy(drawn(chosen.take(rows.numpy()))).permute(0, 3, 1, 2) / 255
    assert torch.equal(images, PIXELS.normalize(expected))
    assert [paired.levels[0][row] for row in rows] == [MEMBERS[chosen.member[row]] for row in rows]
    assert all(len(level) == len(paired) == 200 for level in paired.levels)


def test_what_is_left_out_is_neither_seen_nor_said_and_all_else_is() -> None:
    everything = scenes("validation")
    knight, five = MEMBERS.index("knight"), MEMBERS.index("five")
    found = open_captioned_symbols("symbols:validation", PIXELS, {"classes": ["knight"], "designs": ["five/roman"]})
    gone = (everything.member == knight) | ((everything.member == five) & (everything.design == 2))
    assert found.scenes.seed.tolist() == everything.seed[~gone].tolist()
    assert not any("knight" in caption for level in found.levels for caption in level)
    assert {0, 1} == set(found.scenes.design[found.scenes.member == five].tolist())


def test_pre_training_opens_the_world_by_its_name() -> None:
    found = open_captioned("symbols:validation", Asked(PIXELS, as_tensor, without={"classes": ("king",)}))
    assert isinstance(found, SymbolCaptions)
    assert MEMBERS.index("king") not in found.scenes.member


@pytest.mark.parametrize(
    ("source", "without", "message"),
    [
        ("symbols:train", {"colors": ["red"]}, "cannot leave out 'colors'"),
        ("symbols:train", {"classes": ["knigth"]}, "there is no member 'knigth'"),
        ("symbols:train", {"designs": ["knight"]}, "'knight' names no design"),
        ("symbols:train:groups", {}, "captions name members and groups alike"),
    ],
)
def test_what_cannot_be_left_out_is_refused(source: str, without: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_captioned_symbols(source, PIXELS, without)


def test_a_model_of_another_image_size_cannot_be_pre_trained_on_the_world() -> None:
    with pytest.raises(InputError, match="224 x 224, the world's have 48 x 48"):
        open_captioned_symbols("symbols:train", PixelSpace(PIXELS.mean, PIXELS.std, 224, 224), {})
