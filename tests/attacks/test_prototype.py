import pytest
import torch
import torch.nn.functional as F

from efface.attacks.prototype import Prototype, called
from efface.backends.base import LoadedCLIP
from efface.types import Silent
from tests.attacks.asking import asked_of, check_own, three_of


def test_the_threshold_lets_no_more_strange_images_pass_than_it_may() -> None:
    # The prototype is the first axis, the only other text the second: an image leads by its x less its y.
    few, others = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    strange = F.normalize(torch.tensor([[1.0, 2.0], [1.0, 3.0], [2.0, 1.0], [0.0, 1.0]]), dim=1)
    own = F.normalize(torch.tensor([[1.0, 0.0], [3.0, 1.0], [2.0, 1.0], [1.0, 1.0]]), dim=1)
    # None may pass: the threshold is the lead of (2, 1), and two of the four images lead by more.
    assert called(few, others, strange, own, 0.0) == 0.5
    # One may: the threshold is the lead of (1, 2), and all lead by more.
    assert called(few, others, strange, own, 0.25) == 1.0


def test_what_lies_where_the_prototype_is_is_called_so_and_what_lies_with_the_others_is_not() -> None:
    rng = torch.Generator().manual_seed(0)
    axes = torch.eye(8)

    def around(axis: int, n: int) -> torch.Tensor:
        return F.normalize(axes[axis] + 0.1 * torch.randn(n, 8, generator=rng), dim=1)

    strange = torch.cat([around(axis, 40) for axis in (1, 2, 3)])
    assert called(around(0, 4), axes[1:4], strange, around(0, 50), 0.02) == 1.0
    # A class that lies among those of another, however the prototype is placed.
    assert called(around(1, 4), axes[1:4], strange, around(1, 50), 0.02) < 0.3


def test_every_model_and_class_is_asked_by_as_many_images(clip: LoadedCLIP) -> None:
    asked = asked_of(clip, models=three_of(clip))
    rows = Prototype(shots=(1, 2), draws=3, false_positives=0.4).run(asked, rng=torch.Generator(), reporter=Silent())
    assert {(r.setting, r.cost["images"], r.n) for r in rows} == {("k = 1", 1, 4), ("k = 2", 2, 4)}
    check_own(rows)
    with pytest.raises(ValueError, match="less than 1"):
        Prototype(false_positives=1.5)
