from pathlib import Path

import pytest

from efface.data.files import sha256_of
from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, read, said, write


def _table(folder: Path, text: str, name: str = "list.csv") -> Path:
    for gray in (1, 2, 3):
        write(folder / "in" / f"{gray}.png", gray)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_labels_may_be_names(tmp_path: Path) -> None:
    file = _table(tmp_path, "path,label\nin/2.png,dog\nin/1.png,cat\nin/3.png,dog\n")
    found = read(f"csv:{file}")
    assert found.class_names == ("cat", "dog")
    assert said(found) == [(2, "dog"), (1, "cat"), (3, "dog")]
    assert found.digests == {n: sha256_of(tmp_path / n) for n in ("list.csv", "in/1.png", "in/2.png", "in/3.png")}


def test_labels_may_be_rows_of_a_file_of_names(tmp_path: Path) -> None:
    file = _table(tmp_path, "file_name\tclass\nin/2.png\t1\nin/1.png\t0\n", "list.tsv")
    (tmp_path / "classnames.txt").write_text("sun\nmoon\nstar\n")
    data = open_source(str(file), preprocess=as_tensor)
    assert (data.class_names, data.images.labels.tolist()) == (("sun", "moon", "star"), [1, 0])


def test_a_label_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    file = _table(tmp_path, f"path,label\nin/1.png,{10**20}\n")
    with pytest.raises(InputError, match=f"has the label {10**20}"):
        read(f"csv:{file}")


def test_names_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = _table(tmp_path, "path,label\nin/2.png,cat\nin/1.png,dog\n")
    (tmp_path / "classnames.txt").write_text("fox\ndog\ncat\n")
    data = open_source(str(file), preprocess=as_tensor)
    assert (data.class_names, data.images.labels.tolist()) == (("fox", "dog", "cat"), [2, 1])


def test_other_columns_choose_rows(tmp_path: Path) -> None:
    file = _table(tmp_path, "path,label,sex,age\nin/1.png,a,f,3\nin/2.png,b,m,3\nin/3.png,b,f,4\n")
    data = open_source(str(file), preprocess=as_tensor, where={"sex": "f", "age": "4"})
    assert data.images.labels.tolist() == [1]
    assert dict(data.columns) == {"sex": ["f"], "age": ["4"]}
    named = open_source(str(file), preprocess=as_tensor, where={"class": "b", "age": "3"})
    assert dict(named.columns) == {"sex": ["m"], "age": ["3"]}
    with pytest.raises(InputError, match=r"no image of .* is all of"):
        open_source(str(file), preprocess=as_tensor, where={"sex": "m", "age": "4"})
    with pytest.raises(InputError, match="has no column 'sax'") as caught:
        open_source(str(file), preprocess=as_tensor, where={"sax": "m"})
    assert caught.value.hint == "did you mean sex?"
    with pytest.raises(InputError, match=r"no image of .* has sex=x") as caught:
        open_source(str(file), preprocess=as_tensor, where={"sex": "x"})
    assert caught.value.hint == "there are f, m"


@pytest.mark.parametrize("labels", [("a", "b", ""), ("0", "1", "-1"), ("0", "1", "")])
def test_images_without_a_label_may_be_left_out(tmp_path: Path, labels: tuple[str, ...]) -> None:
    rows = "".join(f"in/{row}.png,{label},{'ab'[label in ('', '-1')]}\n" for row, label in enumerate(labels, 1))
    file = _table(tmp_path, f"path,label,part\n{rows}")
    (tmp_path / "classnames.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"1 of the 3 rows of .* have no label") as caught:
        open_source(str(file), preprocess=as_tensor)
    assert "--eval-where" in caught.value.hint
    assert open_source(str(file), preprocess=as_tensor, where={"part": "a"}).images.labels.tolist() == [0, 1]
    with pytest.raises(InputError, match=r"1 of the 1 rows of .* have no label"):
        open_source(str(file), preprocess=as_tensor, where={"part": "b"})


def test_paths_may_start_from_the_root(tmp_path: Path) -> None:
    file = _table(tmp_path / "a", f"path,label\n{write(tmp_path / 'b/9.png', 9)},x\n")
    assert said(read(f"csv:{file}")) == [(9, "x")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has the columns none"),
        ("path,words\nin/1.png,a\n", "has the columns path, words"),
        ("path,label\n", "holds no row"),
        ("path,label\nin/9.png,a\n,a\n", "names 2 missing images, 'in/9.png' first"),
        ("path,label\nin/1.png,a\nin/2.png\n", "1 of the 2 rows of .* have no label"),
        ("path,label\nin/1.png,0\n", "has labels but no class names"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        open_source(str(_table(tmp_path, text)), preprocess=as_tensor)


def test_a_name_that_the_file_lacks_is_refused(tmp_path: Path) -> None:
    file = _table(tmp_path, "path,label\nin/2.png,cta\n")
    (tmp_path / "classnames.txt").write_text("dog\ncat\n")
    with pytest.raises(InputError, match="the class 'cta' is not among the 2 class names"):
        open_source(str(file), preprocess=as_tensor)
