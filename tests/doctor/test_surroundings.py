from dataclasses import replace
from typing import Any

import pytest

from efface.doctor.facts import Place
from efface.doctor.surroundings import of_devices, of_machine, of_places, of_settings
from tests.doctor.by_hand import MACHINE, attempt

GIB = 2**30
TORCH: dict[str, Any] = {"version": "2.9.0", "threads": 4, "cuda": None, "gpus": [], "mps": False}


def test_an_old_python_is_a_problem_and_the_command_names_one_that_will_do() -> None:
    python, machine = of_machine(replace(MACHINE, python="3.10.2"))
    assert (python.level, python.text) == ("problem", "3.10.2 runs here, and efface needs >=3.11")
    assert python.repairs == ("python3.11 -m venv FOLDER",)
    assert (machine.level, machine.text) == ("ok", "Linux, cores: 4, 8.0 GiB of memory")
    assert [f.level for f in of_machine(MACHINE)] == ["ok", "ok"]


def test_what_is_not_known_is_left_out() -> None:
    *_, machine = of_machine(replace(MACHINE, memory_bytes=0, wanted=""))
    assert machine.text == "Linux, cores: 4"
    assert list(of_devices(MACHINE, None)) == []
    assert list(of_devices(MACHINE, attempt("torch", "ImportError: x"))) == []


def test_a_gpu_comes_with_memory_driver_and_bf16() -> None:
    gpus = [{"name": "H100", "memory_bytes": 80 * GIB}]
    machine = replace(MACHINE, gpus=("H100, 580.1",), bf16=True)
    gpu, cpu = of_devices(machine, attempt("torch", **TORCH | {"gpus": gpus, "cuda": "13.0", "bf16": True}))
    assert (gpu.about, gpu.text) == ("cuda:0", "H100, 80.0 GiB, with bf16, driver 580.1")
    assert (cpu.about, cpu.text) == ("cpu", "threads: 4, with bf16")


@pytest.mark.parametrize(
    ("cuda", "text"), [(None, "is a build for processors alone"), ("13.0", "a driver for CUDA 13.0")]
)
def test_a_gpu_that_torch_cannot_use_is_named(cuda: str | None, text: str) -> None:
    gpu, _ = of_devices(replace(MACHINE, gpus=("H100, 580.1",)), attempt("torch", **TORCH | {"cuda": cuda}))
    assert (gpu.level, gpu.about) == ("note", "H100")
    assert text in gpu.text
    assert bool(gpu.repairs) == (cuda is None)


def test_mps_and_a_numpy_that_torch_does_not_take_are_named() -> None:
    found = {f.about: f for f in of_devices(MACHINE, attempt("torch", **TORCH | {"mps": True, "numpy": "not there"}))}
    assert found["mps"].level == "ok"
    assert found["numpy"].level == "problem"
    assert found["numpy"].repairs


@pytest.mark.parametrize(
    ("writable", "free", "level"),
    [(True, 9 * GIB, "ok"), (True, GIB, "note"), (True, GIB // 8, "problem"), (False, 9 * GIB, "problem")],
)
def test_a_folder_must_be_writable_and_have_room(writable: bool, free: int, level: str) -> None:
    (found,) = of_places([Place("the cache", "/c", writable, free, "HF_HUB_CACHE")])
    assert found.level == level
    assert found.repairs == (() if level == "ok" else ("export HF_HUB_CACHE=FOLDER",))


def test_settings_are_named_where_they_change_something() -> None:
    assert (
        list(of_settings({"OMP_NUM_THREADS": "4", "HF_HUB_OFFLINE": "0", "CUDA_VISIBLE_DEVICES": "0"}, MACHINE)) == []
    )
    set_ = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "true", "CUDA_VISIBLE_DEVICES": ""}
    found = list(of_settings(set_, replace(MACHINE, gpus=("H100, 580.1",))))
    assert [f.about for f in found] == list(set_)
    assert {f.level for f in found} == {"note"}
    assert found[0].text == "'1', and this process may use 4 cores"
