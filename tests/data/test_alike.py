import io
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from efface.backends.base import LoadedCLIP
from efface.data import alike
from efface.data.alike import Looks, Match, Origin, in_order, looks, matches
from efface.data.holdout import EvalData
from efface.data.images import BadImages, StoredImages
from efface.data.own import open_own
from efface.data.symbols import open_symbols
from efface.types import LabelledImages, Silent, TensorImages


def pictures(count: int, seed: int = 0, side: int = 48) -> Tensor:
    """Pictures of soft shapes in color, of which no two have anything in common."""
    cells = torch.rand((count, 3, 7, 7), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(cells, size=(side, side), mode="bicubic").clamp(0, 1)


def saved(folder: Path, images: list[Image.Image]) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")
    return folder


def opened(clip: LoadedCLIP, folder: Path, skipped: BadImages | None = None) -> EvalData:
    return open_own(str(folder), ["dog"], preprocess=clip.preprocess, skipped=skipped)


def source(images: LabelledImages, name: str = "these") -> EvalData:
    return EvalData(name, images, ("dog",), "00")


def seen(clip: LoadedCLIP, given: LabelledImages | EvalData) -> Looks:
    found = given if isinstance(given, EvalData) else source(given)
    return looks(found, clip.encoder.pixels, Silent(), torch.arange(len(found.images)))


def held(images: Tensor) -> TensorImages:
    return TensorImages(images, torch.zeros(len(images), dtype=torch.int64))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def test_copies_in_another_size_quality_or_light_are_found_and_nothing_else(clip: LoadedCLIP, tmp_path: Path) -> None:
    whole = [to_pil_image(one) for one in pictures(12)]
    copies = [whole[3].resize((96, 96)), jpeg(whole[5], 40), ImageEnhance.Brightness(whole[7]).enhance(0.8), whole[9]]
    others = [to_pil_image(one) for one in pictures(8, seed=1)]
    first, second = (opened(clip, saved(tmp_path / name, of)) for name, of in (("a", copies + others), ("b", whole)))
    found = matches(clip.encoder, seen(clip, first), seen(clip, second))
    assert names(found, first, second) == {("0", "3"), ("1", "5"), ("2", "7"), ("3", "9")}
    (exact,) = [one for one in found if one.exact]
    assert (exact.signs, exact.cosine) == (0, 1.0)
    assert all(one.signs <= 10 and one.cosine > 0.5 for one in found)


def names(found: tuple[Match, ...], *sources: EvalData) -> set[tuple[str, ...]]:
    """Pairs of the names of files, without their endings."""
    origins = [Origin(source, torch.arange(len(source.images))) for source in sources]
    return {
        tuple(origin.name(row).split(".png")[0][-1] for origin, row in zip(origins, (one.row, one.other), strict=True))
        for one in found
    }


def test_equal_pixels_do_where_there_is_nothing_to_see(clip: LoadedCLIP) -> None:
    flat = torch.tensor([0.1, 0.5, 0.50001]).view(3, 1, 1, 1).expand(3, 3, 32, 32)
    found = matches(clip.encoder, seen(clip, held(flat)), seen(clip, held(flat[1:2])))
    assert found == (Match(1, 0, exact=True, signs=0, cosine=1.0),)
    both = held(pictures(2))
    assert len(matches(clip.encoder, seen(clip, both), seen(clip, both), exact_only=True)) == 2


def test_what_the_model_tells_apart_is_no_duplicate(clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = pictures(1, side=32)
    # Brighter by far: the same hash, the same thumbnail.
    theirs = seen(clip, held(clip.encoder.pixels.normalize(torch.cat([0.3 * ours, 0.9 * ours]))))
    mine = seen(clip, held(clip.encoder.pixels.normalize(ours)))

    def by_light(_: object, images: Tensor) -> Tensor:
        """A model to which half as much light is something else."""
        light = clip.encoder.pixels.denormalize(images).mean(dim=(1, 2, 3)) / ours.mean()
        return torch.stack([light.sub(1).mul(2).cos(), light.sub(1).mul(2).sin()], dim=1)

    monkeypatch.setattr(type(clip.encoder), "encode_image", by_light)
    (found,) = matches(clip.encoder, mine, theirs)
    # cos(2 * 0.1) is near, cos(2 * 0.7) is not.
    assert found.other == 1
    assert found.cosine == pytest.approx(0.980, abs=1e-3)
    assert matches(clip.encoder, mine, theirs.take(torch.tensor([0]))) == ()


def test_of_many_copies_the_nearest_is_named_and_few_are_looked_at(
    clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pictures(1, side=32)
    noise = 0.4 * torch.randn((40, 3, 32, 32), generator=torch.Generator().manual_seed(2))
    copies = clip.encoder.pixels.normalize((one + noise).clamp(0, 1))
    copies[17:18] = clip.encoder.pixels.normalize(0.999 * one)
    mine = seen(clip, held(clip.encoder.pixels.normalize(one)))
    asked: list[int] = []
    real = alike._compare

    def counting(encoder: object, fitting: object, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(ours))
        return real(encoder, fitting, ours, theirs)  # type: ignore[arg-type]

    monkeypatch.setattr(alike, "_compare", counting)
    (found,) = matches(clip.encoder, mine, seen(clip, held(copies)))
    assert found.other == 17
    assert sum(asked) <= alike.TRIED


def test_rows_stay_right_where_images_are_skipped(clip: LoadedCLIP, tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", [to_pil_image(one) for one in pictures(4)])
    (folder / "1.png").write_bytes(b"no image")
    skipped = BadImages()
    data = opened(clip, folder, skipped)
    found = seen(clip, data)
    assert found.rows.tolist() == [0, 2, 3]
    assert list(skipped.reasons) == [1]
    assert found.take(torch.tensor([1])).rows.tolist() == [2]
    mine = seen(clip, held(torch.cat(list(in_order(data.images, torch.tensor([3]))))))
    assert [(one.row, one.other) for one in matches(clip.encoder, mine, found)] == [(0, 3)]


def test_images_come_in_the_order_that_is_asked_for_wherever_they_are(clip: LoadedCLIP, tmp_path: Path) -> None:
    class Handed:
        """Images that can only be had in batches."""

        labels = torch.zeros(3, dtype=torch.int64)

        def __len__(self) -> int:
            return 3

        batches = held(pictures(3)).batches

    rows = torch.tensor([2, 0, 2])
    assert torch.equal(torch.cat(list(in_order(Handed(), rows))), pictures(3)[rows])
    assert torch.equal(torch.cat(list(in_order(held(pictures(3)), rows))), pictures(3)[rows])
    stored = opened(clip, saved(tmp_path / "a", [to_pil_image(one) for one in pictures(3)])).images
    assert isinstance(stored, StoredImages)
    signs = open_symbols("symbols:forget", preprocess=clip.preprocess, where={"member": "knight"}).images
    for images in (stored, signs):
        whole = torch.cat([batch for batch, _ in images.batches(99)])
        assert torch.equal(torch.cat(list(in_order(images, rows))), whole[rows])


def test_an_image_of_the_embedded_world_is_named_by_its_place() -> None:
    source = open_symbols("symbols:forget", preprocess=lambda _: torch.zeros(3, 2, 2), where={"member": "knight"})
    assert Origin(source, torch.tensor([5, 7])).name(7) == "image 7 of symbols:forget"
