import io
import tarfile
from pathlib import Path

import pytest

from efface.data.formats.webdataset import splits_in
from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, png, read


def shards(root: Path, *tars: dict[str, bytes], split: str = "test", said: str | None = None) -> Path:
    """A split of these tar files."""
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "classnames.txt").write_text("cat\ndog\n")
    (root / split / "nshards.txt").write_text(said or f"{len(tars)}\n")
    for number, files in enumerate(tars):
        with tarfile.open(root / split / f"{number}.tar", "w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return root


def test_shards_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    one = {"s0.png": png(5), "s0.cls": b"1", "s1.cls": b"0", "s1.png": png(6)}
    root = shards(tmp_path, one, {"s2.webp": png(7), "s2.cls": b"1\n"})
    data = open_source(str(root), preprocess=as_tensor)
    (batch,) = data.images.batches(9)
    assert (batch[0][:, 0, 0, 0] * 255).round().tolist() == [5, 6, 7]
    assert (batch[1].tolist(), data.class_names) == ([1, 0, 1], ("cat", "dog"))


def test_a_split_is_named(tmp_path: Path) -> None:
    shards(tmp_path, {"a.png": png(1), "a.cls": b"0"}, split="train")
    assert splits_in(tmp_path) == ["train"]
    assert data_of(f"wds:{tmp_path},split=train") == [0]
    with pytest.raises(InputError, match="has no split 'test'") as caught:
        read(f"wds:{tmp_path}")
    assert caught.value.hint == "there are train"


def data_of(source: str) -> list[int]:
    labels: list[int] = read(source).labels.tolist()
    return labels


def test_a_key_ends_at_the_first_point_of_the_name(tmp_path: Path) -> None:
    root = shards(tmp_path, {"a.b/x.png": png(3), "a.b/x.cls": b"1"})
    found = read(f"wds:{root}")
    assert found.rows[0].name == f"the image 'a.b/x' in {str(root / 'test/0.tar')!r}"
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("files", "said", "problem"),
    [
        ({"a.png": b"x"}, None, "the sample 'a' in .* has png"),
        ({"a.txt": b"x", "a.cls": b"1"}, None, "the sample 'a' in .* has txt, cls"),
        ({"a.png": b"x", "a.cls": b"one"}, None, "the label of 'a' in .* is b'one'"),
        ({"a.png": b"x", "a.cls": b"9" * 20}, None, "has the label 9{20}"),
        ({}, None, "holds no image"),
        ({}, "many", "says 'many'"),
        ({}, "2", "1.tar' does not exist"),
    ],
)
def test_what_is_not_whole_is_refused(tmp_path: Path, files: dict[str, bytes], said: str | None, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read(f"wds:{shards(tmp_path, files, said=said)}")


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    root = shards(tmp_path, {"a.png": png(1), "a.cls": b"0"})
    (root / "test/0.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match=r"0.tar' cannot be read"):
        read(f"wds:{root}")


def test_a_shard_without_its_end_is_refused(tmp_path: Path) -> None:
    root = shards(tmp_path, {"a.png": png(1), "a.cls": b"0", "b.png": png(2), "b.cls": b"1"})
    shard = root / "test/0.tar"
    whole = shard.read_bytes()
    # A member is its header and its bytes, padded to blocks of 512; the pictures and labels fit into one block each.
    for broken in (whole[:2048], whole[:4096], whole[:2048] + b"\xff" * 512 + whole[2560:]):
        shard.write_bytes(broken)
        with pytest.raises(InputError, match=r"0.tar' is cut off or broken: at byte (2048|4096) there is no end"):
            read(f"wds:{root}")
    shard.write_bytes(whole[: 4096 + 512])
    assert data_of(f"wds:{root}") == [0, 1]


def _tar(*files: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("again", ["a.png", "a.PNG"])
def test_a_key_with_an_ending_twice_is_refused(tmp_path: Path, again: str) -> None:
    shard = shards(tmp_path, {}) / "test/0.tar"
    shard.write_bytes(_tar(("a.png", png(1)), ("a.cls", b"0"), (again, png(2))))
    with pytest.raises(InputError, match=r"the sample 'a' in '.*0.tar' has png twice"):
        read(f"wds:{tmp_path}")


def test_archives_that_were_joined_are_refused(tmp_path: Path) -> None:
    shard = shards(tmp_path, {}) / "test/0.tar"
    first, second = (_tar((f"{key}.png", png(1)), (f"{key}.cls", b"0")) for key in "ab")
    shard.write_bytes(first + second)
    # Two members of a header and a block each.
    with pytest.raises(InputError, match=r"0.tar' goes on behind the end of the archive at byte 2048"):
        read(f"wds:{tmp_path}")
    shard.write_bytes(first + bytes(2**21))
    assert data_of(f"wds:{tmp_path}") == [0]


def test_captions_and_several_labels_are_refused(tmp_path: Path) -> None:
    root = shards(tmp_path, {"a.png": png(1), "a.cls": b"0"})
    (root / "dataset_type.txt").write_text("retrieval\n")
    with pytest.raises(InputError, match="is for retrieval"):
        read(f"wds:{root}")


def test_names_are_those_of_the_file(tmp_path: Path) -> None:
    root = shards(tmp_path, {"a.png": png(1), "a.cls": b"0"})
    (root / "classnames.txt").unlink()
    with pytest.raises(InputError, match="has labels but no class names"):
        open_source(str(root), preprocess=as_tensor)
    assert read(f"wds:{root}").class_names is None
