"""How fast images of a class are made: the default, many at once, against the published procedure, one at a time.

    python benchmarks/synthesis.py [--model builtin:symbols-vit] [--class umbrella] [--slow-images 64]
    EFFACE_NATURAL=FOLDER python benchmarks/synthesis.py --model tiny-natural-rn --class jellyfish

Same model, class, acceptance test, thresholds and number of images; with ``--slow-images`` fewer of the slow ones are
made, and time is compared an image. Every image is encoded anew by a model that is loaded anew, and must pass the test
at the threshold at which it was accepted. Images are matched with what the trace says of them by their probability:
that of the i-th surest is compared with the i-th largest.

Then the default method of lip works on either set, on as many images of each as there are of both, and is judged on
real ones. Operations are those of one forward pass as torch counts them; a gradient for the input costs another one,
and the published test one more. The last line is the ratio of seconds an image.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from cells import ask, half
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import efface
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.prompts import class_names_from, texts
from efface.data.sources import open_source
from efface.encoding import encode_classes
from efface.functional.ascent import accepted
from efface.functional.metrics import paired_change, wilson_interval
from efface.methods.reassign import Reassign
from efface.request import TEMPLATES
from efface.symbols.catalogue import MEMBERS
from efface.synthesis import preset_synthesizer
from efface.synthesis.ascent import GradientAscent
from efface.synthesis.base import Synthetic
from efface.synthesis.batch import BatchAscent
from efface.types import ClassTokens, DualEncoder, Images, Reporter, Silent, Trace

NATURAL = "tiny-natural-rn"
SIDE = 1024
"""Of the matrices whose product tells what the machine can do: short enough for one to be left alone on a busy one."""
Right = torch.Tensor


@dataclass(frozen=True, slots=True)
class Given:
    """A synthesis that hands out images that are there already."""

    images: Images = field(repr=False)

    def __call__(
        self,
        model: DualEncoder,
        class_tokens: ClassTokens,
        target: int,
        count: int,
        *,
        rng: torch.Generator,
        reporter: Reporter,
    ) -> Synthetic:
        """The first ``count``."""
        del model, class_tokens, target, rng, reporter
        return Synthetic(self.images[:count], Trace((), reached=count <= len(self.images), reason="given"))


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, its classes, and real images of them.

    Attributes:
        source: where the model is.
        clip: the model.
        names: of the classes.
        tokens: their texts.
        data: held-out images.
    """

    source: str
    clip: LoadedCLIP
    names: tuple[str, ...]
    tokens: ClassTokens
    data: EvalData


def subject(model: str) -> Subject:
    """A model that comes with efface, or the natural one; half B of its images."""
    if model != NATURAL:
        clip = efface.load(model)
        data, names = open_source("symbols:test", preprocess=clip.preprocess), MEMBERS
        source = model
    else:
        folder = Path(os.environ["EFFACE_NATURAL"])
        source = f"local-dir:{folder / 'models' / NATURAL}"
        clip = efface.load(source)
        images = folder / "data" / "tiny-imagenet"
        data = half(open_source(str(images / "val.parquet"), preprocess=clip.preprocess), odd=True)
        names = tuple(class_names_from(images / "classnames.txt"))
    return Subject(source, clip, names, clip.class_tokens([texts(TEMPLATES, name) for name in names]), data)


def matmul_rate() -> float:
    """Operations a second of a float32 matrix product, the best of some."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    seconds = []
    for _ in range(40):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return float(2 * SIDE**3 / min(seconds))


@torch.no_grad()
def forward_operations(model: DualEncoder) -> float:
    """Of one image through the image tower."""
    images = torch.zeros(8, 3, model.pixels.height, model.pixels.width)
    # The fused kernels of the CPU are not counted; the plain one does the same products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.encode_image(images)
    return float(counter.get_total_flops()) / len(images)


def made(
    who: Subject, synthesizer: BatchAscent | GradientAscent, target: int, count: int
) -> tuple[Synthetic, float, float]:
    """Images of a class, and the seconds that they took: by the clock, and of the processor."""
    rng = torch.Generator().manual_seed(0)
    started, busy = time.perf_counter(), time.process_time()
    found = synthesizer(who.clip.encoder, who.tokens, target, count, rng=rng, reporter=Silent())
    return found, time.perf_counter() - started, time.process_time() - busy


def total_steps(trace: Trace) -> int:
    """Of all images, those of attempts that failed included."""
    return int(torch.tensor([step["iterations"] for step in trace.steps]).sum())


@torch.no_grad()
def tested(who: Subject, settings: BatchAscent | GradientAscent, found: Synthetic, target: int) -> str:
    """What a model that is loaded anew says of the images."""
    model = efface.load(who.source).encoder
    classes, wanted = encode_classes(model, who.tokens), torch.full((len(found.images),), target)
    cosines = torch.cat([model.encode_image(part) for part in torch.split(found.images, 16)]) @ classes.T
    first, probability = accepted(cosines, wanted, settings.acceptance_scale, 0.0)
    steps = [step for step in found.trace.steps if step["accepted"]]
    recorded, thresholds = (torch.tensor([step[name] for step in steps]) for name in ("probability", "threshold"))
    # Of an image that had all its steps the least is asked.
    thresholds = torch.where(recorded > thresholds, thresholds, settings.threshold_floor)
    surest = recorded.argsort(descending=True, stable=True)
    recorded, thresholds = recorded[surest], thresholds[surest]
    order = probability.argsort(descending=True, stable=True)
    passed = int((first[order] & (probability[order] > thresholds)).sum())
    above = int((probability > settings.threshold).sum())
    return (
        f"encoded anew {passed} of {len(steps)} pass at the threshold they were accepted at ({thresholds.min():.3g} to "
        f"{thresholds.max():.3g}), {above} are above {settings.threshold}; "
        f"probabilities differ by at most {(probability[order] - recorded).abs().max():.1e}"
    )


def forgotten(who: Subject, images: Images, name: str, data: EvalData) -> tuple[Right, str]:
    """Which of the class's real images are right after the default method worked on these images, and that in words."""
    method = replace(Reassign(), images=len(images))
    run = efface.forget(who.clip, name, among=who.names, method=method, synthesizer=Given(images))
    found = ask(who.clip, run.clip, data, data.classes_of([name]))
    of_class = found.labels == data.class_names.index(name)
    right = {pair: rank == 0 for pair, rank in found.ranks.items()}
    changes = [
        "{:.1f} % ({:.1f} to {:.1f})".format(*shared(right[pair][of_class])) for pair in ("before", "both", "image")
    ]
    rest = [100 * v for v in paired_change(right["before"][~of_class], right["both"][~of_class])]
    text = (
        f"right on {int(of_class.sum())} real images {changes[0]} before, {changes[1]} after, {changes[2]} with the "
        f"original text tower; on {int((~of_class).sum())} of other classes {{:+.2f}} points ({{:+.2f}} to {{:+.2f}})"
    )
    return right["both"][of_class], text.format(*rest)


def shared(right: Right) -> Sequence[float]:
    """The share of the right ones, and its Wilson interval, in percent."""
    count, n = int(right.sum()), len(right)
    return [100 * v for v in (count / n, *wilson_interval(count, n))]


def arguments() -> argparse.Namespace:
    """What is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:symbols-vit", help=f"one that comes with efface, or {NATURAL}")
    parser.add_argument("--class", dest="name", default="umbrella")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--slow-images", type=int, default=64)
    return parser.parse_args()


def main() -> None:
    """Prints seconds, tests and what either set is worth."""
    asked = arguments()
    who = subject(asked.model)
    target = who.names.index(asked.name)
    rate, forward = matmul_rate(), forward_operations(who.clip.encoder)
    print(
        f"{asked.model}, {asked.name}; {torch.get_num_threads()} threads, {rate / 1e9:.1f} GFLOP/s in a matrix product "
        f"of side {SIDE}, float32; {forward / 1e6:.1f} MFLOP a forward pass"
    )
    fast, slow = preset_synthesizer("default"), preset_synthesizer("paper")
    if not isinstance(fast, BatchAscent) or not isinstance(slow, GradientAscent):
        raise TypeError("the presets' syntheses are others than those that passes are counted for")
    made(who, fast, target, 1)  # what is loaded on first use is no part of it
    sets: dict[str, Images] = {}
    of_image: dict[str, float] = {}
    kinds = (("default", fast, asked.images, 2), ("one at a time", slow, asked.slow_images, 3))
    for called, synthesizer, count, passes in kinds:
        found, seconds, busy = made(who, synthesizer, target, count)
        sets[called], of_image[called] = found.images, seconds / max(1, len(found.images))
        steps = total_steps(found.trace)
        share = steps * passes * forward / seconds / rate
        print(f"{called}: {seconds:.2f} s ({busy:.2f} s of processor time) for {found.trace.reason}")
        print(f"{called}: {of_image[called]:.4f} s an image")
        print(f"{called}: {steps} steps of an image, {100 * share:.1f} % of the rate of the matrix product")
        print(f"{called}: {tested(who, synthesizer, found, target)}", flush=True)
    n = min(len(images) for images in sets.values())
    rights = {}
    for called, images in sets.items():
        rights[called], said = forgotten(who, images[:n], asked.name, who.data)
        print(f"lip on {n} images, {called}: {said}", flush=True)
    change = [100 * v for v in paired_change(rights["one at a time"], rights["default"])]
    print("default less one at a time: {:+.1f} points ({:+.1f} to {:+.1f})".format(*change))
    print(f"ratio: {of_image['one at a time'] / of_image['default']:.1f}")


if __name__ == "__main__":
    main()
