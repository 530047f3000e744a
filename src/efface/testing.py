"""A CLIP small enough to train while a test starts, and its world: for our own tests and for those of plug-ins.

Its classes are fixed color patterns, its images those patterns with noise; its texts are single tokens. It knows its
classes, so a method that forgets one of them can be told from one that does nothing.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from efface.types import (
    ClassTokens,
    Embeddings,
    Features,
    Images,
    Part,
    PixelSpace,
    Scalar,
    TensorImages,
    Tokens,
    Tower,
    WeightGroup,
)

CLASSES = 6
SIDE = 8
PIXELS = PixelSpace((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), SIDE, SIDE)
PARTS: dict[str, Part] = {
    "image.stem": "stem",
    "image.norm": "stem",
    "image.pool": "pool",
    "image.projection": "projection",
    "text.table": "embedding",
    "text.block": "blocks",
    "text.projection": "projection",
}


class TinyCLIP(nn.Module):
    """Two small towers into 16 dimensions."""

    def __init__(self, *, batch_norm: bool) -> None:
        super().__init__()
        self.image = nn.ModuleDict(
            {
                "stem": nn.Linear(3 * SIDE * SIDE, 32),
                **({"norm": nn.BatchNorm1d(32)} if batch_norm else {}),
                "pool": nn.Linear(32, 32),
                "projection": nn.Linear(32, 16, bias=False),
            }
        )
        self.text = nn.ModuleDict(
            {
                "table": nn.Embedding(CLASSES, 16),
                "block": nn.Linear(16, 16),
                "projection": nn.Linear(16, 16, bias=False),
            }
        )
        self.logit_scale = nn.Parameter(torch.tensor(2.5))


@dataclass(frozen=True, slots=True)
class TinyDualEncoder:
    """A :class:`TinyCLIP` as a :class:`~efface.types.DualEncoder`."""

    module: TinyCLIP
    pixels: PixelSpace = PIXELS
    precision: torch.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return self.module.logit_scale.device

    @property
    def logit_scale(self) -> Scalar:
        """What cosines are multiplied with."""
        return self.module.logit_scale.exp()

    def embed_image(self, images: Images) -> Embeddings:
        """Image embeddings of any length."""
        hidden = images.flatten(1)
        for name, layer in self.module.image.items():
            hidden = layer(hidden)
            if name == "pool":
                hidden = F.gelu(hidden)
        return hidden

    def embed_text(self, tokens: Tokens) -> Embeddings:
        """Text embeddings of any length; a text is its first token."""
        hidden = self.module.text["table"](tokens)[:, 0]
        hidden = hidden + F.gelu(self.module.text["block"](hidden))
        embeddings: Tensor = self.module.text["projection"](hidden)
        return embeddings

    def encode_image(self, images: Images) -> Features:
        """Image embeddings of unit length."""
        return F.normalize(self.embed_image(images), dim=-1)

    def encode_text(self, tokens: Tokens) -> Features:
        """Text embeddings of unit length."""
        return F.normalize(self.embed_text(tokens), dim=-1)

    def weights(self, tower: Tower) -> tuple[WeightGroup, ...]:
        """Every parameter of a tower, each a group of its own."""
        groups = []
        for name, parameter in self.module.named_parameters():
            if name.startswith(f"{tower}."):
                part = PARTS[name.rsplit(".", maxsplit=1)[0]]
                groups.append(WeightGroup(name, part, ".norm." in name, (parameter,)))
        return tuple(groups)

    def image_blocks(self) -> tuple[nn.Module, ...]:
        """The pool and the map before it."""
        return tuple(layer for name, layer in self.module.image.items() if name in {"stem", "pool"})

    @torch.no_grad()
    def fold_image_map_(self, matrix: Float[Tensor, "dim dim"]) -> None:
        """Changes the projection so that each embedding ``f`` becomes ``f @ matrix``."""
        weight = self.module.get_parameter("image.projection.weight")
        weight.copy_(matrix.T.to(weight.dtype) @ weight)


def tiny_patterns() -> Float[Tensor, "classes 3 height width"]:
    """The pixels in [0, 1] that each class is made of."""
    rng = torch.Generator().manual_seed(7)
    coarse = torch.rand((CLASSES, 3, 2, 2), generator=rng)
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="nearest")


def tiny_images(each: int, *, rng: torch.Generator, classes: Iterable[int] = range(CLASSES)) -> TensorImages:
    """``each`` images of every class: its pattern with noise, as model input."""
    wanted = torch.tensor([c for c in classes for _ in range(each)], dtype=torch.int64)
    noise = 0.15 * torch.randn((len(wanted), 3, SIDE, SIDE), generator=rng)
    return TensorImages(PIXELS.normalize((tiny_patterns()[wanted] + noise).clamp(0, 1)), wanted)


def tiny_class_tokens() -> ClassTokens:
    """One text of one token for each class."""
    return torch.arange(CLASSES).view(CLASSES, 1, 1)


def tiny_dual_encoder(*, batch_norm: bool = False, seed: int = 0, steps: int = 80) -> TinyDualEncoder:
    """A trained tiny CLIP in evaluation mode, the same for the same arguments, with weights of its own at each call.

    Training takes a fraction of a second, and is done once for the same arguments.

    Args:
        batch_norm: whether the image tower normalises by batch, as ResNets do.
        seed: of weights and training images; torch's global random state is left as it was.
        steps: of training; 0 leaves the weights random.
    """
    return copy.deepcopy(_trained(batch_norm, seed, steps))


@cache
def _trained(batch_norm: bool, seed: int, steps: int) -> TinyDualEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = TinyCLIP(batch_norm=batch_norm)
    encoder = TinyDualEncoder(module.train())
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(steps):
        data = tiny_images(4, rng=rng)
        classes = encoder.encode_text(tiny_class_tokens()[:, 0])
        logits = encoder.logit_scale * encoder.encode_image(data.images) @ classes.T
        optimizer.zero_grad()
        F.cross_entropy(logits, data.labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    module.zero_grad(set_to_none=True)
    module.eval()
    return encoder
