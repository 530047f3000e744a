"""Reading lines, missing paths and digests."""

import hashlib
from pathlib import Path

import pytest

from efface.data.files import (
    check_in,
    lines_of,
    must_exist,
    must_hold,
    parquet_shards,
    read_table,
    sha256_of,
    sha256_of_all,
)
from efface.errors import InputError
from efface.request import check_names


def test_lines_come_without_the_space_around_them(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_bytes(b"\xef\xbb\xbf one\r\n\r\ntwo words \nthree\n \n\n")
    assert lines_of(file) == ("one", "", "two words", "three")


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert lines_of(tmp_path / "empty.txt") == ()


def test_a_file_in_another_encoding_is_named_with_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("ok\ncafé\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.txt' is no UTF-8 text: byte 6 cannot be read") as caught:
        lines_of(file)
    assert caught.value.hint == "save it as UTF-8"


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        lines_of(tmp_path)


def test_a_missing_path_brings_up_its_nearest_sibling(tmp_path: Path) -> None:
    (tmp_path / "test.parquet").touch()
    (tmp_path / "unlike").touch()
    with pytest.raises(InputError, match=r"tset.parquet' does not exist") as caught:
        must_exist(tmp_path / "tset.parquet", hint="give a file")
    assert caught.value.hint == f"did you mean {str(tmp_path / 'test.parquet')!r}? give a file"


@pytest.mark.parametrize("name", ["nothing/like/it", "x" * 5000])
def test_a_missing_path_without_siblings_has_the_plain_hint(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        must_exist(tmp_path / name, hint="give a file")
    assert caught.value.hint == "give a file"


def test_an_existing_path_passes(tmp_path: Path) -> None:
    must_exist(tmp_path, hint="")


def test_a_failed_check_names_its_source_and_keeps_its_hint() -> None:
    with pytest.raises(InputError, match=r"^in 'names.txt': class names stand twice: 'a'$") as caught:
        check_in("names.txt", check_names, ("a", "a"))
    assert caught.value.hint == "give each class its own name"


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # The test vector of FIPS 180-2, appendix B.1.
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_digest_of_many_files_is_that_of_what_sha256sum_prints() -> None:
    digests = {"b/1.png": "11", "B/1.png": "22", "b/1 é.png": "33"}
    # By bytes: upper case first, and a space before a full stop.
    printed = "22  B/1.png\n33  b/1 é.png\n11  b/1.png\n"
    assert sha256_of_all(digests) == hashlib.sha256(printed.encode()).hexdigest()


def test_the_digest_of_many_files_depends_on_names_and_contents_only() -> None:
    digests = {"a": "11", "b": "22"}
    assert sha256_of_all(digests) == sha256_of_all(dict(reversed(digests.items())))
    assert len({sha256_of_all(d) for d in (digests, {"a": "22", "b": "11"}, {"a": "11"})}) == 3


def test_a_table_has_its_columns_and_a_value_in_each(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('\ufeffa,b\n1,"x, y"\n2\n3,4\n', encoding="utf-8")
    assert read_table(table) == (["a", "b"], [{"a": "1", "b": "x, y"}, {"a": "2", "b": ""}, {"a": "3", "b": "4"}])
    tabs = tmp_path / "t.tsv"
    tabs.write_text("a\tb\n1, 2\t3\n")
    assert read_table(tabs)[1] == [{"a": "1, 2", "b": "3"}]


def test_a_comma_outside_quotes_cuts_no_cell(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,label\ndog/0.png,dog\ncat/0.png,cat, tabby\n")
    with pytest.raises(
        InputError, match=r"row 1 of '.*t.csv' has more cells than the 2 columns; left over: \[' tabby'\]"
    ) as caught:
        read_table(table)
    assert "in quotes" in caught.value.hint
    table.write_text("\npath,label\n")
    with pytest.raises(InputError, match="more cells than the 0 columns"):
        read_table(table)


def test_missing_files_are_counted_once_each(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    must_hold(tmp_path / "t", ["a", "a"], folder=tmp_path)
    with pytest.raises(InputError, match="names 3 missing images, 'b' first"):
        must_hold(tmp_path / "t", ["a", "b", "b", "", "c"], folder=tmp_path)


def test_shards_are_those_of_one_split_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b-00001-of-00002.parquet", "b-00000-of-00002.parquet", ".hidden.parquet", "a.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in parquet_shards(tmp_path)] == ["b-00000-of-00002.parquet", "b-00001-of-00002.parquet"]
    (tmp_path / "c.parquet").touch()
    with pytest.raises(InputError, match="more than one split: 'b', 'c'"):
        parquet_shards(tmp_path)
