from pathlib import Path

import pytest

from efface.data.files import sha256_of
from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, read, said, write


def _domains(root: Path) -> Path:
    for tens, domain in enumerate(("art", "photo", "sketch")):
        for ones, name in enumerate(("Alarm_Clock", "dog")):
            write(root / domain / name / "1.png", 10 * tens + ones)
    return root


def test_images_of_all_domains_share_classes(tmp_path: Path) -> None:
    found = read(f"domains:{_domains(tmp_path)}")
    assert found.class_names == ("Alarm Clock", "dog")
    assert said(found) == [(10 * d + c, name) for d in range(3) for c, name in enumerate(("Alarm Clock", "dog"))]
    assert found.columns == {"domain": ["art", "art", "photo", "photo", "sketch", "sketch"]}
    assert found.digests["art/dog/1.png"] == sha256_of(tmp_path / "art/dog/1.png")


def test_a_class_that_a_domain_lacks_shifts_no_label(tmp_path: Path) -> None:
    _domains(tmp_path)
    (tmp_path / "photo/Alarm_Clock/1.png").unlink()
    (tmp_path / "photo/Alarm_Clock").rmdir()
    assert (10 * 1 + 1, "dog") in said(read(f"domains:{tmp_path}"))


def test_where_keeps_one_domain(tmp_path: Path) -> None:
    data = open_source(f"domains:{_domains(tmp_path)}", preprocess=as_tensor, where={"domain": "sketch"})
    (batch,) = data.images.batches(8)
    assert (batch[0][:, 0, 0, 0] * 255).round().tolist() == [20, 21]
    assert batch[1].tolist() == data.images.labels.tolist() == [0, 1]
    assert data.where == {"domain": "sketch"}
    assert data.class_names == ("Alarm Clock", "dog")


def test_folders_of_classes_alone_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "dog/1.png", 1)
    with pytest.raises(InputError, match="not of the form domain/class/image"):
        read(f"domains:{tmp_path}")


def test_without_a_prefix_it_is_asked_what_is_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are these domains, or classes") as caught:
        open_source(str(_domains(tmp_path)), preprocess=as_tensor)
    assert caught.value.hint == f"write domains:{tmp_path} or folders:{tmp_path}"
    assert open_source(f"folders:{tmp_path}", preprocess=as_tensor).class_names == ("art", "photo", "sketch")


def test_it_is_asked_too_where_domains_lack_classes(tmp_path: Path) -> None:
    for path in ("art/cat", "art/dog", "photo/dog", "photo/fox", "sketch/cat", "sketch/dog", "sketch/elk"):
        write(tmp_path / path / "1.png", 1)
    with pytest.raises(InputError, match="holds 'cat' and 'dog' in both 'art' and 'sketch': are these domains"):
        open_source(str(tmp_path), preprocess=as_tensor)


def test_one_name_that_repeats_in_class_folders_is_no_class(tmp_path: Path) -> None:
    for path in ("cat/images", "cat/old", "dog/images", "dog/new", "fox/images"):
        write(tmp_path / path / "1.png", 1)
    assert open_source(str(tmp_path), preprocess=as_tensor).class_names == ("cat", "dog", "fox")
