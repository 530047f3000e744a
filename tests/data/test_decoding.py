"""From bytes to pixels, or to a reason."""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from efface.data.decoding import Encoded, decode, endings
from efface.errors import InputError
from tests.data.pictures import file_of


def _decoded(content: bytes) -> Image.Image:
    return decode(Encoded("it", content))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay_so_from_every_mode(mode: str, value: int) -> None:
    image = Image.new("RGB", (3, 2), (value,) * 3).convert(mode)
    decoded = _decoded(file_of(image, "TIFF" if mode == "CMYK" else "PNG"))
    assert (decoded.mode, decoded.size, decoded.getpixel((0, 0))) == ("RGB", (3, 2), (value,) * 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("deep", "shallow"), [(0, 0), (128 * 257, 128), (65535, 255)])
def test_sixteen_bits_become_their_upper_eight(kind: str, deep: int, shallow: int) -> None:
    image = Image.fromarray(np.full((2, 2), deep, dtype=np.uint16))
    assert _decoded(file_of(image, kind)).getpixel((0, 0)) == (shallow,) * 3


def test_sixteen_bits_of_a_pgm_become_their_upper_eight() -> None:
    # 16 bits, and 12 of them: white is what the header says. Pillow opens both as mode I.
    assert _decoded(b"P5 1 1 65535\n" + struct.pack(">H", 128 * 257)).getpixel((0, 0)) == (128, 128, 128)
    assert _decoded(b"P5 1 1 4095\n" + struct.pack(">H", 4095)).getpixel((0, 0)) == (255, 255, 255)


def _of_numbers(value: float, dtype: type[np.generic]) -> bytes:
    return file_of(Image.fromarray(np.full((2, 2), value, dtype=dtype)), "TIFF")


def test_integers_of_32_bits_stay_as_they_are_where_eight_hold_them() -> None:
    for value in (0, 200, 255):
        assert _decoded(_of_numbers(value, np.int32)).getpixel((0, 0)) == (value,) * 3


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        (256, np.int32, "integers from 256 to 256 in 32 bits, and nothing says which is white"),
        (-1, np.int32, "integers from -1 to -1 in 32 bits"),
        (0.5, np.float32, "floating-point numbers, and nothing says which is white"),
        (128, np.float32, "floating-point numbers"),
    ],
)
def test_pixels_without_a_known_white_are_refused(value: float, dtype: type[np.generic], reason: str) -> None:
    with pytest.raises(InputError, match=f"^it cannot be decoded: its pixels are {reason}"):
        _decoded(_of_numbers(value, dtype))


def test_no_program_is_started_for_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("subprocess.check_call", lambda *command, **_: started.append(command))
    monkeypatch.setattr("PIL.EpsImagePlugin.has_ghostscript", lambda: True)
    with pytest.raises(InputError, match="its bytes are no image format that Pillow reads by itself"):
        _decoded(file_of(Image.new("RGB", (4, 4)), "EPS"))
    assert started == []


def test_endings_are_those_of_raster_images() -> None:
    assert {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".ppm", ".jp2", ".mpo"} <= endings()
    assert not {".eps", ".ps", ".pdf", ".wmf", ".emf", ".mpg", ".h5", ".svg", ".txt"} & endings()


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
    decoded = _decoded(file_of(Image.new("RGB", (8, 8), color).convert("CMYK"), "JPEG"))
    assert decoded.getpixel((3, 3)) == (seen,) * 3


def test_what_is_transparent_keeps_the_color_under_it() -> None:
    assert _decoded(file_of(Image.new("RGBA", (2, 2), (10, 200, 30, 0)))).getpixel((0, 0)) == (10, 200, 30)


def test_a_palette_with_transparency_keeps_its_colors() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=b"\x00\x80")
    assert _decoded(file.getvalue()).getpixel((0, 0)) == (10, 200, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_with_an_ending_of_its_own_is_decoded(kind: str) -> None:
    assert _decoded(file_of(Image.new("RGB", (5, 4)), kind)).size == (5, 4)


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
    upright = np.asarray(_decoded(file_of(Image.fromarray(stored).convert("RGB"), kind, exif)))[8::16, 8::16, 0]
    assert "".join("ABCD"[round(gray / 64)] for gray in upright.ravel().tolist()) == UPRIGHT[orientation]


def test_the_pixels_survive_exif_data_that_cannot_be_read() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = file_of(Image.new("RGB", (4, 2), "white"), "JPEG", exif)
    assert content.count(b"Exif\0\0MM") + content.count(b"Exif\0\0II") == 1
    for broken in (b"Exif\0\0XX", b"Exif\0\0MM\xff\xff\xff\xff"):
        at = content.index(b"Exif\0\0")
        assert _decoded(content[:at] + broken + content[at + len(broken) :]).getpixel((0, 0)) == (255, 255, 255)


FILES = [
    file_of(Image.effect_noise((24, 16), 60).convert(mode), kind)
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
    content = file_of(Image.new("RGB", (2, 2), (1, 2, 3)))
    (tmp_path / "a.png").write_bytes(content)
    assert decode(Encoded("it", tmp_path / "a.png")).tobytes() == _decoded(content).tobytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda _: None, "there are neither bytes nor a path"),
        (lambda _: b"", "its bytes are no image format that Pillow reads by itself"),
        (lambda _: file_of(Image.effect_noise((64, 64), 50), "JPEG")[:1500], "truncated"),
        (lambda _: file_of(Image.effect_noise((64, 64), 50))[:2000], "truncated"),
        (lambda _: file_of(Image.effect_noise((64, 64), 50), "GIF")[:900], "truncated"),
        (lambda _: file_of(Image.effect_noise((64, 64), 50).convert("RGB"), "WEBP")[:900], ""),
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
        _decoded(file_of(Image.new("L", (10, 10))))


def test_a_large_image_below_twice_the_limit_is_decoded_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert _decoded(file_of(Image.new("L", (10, 10)))).size == (10, 10)


def test_plain_pixels_are_images_too() -> None:
    assert decode(Encoded("it", Image.new("L", (3, 2), 7))).getpixel((0, 0)) == (7, 7, 7)
