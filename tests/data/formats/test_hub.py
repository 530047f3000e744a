"""Data sets of the Hub, from a cache that was laid out by hand; conftest.py keeps the client offline."""

from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Features
from datasets.arrow_writer import ArrowWriter

from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, png, read, said

FEATURES = Features({"image": datasets.Image(), "label": ClassLabel(names=["cat", "dog"])})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _cached(folder: Path, config: str = "default", **splits: list[tuple[int, int]]) -> None:
    """``org/zoo`` as ``load_dataset`` leaves it in its cache."""
    place = folder / "cache" / "org___zoo" / config / "0.0.0" / ("a" * 40)
    place.mkdir(parents=True)
    described = {}
    for split, rows in splits.items():
        columns = {
            "image": [{"bytes": png(gray), "path": None} for gray, _ in rows],
            "label": [label for _, label in rows],
        }
        table = datasets.Dataset.from_dict(columns, features=FEATURES)
        with ArrowWriter(features=FEATURES, path=str(place / f"zoo-{split}.arrow")) as writer:
            writer.write_table(table.data.table)
            n, size = writer.finalize()
        described[split] = {"name": split, "num_bytes": size, "num_examples": n, "dataset_name": "zoo"}
    datasets.DatasetInfo(
        features=FEATURES,
        builder_name="parquet",
        dataset_name="zoo",
        config_name=config,
        version="0.0.0",
        splits=described,
    ).write_to_directory(str(place))


def test_what_is_in_the_cache_opens_without_a_network(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _cached(tmp_path, test=[(5, 1), (6, 0)], train=[(7, 0)])
    assert said(read("hf:org/zoo")) == [(5, "dog"), (6, "cat")]
    assert said(read("hf:org/zoo,split=train")) == [(7, "cat")]
    assert capfd.readouterr() == ("", "")


def test_a_configuration_is_named(tmp_path: Path) -> None:
    _cached(tmp_path, "large", test=[(5, 1)])
    assert said(read("hf:org/zoo,config=large")) == [(5, "dog")]
    with pytest.raises(InputError, match="Couldn't find cache for org/zoo for config 'small'"):
        read("hf:org/zoo,config=small")


def test_the_digest_is_of_images_and_labels_alone(tmp_path: Path) -> None:
    _cached(tmp_path, "one", a=[(5, 1)], b=[(5, 0)], c=[(6, 1)])
    _cached(tmp_path, "two", a=[(5, 1)], d=[(6, 1), (5, 1)])
    first, *others = (
        open_source(f"hf:org/zoo,config={config},split={split}", preprocess=as_tensor).sha256
        for config, split in (("one", "a"), ("two", "a"), ("one", "b"), ("one", "c"), ("two", "d"))
    )
    assert others[0] == first
    assert first not in others[1:]
    assert len(set(others[1:])) == 3


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hf:org/none", "Couldn't reach 'org/none' on the Hub"),
        ("hf:org/zoo,split=val", 'Unknown split "val". Should be one of'),
    ],
)
def test_what_cannot_be_had_is_named_with_the_reason(tmp_path: Path, source: str, reason: str) -> None:
    _cached(tmp_path, test=[(5, 1)])
    with pytest.raises(InputError, match="cannot be had") as caught:
        read(source)
    assert reason in str(caught.value)
    assert "HF_HUB_OFFLINE=1" in caught.value.hint


def test_no_name_is_refused() -> None:
    with pytest.raises(InputError, match="names no data set"):
        read("hf:")
