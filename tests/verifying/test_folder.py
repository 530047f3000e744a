from pathlib import Path

import torch

from efface.backends.base import digest
from efface.export.folder import read_run
from efface.verifying.folder import check_data, check_weights, stored_weights


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
    def never(source: str) -> object:
        raise AssertionError(source)

    check, usable = check_data((), [], never, required=True)  # type: ignore[arg-type]
    assert (check.status, usable) == ("skipped", [])
