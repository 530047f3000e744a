from dataclasses import replace

import torch

from efface.attacks.neighbors import NearestNeighbors
from efface.backends.base import LoadedCLIP
from efface.types import Silent
from tests.attacks.asking import asked_of, check_own, three_of
from tests.evaluation.test_features import data_of


def test_images_that_the_attacker_has_are_found_by_themselves(clip: LoadedCLIP) -> None:
    data = data_of(12, "held out")
    asked = asked_of(clip, held_out=data, images=replace(data, source="own"))
    rows = NearestNeighbors(shots=(4,), voters=1).run(asked, rng=torch.Generator(), reporter=Silent())
    assert {row.value for row in rows} == {1.0}
    assert {row.setting for row in rows} == {"k = 4, final", "k = 4, penultimate"}
    assert {(row.n, row.kind) for row in rows} == {(4, "features")}


def test_models_are_asked_with_the_same_draws(clip: LoadedCLIP) -> None:
    asked = asked_of(clip, models=three_of(clip))
    rows = NearestNeighbors(shots=(1, 3)).run(asked, rng=torch.Generator(), reporter=Silent())
    check_own(rows)
    assert len(rows) == 3 * 2 * 2 * 2  # models, layers, shots, roles
