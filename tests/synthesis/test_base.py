import torch

from efface.synthesis.base import Synthetic
from efface.types import Trace


def test_no_images_are_images_too() -> None:
    made = Synthetic(torch.empty(0, 3, 8, 8), Trace((), reached=False, reason="none was accepted"))
    assert len(made.images) == 0
