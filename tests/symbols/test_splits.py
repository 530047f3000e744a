import numpy as np
import pytest

from efface.symbols.catalogue import COLORS, DESIGNS, MEMBERS, is_unseen
from efface.symbols.compose import SIZE, Scenes
from efface.symbols.splits import SPLITS, scenes


@pytest.fixture(scope="module")
def all_scenes() -> dict[str, Scenes]:
    return {name: scenes(name) for name in SPLITS}


def test_pre_training_has_at_most_60000_images() -> None:
    assert SPLITS["train"].size <= 60_000


def test_each_split_shows_the_combinations_that_it_says(all_scenes: dict[str, Scenes]) -> None:
    for name, found in all_scenes.items():
        unseen = {
            is_unseen(*each)
            for each in zip(found.member.tolist(), found.color.tolist(), found.style.tolist(), strict=True)
        }
        assert unseen == {SPLITS[name].unseen}


def test_members_and_designs_are_equally_frequent(all_scenes: dict[str, Scenes]) -> None:
    for name, found in all_scenes.items():
        counts = np.bincount(found.member * DESIGNS + found.design, minlength=len(MEMBERS) * DESIGNS)
        assert counts.max() - counts.min() <= 1, name


def test_no_two_splits_share_an_image(all_scenes: dict[str, Scenes]) -> None:
    """The seed of an image's noise has 40 bits: equal ones would mean a shared stream."""
    seeds = np.concatenate([found.seed for found in all_scenes.values()])
    assert len(np.unique(seeds)) == len(seeds)


def test_signs_stay_on_the_image(all_scenes: dict[str, Scenes]) -> None:
    found = all_scenes["test"]
    assert (2 * abs(found.x) + found.size <= SIZE).all()
    assert (2 * abs(found.y) + found.size <= SIZE).all()


def test_all_that_varies_varies(all_scenes: dict[str, Scenes]) -> None:
    found = all_scenes["test"]
    assert len(np.unique(found.background)) == 6
    assert len(np.unique(found.angle)) == 25
    assert len(np.unique(found.size)) == 7
    assert len(np.unique(found.noise)) == 41


def test_a_background_is_darker_than_the_paint(all_scenes: dict[str, Scenes]) -> None:
    found = all_scenes["train"]
    light = np.array([(299 * r + 587 * g + 114 * b) // 1000 for r, g, b in COLORS.values()])[found.color]
    assert found.shades.min() >= 0
    assert (light[:, None] - found.shades).min() > 50
