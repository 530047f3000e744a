"""Images that are handed out in batches."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from efface.data.decoding import Encoded
from efface.data.formats.folders import ImageFiles
from efface.data.images import BadImages, Chosen, Joined, Pixels, StoredImages, labels_of, lost_workers_named
from efface.errors import EffaceError, InputError
from efface.types import LabelledImages, TensorImages
from tests.data.pictures import file_of


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


def _gray(n: int, *, broken: tuple[int, ...] = (), workers: int = 0, skipped: BadImages | None = None) -> StoredImages:
    """The image in row ``i`` has the gray value ``i``; its label is the remainder by 3."""
    contents = (b"broken" if i in broken else file_of(Image.new("L", (2, 2), i)) for i in range(n))
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


def test_labels_are_numbers_of_64_bits() -> None:
    assert labels_of([2, -1, 2**63 - 1], "here").tolist() == [2, -1, 2**63 - 1]
    assert labels_of([], "here").dtype == torch.int64
    for beyond in (2**63, -(2**63) - 1):
        with pytest.raises(InputError, match=f"'here' has the label {beyond}"):
            labels_of([0, beyond], "here")


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
    assert (
        caught.value.hint == "open it in an image viewer, then replace it or take it out of the data; "
        "to measure without it, --on-bad-image skip"
    )


def test_a_broken_image_is_named_from_a_worker_too() -> None:
    batches = _gray(6, broken=(4, 5), workers=1).batches(3)
    next(batches)
    with pytest.raises(InputError, match=r"^row 4 of 'here' cannot be decoded") as caught:
        next(batches)
    assert "replace it" in caught.value.hint


@settings(max_examples=5)
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

    images = StoredImages(Bytes((file_of(Image.new("L", (1, 1))),)), torch.zeros(1, dtype=torch.int64), refuse)
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(images.batches(1))


def test_a_batch_of_no_images_is_refused() -> None:
    with pytest.raises(ValueError, match="zero"):
        next(_gray(2).batches(0))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data())
def test_joined_and_chosen_rows_are_those_of_their_sources(sizes: list[int], data: st.DataObject) -> None:
    contents = [tuple(f"{part}.{row}".encode() for row in range(size)) for part, size in enumerate(sizes)]
    joined = Joined(tuple(Bytes(content) for content in contents))
    flat = [content for part in contents for content in part]
    assert [joined[row].content for row in range(len(joined))] == flat
    if flat:
        chosen = Chosen(joined, tuple(data.draw(st.lists(st.integers(0, len(flat) - 1), max_size=5))))
        assert [chosen[row].content for row in range(len(chosen))] == [flat[row] for row in chosen.chosen]


def _signalled(image: Image.Image) -> Pixels:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    return _to_tensor(image)


def test_a_worker_leaves_signals_to_the_main_process() -> None:
    assert _rows(replace(_gray(5, workers=1), preprocess=_signalled), 2) == [[0, 1], [2, 3], [4]]


def test_a_worker_ends_when_the_main_process_says_so() -> None:
    batches = _gray(50, workers=1).batches(1)
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0


def _print_errors(image: Image.Image) -> Pixels:
    # As the thread does that hands tensors over, where the main process has left; and another one.
    for error in (ConnectionResetError("by peer"), EOFError(), ValueError("a fault")):
        sys.excepthook(type(error), error, None)
    return _to_tensor(image)


def test_a_worker_says_nothing_of_a_main_process_that_has_left(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(_rows(replace(_gray(1, workers=1), preprocess=_print_errors), 1)) == 1
    assert capfd.readouterr().err == "ValueError: a fault\n"


@lost_workers_named()
def _kill_workers(images: StoredImages) -> None:
    for _ in images.batches(1):
        for worker in multiprocessing.active_children():
            worker.kill()
        time.sleep(10)


def test_a_worker_that_is_killed_is_named_wherever_the_main_process_is() -> None:
    with pytest.raises(EffaceError, match=r"was ended from outside: .*killed by signal: Killed") as caught:
        _kill_workers(_gray(5, workers=1))
    assert "take fewer --workers (0: this process decodes)" in caught.value.hint


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), lost_workers_named():
        raise RuntimeError("shapes differ")
