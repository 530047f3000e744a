"""The scores of a record for other programs: CLIP_benchmark's JSON, one a model and data set, and CSV."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from efface.evaluation.base import Score
from efface.report.record import DataUsed, Measurement, Record
from efface.report.rows import is_local, short_names

TASK = "zeroshot_classification"
LANGUAGE = "en"
METRICS = ("acc1", "acc5", "mean_per_class_recall")
"""Those of the task; CLIP_benchmark has the names of retrieval for another one, of captions."""
# A name and a tag of open_clip; what follows the schemas is a place, not a tag.
_TAGGED = re.compile(r"(?!builtin:|local-dir:|hf-hub:)([\w.-]+):([\w.-]+)", re.ASCII)


def clip_benchmark_results(found: Record | Measurement) -> dict[str, Mapping[str, Any]]:
    """Results as ``clip_benchmark eval`` writes them and ``clip_benchmark build`` reads them, by their file names.

    ``metrics`` are of all images, with ``forget_acc1`` and ``retain_acc1`` besides where a class was named. Beside
    CLIP_benchmark's own keys stand how many images it was, how many were left out, and the digests of weights and data.
    """
    names = short_names(used.source for used in found.data)
    results = {}
    for when, model, weights, scores in _measured(found):
        for index, used in enumerate(found.data):
            slug = re.sub(r"\W+", "-", names[used.source]).strip("-")
            name = f"{index}-{slug}-{when}.json"
            results[name] = _result(model, weights, used, [s for s in scores if s.data == used.source])
    return results


def scores_csv(found: Record | Measurement) -> str:
    """Every score as CSV: ``before`` or ``after``, and the fields of :class:`~efface.evaluation.base.Score`."""
    file = io.StringIO()
    writer = csv.DictWriter(file, ["when", *(field.name for field in fields(Score))], lineterminator="\n")
    writer.writeheader()
    for when, scores in (("before", found.scores.before), ("after", found.scores.after)):
        writer.writerows({"when": when, **asdict(score)} for score in scores)
    return file.getvalue()


def _measured(found: Record | Measurement) -> list[tuple[str, tuple[str, str], str | None, tuple[Score, ...]]]:
    """What was measured: when, the model and its tag, its digest, its scores."""
    weights, scores = found.weights, found.scores
    if isinstance(found, Record):
        base, tag = _name(found.model)
        without = ", ".join(filter(None, (tag, f"without {found.label} by {found.method}")))
        models = [("before", (base, tag), weights.base), ("after", (base, without), weights.result)]
    else:
        models = [("after", _name(found.model), weights.result)]
        if found.against is not None:
            models.insert(0, ("before", _name(found.against), weights.base))
    of = {"before": scores.before, "after": scores.after}
    return [(when, model, digest, of[when]) for when, model, digest in models if of[when]]


def _name(model: str) -> tuple[str, str]:
    tagged = None if is_local(model) else _TAGGED.fullmatch(model)
    return (tagged[1], tagged[2]) if tagged else (model, "")


def _result(model: tuple[str, str], weights: str | None, used: DataUsed, scores: list[Score]) -> Mapping[str, Any]:
    whole = [score for score in scores if score.towers == "both"]
    metrics = {score.metric: score.value for score in whole if score.split == "all" and score.metric in METRICS}
    metrics |= {f"{s.split}_acc1": s.value for s in whole if s.split != "all" and s.metric == "acc1"}  # type: ignore[misc]
    return {
        "dataset": used.source,
        "model": model[0],
        "pretrained": model[1],
        "task": TASK,
        "metrics": metrics,
        "language": LANGUAGE,
        "n": used.n,
        "skipped": len(used.skipped),
        "where": " and ".join(f"{column}={value}" for column, value in used.where.items()),
        "weights_sha256": weights,
        "data_sha256": used.sha256,
    }
