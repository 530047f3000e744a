import pytest

from efface import doctor
from efface.doctor import examine, findings
from efface.doctor.facts import Facts
from efface.doctor.probes import Probe
from tests.doctor.by_hand import MACHINE, NMS, attempt, package


def test_a_broken_pair_has_one_finding_with_a_repair() -> None:
    pair = package("torch", "2.9.0+cpu"), package("torchvision", "0.24.0", wants="==2.9.0")
    tried = attempt("torch"), attempt("torchvision", NMS), attempt("open_clip", NMS)
    found = findings(Facts(MACHINE, pair, tried))
    problems = [f for f in found if f.level == "problem"]
    assert [f.about for f in problems] == [
        "torch 2.9.0+cpu with torchvision 0.24.0",
        "import torchvision",
        "import open_clip",
    ]
    assert [bool(f.repairs) for f in problems] == [True, False, False]


def test_a_pair_that_fits_is_no_finding_of_its_own() -> None:
    pair = package("torch", "2.9.0"), package("torchvision", "0.24.0", wants="==2.9.0")
    found = findings(Facts(MACHINE, pair, (attempt("torch"), attempt("torchvision"))))
    assert {f.level for f in found} == {"ok"}


def test_builtin_models_are_listed() -> None:
    found = findings(Facts(MACHINE, (package("torch"),), builtin_models={"symbols": 2**20}))
    assert (found[-1].about, found[-1].text) == ("builtin:symbols", "1.0 MiB")


def test_facts_are_gathered_from_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBES", ((Probe("sys", "pip", "import sys"),),))
    told: list[str] = []
    facts = examine(told.append)
    assert told == ["sys"]
    assert facts.attempt("sys") is not None
    assert facts.package("torch") is not None
    assert facts.places
