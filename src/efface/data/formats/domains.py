"""Folders of domains with the same class folders in each: PACS, DomainNet, Office-Home and their like.

``domain/class/image``. The domain is a column, so that ``--where domain=sketch`` keeps one of them.
"""

import torch

from efface.data.formats import Given
from efface.data.formats.folders import classes_in, read_class_folders
from efface.data.images import Joined, Stored
from efface.errors import InputError


def read(given: Given) -> Stored:
    """The images of all domains, one domain after the other, with the column ``domain``.

    The label set is that of all domains together; underscores in names of folders stand for spaces in class names.

    Raises:
        InputError: If a folder holds no image.
    """
    domains = classes_in(given.path)
    parts = [read_class_folders(domain) for domain in domains if classes_in(domain)]
    if len(parts) < len(domains) or not parts:
        raise InputError(f"{given.source!r} is not of the form domain/class/image", hint="see docs/data.md")
    names = tuple(sorted({name.replace("_", " ") for part in parts for name in part.class_names or ()}))
    labels = []
    for part in parts:
        own = torch.tensor([names.index(name.replace("_", " ")) for name in part.class_names or ()])
        labels.append(own[part.labels])
    return Stored(
        rows=Joined(tuple(part.rows for part in parts)),
        labels=torch.cat(labels),
        class_names=names,
        digests={
            f"{domain.name}/{name}": digest
            for domain, part in zip(domains, parts, strict=True)
            for name, digest in part.digests.items()
        },
        columns={"domain": [d.name for d, part in zip(domains, parts, strict=True) for _ in part.labels]},
        home=given.path,
    )
