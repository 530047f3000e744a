import torch

from efface.attacks.base import Trial
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
            found = value(rows, model="edited", role=role, setting=f"k = 5, {layer}")
            assert found == recalls[label]
    assert {row.kind for row in rows} == {"features"}
    # No class has nine.
    assert [row.cost for row in rows] == [{"images a class": 5}] * len(rows)
    assert {row.others for row in rows} == {2}
    again = LinearProbe(shots=(5, 9, 16)).run(asked, rng=torch.Generator(), reporter=Silent())
    assert {row.setting for row in again} == {"k = 5, final", "k = 5, penultimate"}


def test_an_interval_holds_what_the_draw_of_the_images_adds(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    (row,) = [
        row
        for row in LinearProbe(shots=(1,), draws=4).run(asked, rng=torch.Generator(), reporter=Silent())
        if (row.setting, row.model, row.role) == ("k = 1, final", "edited", "control")
    ]
    near, rng = neighborhood(asked, 20), torch.Generator()
    label = dict(near.roles)["control"]
    recalls = [
        recall_by_probe(near.train["edited"], near.test["edited"], "final", rows, 3)[label]
        for rows in near.draws(1, 4, rng)
    ]
    assert len(set(recalls)) > 1
    assert row == Trial("probe", "k = 1, final", "features", row.cost, 2).over_draws("edited", "control", recalls, 4)


def test_models_are_asked_with_the_same_draws(clip: LoadedCLIP) -> None:
    asked = asked_of(clip, models=three_of(clip))
    rows = LinearProbe(shots=(1, 2), draws=2).run(asked, rng=torch.Generator(), reporter=Silent())
    assert len(rows) == 3 * 2 * 2 * 2  # models, layers, shots, roles
    check_own(rows)
