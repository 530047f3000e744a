import torch

from efface.attacks.probe import LinearProbe
from efface.attacks.shots import neighborhood
from efface.backends.base import LoadedCLIP
from efface.evaluation.probe import recall_by_probe
from efface.types import Silent
from tests.attacks.asking import asked_of, check_own, three_of, value


def test_with_all_images_the_probe_is_the_one_there_is(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    rows = LinearProbe(shots=(9,)).run(asked, rng=torch.Generator(), reporter=Silent())
    near = neighborhood(asked, 20)
    everything = torch.arange(15)
    for layer in ("final", "penultimate"):
        recalls = recall_by_probe(near.train["edited"], near.test["edited"], layer, everything, 3)
        for role, label in near.roles:
            found = value(rows, model="edited", role=role, setting=f"k = 9, {layer}")
            assert found == recalls[label]
    assert {row.kind for row in rows} == {"features"}
    assert {row.cost["images a class"] for row in rows} == {9}


def test_models_are_asked_with_the_same_draws(clip: LoadedCLIP) -> None:
    asked = asked_of(clip, models=three_of(clip))
    rows = LinearProbe(shots=(1, 2), draws=2).run(asked, rng=torch.Generator(), reporter=Silent())
    assert len(rows) == 3 * 2 * 2 * 2  # models, layers, shots, roles
    check_own(rows)
