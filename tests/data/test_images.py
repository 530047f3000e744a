"""Decoding, and handing out in batches."""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from efface.data.formats.folders import ImageFiles
from efface.data.images import BadImages, Chosen, Encoded, Joined, Pixels, StoredImages, decode
from efface.errors import InputError
from efface.types import LabelledImages, TensorImages


@dataclass(frozen=True)
class Bytes:
    """Encoded images in memory."""

    contents: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, row: int) -> Encoded:
        return Encoded(f"row {row} of 'here'", self.contents[row])


def _to_tensor(image: Image.Image) -> Pixels:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def _bytes(image: Image.Image, kind: str = "PNG", exif: Image.Exif | None = None) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({} if exif is None else {"exif": exif}))
    return file.getvalue()


def _decoded(content: bytes) -> Image.Image:
    return decode(Encoded("it", content))


def _gray(n: int, *, broken: tuple[int, ...] = (), workers: int = 0, skipped: BadImages | None = None) -> StoredImages:
    """The image in row ``i`` has the gray value ``i``; its label is the remainder by 3."""
    contents = (b"broken" if i in broken else _bytes(Image.new("L", (2, 2), i)) for i in range(n))
    return StoredImages(Bytes(tuple(contents)), torch.arange(n) % 3, _to_tensor, workers, skipped)


def _rows(images: StoredImages, size: int, seed: int | None = None) -> list[list[int]]:
    """The row of each image that came, by its gray value; labels are checked on the way."""
    rng = None if seed is None else torch.Generator().manual_seed(seed)
    batches = []
    for pixels, labels in images.batches(size, rng=rng):
        rows = (pixels[:, 0, 0, 0] * 255).round().long()
        assert labels.dtype == torch.int64
        assert labels.tolist() == (rows % 3).tolist()
        batches.append(rows.tolist())
    return batches


def test_stored_images_are_labelled_images() -> None:
    images: LabelledImages = _gray(4)
    assert len(images) == 4
    assert images.labels.tolist() == [0, 1, 2, 0]


def test_images_come_in_stored_order_without_a_generator() -> None:
    assert _rows(_gray(7), 3) == [[0, 1, 2], [3, 4, 5], [6]]


@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 2**31))
def test_every_image_comes_once(n: int, size: int, seed: int) -> None:
    batches = _rows(_gray(n), size, seed)
    assert sorted(row for batch in batches for row in batch) == list(range(n))
    assert all(len(batch) == size for batch in batches[:-1])


def test_the_seed_decides_the_order() -> None:
    images = _gray(20)
    assert _rows(images, 6, seed=1) == _rows(images, 6, seed=1) != _rows(images, 6, seed=2)


def test_a_generator_goes_on_to_another_order() -> None:
    images, rng = _gray(20), torch.Generator().manual_seed(0)
    first, second = (torch.cat([batch for batch, _ in images.batches(6, rng=rng)]) for _ in range(2))
    assert not first.equal(second)


def test_the_order_is_that_of_images_in_memory() -> None:
    images = _gray(20)
    held = TensorImages(torch.cat([batch for batch, _ in images.batches(20)]), images.labels)
    for (ours, _), (theirs, _) in zip(
        images.batches(6, rng=torch.Generator().manual_seed(3)),
        held.batches(6, rng=torch.Generator().manual_seed(3)),
        strict=True,
    ):
        assert ours.equal(theirs)


def test_torchs_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    _rows(_gray(3), 2, seed=0)
    assert torch.get_rng_state().equal(before)


def test_workers_change_neither_order_nor_images() -> None:
    assert _rows(_gray(11, workers=2), 3, seed=5) == _rows(_gray(11), 3, seed=5)


def test_a_broken_image_is_named_when_its_batch_comes_and_not_before() -> None:
    batches = _gray(9, broken=(7,)).batches(3)
    assert [len(next(batches)[1]) for _ in range(2)] == [3, 3]
    with pytest.raises(
        InputError, match=r"^row 7 of 'here' cannot be decoded: its bytes are no image format"
    ) as caught:
        next(batches)
    assert caught.value.hint == "open it in an image viewer; then replace it or take it out of the data"


def test_a_broken_image_is_named_from_a_worker_too() -> None:
    batches = _gray(6, broken=(4, 5), workers=1).batches(3)
    next(batches)
    with pytest.raises(InputError, match=r"^row 4 of 'here' cannot be decoded") as caught:
        next(batches)
    assert "replace it" in caught.value.hint


@given(st.sets(st.integers(0, 8)), st.integers(1, 10), st.none() | st.integers(0, 2**31))
def test_skipped_images_are_named_and_all_others_come_once(broken: set[int], size: int, seed: int | None) -> None:
    skipped = BadImages()
    batches = _rows(_gray(9, broken=tuple(broken), skipped=skipped), size, seed)
    assert sorted(row for batch in batches for row in batch) == sorted(set(range(9)) - broken)
    assert all(batches)
    assert set(skipped.reasons) == broken
    for row, reason in skipped.reasons.items():
        assert reason.startswith(f"row {row} of 'here' cannot be decoded: its bytes are no image")


def test_a_worker_names_what_it_skipped_and_twice_is_once() -> None:
    skipped = BadImages()
    images = _gray(7, broken=(1, 5), workers=2, skipped=skipped)
    assert _rows(images, 3) == _rows(images, 3) == [[0, 2], [3, 4], [6]]
    assert list(skipped.reasons) == [1, 5]


def test_a_file_that_stands_in_two_rows_counts_as_two_images(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"broken")
    skipped = BadImages()
    rows = ImageFiles(tmp_path, ("bad.png", "bad.png"))
    images = StoredImages(rows, torch.zeros(2, dtype=torch.int64), _to_tensor, skipped=skipped)
    assert list(images.batches(2)) == []
    assert list(skipped.reasons) == [0, 1]


def test_what_preprocess_raises_is_left_as_it_is() -> None:
    def refuse(_: Image.Image) -> Pixels:
        raise ZeroDivisionError("mine")

    images = StoredImages(Bytes((_bytes(Image.new("L", (1, 1))),)), torch.zeros(1, dtype=torch.int64), refuse)
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(images.batches(1))


def test_a_batch_of_no_images_is_refused() -> None:
    with pytest.raises(ValueError, match="zero"):
        next(_gray(2).batches(0))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay_so_from_every_mode(mode: str, value: int) -> None:
    image = Image.new("RGB", (3, 2), (value,) * 3).convert(mode)
    decoded = _decoded(_bytes(image, "TIFF" if mode == "CMYK" else "PNG"))
    assert (decoded.mode, decoded.size, decoded.getpixel((0, 0))) == ("RGB", (3, 2), (value,) * 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("deep", "shallow"), [(0, 0), (128 * 257, 128), (65535, 255)])
def test_sixteen_bits_become_their_upper_eight(kind: str, deep: int, shallow: int) -> None:
    image = Image.fromarray(np.full((2, 2), deep, dtype=np.uint16))
    assert _decoded(_bytes(image, kind)).getpixel((0, 0)) == (shallow,) * 3


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_several_channels_become_their_upper_eight(kind: int, channels: int) -> None:
    # Pillow writes no such PNG, so by hand: one pixel, of color, of gray and alpha, of color and alpha.
    header = struct.pack(">IIBBBBB", 1, 1, 16, kind, 0, 0, 0)
    pixel = zlib.compress(b"\0" + struct.pack(">H", 128 * 257) * channels)
    chunks = (b"IHDR", header), (b"IDAT", pixel), (b"IEND", b"")
    content = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)
    assert _decoded(content).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(("color", "seen"), [("black", 0), ("white", 255)])
def test_the_inks_of_a_jpeg_are_not_inverted(color: str, seen: int) -> None:
    decoded = _decoded(_bytes(Image.new("RGB", (8, 8), color).convert("CMYK"), "JPEG"))
    assert decoded.getpixel((3, 3)) == (seen,) * 3


def test_what_is_transparent_keeps_the_color_under_it() -> None:
    assert _decoded(_bytes(Image.new("RGBA", (2, 2), (10, 200, 30, 0)))).getpixel((0, 0)) == (10, 200, 30)


def test_a_palette_with_transparency_keeps_its_colors() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=b"\x00\x80")
    assert _decoded(file.getvalue()).getpixel((0, 0)) == (10, 200, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_with_an_ending_of_its_own_is_decoded(kind: str) -> None:
    assert _decoded(_bytes(Image.new("RGB", (5, 4)), kind)).size == (5, 4)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (2, 2), color) for color in ("black", "white")]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    assert _decoded(file.getvalue()).getpixel((0, 0)) == (0, 0, 0)


UPRIGHT = {1: "ABCD", 2: "BADC", 3: "DCBA", 4: "CDAB", 5: "ACBD", 6: "CADB", 7: "DBCA", 8: "BDAC"}
"""What row after row of a 2 x 2 image stored as AB over CD shows, by its EXIF orientation."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_is_turned_upright(kind: str, orientation: int) -> None:
    # Squares of 16 pixels, which survive JPEG: their corners have the grays 0, 64, 128 and 192.
    stored = np.kron(np.array([[0, 64], [128, 192]], dtype=np.uint8), np.ones((16, 16), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.asarray(_decoded(_bytes(Image.fromarray(stored).convert("RGB"), kind, exif)))[8::16, 8::16, 0]
    assert "".join("ABCD"[round(gray / 64)] for gray in upright.ravel().tolist()) == UPRIGHT[orientation]


def test_the_pixels_survive_exif_data_that_cannot_be_read() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _bytes(Image.new("RGB", (4, 2), "white"), "JPEG", exif)
    assert content.count(b"Exif\0\0MM") + content.count(b"Exif\0\0II") == 1
    for broken in (b"Exif\0\0XX", b"Exif\0\0MM\xff\xff\xff\xff"):
        at = content.index(b"Exif\0\0")
        assert _decoded(content[:at] + broken + content[at + len(broken) :]).getpixel((0, 0)) == (255, 255, 255)


FILES = [
    _bytes(Image.effect_noise((24, 16), 60).convert(mode), kind)
    for kind, mode in (("JPEG", "RGB"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGB"), ("TIFF", "RGB"), ("BMP", "L"))
]


@settings(max_examples=300)
@given(st.sampled_from(FILES), st.data())
def test_whatever_is_broken_in_a_file_it_is_decoded_or_refused(content: bytes, data: st.DataObject) -> None:
    broken = bytearray(content[: data.draw(st.integers(1, len(content)))])
    for place in data.draw(st.lists(st.integers(0, len(broken) - 1), max_size=6)):
        broken[place] = data.draw(st.integers(0, 255))
    with suppress(InputError):  # and nothing else
        assert _decoded(bytes(broken)).mode == "RGB"


def test_a_file_decodes_as_its_bytes_do(tmp_path: Path) -> None:
    content = _bytes(Image.new("RGB", (2, 2), (1, 2, 3)))
    (tmp_path / "a.png").write_bytes(content)
    assert decode(Encoded("it", tmp_path / "a.png")).tobytes() == _decoded(content).tobytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda _: None, "there are neither bytes nor a path"),
        (lambda _: b"", "its bytes are no image format that Pillow knows"),
        (lambda _: _bytes(Image.effect_noise((64, 64), 50), "JPEG")[:1500], "truncated"),
        (lambda _: _bytes(Image.effect_noise((64, 64), 50))[:2000], "truncated"),
        (lambda _: _bytes(Image.effect_noise((64, 64), 50), "GIF")[:900], "truncated"),
        (lambda _: _bytes(Image.effect_noise((64, 64), 50).convert("RGB"), "WEBP")[:900], ""),
        (lambda folder: folder / "none.png", "No such file"),
        (lambda folder: folder, "Is a directory"),
    ],
)
def test_what_cannot_be_decoded_is_named_with_the_reason(
    tmp_path: Path, content: Callable[[Path], bytes | Path | None], reason: str
) -> None:
    with pytest.raises(InputError, match=rf"^row 3 cannot be decoded: .*{reason}"):
        decode(Encoded("row 3", content(tmp_path)))


def test_an_image_beyond_pillows_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"it cannot be decoded: .*exceeds limit"):
        _decoded(_bytes(Image.new("L", (10, 10))))


def test_a_large_image_below_twice_the_limit_is_decoded_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert _decoded(_bytes(Image.new("L", (10, 10)))).size == (10, 10)


def test_plain_pixels_are_images_too() -> None:
    assert decode(Encoded("it", Image.new("L", (3, 2), 7))).getpixel((0, 0)) == (7, 7, 7)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data())
def test_joined_and_chosen_rows_are_those_of_their_sources(sizes: list[int], data: st.DataObject) -> None:
    contents = [tuple(f"{part}.{row}".encode() for row in range(size)) for part, size in enumerate(sizes)]
    joined = Joined(tuple(Bytes(content) for content in contents))
    flat = [content for part in contents for content in part]
    assert [joined[row].content for row in range(len(joined))] == flat
    if flat:
        chosen = Chosen(joined, tuple(data.draw(st.lists(st.integers(0, len(flat) - 1), max_size=5))))
        assert [chosen[row].content for row in range(len(chosen))] == [flat[row] for row in chosen.chosen]
