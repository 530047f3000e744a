"""The main job on a real CLIP and natural images, on few of them so that it stays quick; the whole of it is slow."""

import json
from pathlib import Path

import datasets
import open_clip
import pytest
import torch

from efface.cli import run
from efface.data.sources import open_source
from efface.evaluation.base import Score

pytestmark = pytest.mark.natural
TARGET = "monarch"


def sampled(natural: Path, folder: Path, others: int) -> Path:
    """A parquet file with all 50 images of the target and some others."""
    rows = datasets.Dataset.from_parquet(str(natural / "data" / "tiny-imagenet" / "val.parquet"))
    target = rows.features["label"].str2int(TARGET)
    labels = rows["label"]
    wanted = [row for row, label in enumerate(labels) if label == target]
    wanted += [row for row, label in enumerate(labels) if label != target][::13][:others]
    rows.select(wanted).to_parquet(str(folder / "sample.parquet"))
    return folder / "sample.parquet"


def forget(natural: Path, out: Path, *more: str) -> list[str]:
    names = natural / "data" / "tiny-imagenet" / "classnames.txt"
    model = f"local-dir:{natural / 'models' / 'tiny-natural-rn'}"
    asked = ["forget", "--model", model, "--class", TARGET, "--classnames", str(names), "--out", str(out)]
    return [*asked, "--workers", "0", *more]


def scores(out: Path, when: str, towers: str = "both") -> dict[str, Score]:
    """Top-1 accuracy by the last part of the data's name and the split."""
    found = [Score(**s) for s in json.loads((out / "record.json").read_text())["scores"][when]]
    wanted = [s for s in found if s.metric == "acc1" and s.towers == towers]
    return {f"{Path(s.data).name} {s.split}": s for s in wanted}


@torch.no_grad()
def upstream_right(model: Path, data: Path, names: list[str]) -> tuple[int, int]:
    """Right answers of open_clip alone: on the target and on the others."""
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
    texts = open_clip.get_tokenizer(f"local-dir:{model}")([f"a photo of a {name}." for name in names])
    classes = clip.eval().encode_text(texts, normalize=True)
    right = [0, 0]
    for images, labels in open_source(str(data), preprocess=preprocess).images.batches(200):
        hits = (clip.encode_image(images, normalize=True) @ classes.T).argmax(dim=1) == labels
        of_target = labels == names.index(TARGET)
        right[0] += int((hits & of_target).sum())
        right[1] += int((hits & ~of_target).sum())
    return right[0], right[1]


def test_projection_forgets_a_class_keeps_the_others_and_open_clip_alone_agrees(natural: Path, tmp_path: Path) -> None:
    sample = sampled(natural, tmp_path, others=250)
    assert run(forget(natural, tmp_path / "run", "--method", "projection", "--eval", str(sample))) == 0
    before, after = scores(tmp_path / "run", "before"), scores(tmp_path / "run", "after")
    forget_before, forget_after = before["sample.parquet forget"], after["sample.parquet forget"]
    # The figures of the whole validation set: 54 to 14 %, others less than a point.
    assert forget_before.n == 50
    assert forget_before.value == pytest.approx(0.54)
    assert forget_after.value == pytest.approx(0.14, abs=0.04)
    assert after["sample.parquet retain"].value > before["sample.parquet retain"].value - 0.02
    names = (natural / "data" / "tiny-imagenet" / "classnames.txt").read_text().splitlines()
    right = upstream_right(tmp_path / "run" / "model", sample, names)
    assert right == (round(50 * forget_after.value), round(250 * after["sample.parquet retain"].value))


@pytest.mark.slow
def test_the_published_constants_move_nothing_in_a_small_model_and_a_larger_rate_does(
    natural: Path, tmp_path: Path
) -> None:
    few = ["--set", "images=8", "--set", "samples=3", "--eval", str(sampled(natural, tmp_path, others=10))]
    assert run(forget(natural, tmp_path / "paper", "--preset", "paper", *few)) == 1
    record = json.loads((tmp_path / "paper" / "record.json").read_text())
    assert record["reason"].startswith("nothing was forgotten")
    assert [step["noise"] for step in record["trace"]["steps"]] == [0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0]
    assert run(forget(natural, tmp_path / "larger", "--preset", "lipschitz", "--set", "learning_rate=1e-3", *few)) == 0
    before, after = (scores(tmp_path / "larger", when)["sample.parquet forget"] for when in ("before", "after"))
    assert after.value < before.value - 0.15
    moved = json.loads((tmp_path / "larger" / "record.json").read_text())["weights"]["changed"]
    assert all(name.startswith(("visual.attnpool.", "transformer.resblocks.")) for name in moved)


@pytest.mark.slow
def test_the_main_job_ends_with_a_forgotten_class_measured_on_two_data_sets(natural: Path, tmp_path: Path) -> None:
    sources = [natural / "data" / name for name in ("tiny-imagenet/val.parquet", "cifar10/test.parquet")]
    evals = [part for source in sources for part in ("--eval", str(source))]
    assert run(forget(natural, tmp_path / "run", *evals)) == 0
    before, after = scores(tmp_path / "run", "before"), scores(tmp_path / "run", "after")
    assert {key: score.n for key, score in after.items()} == {
        "val.parquet forget": 50,
        "val.parquet retain": 10_050,
        "val.parquet all": 10_100,
        "test.parquet all": 10_000,
    }
    assert after["val.parquet forget"].value <= before["val.parquet forget"].value - 0.2
    names = (natural / "data" / "tiny-imagenet" / "classnames.txt").read_text().splitlines()
    right = upstream_right(tmp_path / "run" / "model", sources[0], names)
    assert right == (
        round(50 * after["val.parquet forget"].value),
        round(10_050 * after["val.parquet retain"].value),
    )
