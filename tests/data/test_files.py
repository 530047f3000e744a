"""Reading lines, missing paths and digests."""

import hashlib
from pathlib import Path

import pytest

from efface.data.files import check_in, lines_of, must_exist, sha256_of, sha256_of_all
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
