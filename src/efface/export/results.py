"""Scores as files that other programs read."""

import json
from pathlib import Path

from efface.export.place import check_free
from efface.report.record import Measurement, Record
from efface.report.results import clip_benchmark_results, scores_csv

SCORES = "scores.csv"


def write_results(folder: Path, found: Record | Measurement) -> Path:
    """Writes CLIP_benchmark's JSON, one file a model and data set, and all scores as CSV; returns the folder.

    Raises:
        InputError: See :func:`~efface.export.place.check_free`.
    """
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, result in clip_benchmark_results(found).items():
        text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    (folder / SCORES).write_text(scores_csv(found), encoding="utf-8")
    return folder
