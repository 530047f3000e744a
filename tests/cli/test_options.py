from pathlib import Path

import pytest

from efface.cli.options import check_places, columns, memory_bytes, slug, slug_of
from efface.errors import InputError


def test_class_names_become_parts_of_paths() -> None:
    assert slug("Golden Retriever (dog)/..") == "golden-retriever-dog"
    assert slug("帝王蝶") == "帝王蝶"
    assert slug("..") == "class"


def test_a_source_that_is_made_is_no_path(tmp_path: Path) -> None:
    check_places(tmp_path / "run", ["symbols:test"], overwrite=False)
    with pytest.raises(InputError, match="does not exist"):
        check_places(tmp_path / "run", ["symbols:test", str(tmp_path / "symbols")], overwrite=False)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert columns(["a=b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}


@pytest.mark.parametrize(
    ("size", "expected"),
    [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("500mb", 5 * 10**8), ("2kB", 2000), ("7B", 7), ("1TiB", 2**40)],
)
def test_memory_is_a_number_and_a_unit(size: str, expected: int) -> None:
    assert memory_bytes(size) == expected
    assert memory_bytes(None) is None


@pytest.mark.parametrize("size", ["", "4", "GB", "-1GB", "0GB", "4 apples", "1e9B"])
def test_another_text_is_no_size_of_memory(size: str) -> None:
    with pytest.raises(InputError, match="is no size of memory"):
        memory_bytes(size)


def test_a_folder_is_named_by_all_classes_where_they_are_few_and_short_and_else_by_the_first() -> None:
    assert slug_of(["golden retriever", "cat"]) == "golden-retriever-cat"
    assert slug_of([f"class number {n}" for n in range(40)]) == "class-number-0-and-39-more"
    assert len(slug_of(["x" * 300])) < 120
