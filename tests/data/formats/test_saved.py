from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from datasets import ClassLabel, Features, Value

from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, png, read, said

FEATURES = Features({"image": datasets.Image(), "label": ClassLabel(names=["cat", "dog"]), "place": Value("string")})


def _table(*rows: tuple[int, int, str]) -> datasets.Dataset:
    cells = [{"bytes": png(gray), "path": None} for gray, _, _ in rows]
    columns = {"image": cells, "label": [label for _, label, _ in rows], "place": [place for *_, place in rows]}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


TABLE = _table((5, 1, "sea"), (6, 0, "land"), (7, 1, "land"))


def test_one_table_opens(tmp_path: Path) -> None:
    TABLE.save_to_disk(tmp_path / "one")
    assert said(read(f"saved:{tmp_path / 'one'}")) == [(5, "dog"), (6, "cat"), (7, "dog")]
    data = open_source(str(tmp_path / "one"), preprocess=as_tensor, where={"place": "land"})
    assert data.images.labels.tolist() == [0, 1]
    named = open_source(str(tmp_path / "one"), preprocess=as_tensor, where={"label": "dog"})
    assert named.images.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("kind", "columns"), [("torch", None), ("numpy", None), ("pandas", None), ("torch", ["label"])]
)
def test_the_format_of_a_saved_table_does_not_count(tmp_path: Path, kind: str, columns: list[str] | None) -> None:
    TABLE.with_format(kind, columns=columns).save_to_disk(tmp_path / "one")
    assert said(read(f"saved:{tmp_path / 'one'}")) == [(5, "dog"), (6, "cat"), (7, "dog")]
    data = open_source(str(tmp_path / "one"), preprocess=as_tensor, where={"place": "land"})
    assert [labels.tolist() for _, labels in data.images.batches(9)] == [[0, 1]]


def test_rows_that_were_chosen_before_saving_stay_chosen(tmp_path: Path) -> None:
    TABLE.select([2, 0]).save_to_disk(tmp_path / "some")
    assert said(read(f"saved:{tmp_path / 'some'}")) == [(7, "dog"), (5, "dog")]


def test_the_digest_is_of_the_tables_own_files(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    TABLE.save_to_disk(folder)
    before = open_source(str(folder), preprocess=as_tensor).sha256
    # As map and filter leave it.
    (folder / "cache-0123456789abcdef.arrow").write_bytes(b"another table")
    assert open_source(str(folder), preprocess=as_tensor).sha256 == before


@pytest.mark.parametrize("state", ["[]", "{}", "null", '{"_data_files": [1]}', "no JSON"])
def test_a_state_that_says_nothing_is_refused(tmp_path: Path, state: str) -> None:
    TABLE.save_to_disk(tmp_path / "one")
    (tmp_path / "one/state.json").write_text(state)
    with pytest.raises(InputError, match=r"cannot be read: state.json names no files"):
        read(f"saved:{tmp_path / 'one'}")


def test_a_description_of_another_kind_is_refused(tmp_path: Path) -> None:
    TABLE.save_to_disk(tmp_path / "one")
    (tmp_path / "one/dataset_info.json").write_text("[]")
    with pytest.raises(InputError, match="cannot be read"):
        read(f"saved:{tmp_path / 'one'}")


def test_a_table_without_a_row_is_refused(tmp_path: Path) -> None:
    TABLE.select([]).save_to_disk(tmp_path / "none")
    with pytest.raises(InputError, match="holds no row"):
        read(f"saved:{tmp_path / 'none'}")
    TABLE.save_to_disk(tmp_path / "file")
    # A file without a row, as some versions of the library write it.
    with pa.ipc.new_stream(next((tmp_path / "file").glob("*.arrow")), TABLE.features.arrow_schema):
        pass
    with pytest.raises(InputError, match="holds no image"):
        open_source(f"saved:{tmp_path / 'file'}", preprocess=as_tensor)


def test_a_split_of_several_is_named(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": TABLE, "validation": _table((9, 0, "sea"))}).save_to_disk(tmp_path)
    assert said(read(f"saved:{tmp_path},split=validation")) == [(9, "cat")]
    with pytest.raises(InputError, match="has no split 'test'") as caught:
        open_source(str(tmp_path), preprocess=as_tensor)
    assert caught.value.hint == "there are train, validation"


def test_what_was_not_saved_so_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not what save_to_disk wrote"):
        read(f"saved:{tmp_path}")
    TABLE.save_to_disk(tmp_path / "one")
    with pytest.raises(InputError, match="holds one table, not splits"):
        read(f"saved:{tmp_path / 'one'},split=test")
    next((tmp_path / "one").glob("*.arrow")).write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        read(f"saved:{tmp_path / 'one'}")
