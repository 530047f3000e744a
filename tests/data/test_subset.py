from dataclasses import replace
from pathlib import Path

import torch

from efface.backends.base import LoadedCLIP
from efface.data.images import BadImages
from efface.data.kinds import of_kind
from efface.data.sources import open_source
from efface.data.subset import drawn, some_of
from efface.data.symbols import open_symbols
from efface.types import TensorImages
from tests.worlds import World, write_world


def test_some_images_of_every_kind_of_source_are_those_images_in_that_order(clip: LoadedCLIP, world: World) -> None:
    stored = open_source(world.data, preprocess=clip.preprocess)
    ((images, labels),) = stored.images.batches(99)
    held = replace(stored, images=TensorImages(images, labels))
    made = open_symbols("symbols:validation", preprocess=clip.preprocess, where={"member": "knight"})
    rows = torch.tensor([7, 0, 3])
    for data in (stored, held, made):
        ((everything, truth),) = data.images.batches(len(data.images))
        ((some, of),) = some_of(data, rows).images.batches(99)
        assert torch.equal(some, everything[rows])
        assert of.tolist() == truth[rows].tolist()
        assert some_of(data, rows).class_names == data.class_names


def test_what_is_known_of_some_images_is_of_these(clip: LoadedCLIP) -> None:
    data = of_kind(open_symbols("symbols:validation", preprocess=clip.preprocess), {"design": "notation"})
    rows = torch.tensor([200, 3, 90])
    some = some_of(data, rows)
    assert some.columns["design"] == [data.columns["design"][row] for row in rows.tolist()]
    assert data.kind is not None
    assert some.kind is not None
    assert some.kind.rows.tolist() == data.kind.rows[rows].tolist()
    assert len(some.to_forget(["knight"])) == 3


def test_what_cannot_be_decoded_of_some_is_not_told_of_the_rest(tmp_path: Path, clip: LoadedCLIP) -> None:
    world = write_world(tmp_path)
    (Path(world.data) / "dog" / "1.png").write_bytes(b"broken")
    data = open_source(world.data, preprocess=clip.preprocess, skipped=BadImages())
    first, rest = some_of(data, torch.arange(4, 8)), some_of(data, torch.arange(8, 12))
    assert sum(len(labels) for _, labels in first.images.batches(2)) == 3
    assert list(first.skipped.reasons) == [1]
    assert not rest.skipped.reasons
    assert not data.skipped.reasons


def test_a_draw_is_of_the_class_and_none_comes_twice() -> None:
    labels = torch.tensor([1, 0, 1, 1, 2])
    rows = drawn(labels, 1, 2, rng=torch.Generator().manual_seed(0))
    assert set(rows.tolist()) < {0, 2, 3}
    assert len(set(rows.tolist())) == 2
    assert sorted(drawn(labels, 1, 9, rng=torch.Generator()).tolist()) == [0, 2, 3]
