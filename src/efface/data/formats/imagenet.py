"""ImageNet-1k as it is unpacked: one folder a class, named by its WordNet id, such as ``n01440764``."""

from collections.abc import Collection
from dataclasses import replace

from efface.data.formats import Given
from efface.data.formats.folders import read_class_folders
from efface.data.images import Stored
from efface.data.prompts import imagenet_names
from efface.errors import InputError


def read(given: Given) -> Stored:
    """The images of class folders, with ImageNet-1k's class names instead of ids; those of the folders alone.

    Raises:
        InputError: If a folder is no class of ImageNet-1k, or holds no image.
    """
    stored = read_class_folders(given.path)
    ids = stored.class_names or ()
    named = names_of_ids()
    unknown = [name for name in ids if name not in named]
    if unknown or not ids:
        raise InputError(
            f"{given.source!r}: {', '.join(map(repr, unknown[:3])) or 'no folder'} is no class of ImageNet-1k",
            hint=f"folders:{given.place} takes folders by their own names",
        )
    return replace(stored, class_names=tuple(named[name] for name in ids))


def names_of_ids() -> dict[str, str]:
    """From the WordNet id of each class of ImageNet-1k to its name, in label order."""
    # Here, because it imports torchvision.
    from timm.data import ImageNetInfo

    return dict(zip(ImageNetInfo("imagenet-1k").label_names(), imagenet_names(), strict=True))


def are_ids(names: Collection[str]) -> bool:
    """Whether all names look like WordNet ids, as ``n01440764`` does."""
    return bool(names) and all(len(name) == 9 and name[0] == "n" and name[1:].isdigit() for name in names)
