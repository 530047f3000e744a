"""Scores as files that other programs read."""

import json
from pathlib import Path

from efface.export.place import check_free
from efface.report.record import Measurement, Record
from efface.report.results import clip_benchmark_results, scores_csv
from efface.whole import written_whole

SCORES = "scores.csv"


def write_results(folder: Path, found: Record | Measurement) -> Path:
    """Writes CLIP_benchmark's JSON, one file a model and data set, and all scores as CSV; returns the folder.

    The folder is there whole or not at all.

    Raises:
        InputError: See :func:`~efface.export.place.check_free`.
    """
    check_free(folder)
    with written_whole(folder) as partial:
        partial.mkdir()
        for name, result in clip_benchmark_results(found).items():
            text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
            (partial / name).write_text(text, encoding="utf-8")
        (partial / SCORES).write_text(scores_csv(found), encoding="utf-8")
    return folder
