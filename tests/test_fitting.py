import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from efface import fitting
from efface.errors import EffaceWarning
from efface.fitting import GIB, Fitting, MemoryLackError, lacks_memory, limited

MIB = 2**20


class Memory:
    """Work that lacks memory with more than so many items at a time, and notes how many came."""

    def __init__(self, most: int, error: Callable[[str], BaseException] = torch.OutOfMemoryError) -> None:
        self.most, self.error = most, error
        self.came: list[int] = []

    def __call__(self, items: Tensor) -> Tensor:
        self.came.append(len(items))
        if len(items) > self.most:
            raise self.error("no more")
        return 2 * items


def test_a_lack_of_memory_halves_the_batch_says_so_and_loses_nothing() -> None:
    work, fit = Memory(3), Fitting(16, "pictures")
    with pytest.warns(EffaceWarning) as warned:
        assert torch.equal(fit(work, torch.arange(20)), 2 * torch.arange(20))
    assert [str(w.message) for w in warned] == [
        f"memory does not do for {n} pictures at a time: {n // 2} from here on" for n in (16, 8, 4)
    ]
    assert work.came == [16, 8, 4] + [2] * 10
    # It stays that small, and is not warned of again.
    assert torch.equal(fit(work, torch.arange(5)), 2 * torch.arange(5))
    assert work.came[-3:] == [2, 2, 1]
    assert fit.part == 2


def test_a_short_batch_is_halved_from_its_own_length() -> None:
    work = Memory(2)
    with pytest.warns(EffaceWarning, match="5 images at a time: 2 from"):
        Fitting(256)(work, torch.arange(5))
    assert work.came == [5, 2, 2, 1]


def test_where_one_is_too_many_it_ends_in_words() -> None:
    with pytest.warns(EffaceWarning), pytest.raises(MemoryLackError, match="memory does not do for one of the images"):
        Fitting(2)(Memory(0), torch.arange(4))


def test_what_fits_is_left_whole() -> None:
    work = Memory(99)
    Fitting(16)(work, torch.arange(16))
    assert work.came == [16]


def test_another_fault_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="no more"):
        Fitting(16)(Memory(1, RuntimeError), torch.arange(16))
    said = "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    assert lacks_memory(RuntimeError(said))
    assert lacks_memory(MemoryError())
    assert not lacks_memory(ValueError("out of memory."))


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", True),
        # A shape or a type may be what it does not support, and no smaller batch helps then.
        (
            "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. It may be a non-contiguous input.",
            False,
        ),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", False),
    ],
)
def test_what_cuda_says_of_memory_is_told_from_other_faults(said: str, lacks: bool) -> None:
    assert lacks_memory(RuntimeError(said)) is lacks


@contextmanager
def _given(held: tuple[int, int]) -> Iterator[tuple[int, int]]:
    yield held


def test_below_a_limit_parts_are_doubled_while_twice_as_much_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    grow = Fitting(256, limit=420 * MIB)
    watched = iter([(100 * MIB, (100 + 10 * n) * MIB) for n in (8, 16, 32, 32, 32)])

    def work(items: Tensor) -> Tensor:
        came.append(len(items))
        return items

    monkeypatch.setattr(fitting, "_watched", lambda: _given(next(watched)))
    # 8 take 80 MiB, 16 take 160: 32 would take 320 and fit, 64 would not.
    with pytest.warns(EffaceWarning, match="0.41 GiB were held with 32 images: no more than that at a time"):
        grow(work, torch.arange(8 + 16 + 3 * 16))
    assert came == [8, 16, 32, 16]
    assert grow.part == 32


def test_beyond_a_limit_they_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_watched", lambda: _given((100 * MIB, 500 * MIB)))
    fit = Fitting(256, limit=420 * MIB)
    with pytest.warns(EffaceWarning) as warned:
        fit(lambda items: items, torch.arange(32))
    over = "0.49 GiB, more than was asked for, were held"
    assert [str(w.message) for w in warned] == [
        f"{over} with 8 images at a time: 4 from here on",
        f"{over} with 4 images at a time: 2 from here on",
        f"{over} with 2 images at a time: 1 from here on",
        f"{over}, 0.10 of them before any of the images: 1 at a time from here on",
    ]
    assert fit.part == 1


def test_a_limit_that_no_batch_can_keep_is_said_once_and_halves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_watched", lambda: _given((500 * MIB, 501 * MIB)))
    fit = Fitting(256, limit=420 * MIB)
    with pytest.warns(EffaceWarning) as warned:
        fit(lambda items: items, torch.arange(32))
    assert [str(w.message).split(": ")[1] for w in warned] == ["8 at a time from here on"]
    assert fit.part == 8


def test_real_memory_is_kept_below_a_limit() -> None:
    most = 0

    def work(items: Tensor) -> Tensor:
        nonlocal most
        held = torch.ones(len(items), MIB)  # 4 MiB an item
        most = max(most, fitting.resident())
        return held[:, 0].clone()  # a view would hold all of it

    limit = fitting.resident() + 150 * MIB
    fit = Fitting(64, limit=limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EffaceWarning)
        for _ in range(2):
            assert fit(work, torch.ones(64)).tolist() == [1.0] * 64
    assert most <= limit
    assert 8 <= fit.part <= 32


def test_on_a_cpu_torch_is_left_alone() -> None:
    with limited(torch.device("cpu"), 1):
        pass


def test_on_a_gpu_torch_is_held_to_a_share_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=8 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: shares.append(share))

    def fail() -> None:
        assert shares == [0.25]
        raise KeyError

    with pytest.raises(KeyError), limited(torch.device("cuda"), 2 * GIB):
        fail()
    assert shares == [0.25, 1.0]
    with limited(torch.device("cuda"), 9 * GIB):
        assert shares[2:] == [1.0]
