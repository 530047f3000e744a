"""Which classes are next to those that go."""

import torch

from efface.siblings import by_nearness, siblings
from efface.synthesis import NEAREST

# Class i lies i degrees from class 0.
ANGLES = torch.deg2rad(torch.arange(80.0))
CLASSES = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
NAMES = [f"class {i}" for i in range(78)]


def test_the_nearest_texts_come_first_and_no_target_is_among_them() -> None:
    assert by_nearness(CLASSES, [0]).tolist() == list(range(1, 80))
    assert by_nearness(CLASSES, [0, 79]).tolist()[:4] == [1, 78, 2, 77]


def test_without_a_hierarchy_the_nearest_are_siblings() -> None:
    assert siblings(CLASSES, [0]).tolist() == list(range(1, NEAREST + 1))
    # As where it says nothing of the target, or has nobody else in its group.
    alone = {"class 0": "a", "class 9": "b"}
    assert siblings(CLASSES, [0], NAMES, alone).tolist() == list(range(1, NEAREST + 1))
    assert siblings(CLASSES, [5], NAMES, {"class 9": "b"})[0] in (4, 6)


def test_a_hierarchy_says_which_are_the_nearest_first() -> None:
    groups = {"class 0": "a", "class 70": "a", "class 40": "a", "class 1": "b", "class 2": "b", "class 60": "b"}
    assert siblings(CLASSES, [0], NAMES, groups).tolist() == [40, 70]
    # Of two targets and a word for one of them, which has no name among the classes.
    assert siblings(CLASSES, [0, 2, 79], NAMES, groups).tolist() == [1, 70, 60, 40]
