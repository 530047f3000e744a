import csv
import io
import json
from dataclasses import replace

import pytest

from efface.evaluation.base import Score
from efface.report.record import DataUsed, Measurement, Scores
from efface.report.results import clip_benchmark_results, scores_csv
from tests.report.sample_record import CIFAR, TARGET, TINY, sample


def test_each_model_and_data_set_has_a_result_with_the_record_s_numbers() -> None:
    record = sample(model="ViT-B-32:openai")
    found = clip_benchmark_results(record)
    assert set(found) == {
        f"{name}-{when}.json" for name in ("0-validation-parquet", f"1-{CIFAR}") for when in ("before", "after")
    }
    for name, scores in (("before", record.scores.before), ("after", record.scores.after)):
        result = found[f"0-validation-parquet-{name}.json"]
        assert (result["dataset"], result["model"], result["n"]) == (TINY, "ViT-B-32", 10000)
        assert (result["task"], result["language"]) == ("zeroshot_classification", "en")
        both = {(s.split, s.metric): s.value for s in scores if s.data == TINY and s.towers == "both"}
        expected: dict[str, float] = {m: v for (split, m), v in both.items() if split == "all"}
        expected |= {f"{split}_acc1": v for (split, m), v in both.items() if split != "all" and m == "acc1"}
        assert result["metrics"] == expected
        assert expected
    tags = [found[f"0-validation-parquet-{when}.json"]["pretrained"] for when in ("before", "after")]
    assert tags == ["openai", f"openai, without {TARGET} by lip"]
    digests = [found[f"0-validation-parquet-{when}.json"]["weights_sha256"] for when in ("before", "after")]
    assert digests == [record.weights.base, record.weights.result]


@pytest.mark.parametrize("model", ["local-dir:/a/b", "builtin:symbols-rn", "/a/b", "hf-hub:org/name", "org/name"])
def test_a_place_is_no_tag(model: str) -> None:
    result = clip_benchmark_results(sample(model=model))["0-validation-parquet-before.json"]
    assert (result["model"], result["pretrained"]) == (model, "")


def test_a_model_alone_has_one_result() -> None:
    record = sample()
    alone = Measurement(
        model="a",
        against=None,
        name=None,
        templates=("{}",),
        weights=record.weights,
        data=(DataUsed("x y", "00", 4, 2, "11", {"domain": "sketch"}, ("row 1", "row 2")),),
        scores=Scores(
            after=(
                Score("x y", "all", "acc1", "both", 0.25, 4, 0.0, 1.0, True),
                # Class texts looked up are another task than the one that the file names.
                Score("x y", "all", "image_retrieval_recall@1", "both", 0.5, 2, 0.0, 1.0, True),
            )
        ),
        classes=record.classes,
        changes=(),
        confusion=(),
        environment={},
        precision="float32",
    )
    (result,) = clip_benchmark_results(alone).values()
    assert result["metrics"] == {"acc1": 0.25}
    assert (result["n"], result["skipped"], result["where"]) == (4, 2, "domain=sketch")
    assert result["weights_sha256"] == record.weights.result


def test_csv_holds_every_score_unrounded() -> None:
    record = sample()
    rows = list(csv.DictReader(io.StringIO(scores_csv(record))))
    told = [(row["when"], row["data"], row["split"], row["metric"], row["towers"], float(row["value"])) for row in rows]
    assert told == [
        (when, s.data, s.split, s.metric, s.towers, s.value)
        for when, scores in (("before", record.scores.before), ("after", record.scores.after))
        for s in scores
    ]


def test_results_are_json_without_nan() -> None:
    empty = replace(sample(), data=(), scores=Scores())
    assert clip_benchmark_results(empty) == {}
    json.dumps(clip_benchmark_results(sample()), allow_nan=False)
