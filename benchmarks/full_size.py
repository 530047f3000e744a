"""What the default of ``lip`` costs on a model of full size: a few steps of each part, and what the whole job comes to.

    python -m benchmarks.full_size [--model ViT-B-32] [--device cpu] [--precision float32] [--steps 21]

Weights are random: nothing is forgotten, the operations are the same. Each part is run for a few steps after one that
is not counted, and multiplied by how often the defaults ask for it; reading a checkpoint and measuring are left out.
The share is of this machine's rate for products of large matrices, measured in the same run; operations are counted by
torch's FlopCounterMode, twice the forward pass for a backward pass to what is trained or climbed.
"""

import argparse
import platform
import time
from collections.abc import Callable

import open_clip
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from efface.backends.open_clip import OpenCLIPEncoder
from efface.cut import CutTower
from efface.functional.handover import distance_loss
from efface.functional.leaves import dead_leaves
from efface.methods.base import only_trainable
from efface.methods.reassign import Reassign
from efface.report.environment import peak_memory_bytes
from efface.synthesis.batch import BatchAscent
from efface.types import ClassFeatures, PixelSpace, Silent

MATRIX = 4096
CLASSES = 1000


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds, those of the device's queue included."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second in a product of two large square matrices: the best of five."""
    a = torch.randn(MATRIX, MATRIX, device=device, dtype=dtype)
    return 2 * MATRIX**3 / min(timed(lambda: a @ a, device) for _ in range(5))


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations; with gradients, as attention without them runs in one piece that is not counted."""
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        work()
    return int(counter.get_total_flops())


def random_encoder(name: str, device: torch.device, precision: torch.dtype) -> OpenCLIPEncoder:
    """A model of open_clip's, with random weights."""
    model = open_clip.create_model(name).eval().to(device)
    height, width = model.visual.preprocess_cfg["size"]
    pixels = PixelSpace((0.48, 0.46, 0.41), (0.27, 0.26, 0.28), height, width)
    return OpenCLIPEncoder(model, pixels, precision)


def climbing(encoder: OpenCLIPEncoder, classes: ClassFeatures, steps: int, rng: torch.Generator) -> float:
    """Seconds of an image and step of the synthesis."""
    count = BatchAscent().batch_size
    targets = torch.zeros(count, dtype=torch.int64, device=encoder.device)

    def climb(steps: int) -> None:
        settings = BatchAscent(steps=steps, iterations=steps)
        settings.for_targets(encoder, classes, targets, rng=rng, reporter=Silent(), must_pass=False)

    climb(1)
    return timed(lambda: climb(steps), encoder.device) / steps / count


def training(tower: CutTower, starts: torch.Tensor, wanted: torch.Tensor, steps: int) -> float:
    """Seconds of an image and step of the training."""
    with only_trainable(tower.model.module, tower.groups()) as weights:
        optimizer = torch.optim.AdamW(weights, lr=1e-5)

        def train(steps: int) -> None:
            for _ in range(steps):
                optimizer.zero_grad()
                torch.autograd.backward(distance_loss(tower.features(starts), wanted))
                optimizer.step()

        train(1)
        return timed(lambda: train(steps), tower.model.device) / steps / len(starts)


def main() -> None:
    """Measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=21, help="of the synthesis; of the training a seventh")
    args = parser.parse_args()
    device, precision = torch.device(args.device), getattr(torch, args.precision)
    encoder, method = random_encoder(args.model, device, precision), Reassign()
    rate, rng = matrix_rate(device, precision), torch.Generator(device=device).manual_seed(0)
    images = encoder.pixels.normalize(dead_leaves(64, encoder.pixels.height, encoder.pixels.width, rng=rng))
    tower, rows = CutTower(encoder, method.blocks), method.batch_size + method.guard_batch_size
    starts = tower.activations(images[:2])
    dim = encoder.encode_image(images[:1]).shape[1]
    forward = operations(lambda: encoder.encode_image(images[:1]))
    # The trunk runs on one empty image, whatever the tail is handed.
    tail = operations(lambda: tower.features(starts)) - forward
    classes, wanted = (F.normalize(torch.randn(n, dim, device=device), dim=1) for n in (CLASSES, rows))
    climbs = climbing(encoder, classes, args.steps, rng)
    encodes = timed(lambda: tower.activations(images), device) / len(images)
    trains = training(tower, starts[:1].expand(rows, *starts.shape[1:]).clone(), wanted, max(1, args.steps // 7))
    made = method.images + method.guard_images
    pool = (made + method.leaves) * (1 + method.copies)
    parts = {
        "synthesis, an image and step": (climbs, 3 * forward, made * BatchAscent().steps),
        "encoding, an image": (encodes, forward - tail, pool),
        "training, an image and step": (trains, 3 * tail, rows * method.steps),
    }
    versions = f"{args.device}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{args.model}, {args.precision}, random weights; {versions}; matrix product {rate / 1e9:.0f} GFLOP/s\n")
    print("| part | ms | of the matrix product's rate | how often | minutes |\n|---|--:|--:|--:|--:|")
    for name, (seconds, count, often) in parts.items():
        share = count / seconds / rate
        print(f"| {name} | {1e3 * seconds:.2f} | {share:.0%} | {often:,} | {seconds * often / 60:.1f} |")
    total = sum(seconds * often for seconds, _, often in parts.values()) / 60
    print(f"\nthe whole job: {total:.1f} minutes; {peak_memory_bytes(device) / 2**30:.1f} GiB at most so far")


if __name__ == "__main__":
    main()
