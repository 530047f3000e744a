from pathlib import Path

import pytest

from efface.data.hierarchy import read_hierarchy
from efface.errors import InputError


def written(folder: Path, text: str) -> Path:
    (folder / "groups.tsv").write_text(text, encoding="utf-8")
    return folder / "groups.tsv"


def test_a_class_and_its_group_or_a_group_and_its_classes(tmp_path: Path) -> None:
    expected = {"pug": "dog", "great dane": "dog", "tabby": "cat"}
    assert read_hierarchy(written(tmp_path, "pug\tdog\ngreat dane\tdog\n\ntabby\tcat\n")) == expected
    assert read_hierarchy(written(tmp_path, "dog\tpug;great dane\ncat\ttabby\n")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no line"),
        ("pug dog\n", "has the line 'pug dog'"),
        ("pug\tdog\tpet\n", "has the line"),
        ("pug\t\n", "has the line 'pug'"),
        ("pug\tdog\npug\tpet\n", "has 'pug' in two groups, 'dog' and 'pet'"),
    ],
)
def test_what_says_no_group_of_a_class_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_hierarchy(written(tmp_path, text))
