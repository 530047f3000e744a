import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from efface.report.sheet import COLUMNS, GAP, contact_sheet


def noise(n: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@settings(max_examples=20)
@given(n=st.integers(1, 20), height=st.integers(1, 9), width=st.integers(1, 9))
def test_every_image_stands_unchanged_at_its_place(n: int, height: int, width: int) -> None:
    pixels = noise(n, height, width)
    sheet = contact_sheet(pixels)
    array = torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8).view(sheet.height, sheet.width, 3)
    columns = sheet.info[COLUMNS]
    for i in range(n):
        top, left = (
            GAP + place * (side + GAP) for place, side in zip(divmod(i, columns), (height, width), strict=True)
        )
        tile = array[top : top + height, left : left + width]
        assert torch.equal(tile, (pixels[i] * 255).round().to(torch.uint8).permute(1, 2, 0))


@pytest.mark.parametrize(("n", "size"), [(1, (20, 20)), (2, (38, 20)), (9, (56, 56)), (10, (74, 56)), (64, (146, 146))])
def test_the_grid_is_near_square(n: int, size: tuple[int, int]) -> None:
    assert contact_sheet(noise(n, 16, 16)).size == size


def test_wide_images_get_fewer_columns() -> None:
    sheet = contact_sheet(noise(16, 10, 40))
    assert sheet.info[COLUMNS] == 2
    assert 0.5 < sheet.width / sheet.height < 2


def test_a_cell_limits_the_longer_side_and_enlarges_nothing() -> None:
    assert contact_sheet(noise(1, 20, 40), cell=10).size == (10 + 2 * GAP, 5 + 2 * GAP)
    assert contact_sheet(noise(1, 1, 400), cell=10).size == (10 + 2 * GAP, 1 + 2 * GAP)
    assert contact_sheet(noise(1, 8, 8), cell=96).size == (8 + 2 * GAP, 8 + 2 * GAP)


def test_downsizing_keeps_a_plain_color() -> None:
    sheet = contact_sheet(torch.full((1, 3, 64, 64), 0.2), cell=16)
    assert sheet.getpixel((GAP + 8, GAP + 8)) == (51, 51, 51)


def test_equal_pixels_give_equal_sheets() -> None:
    one, two = (contact_sheet(noise(5, 32, 32), cell=20) for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert isinstance(one, Image.Image)


def test_what_lies_outside_the_range_is_clipped() -> None:
    sheet = contact_sheet(torch.tensor([-3.0, 0.5, 7.0]).view(1, 3, 1, 1))
    assert sheet.getpixel((GAP, GAP)) == (0, 128, 255)


def test_half_precision_on_a_graph_is_fine() -> None:
    assert contact_sheet(noise(2, 4, 4).half().requires_grad_()).size == (14, 8)


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        contact_sheet(torch.zeros(0, 3, 4, 4))
    with pytest.raises(ValueError, match="not finite"):
        contact_sheet(torch.full((1, 3, 4, 4), float("nan")))
    with pytest.raises(ValueError, match="cell is 0"):
        contact_sheet(torch.zeros(1, 3, 4, 4), cell=0)
