"""Tables of datasets, as they are handed over by what opened them."""

from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from datasets import ClassLabel, Features, Value

from efface.data.formats import columns
from efface.data.formats.columns import column_values, digest_of_rows, stored_from
from efface.errors import InputError
from tests.data.pictures import png, said

FEATURES = Features(
    {
        "image": datasets.Image(),
        "label": ClassLabel(names=["cat", "dog"]),
        "size": ClassLabel(names=["small", "large"]),
        "age": Value("int64"),
        "tags": datasets.List(Value("string")),
    }
)


def _table() -> datasets.Dataset:
    cells = {
        "image": [{"bytes": png(gray), "path": None} for gray in (5, 6, 7)],
        "label": [1, 0, 1],
        "size": [0, -1, 1],
        "age": [3, None, 4],
        "tags": [["a"], [], ["b"]],
    }
    return datasets.Dataset.from_dict(cells, features=FEATURES).rename_column("label", "fine_label")


def test_a_label_beyond_64_bits_is_refused() -> None:
    cells = {"image": [{"bytes": png(5), "path": ""}], "label": pa.array([2**63], pa.uint64())}
    with pytest.raises(InputError, match=f"'here' has the label {2**63}"):
        stored_from(datasets.Dataset(pa.table(cells)), {}, folder=Path(), source="here")


def test_columns_are_plain_values_and_classes_their_names() -> None:
    found = stored_from(_table(), {}, folder=Path(), source="here")
    assert said(found) == [(5, "dog"), (6, "cat"), (7, "dog")]
    sizes, ages = ["small", None, "large"], [3, None, 4]
    assert dict(found.columns) == {"fine_label": ["dog", "cat", "dog"], "size": sizes, "age": ages}
    with pytest.raises(KeyError):
        found.columns["tags"]


def test_a_table_that_was_narrowed_gives_its_own_rows() -> None:
    some = _table().select([2, 0])
    assert column_values(some, "age") == [4, 3]
    assert column_values(some.select([]), "age") == []
    found = stored_from(some, {}, folder=Path(), source="here")
    assert (said(found), list(found.columns["size"])) == ([(7, "dog"), (5, "dog")], ["large", "small"])


def test_a_digest_is_of_the_bytes_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(5))
    inside = stored_from(_table().select([0]), {}, folder=tmp_path, source="here")
    cells = {"image": [{"bytes": None, "path": "a.png"}], "label": [1], "size": [0], "age": [3], "tags": [["a"]]}
    beside = datasets.Dataset.from_dict(cells, features=FEATURES)
    outside = stored_from(beside.remove_columns("size"), {}, folder=tmp_path, source="here")
    assert digest_of_rows(inside) == digest_of_rows(outside)
    assert digest_of_rows(inside) != digest_of_rows(stored_from(_table().select([2]), {}, folder=tmp_path, source="x"))


def test_a_file_that_is_mapped_anew_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "REMAP", 2)
    _table().save_to_disk(tmp_path / "saved")
    found = stored_from(datasets.load_from_disk(tmp_path / "saved"), {}, folder=Path(), source="here")
    assert isinstance(found.rows, columns.TableRows)
    first = found.rows.table
    assert [said(found) for _ in range(3)] == [[(5, "dog"), (6, "cat"), (7, "dog")]] * 3
    assert found.rows.table is not first
    held = stored_from(_table(), {}, folder=Path(), source="here").rows
    assert isinstance(held, columns.TableRows)
    kept = held.table
    assert len({held[row % 3].name for row in range(9)}) == 3
    # What lies in memory would be copied, not mapped.
    assert held.table is kept
