from pathlib import Path

import pytest

from efface.doctor.probes import PROBES, Attempt, Probe, attempt, attempt_all

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


def probe(code: str, name: str = "it") -> Probe:
    return Probe(name, "no-such-package", code)


def alone(code: str, timeout: float = 60.0) -> Attempt:
    (done,) = attempt([probe(code)], timeout=timeout)
    return done


def test_what_works_hands_back_what_it_found_and_its_time() -> None:
    done = alone("import time\ntime.sleep(0.1)\nprint('noise', end='')\nfound = {'a': 1}")
    assert done.causes == ()
    assert done.found == {"a": 1}
    assert 0.1 <= done.seconds < 5
    assert done.installed is None


def test_an_error_comes_with_what_led_to_it() -> None:
    code = "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ImportError('last') from e"
    assert alone(code).causes == ("ImportError: last", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (CRASH, "the process crashed with SIGSEGV"),
        ("import os, sys; sys.stderr.write('so\\nlong'); sys.stderr.flush(); os._exit(3)", "exit code 3: long"),
        ("import os; os._exit(0)", "exit code 0: it said nothing"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
    ids=["crash", "exit", "silence", "SystemExit"],
)
def test_a_crash_is_told_and_not_suffered(code: str, cause: str) -> None:
    (found,) = alone(code).causes
    assert cause in found


def test_what_hangs_is_ended() -> None:
    assert alone("import time; time.sleep(60)", timeout=0.5).causes == ("it did not end within 0.5 seconds",)


def test_a_file_of_the_working_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colorsys.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    assert alone("import colorsys").causes == ()


def test_a_group_shares_a_process_up_to_its_first_failure() -> None:
    group = [probe("import colorsys", "a"), probe("import sys; assert 'colorsys' in sys.modules; 1 / 0", "b")]
    done = attempt([*group, probe("", "c")])
    assert [one.name for one in done] == ["a", "b"]
    assert [one.causes for one in done] == [(), ("ZeroDivisionError: division by zero",)]


def test_what_stands_behind_a_failure_is_tried_on_its_own() -> None:
    told: list[str] = []
    fresh = "import sys; assert 'colorsys' not in sys.modules"
    groups = [
        [probe("import colorsys", "a"), probe(CRASH, "b"), probe(fresh, "c"), probe("1 / 0", "d")],
        [probe("", "e")],
    ]
    done = attempt_all(groups, told.append)
    assert [one.name for one in done] == ["a", "b", "c", "d", "e"]
    assert [bool(one.causes) for one in done] == [False, True, False, True, False]
    assert sorted(told) == ["a", "b", "c", "d", "e"]


def test_what_is_asked_of_torch_and_pillow_is_answered_here() -> None:
    torch, pillow = attempt([one for group in PROBES for one in group if one.name in ("torch", "pillow")])
    assert torch.causes == pillow.causes == ()
    assert torch.found.keys() >= {"version", "threads", "cuda", "gpus", "mps"}
    assert "numpy" not in torch.found
    assert pillow.found == {"lacking": []}


def test_what_others_import_comes_before_them() -> None:
    assert [p.name for group in PROBES for p in group][:2] == ["torch", "torchvision"]
