import pytest
import torch

from efface.device import usable_device
from efface.errors import InputError


def test_a_device_that_computes_is_handed_out() -> None:
    assert usable_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["quantum", "cuda:99", "meta", "hpu", "privateuseone", "mkldnn", ""])
def test_others_are_refused_by_their_name(name: str) -> None:
    with pytest.raises(InputError, match=f"the device {name!r} cannot be used") as caught:
        usable_device(name)
    assert caught.value.hint == "use cpu, or cuda where there is one"


def test_there_is_one_cpu() -> None:
    assert usable_device("cpu:0").type == "cpu"
    with pytest.raises(InputError, match=r"the device 'cpu:7' cannot be used: .* all processors for one") as caught:
        usable_device("cpu:7")
    assert "OMP_NUM_THREADS" in caught.value.hint


def test_a_device_that_fails_without_a_word_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(InputError, match="the device 'cpu' cannot be used: RuntimeError"):
        usable_device("cpu")
