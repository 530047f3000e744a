from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.data.own import check_apart, check_of_use, open_own, open_pool, rows_of, taken
from efface.data.sources import open_source
from efface.data.symbols import open_symbols
from efface.errors import InputError
from efface.types import Needs


def pictures(folder: Path, count: int, shade: int = 0) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (2, 2), (shade, i, 0)).save(folder / f"{i}.png")
    return folder


def opened(source: Path | str, *names: str, skipped: BadImages | None = None) -> EvalData:
    return open_own(str(source), names, preprocess=to_tensor, skipped=skipped)


def test_of_one_class_a_plain_folder_will_do(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "mine", 3)
    (folder / "notes.txt").write_text("no image")
    own = opened(folder, "dog")
    assert rows_of(own, "dog").tolist() == [0, 1, 2]
    images, kept = taken(own, torch.tensor([2, 0]))
    assert (images[:, 1, 0, 0] * 255).round().tolist() == [2, 0]
    assert kept.tolist() == [True, True]
    with pytest.raises(InputError, match="holds neither parquet files nor folders of images"):
        opened(folder, "dog", "fox")


def test_of_class_folders_the_classes_images_are_used_and_must_be_there(tmp_path: Path) -> None:
    pictures(tmp_path / "cat", 2)
    pictures(tmp_path / "dog", 3, shade=9)
    own = opened(tmp_path, "dog")
    assert rows_of(own, "dog").tolist() == [2, 3, 4]
    with pytest.raises(InputError, match="has no image of 'dgo'") as caught:
        opened(tmp_path, "dgo")
    assert "dog" in caught.value.hint


def test_what_cannot_be_decoded_is_left_out_or_refused(tmp_path: Path) -> None:
    (pictures(tmp_path / "mine", 2) / "0.png").write_bytes(b"no image")
    skipped = BadImages()
    images, kept = taken(opened(tmp_path / "mine", "dog", skipped=skipped), torch.tensor([0, 1]))
    assert (len(images), kept.tolist(), list(skipped.reasons)) == (1, [False, True], [0])
    with pytest.raises(InputError, match="cannot be decoded"):
        taken(opened(tmp_path / "mine", "dog"), torch.tensor([0, 1]))


def test_signs_of_the_embedded_world_are_images_too() -> None:
    own, judging = (
        open_symbols(f"symbols:{split}", preprocess=to_tensor, where={"member": "knight"})
        for split in ("forget", "calibration")
    )
    rows = rows_of(own, "knight")[[5, 3]]
    images, kept = taken(own, rows)
    whole = torch.cat([batch for batch, _ in own.images.batches(999)])
    assert torch.equal(images, whole[rows])
    assert kept.all()
    check_apart(own, [judging], ["knight"])
    with pytest.raises(InputError, match="holds the images that judge"):
        check_apart(own, [own], ["knight"])


def signs(source: str, **where: str) -> EvalData:
    return open_symbols(f"symbols:{source}", preprocess=to_tensor, where=where)


@pytest.mark.parametrize("judging", ["forget", "forget:groups"])
def test_a_sign_is_the_same_whatever_it_was_chosen_by_and_whatever_class_it_is_of(judging: str) -> None:
    own = signs("forget", member="knight", design="notation")
    # All that has a wider class, and what has another design or is of the queen.
    with pytest.raises(InputError, match=r"40 images of 'symbols:forget.*' too, byte for byte: image \d+ of symbols:"):
        check_apart(own, [signs(judging, member="knight")], ["knight"])
    check_apart(own, [signs(judging, member="queen")], ["knight"])
    check_apart(own, [signs(judging, member="knight", design=name) for name in ("line", "figure")], ["knight"])


def listed(folder: Path, rows: str) -> Path:
    """Six images, every one another, in a table that tells two cameras apart."""
    if not folder.exists():
        pictures(folder, 6)
    (folder / "images.csv").write_text(f"image,label,camera\n{rows}", encoding="utf-8")
    return folder / "images.csv"


def test_parts_of_one_file_are_apart_where_no_image_is_in_both(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{'dog' if i < 4 else 'cat'},{'AB'[i % 2]}\n" for i in range(6))
    source = str(listed(tmp_path / "mine", rows))
    one, other = (open_source(source, preprocess=to_tensor, where={"camera": camera}) for camera in "AB")
    assert one.sha256 == other.sha256
    check_apart(one, [other], ["dog"])
    with pytest.raises(InputError, match=r"2 images of .* byte for byte: the image '0\.png' .* is the image '0\.png'"):
        check_apart(one, [open_source(source, preprocess=to_tensor)], ["dog"])
    with pytest.raises(InputError, match="holds the images that judge"):
        check_apart(one, [one], ["dog"])


def test_labels_of_a_pool_do_not_count(tmp_path: Path) -> None:
    source = str(listed(tmp_path / "any", "".join(f"{i}.png,{i % 3},A\n" for i in range(6))))
    with pytest.raises(InputError, match="no class names"):
        open_source(source, preprocess=to_tensor)
    pool = open_pool(source, preprocess=to_tensor)
    assert len(pool.images) == 6
    assert not pool.images.labels.any()


def test_an_image_that_stands_there_under_another_class_is_the_same(tmp_path: Path) -> None:
    own = opened(pictures(tmp_path / "mine", 2), "dog")
    pictures(tmp_path / "judging" / "animal", 1)
    with pytest.raises(InputError, match=r"1 image of .* byte for byte"):
        check_apart(own, [opened(tmp_path / "judging", "animal")], ["dog"])


def test_an_image_that_judges_is_found_by_its_bytes_whatever_it_is_called(tmp_path: Path) -> None:
    pictures(tmp_path / "judging" / "dog", 2, shade=9)
    pictures(tmp_path / "judging" / "cat", 2)
    judging = opened(tmp_path / "judging", "dog")
    check_apart(opened(pictures(tmp_path / "mine", 2, shade=7), "dog"), [judging], ["dog"])
    (tmp_path / "mine" / "other.PNG").write_bytes((tmp_path / "judging" / "dog" / "1.png").read_bytes())
    with pytest.raises(InputError, match=r"1 image of .*judging.* byte for byte: .*other.PNG.* is .*dog/1.png"):
        check_apart(opened(tmp_path / "mine", "dog"), [judging], ["dog"])


def test_images_for_a_method_that_asks_for_none_are_refused() -> None:
    check_of_use("mine", "lip", Needs(forget_images=2))
    with pytest.raises(InputError, match="projection works on no images: those in 'mine'"):
        check_of_use("mine", "projection", Needs())
