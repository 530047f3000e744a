import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from efface.report.card import (
    OnHub,
    base_model,
    escape_markdown,
    license_of,
    render_card,
    render_export_card,
    yaml_value,
)
from efface.report.record import Scores, Weights
from efface.report.rows import percent, score_rows
from tests.report.sample_record import CIFAR, OTHERS, named, sample

yaml = pytest.importorskip("yaml")


def front_matter(card: str) -> dict[str, Any]:
    start, head, _ = card.split("---\n", 2)
    assert start == ""
    loaded: dict[str, Any] = yaml.safe_load(head)
    return loaded


def table_cells(card: str) -> list[list[str]]:
    lines = [line for line in card.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_front_matter_holds_the_record_s_numbers() -> None:
    record = sample(model="ViT-B-32:openai")
    head = front_matter(render_card(record, library="open_clip"))
    assert head["base_model"] == "ViT-B-32:openai"
    assert head["library_name"] == "open_clip"
    assert head["pipeline_tag"] == "zero-shot-image-classification"
    assert head["tags"] == ["clip", "machine-unlearning", "efface"]
    (index,) = head["model-index"]
    measured = [s for s in record.scores.after if s.metric == "acc1" and s.towers == "both"]
    assert [result["metrics"][0]["value"] for result in index["results"]] == [score.value for score in measured]
    assert [result["dataset"]["split"] for result in index["results"]] == ["forget", "retain", "all"]
    assert [result["dataset"]["type"] for result in index["results"]] == ["validation.parquet"] * 2 + [CIFAR]


def test_the_hub_s_own_reader_takes_the_card() -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(render_card(sample(), library="transformers"))
    assert [result.metric_value for result in card.data.eval_results] == [0.0, 1271 / 9950, 0.6777]
    assert card.data.library_name == "transformers"


def test_the_table_has_every_score() -> None:
    record = sample()
    head, _, *rows = [cells for cells in table_cells(render_card(record, library="open_clip"))]
    assert head[-3:] == ["Before", "After", "Change"]
    expected = score_rows(record, ["both", "image", "text"])
    for cells, row in zip([_, *rows], expected, strict=True):
        assert row.after is not None
        assert cells[-2].startswith(f"{percent(row.after.value)} (")
        assert cells[3] == str(row.n)


def test_the_card_names_the_weights_and_promises_nothing() -> None:
    record = sample()
    card = render_card(record, library="open_clip")
    assert f"validation.parquet under no attack, for weights sha256 {record.weights.result}." in card
    assert "## What is not promised" in card
    assert card.endswith("\n")


@pytest.mark.parametrize(
    ("library", "line"),
    [
        ("open_clip", 'create_model_from_pretrained("local-dir:model")'),
        ("transformers", 'AutoModel.from_pretrained("model")'),
        ("else", "With else, the way the base loads"),
    ],
)
def test_the_card_says_how_to_load(library: str, line: str) -> None:
    assert line in render_card(sample(), library=library)


def test_the_license_of_the_base_is_the_result_s(tmp_path: Path) -> None:
    of_base = tmp_path / "README.md"
    assert license_of(None) == license_of(of_base) == {}
    of_base.write_text("---\nlicense: mit\ntags: [clip]\n---\n# A CLIP\n")
    assert license_of(of_base) == {"license": "mit"}
    card = render_card(sample(), library="open_clip", license=license_of(of_base))
    assert front_matter(card)["license"] == "mit"
    assert "license" not in front_matter(render_card(sample(), library="open_clip"))
    assert "said nothing of its license" in render_card(sample(), library="open_clip")
    of_base.write_text("---\n: [\n---\n")
    assert license_of(of_base) == {}


def test_a_model_in_another_format_keeps_its_license() -> None:
    told = {"license": "other", "license_name": "a: b", "license_link": "LICENSE"}
    card = render_export_card("org/a_b", "open_clip", told)
    task = {"library_name": "open_clip", "pipeline_tag": "zero-shot-image-classification"}
    assert front_matter(card) == {**told, **task, "base_model": "org/a_b"}
    assert "# org/a\\_b\n" in card
    assert front_matter(render_export_card("/home/me/clip", "transformers", {})) == {
        **task,
        "library_name": "transformers",
    }


def test_on_the_hub_a_card_says_how_to_load_from_there() -> None:
    hub = OnHub("me/clip", "openai/clip", ("record.json",))
    card = render_card(sample(), library="transformers", hub=hub)
    assert 'AutoModel.from_pretrained("me/clip")' in card
    assert front_matter(card)["base_model"] == "openai/clip"
    assert "More is in `record.json`." in card


def test_no_folder_of_this_machine_is_on_the_card() -> None:
    card = render_card(sample(), library="open_clip")
    assert "tiny-natural-rn" in card
    assert "base_model" not in front_matter(card)
    for folder in ("/home", "someone", "/data", "tiny-imagenet"):
        assert folder not in card


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/clip-vit-base-patch16", "openai/clip-vit-base-patch16"),
        ("hf-hub:timm/vit_base.openai", "timm/vit_base.openai"),
        ("ViT-B-32:openai", "ViT-B-32:openai"),
        ("builtin:symbols-vit", None),
        ("local-dir:/models/clip", None),
        ("local-dir:clip", None),
        ("/models/clip", None),
        ("./models", None),
        ("../models", None),
        ("a/b/c", None),
        ("clip", None),
    ],
)
def test_a_base_is_named_only_where_others_can_find_it(model: str, expected: str | None) -> None:
    assert base_model(model) == expected


@given(st.text())
@example("no: \"yes\" 'x' # \x7f\x85\u2028\ufeff😀")
def test_text_survives_yaml(text: str) -> None:
    assert yaml.safe_load(f"a: {yaml_value(text)}") == {"a": text}


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-05)
@example(1e22)
def test_numbers_survive_yaml(number: float) -> None:
    assert yaml.safe_load(f"a: {yaml_value(number)}") == {"a": number}


@given(name=st.text(min_size=1))
@example("a|b\\|c *bold* <script> `x` [l](u)\n# head\n---")
def test_a_class_name_of_any_text_breaks_neither_table_nor_front_matter(name: str) -> None:
    card = render_card(named(name), library="open_clip")
    index = front_matter(card)["model-index"]
    assert index[0]["results"][0]["dataset"]["name"] == f"validation.parquet, images of {name}"
    lines = card.split("\n")
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 1 + len(sample().scores.after)
    assert {line.count("|") for line in rows} == {8}
    assert len(lines) == len(render_card(sample(), library="open_clip").split("\n"))


def test_markdown_specials_are_shown_as_they_are() -> None:
    assert escape_markdown("a*b_c`|<b>&\n#x") == r"a\*b\_c\`&#124;&lt;b&gt;&amp; \#x"
    assert escape_markdown("大帛斑蝶 10.5 - ok") == "大帛斑蝶 10.5 - ok"


def test_equal_records_give_equal_bytes() -> None:
    assert render_card(sample(), library="open_clip") == render_card(sample(), library="open_clip")


def test_a_run_without_a_result_gives_no_results() -> None:
    record = sample(weights=Weights("ab", None, ()), scores=Scores(), changes=(), reached=False, reason="it stopped")
    card = render_card(record, library="open_clip")
    assert "model-index" not in front_matter(card)
    assert "Nothing was measured on held-out images." in card
    assert "**The method missed its own goal:** it stopped" in card
    assert not re.search("Measured suppression", card)
    assert OTHERS[0] not in card


def test_what_was_chosen_and_what_was_left_out_is_said_and_else_nothing() -> None:
    record = sample()
    plain = render_card(record, library="open_clip")
    used = replace(record.data[0], where={"domain": "a_sketch"}, skipped=("row 3 cannot be decoded",) * 2)
    card = render_card(replace(record, data=(used, *record.data[1:])), library="open_clip")
    line, said = sorted(set(card.splitlines()) - set(plain.splitlines()))
    assert said.startswith("The record says: measured suppression of monarch on validation.parquet (domain a\\_sketch)")
    assert line == (
        "- validation.parquet: only images with domain a\\_sketch; 2 images could not be decoded, and no figure counts "
        "them."
    )
    one = replace(used, where={}, skipped=("row 3 cannot be decoded",), lost=("forget",))
    card = render_card(replace(record, data=(one, *record.data[1:])), library="open_clip")
    (line,) = set(card.splitlines()) - set(plain.splitlines())
    assert line == (
        "- validation.parquet: 1 image could not be decoded, and no figure counts it; all images of "
        f"{record.target} are among these: nothing is measured on them."
    )
