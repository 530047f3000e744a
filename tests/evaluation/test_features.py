from dataclasses import replace
from pathlib import Path

import pytest
import torch

from efface.backends.base import LoadedCLIP, TowerPair
from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.data.sources import open_source
from efface.data.symbols import open_symbols
from efface.errors import InputError, NotFiniteError
from efface.evaluation.features import Gathered, encoders_of, gather
from efface.types import Silent, TensorImages
from tests.worlds import World, write_world


def data_of(n: int = 9, source: str = "made", seed: int = 2) -> EvalData:
    """Images of noise, of three classes in turns."""
    images = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return EvalData(source, TensorImages(images, torch.arange(n) % 3), ("cat", "dog", "fox"), sha256=source)


def gathered(clip: LoadedCLIP, data: EvalData, labels: list[int | None], batch_size: int = 4) -> Gathered:
    return gather(encoders_of({"m": clip}), data, labels, batch_size=batch_size, reporter=Silent())["m"]


def test_features_are_the_models_own_and_classes_are_counted_as_asked_for(clip: LoadedCLIP) -> None:
    data, encoder = data_of(), clip.encoder
    found = gathered(clip, data, [2, None, 0])
    ((images, truth),) = data.images.batches(9)
    wanted = truth != 1
    assert found.labels.tolist() == [{2: 0, 0: 2}[label] for label in truth[wanted].tolist()]
    assert isinstance(encoder, TowerPair)
    with torch.no_grad():
        torch.testing.assert_close(found.features["final"], encoder.encode_image(images[wanted]))
        torch.testing.assert_close(found.features["penultimate"], encoder.penultimate(images[wanted]))


def test_equal_images_have_the_same_digest_and_others_another(clip: LoadedCLIP) -> None:
    data = data_of()
    ((images, labels),) = data.images.batches(9)
    doubled = replace(data, images=TensorImages(torch.cat([images, images[:2]]), torch.cat([labels, labels[:2]])))
    found = gathered(clip, doubled, [0, 1, 2])
    assert found.digests[9:] == found.digests[:2]
    assert len(set(found.digests)) == 9
    some = found.take(torch.tensor([4, 0]))
    assert (some.labels.tolist(), some.digests) == ([1, 0], (found.digests[4], found.digests[0]))
    assert torch.equal(some.features["final"], found.features["final"][[4, 0]])


def test_the_size_of_a_batch_changes_nothing_and_models_see_the_same_images(clip: LoadedCLIP) -> None:
    encoders = encoders_of({"one": clip, "other": clip.copy()})
    found = gather(encoders, data_of(), [0, 1, 2], batch_size=2, reporter=Silent())
    for layer, features in found["one"].features.items():
        assert torch.equal(features, found["other"].features[layer])
        torch.testing.assert_close(features, gathered(clip, data_of(), [0, 1, 2]).features[layer])


def test_images_that_are_not_wanted_are_not_decoded(tmp_path: Path, clip: LoadedCLIP) -> None:
    world: World = write_world(tmp_path)
    (Path(world.data) / "fox" / "0.png").write_bytes(b"no picture")
    data = open_source(world.data, preprocess=clip.preprocess)
    assert len(gathered(clip, data, [1, 0]).labels) == 8
    with pytest.raises(InputError, match="cannot be decoded"):
        gathered(clip, data, [2])
    for index in range(1, 4):
        (Path(world.data) / "fox" / f"{index}.png").write_bytes(b"no picture")
    skipping = open_source(world.data, preprocess=clip.preprocess, skipped=BadImages())
    with pytest.raises(InputError, match=r"no image of 'fox' in .* can be decoded"):
        gathered(clip, skipping, [0, 2])


def test_of_the_world_only_what_is_wanted_is_composed(clip: LoadedCLIP) -> None:
    data = open_symbols("symbols:validation", preprocess=clip.preprocess)
    assert gathered(clip, data, [7]).labels.tolist() == [0] * 20


def test_a_model_that_puts_out_nan_is_refused(clip: LoadedCLIP) -> None:
    broken = clip.copy()
    with torch.no_grad():
        next(iter(broken.encoder.weights("image"))).parameters[0].fill_(torch.nan)
    with pytest.raises(NotFiniteError, match="image tower"):
        gathered(broken, data_of(), [0])
