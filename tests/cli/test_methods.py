import json

import pytest

from efface.cli import run
from tests.cli.asking import said


def test_methods_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--json"]) == 0
    listed = {m["name"]: m for m in json.loads(said(capsys)[0])}
    assert set(listed) == {"lip", "subgroup", "projection", "ga", "jit"}
    none = {"guard_images": 0, "retain_images": 0, "calibration_images": 0, "prompt": None}
    of_lip = {**none, "forget_images": 192, "guard_images": 512}
    of_subgroup = {**none, "forget_images": 64, "retain_images": 200, "calibration_images": 200}
    assert of_lip.items() <= listed["lip"]["needs"].items()
    assert of_subgroup.items() <= listed["subgroup"]["needs"].items()
    assert set(listed["lip"]["presets"]) == {"default", "lipschitz", "paper"}
    assert {m: list(listed[m]["synthesis"]) for m in listed} == {m: list(listed[m]["presets"]) for m in listed}
    synthesis = {preset: {s["name"] for s in made} for preset, made in listed["lip"]["synthesis"].items()}
    assert "leaves" in synthesis["default"] & synthesis["lipschitz"]
    assert "leaves" not in synthesis["paper"] > {"jitter", "threshold"}
    assert listed["projection"]["synthesis"] == {"default": []}
    assert run(["methods"]) == 0
    text = said(capsys)[0]
    assert all(s["name"] in text for m in listed.values() for p in m["presets"].values() for s in p)
