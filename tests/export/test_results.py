import json
from pathlib import Path

import pytest

from efface.errors import InputError
from efface.export.results import write_results
from efface.report.results import clip_benchmark_results, scores_csv
from tests.report.sample_record import sample


def test_files_hold_what_the_record_says(tmp_path: Path) -> None:
    record = sample()
    folder = write_results(tmp_path / "deep" / "results", record)
    written = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    assert written == clip_benchmark_results(record)
    assert (folder / "scores.csv").read_text(encoding="utf-8") == scores_csv(record)


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    write_results(tmp_path / "results", sample())
    with pytest.raises(InputError, match="results exists"):
        write_results(tmp_path / "results", sample())
