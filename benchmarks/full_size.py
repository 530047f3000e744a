"""What the default of ``lip`` costs on a model of full size: a few steps of each part, and what the whole job comes to.

    python -m benchmarks.full_size [--model ViT-B-32] [--device cpu] [--precision float32] [--steps 20]

Weights are random: nothing is forgotten, the operations are the same. Each part is run for a few steps after one that
is not counted, and multiplied by how often the defaults ask for it; reading a checkpoint and measuring are left out.
A guard that is lost asks for up to three more edits of the image tower, the second and third of them a block deeper.
The share is of this machine's rate for products of large matrices, measured in the same run; operations are counted by
torch's FlopCounterMode, twice the forward pass for a backward pass to weights, once for one to images or texts alone.
"""

import argparse
import platform
import time
from collections.abc import Callable

import open_clip
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from efface.backends.open_clip import OpenCLIPEncoder
from efface.cut import CutTower
from efface.functional.handover import distance_loss
from efface.functional.leaves import dead_leaves
from efface.methods.base import only_trainable
from efface.methods.pool import HELD
from efface.methods.reassign import Reassign
from efface.methods.unnaming import OF_CLASS, Vectors
from efface.methods.words import table_of
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
    size = model.visual.preprocess_cfg["size"]
    height, width = (size, size) if isinstance(size, int) else size
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


def training(
    weights: list[nn.Parameter], features: Callable[[], torch.Tensor], wanted: torch.Tensor, steps: int
) -> float:
    """Seconds of an image, or text, and step of a training."""
    optimizer = torch.optim.AdamW(weights, lr=1e-5)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(distance_loss(features(), wanted))
            optimizer.step()

    train(1)
    return timed(lambda: train(steps), wanted.device) / steps / len(wanted)


def held(method: Reassign) -> int:
    """Guard images that are held back: they have no copies."""
    return -(-(method.guard_images + method.leaves) // HELD)


def pooled(method: Reassign) -> int:
    """Images that are trained on, and their copies: what the tail starts from is kept of each."""
    return (method.images + method.guard_images + method.leaves - held(method)) * (1 + method.copies)


Part = tuple[float, int, int]
"""Seconds of one, its operations, and how often the defaults ask for it."""


def image_parts(encoder: OpenCLIPEncoder, steps: int, training_steps: int, rng: torch.Generator) -> dict[str, Part]:
    """What is done with images."""
    method, device = Reassign(), encoder.device
    images = encoder.pixels.normalize(dead_leaves(64, encoder.pixels.height, encoder.pixels.width, rng=rng))
    tower, rows = CutTower(encoder, method.blocks), method.batch_size + method.guard_batch_size
    starts = tower.activations(images[:2])
    dim = encoder.encode_image(images[:1]).shape[1]
    forward = operations(lambda: encoder.encode_image(images[:1]))
    # The trunk runs on one empty image, whatever the tail is handed.
    tail = operations(lambda: tower.features(starts)) - forward
    classes, wanted = (F.normalize(torch.randn(n, dim, device=device), dim=1) for n in (CLASSES, rows))
    climbs = climbing(encoder, classes, steps, rng)
    encodes = timed(lambda: tower.activations(images), device) / len(images)
    many = starts[:1].expand(rows, *starts.shape[1:]).clone()
    with only_trainable(encoder.module, tower.groups()) as weights:
        trains = training(weights, lambda: tower.features(many), wanted, training_steps)
    made = method.images + method.guard_images
    return {
        # No gradient of a weight is needed: the way back is as long as the way there.
        "synthesis, an image and step": (climbs, 2 * forward, made * BatchAscent().steps),
        "encoding, an image": (encodes, forward - tail, pooled(method) + held(method)),
        "training, an image and step": (trains, 3 * tail, rows * method.steps),
    }


def text_parts(encoder: OpenCLIPEncoder, tokens: torch.Tensor, training_steps: int) -> dict[str, Part]:
    """What is done with texts: a vector of the table is taught, through the whole tower."""
    method, many = Reassign(), tokens.expand(OF_CLASS, -1)
    forward = operations(lambda: encoder.encode_text(tokens))
    word = int(tokens[0, 1])
    table = table_of(encoder, tokens)
    if table is None:
        raise TypeError("the text tower looks its tokens up in no table")
    values = nn.Parameter(table.weight.detach()[[word]].float())
    vectors = Vectors(encoder, (word,), values)
    wanted = F.normalize(torch.randn(OF_CLASS, encoder.encode_text(tokens).shape[1], device=encoder.device), dim=1)
    with only_trainable(encoder.module, ()):
        trains = training([values], lambda: vectors.features(many), wanted, training_steps)
    # No gradient of a weight is needed: the way back is as long as the way there.
    return {"training, a text and step": (trains, 2 * forward, OF_CLASS * method.text_steps)}


def main() -> None:
    """Measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=20, help="of the synthesis")
    parser.add_argument("--training-steps", type=int, default=3, help="of either tower")
    args = parser.parse_args()
    device, precision = torch.device(args.device), getattr(torch, args.precision)
    encoder = random_encoder(args.model, device, precision)
    rate, rng = matrix_rate(device, precision), torch.Generator(device=device).manual_seed(0)
    tokens = open_clip.get_tokenizer(args.model)(["a photo of a dog."]).to(device)
    parts = image_parts(encoder, args.steps, args.training_steps, rng)
    parts |= text_parts(encoder, tokens, args.training_steps)
    versions = f"{args.device}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{args.model}, {args.precision}, random weights; {versions}; matrix product {rate / 1e9:.0f} GFLOP/s\n")
    print("| part | ms | of the matrix product's rate | how often | minutes |\n|---|--:|--:|--:|--:|")
    for name, (seconds, count, often) in parts.items():
        share = count / seconds / rate
        print(f"| {name} | {1e3 * seconds:.2f} | {share:.0%} | {often:,} | {seconds * often / 60:.1f} |")
    total = sum(seconds * often for seconds, _, often in parts.values()) / 60
    method, tower = Reassign(), CutTower(encoder, Reassign().blocks)
    start = tower.activations(torch.zeros(1, 3, encoder.pixels.height, encoder.pixels.width, device=device))
    pool = pooled(method) * start.nbytes / 2**30
    print(f"\nthe whole job: {total:.1f} minutes; {peak_memory_bytes(device) / 2**30:.1f} GiB at most here, ", end="")
    print(f"without the pool of the whole job, {pool:.1f} GiB, and its images")


if __name__ == "__main__":
    main()
