"""What an evaluation costs beside the model alone, and what decoding costs beside the evaluation.

    OMP_NUM_THREADS=1 python benchmarks/evaluate.py [--model MODEL] [--data SOURCE] [--images 2048]

First, images that lie preprocessed in memory: evaluation as the verb does it (texts of all classes, image tower, ranks,
scores with intervals) against a bare loop of the image tower over the same batches. ``ratio`` is the rate of the
evaluation over that of the bare loop; at least 0.95 is asked for. The two alternate, the best run of each counts, and
on a CPU seconds are processor seconds of this process, so that what else the machine does weighs little on either.

Then end to end: the same images from where they are stored, with one process: opening, decoding, preprocessing and
evaluation. The share of decoding (with reading and preprocessing) is that of a pass over the images without a model.
Without --data the images are those of the embedded world, written as PNG to a parquet file.
"""

import argparse
import io
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image

import efface
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.prompts import texts
from efface.data.sources import open_source
from efface.data.symbols import drawn
from efface.evaluation.zero_shot import answer, class_scores, scores
from efface.measuring import Options
from efface.request import TEMPLATES
from efface.symbols.catalogue import MEMBERS
from efface.symbols.splits import scenes
from efface.types import Images, Silent, TensorImages

BATCH = 256


def seconds(work: Callable[[], object]) -> float:
    """How long it takes: processor seconds on a CPU, on a GPU seconds until all of it is done."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - started


def write_world(folder: Path, count: int) -> str:
    """Validation images of the embedded world, evenly chosen, as PNG in a parquet file."""
    import datasets

    everything = scenes("validation")
    some = everything.take(torch.linspace(0, len(everything) - 1, count).long().numpy())
    cells = []
    for pixels in drawn(some):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": None})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(MEMBERS))})
    table = datasets.Dataset.from_dict({"image": cells, "label": some.member.tolist()}, features=features)
    table.to_parquet(folder / "world.parquet")
    return str(folder / "world.parquet")


def in_memory(data: EvalData, count: int) -> tuple[EvalData, list[Images]]:
    """The first images, preprocessed, as data and as batches."""
    batches = []
    for images, labels in data.images.batches(BATCH):
        batches.append((images, labels))
        if sum(len(some) for _, some in batches) >= count:
            break
    held = TensorImages(torch.cat([i for i, _ in batches]), torch.cat([some for _, some in batches]))
    return EvalData(data.source, held, data.class_names, data.sha256), [images for images, _ in batches]


def measure(clip: LoadedCLIP, data: EvalData) -> None:
    """An evaluation, as the verb does it."""
    tokens = clip.class_tokens([texts(TEMPLATES, name) for name in data.class_names])
    found = answer((clip.encoder, None), data, tokens, targets=(), batch_size=BATCH, reporter=Silent())
    scores(found, "before")
    class_scores(found, "before")


@torch.no_grad()
def bare(clip: LoadedCLIP, batches: list[Images]) -> None:
    """The image tower alone."""
    for images in batches:
        clip.encoder.encode_image(images.to(clip.encoder.device))


def compare(clip: LoadedCLIP, held: EvalData, batches: list[Images], repeats: int) -> None:
    """Prints both rates and their ratio."""
    bare(clip, batches[:1])
    pairs = [(seconds(lambda: bare(clip, batches)), seconds(lambda: measure(clip, held))) for _ in range(repeats)]
    of_bare, of_ours = (min(times) for times in zip(*pairs, strict=True))
    n = len(held.images)
    print(f"bare loop over {n} preloaded images: {n / of_bare:.0f} images/s")
    print(f"encoding and evaluation of them, {len(held.class_names)} classes: {n / of_ours:.0f} images/s")
    print(f"ratio: {of_bare / of_ours:.3f}")


def main() -> None:
    """Prints all figures, and what they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:symbols-rn")
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    print(f"torch {version('torch')}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"load of the machine: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    clip = efface.load(asked.model, device=asked.device)
    with tempfile.TemporaryDirectory() as folder:
        source = asked.data or write_world(Path(folder), asked.images)
        opening = seconds(lambda: open_source(source, preprocess=clip.preprocess))
        data = open_source(source, preprocess=clip.preprocess)
        compare(clip, *in_memory(data, asked.images), asked.repeats)
        decoding = seconds(lambda: sum(len(labels) for _, labels in data.images.batches(BATCH)))
        whole = seconds(lambda: efface.evaluate(clip, data=[source], options=Options(batch_size=BATCH)))
    n = len(data.images)
    print(f"first opening of {Path(source).name}, with its digest and a copy that is memory-mapped: {opening:.1f} s")
    print(f"end to end, {n} images: {n / whole:.0f} images/s, of which decoding {decoding / whole:.0%}")


if __name__ == "__main__":
    main()
