"""Peak memory of an evaluation by the number of images, on Linux: OMP_NUM_THREADS=1 python benchmarks/memory.py.

Each figure is the peak of a process of its own (resident pages, those of mapped files included), which loads a model
that comes with efface, reads JPEG files of 256 px from one source, and measures accuracy. What is asked: the peak with
the largest number of images is within 10 % of the peak with the smallest; else the program exits with 1.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = (1_000, 10_000)
BOUND = 1.1
NAMES = ("knight", "anchor")
SIZE = 256
FORMATS = ("folders", "parquet", "wds", "saved")
CHILD = """
import json, re, sys
import efface
found = efface.evaluate(efface.load("builtin:symbols-rn"), data=[sys.argv[1]])
# Of this program alone: what the resource module says starts from the memory of the process that started it.
held = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(json.dumps({"n": found.data[0].n, "peak": 1024 * int(held[1])}))
"""


def pictures(count: int) -> Iterator[tuple[int, bytes]]:
    """A label and a JPEG file of some 20 kB, each with noise of its own."""
    rng = np.random.default_rng(0)
    for row in range(count):
        small = rng.integers(0, 256, (SIZE // 4, SIZE // 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((SIZE, SIZE)).save(file, "JPEG", quality=90)
        yield row % len(NAMES), file.getvalue()


def write(kind: str, folder: Path, count: int) -> str:
    """A source of this format; returns how it is named."""
    if kind == "folders":
        return _folders(folder, count)
    if kind == "wds":
        return _shards(folder, count)
    # Here, as only the child's memory counts but time does too.
    import datasets

    def rows() -> Iterator[dict[str, object]]:
        for label, content in pictures(count):
            yield {"image": {"bytes": content, "path": None}, "label": label}

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    table = datasets.Dataset.from_generator(rows, features=features, cache_dir=str(folder / "cache"))
    if kind == "saved":
        table.save_to_disk(folder / "saved")
        return str(folder / "saved")
    table.to_parquet(folder / "all.parquet")
    return str(folder / "all.parquet")


def _folders(folder: Path, count: int) -> str:
    for name in NAMES:
        (folder / "classes" / name).mkdir(parents=True)
    for row, (label, content) in enumerate(pictures(count)):
        (folder / "classes" / NAMES[label] / f"{row}.jpg").write_bytes(content)
    return str(folder / "classes")


def _shards(folder: Path, count: int) -> str:
    (folder / "test").mkdir()
    (folder / "test" / "nshards.txt").write_text("1\n")
    (folder / "classnames.txt").write_text("\n".join(NAMES) + "\n")
    with tarfile.open(folder / "test" / "0.tar", "w") as tar:
        for row, (label, content) in enumerate(pictures(count)):
            for name, stored in ((f"{row:06d}.jpg", content), (f"{row:06d}.cls", str(label).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(stored)
                tar.addfile(entry, io.BytesIO(stored))
    return str(folder)


def peak(source: str, count: int) -> int:
    """The peak of a process that measures on a source, in bytes."""
    done = subprocess.run([sys.executable, "-c", CHILD, source], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if found["n"] != count:
        raise ValueError(f"{found['n']} of {count} images were measured")
    return int(found["peak"])


def main() -> None:
    """Prints the peaks in MiB and, a format a line, the ratio of the last to the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    flat = True
    for kind in parser.parse_args().formats:
        peaks = []
        for count in COUNTS:
            folder = Path(tempfile.mkdtemp())
            try:
                peaks.append(peak(write(kind, folder, count), count))
            finally:
                shutil.rmtree(folder)
        shown = ", ".join(f"{count} images {size / 2**20:.0f} MiB" for count, size in zip(COUNTS, peaks, strict=True))
        print(f"{kind}: {shown}; ratio: {peaks[-1] / peaks[0]:.3f}", flush=True)
        flat = flat and peaks[-1] <= BOUND * peaks[0]
    sys.exit(not flat)


if __name__ == "__main__":
    main()
