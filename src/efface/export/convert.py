"""A model in the other format, with the largest difference that this makes to its logits."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from efface import backends
from efface.backends.base import LoadedCLIP, digest
from efface.encoding import finite
from efface.errors import InputError
from efface.export.place import CARD, check_format, check_new
from efface.export.to_open_clip import write_open_clip
from efface.export.to_transformers import write_transformers
from efface.functional.similarity import zero_shot_logits
from efface.report.card import license_of, render_export_card
from efface.whole import written_whole

LOGITS = 0.01
"""The largest difference of a logit that is let pass: at CLIP's scale of 100, cosines 0.0001 apart."""
LEVELS = 4.0
"""The largest difference of a prepared pixel that is let pass, in levels of 255: the libraries resize differently."""
IMAGES = 4
# Capitals, punctuation, a text that is cut off, none.
TEXTS = (
    "a photo of a cat.",
    "A photo of the Golden Retriever!",
    "an illustration of a grand piano, in red",
    "two dogs; one fox",
    " ".join(f"{number} cats" for number in range(60)),
    "",
)
CLASS_NAMES = "classnames.txt"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how far it is from what was given.

    Attributes:
        model: as it was named.
        came: the format that it came in.
        to: the format that it was written in.
        folder: where.
        largest_logit_difference: of logits of fixed images and texts, between both models with their own tokenizers.
        allowed_logit_difference: above it nothing is left.
        largest_pixel_difference: of two fixed pictures, prepared by both, in levels of 255.
        allowed_pixel_difference: above it nothing is left.
        weights: the digest of what was written.
    """

    model: str
    came: str
    to: str
    folder: str
    largest_logit_difference: float
    allowed_logit_difference: float
    largest_pixel_difference: float
    allowed_pixel_difference: float
    weights: str

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def convert(clip: LoadedCLIP, to: str, out: str | Path) -> Exported:
    """Writes a model in the format of another library, or once more in its own.

    Args:
        clip: the model.
        to: ``transformers`` or ``open_clip``.
        out: the folder, which must not exist.

    Returns:
        What was written, and how far its logits are from those of ``clip``.

    Raises:
        InputError: If the folder exists, the model does not exist in that format, or what was written there would
            answer otherwise than ``clip`` by more than :data:`LOGITS`.
    """
    folder = Path(out)
    check_format(to)
    check_new(folder, hint="choose another folder")
    with written_whole(folder) as partial:
        partial.mkdir()
        if to == clip.library:
            backends.save(clip, partial)
        elif to == "open_clip":
            write_open_clip(clip, partial)
        else:
            write_transformers(clip, partial)
        names = None if clip.folder is None else clip.folder / CLASS_NAMES
        if names is not None and names.is_file():
            shutil.copyfile(names, partial / CLASS_NAMES)
        (partial / CARD).write_text(render_export_card(clip.source, to, license_of(clip.card)), encoding="utf-8")
        written = backends.load(partial)
        exported = Exported(
            model=clip.source,
            came=clip.library,
            to=to,
            folder=str(folder),
            largest_logit_difference=_difference(fixed_logits(clip), fixed_logits(written)),
            allowed_logit_difference=LOGITS,
            largest_pixel_difference=_difference(_pixels(clip), _pixels(written)),
            allowed_pixel_difference=LEVELS,
            weights=digest(written.stored_state()),
        )
        _check(exported)
    return exported


@torch.no_grad()
def fixed_logits(clip: LoadedCLIP) -> Float[Tensor, "images texts"]:
    """The logits of images and texts that are always the same, less any bias; the model's own tokenizer reads them."""
    pixels = clip.encoder.pixels
    shape = (IMAGES, 3, pixels.height, pixels.width)
    images = pixels.normalize(torch.rand(shape, generator=torch.Generator().manual_seed(0)))
    device = clip.encoder.device
    features = finite(clip.encoder.encode_image(images.to(device)), "image")
    texts = finite(clip.encoder.encode_text(clip.tokenize(TEXTS).to(device)), "text")
    if clip.encoder.logit_scale.ndim:
        raise InputError(
            f"the logit scale of {clip.source} is no scalar but of shape {tuple(clip.encoder.logit_scale.shape)}",
            hint="leave the model in the format that it has",
        )
    return zero_shot_logits(features, texts, clip.encoder.logit_scale).cpu()


def _pixels(clip: LoadedCLIP) -> Float[Tensor, "2 3 height width"]:
    """Two fixed pictures as the model's preprocessing makes them, in levels of 255: one smooth, one with edges.

    Filters that resize differ at edges alone.
    """
    pixels = clip.encoder.pixels
    # No noise, which no photo is: resized, its pixels would differ more than any picture's. And not the model's size a
    # whole number of times, at which libraries round alike.
    ramp = Image.linear_gradient("L").resize((int(2.7 * pixels.width), int(1.9 * pixels.height)))
    channels = (ramp, ramp.transpose(Image.Transpose.ROTATE_180), Image.radial_gradient("L").resize(ramp.size))
    levels = torch.randint(256, (12 * 12 * 3,), generator=torch.Generator().manual_seed(0))
    blocks = Image.frombytes("RGB", (12, 12), bytes(levels.tolist())).resize(ramp.size, Image.Resampling.NEAREST)
    return 255 * pixels.denormalize(torch.stack([clip.preprocess(i) for i in (Image.merge("RGB", channels), blocks)]))


def _difference(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


def _check(exported: Exported) -> None:
    found = [
        ("a logit", exported.largest_logit_difference, exported.allowed_logit_difference, ""),
        ("a prepared pixel", exported.largest_pixel_difference, exported.allowed_pixel_difference, " of 255"),
    ]
    for what, difference, allowed, unit in found:
        if not difference <= allowed:  # not a number is refused too
            raise InputError(
                f"in the format of {exported.to}, {what} of {exported.model} would differ by {difference:.3g}{unit}, "
                f"and {allowed:g}{unit} is allowed; nothing was left",
                hint=f"the model as it is loads in {exported.came}",
            )
