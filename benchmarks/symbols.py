"""How fast images of the embedded world are composed: OMP_NUM_THREADS=1 python benchmarks/symbols.py.

On one core, beside what a data set of files would cost at the least: decoding the same images from PNG in memory.
"""

import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from efface.data.symbols import CHUNK, drawn
from efface.symbols.splits import scenes

IMAGES = 4096
REPEATS = 5


def best(work: Callable[[], object]) -> float:
    """The shortest of some runs, in seconds."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def encoded(pixels: np.ndarray) -> bytes:
    """An image as PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def main() -> None:
    """Prints both rates and their ratio."""
    chosen = scenes("train").take(slice(0, IMAGES))
    files = [encoded(pixels) for pixels in drawn(chosen)]
    composing = IMAGES / best(lambda: drawn(chosen))
    decoding = IMAGES / best(lambda: [np.asarray(Image.open(io.BytesIO(file))) for file in files])
    print(f"composing, {CHUNK} at a time: {composing:.0f} images/s")
    print(f"decoding PNG: {decoding:.0f} images/s")
    print(f"ratio: {composing / decoding:.2f}")


if __name__ == "__main__":
    main()
