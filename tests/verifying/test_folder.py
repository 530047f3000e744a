from pathlib import Path

import torch

from efface.backends.base import digest
from efface.export.folder import read_run
from efface.report.record import DataUsed
from efface.verifying.folder import check_data, check_weights, opener, stored_weights
from tests.data.pictures import as_tensor


def test_stored_weights_are_those_of_the_record(whole: Path) -> None:
    sealed = read_run(whole)
    state = stored_weights(whole / "model")
    assert digest(state) == sealed.weights.result
    assert [(t.name, t.shape) for t in sealed.weights.tensors] == [(n, tuple(state[n].shape)) for n in sorted(state)]
    assert all(t.dtype == "float16" for t in sealed.weights.tensors if state[t.name].dtype == torch.float16)


def test_a_model_that_is_gone_fails_and_names_its_files(run: Path) -> None:
    sealed = read_run(run)
    (run / "model" / "open_clip_model.safetensors").unlink()
    found = check_weights(run, sealed)
    assert found.status == "failed"
    assert "model/open_clip_model.safetensors is missing" in found.reasons


def test_a_run_without_data_has_nothing_to_compare() -> None:
    check, usable = check_data((), [], opener(as_tensor, 0), required=True)
    assert (check.status, usable) == ("skipped", [])


def test_data_of_the_hub_that_cannot_be_reached_are_not_there_and_a_file_that_was_damaged_is(tmp_path: Path) -> None:
    used = DataUsed("hf:org/none", "00", 1, 1, "11")
    check, _ = check_data([used], [], opener(as_tensor, 0), required=False)
    assert (check.status, check.reasons) == ("skipped", ("'hf:org/none' is not here: give it with --eval",))
    (tmp_path / "val.parquet").write_bytes(b"no parquet")
    used = DataUsed(str(tmp_path / "val.parquet"), "00", 1, 1, "11")
    check, _ = check_data([used], [], opener(as_tensor, 0), required=False)
    assert check.status == "failed"
    assert "cannot be used any more" in check.reasons[0]
