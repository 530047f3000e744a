from dataclasses import replace

import pytest
import torch

from efface.attacks.base import NotTried, Row
from efface.attacks.membership import Membership
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.types import Silent
from tests.attacks.asking import asked_of, check_own, three_of, value
from tests.evaluation.test_features import data_of


def tried(clip: LoadedCLIP, members: EvalData, held_out: EvalData) -> tuple[Row, ...]:
    asked = replace(asked_of(clip, clip, held_out=held_out), members=members)
    return Membership().run(asked, rng=torch.Generator().manual_seed(0), reporter=Silent())


def test_every_model_is_asked_of_the_same_images(clip: LoadedCLIP) -> None:
    asked = asked_of(clip, models=three_of(clip), members=data_of(15, "trained on", seed=7))
    rows = Membership().run(asked, rng=torch.Generator().manual_seed(0), reporter=Silent())
    settings = {f"{name}, {kind}" for name in ("entropy", "four signals") for kind in ("members", "held out")}
    assert {(r.model, r.role, r.setting) for r in rows} == {
        (model, role, setting)
        for model in ("reference", "edited", "gold")
        for role in ("forget", "control")
        for setting in settings
    }
    assert {(r.setting.split(", ")[1], r.n) for r in rows} == {("members", 5), ("held out", 4)}
    assert all(row.kind == "measure" for row in rows)
    check_own(rows)


def test_where_members_are_surer_they_are_told_from_others(clip: LoadedCLIP) -> None:
    # The end of the image tower is turned to the images' own texts, for those that it was trained on alone.
    class Surer:
        """Towers whose image features are the text of the class for loud images."""

        def __init__(self, clip: LoadedCLIP) -> None:
            self.inner = clip.encoder
            texts = clip.tokenize([f"a photo of a {name}." for name in ("cat", "dog", "fox")])
            with torch.no_grad():
                self.texts = clip.encoder.encode_text(texts)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def encode_image(self, images: torch.Tensor) -> torch.Tensor:
            own = images[:, 0, 0, 0].long()
            sure = (images[:, 0, 0, 1] > 0).float()[:, None]
            spread = self.texts.mean(dim=0)
            return torch.nn.functional.normalize(sure * self.texts[own] + (1 - sure) * spread, dim=1)

    def marked(data: EvalData, sure: bool) -> EvalData:
        images = data.images.images.clone()  # type: ignore[attr-defined]
        images[:, 0, 0, 0], images[:, 0, 0, 1] = data.images.labels.float(), 1.0 if sure else -1.0
        return replace(data, images=replace(data.images, images=images))  # type: ignore[type-var]

    surer = replace(clip, encoder=Surer(clip))  # type: ignore[arg-type]
    rows = tried(surer, marked(data_of(15, "trained on"), True), marked(data_of(12, "held out"), False))
    for role in ("forget", "control"):
        assert value(rows, model="edited", role=role, setting="four signals, members") == 1
        assert value(rows, model="edited", role=role, setting="four signals, held out") == 0


def test_where_members_are_not_known_it_is_not_tried(clip: LoadedCLIP) -> None:
    with pytest.raises(NotTried, match="not known which images"):
        Membership().run(asked_of(clip), rng=torch.Generator(), reporter=Silent())
