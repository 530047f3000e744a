"""The cache of ``datasets`` as it is after a data set of the Hub was fetched."""

from pathlib import Path

import datasets
from datasets import ClassLabel, Features
from datasets.arrow_writer import ArrowWriter

from tests.data.pictures import png

FEATURES = Features({"image": datasets.Image(), "label": ClassLabel(names=["cat", "dog"])})


def lay_out(cache: Path, config: str = "default", **splits: list[tuple[int, int]]) -> None:
    """``org/zoo`` as ``load_dataset`` leaves it in its cache."""
    place = cache / "org___zoo" / config / "0.0.0" / ("a" * 40)
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
