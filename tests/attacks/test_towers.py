import torch

from efface.attacks.plain import Plain
from efface.attacks.towers import Towers
from efface.backends.base import LoadedCLIP
from efface.types import Silent
from tests.attacks.asking import asked_of, value


def test_a_text_tower_that_was_turned_is_seen_through_by_the_originals_texts(clip: LoadedCLIP) -> None:
    turned = clip.copy()
    with torch.no_grad():
        for group in turned.encoder.weights("text"):
            if group.part == "projection":
                for parameter in group.parameters:
                    parameter.neg_()
    asked = asked_of(clip, turned)
    plain, mixed = (attack.run(asked, rng=torch.Generator(), reporter=Silent()) for attack in (Plain(), Towers()))
    images = "its images, the original's texts"
    for role in ("forget", "control"):
        expected = value(plain, model="reference", role=role, setting="by its name")
        for model in ("reference", "edited"):
            assert value(mixed, model=model, role=role, setting=images) == expected
    # With the texts turned the other way round, what was nearest is farthest.
    cosines = asked.features("reference", "held_out", "final") @ asked.texts("reference").T
    own = cosines[asked.labels("held_out") == 1]
    assert value(mixed, model="edited", role="forget", setting="the original's images, its texts") == (
        (own.argmin(dim=1) == 1).double().mean()
    )
    assert {row.kind for row in mixed if row.setting == images} == {"output"}
