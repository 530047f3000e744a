"""Published templates by data set, for ``--template NAME``.

ImageNet's are open_clip's own lists. The others are the prompts that the authors of CLIP evaluated these data sets with
(github.com/openai/CLIP, ``data/prompts.md``, MIT licence), and that CLIP_benchmark uses too; here spelt by their parts.
Those of data sets that come as CoOp's splits alone are CoOp's (github.com/KaiyangZhou/CoOp, ``trainers/zsclip.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

_CIFAR = tuple(
    f"a {kind}photo of {article}{{}}."
    for article in ("a ", "the ")
    for kind in ("", "blurry ", "black and white ", "low contrast ", "high contrast ", "bad ", "good ")
) + tuple(f"a photo of {article}{{}}." for article in ("a small ", "a big ", "the small ", "the big "))
_CARS = tuple(f"a photo of {whose} {{}}." for whose in ("a", "the", "my", "my dirty", "my clean", "my new", "my old"))
_DEPICTED = ("photo", "painting", "sculpture", "sketch", "tattoo", "rendition", "drawing", "doodle")
_MADE = ("plastic", "toy", "embroidered", "cartoon", "plushie", "origami")
_CALTECH = tuple(
    template
    for article in ("a", "the")
    for template in (
        *(f"a {what} of {article} {{}}." for what in _DEPICTED),
        *(f"{article} {how} {{}}." for how in _MADE),
        f"{article} {{}} in a video game.",
        f"art of {article} {{}}.",
        f"graffiti of {article} {{}}.",
    )
)

PUBLISHED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cifar10": _CIFAR,
        "cifar100": _CIFAR,
        "stl10": ("a photo of a {}.", "a photo of the {}."),
        "food101": ("a photo of {}, a type of food.",),
        "pets": ("a photo of a {}, a type of pet.",),
        "flowers": ("a photo of a {}, a type of flower.",),
        "cars": (*_CARS, "i love my {}!"),
        "caltech101": _CALTECH,
        "aircraft": ("a photo of a {}, a type of aircraft.",),
        "dtd": ("{} texture.",),
        "eurosat": ("a centered satellite photo of {}.",),
        "sun397": ("a photo of a {}.",),
        "ucf101": ("a photo of a person doing {}.",),
    }
)
IMAGENET: Mapping[str, str] = MappingProxyType(
    {"imagenet": "OPENAI_IMAGENET_TEMPLATES", "imagenet-simple": "SIMPLE_IMAGENET_TEMPLATES"}
)
"""The names of open_clip's lists: the ensemble of 80, and the 7 that do nearly as well."""


def published(name: str) -> tuple[str, ...] | None:
    """The templates of a data set, with ``{}`` for the class name; None where none of that name are known."""
    if name not in IMAGENET:
        return PUBLISHED.get(name)
    # Here, because open_clip takes seconds to import.
    from open_clip import zero_shot_metadata

    filled: Sequence[Callable[[str], str]] = getattr(zero_shot_metadata, IMAGENET[name])
    return tuple(fill("{}") for fill in filled)
