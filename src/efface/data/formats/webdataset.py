"""Tar shards as CLIP_benchmark lays them out, read at random and not only in sequence.

``classnames.txt``, then for each split a folder with ``nshards.txt`` and ``0.tar``, ``1.tar``, ... in which an image
``s0000001.webp`` stands beside its label ``s0000001.cls``.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path

from efface.data.decoding import Encoded
from efface.data.files import lines_of, must_exist, sha256_of
from efface.data.formats import Given
from efface.data.images import Stored, labels_of
from efface.errors import InputError, offer

SHARDS = "nshards.txt"
KINDS = ("webp", "png", "jpg", "jpeg")
"""Endings of images; the first that a sample has counts."""
LABEL = "cls"
CHUNK = 2**20
"""Bytes that are read at a time behind the end of an archive."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where the bytes of a file stand in a shard."""

    shard: Path
    key: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, slots=True)
class TarImages:
    """Images in shards, by row."""

    members: tuple[Member, ...]

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, row: int) -> Encoded:
        member = self.members[row]
        return Encoded(f"the image {member.key!r} in {str(member.shard)!r}", member.read())


def splits_in(folder: Path) -> list[str]:
    """The splits that a folder of this layout holds; none where it is of another."""
    return sorted(path.parent.name for path in folder.glob(f"*/{SHARDS}"))


def read(given: Given) -> Stored:
    """The images and labels of a split, ``test`` where none is named; shard after shard, in the order that they lie in.

    Raises:
        InputError: If the layout is another, a shard is missing or broken, or a sample has no image or label.
    """
    split = given.options.get("split", "test")
    splits = splits_in(given.path)
    if split not in splits:
        raise InputError(f"{given.source!r} has no split {split!r}", hint=offer(split, splits))
    kind = given.path / "dataset_type.txt"
    if kind.is_file() and "".join(lines_of(kind)) not in ("", "classification"):
        raise InputError(f"{given.source!r} is for {lines_of(kind)[0]}", hint="give one with a class an image")
    samples = [sample for shard in _shards(given.path / split) for sample in _samples(shard)]
    if not samples:
        raise InputError(f"{given.source!r} holds no image", hint="give a split with images")
    return Stored(
        rows=TarImages(tuple(image for image, _ in samples)),
        labels=labels_of([label for _, label in samples], given.source),
        class_names=None,
        digests={f"{split}/{shard.name}": sha256_of(shard) for shard in _shards(given.path / split)},
        home=given.path,
    )


def _shards(folder: Path) -> list[Path]:
    said = "".join(lines_of(folder / SHARDS))
    if not said.isdecimal():
        raise InputError(f"{str(folder / SHARDS)!r} says {said!r}", hint="it must say how many shards there are")
    shards = [folder / f"{number}.tar" for number in range(int(said))]
    for shard in shards:
        must_exist(shard, hint=f"{SHARDS} says that there are {said} shards")
    return shards


def _samples(shard: Path) -> list[tuple[Member, int]]:
    found: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(shard, "r:") as file:
            for entry in file:
                # tarfile would keep all of them.
                file.members = []  # type: ignore[attr-defined]
                folder, slash, name = entry.name.rpartition("/")
                stem, _, ending = name.partition(".")
                if entry.isfile() and stem:
                    key = f"{folder}{slash}{stem}"
                    member = Member(shard, key, entry.offset_data, entry.size)
                    _add(found.setdefault(key, {}), ending.lower(), member)
            _check_end(shard, file.offset)
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{str(shard)!r} cannot be read: {error}", hint="copy or write it again") from error
    return [_sample(key, files) for key, files in found.items()]


def _add(files: dict[str, Member], ending: str, member: Member) -> None:
    if ending in files:
        raise InputError(
            f"the sample {member.key!r} in {str(member.shard)!r} has {ending} twice",
            hint="give each sample a key of its own, or write the shard again",
        )
    files[ending] = member


def _check_end(shard: Path, offset: int) -> None:
    """Refuses a shard that tarfile did not read to its end.

    It takes any header that it cannot read for the end, and sees no second archive behind the first.

    Args:
        shard: the tar file.
        offset: where the zeros must begin that an archive ends with.
    """
    with shard.open("rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise InputError(
                f"{str(shard)!r} is cut off or broken: at byte {offset} there is no end of the archive",
                hint="copy or write it again",
            )
        while chunk := file.read(CHUNK):
            if any(chunk):
                raise InputError(
                    f"{str(shard)!r} goes on behind the end of the archive at byte {offset}",
                    hint="of archives that were joined only the first is read: write one, or give each a shard",
                )


def _sample(key: str, files: dict[str, Member]) -> tuple[Member, int]:
    image = next((files[kind] for kind in KINDS if kind in files), None)
    if image is None or LABEL not in files:
        raise InputError(
            f"the sample {key!r} in {str(next(iter(files.values())).shard)!r} has {', '.join(files)}",
            hint=f"it needs an image ({', '.join(KINDS)}) and its label ({LABEL})",
        )
    said = files[LABEL].read().strip()
    if not said.isdigit():
        raise InputError(f"the label of {key!r} in {str(image.shard)!r} is {said!r}", hint="give a whole number")
    return image, int(said)
