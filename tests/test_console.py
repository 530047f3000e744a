import io
from collections.abc import Mapping
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from efface.console import Terminal, method_tables, score_table
from efface.evaluation.base import Score
from efface.methods import PRESETS
from efface.report.record import Measurement, Scores
from efface.settings import describe
from efface.synthesis import preset_synthesizer
from efface.synthesis.ascent import GradientAscent
from efface.synthesis.base import Synthesizer
from efface.types import Reporter
from tests.report.sample_record import sample


def shown(width: int = 200) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=width), stream


def test_the_table_shows_what_was_forgotten_what_stayed_and_the_mixed_towers() -> None:
    console, stream = shown()
    record = sample()
    console.print(score_table(record))
    text = stream.getvalue()
    for score in record.scores.after:
        if score.metric == "acc1" and score.split == "forget":
            assert f"{100 * score.value:.1f}" in text
            assert f"{100 * score.low:.1f} to {100 * score.high:.1f}" in text
    assert "acc5" not in text
    assert "edited image tower, original text tower" in text
    assert "original image tower, edited text tower" in text


@pytest.mark.parametrize(("short", "long"), [("symbols:test", "symbols:unseen"), ("symbols:validation", "v" * 30)])
def test_on_80_columns_gold_stands_beside_and_intervals_and_short_names_are_not_broken(short: str, long: str) -> None:
    console, stream = shown(80)
    record = sample()
    names = dict(zip((used.source for used in record.data), (short, long), strict=True))

    def renamed(scores: tuple[Score, ...]) -> tuple[Score, ...]:
        return tuple(replace(score, data=names[score.data]) for score in scores)

    data = tuple(replace(used, source=names[used.source]) for used in record.data)
    scores = Scores(renamed(record.scores.before), renamed(record.scores.after))
    record = replace(record, data=data, scores=scores)
    shared = {f.name: getattr(record, f.name) for f in fields(Measurement) if hasattr(record, f.name)}
    gold = Measurement(**{"against": None, "name": record.target, **shared})
    console.print(score_table(record, gold, mixed=False))
    text = stream.getvalue()
    assert "gold" in text
    assert all(name in text for name in names.values() if len(name) <= 14)
    for score in scores.after:
        if score.metric == "acc1" and score.towers == "both" and score.split == "forget":
            # Of the result, and of what stands for gold here.
            assert text.count(f"{100 * score.low:.1f} to {100 * score.high:.1f}") == 2


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_figure_is_never_cut(width: int) -> None:
    record = sample()
    before = tuple(replace(score, value=1.0, low=0.839, high=1.0) for score in record.scores.before)
    changes = tuple(replace(change, value=-1.0, low=-1.0, high=-0.771) for change in record.changes)
    console, stream = shown(width)
    table = score_table(replace(record, scores=replace(record.scores, before=before), changes=changes))
    console.print(table, crop=False)
    assert "83.9 to 100.0" in stream.getvalue()
    assert "-100.0 to -77.1" in stream.getvalue()


def test_a_run_without_a_model_shows_the_base() -> None:
    console, stream = shown()
    record = sample()
    console.print(score_table(sample(scores=Scores(before=record.scores.before), changes=())))
    before, text = record.scores.before[0], stream.getvalue()
    assert f"{100 * before.value:.1f}" in text
    assert "accuracy" in text
    assert "change" not in text


def listed_lip(synthesis: Mapping[str, Synthesizer]) -> dict[str, Any]:
    """lip as ``efface methods`` hands it on, with other images by preset."""
    return {
        "name": "lip",
        "summary": "s",
        "needs": {"forget_images": 64},
        "presets": {name: describe(method) for name, method in PRESETS["lip"].items()},
        "synthesis": {name: describe(made) for name, made in synthesis.items()},
    }


def test_the_listing_of_a_method_shows_ranges_and_what_a_preset_changes() -> None:
    console, stream = shown()
    console.print(*method_tables(listed_lip({name: GradientAscent() for name in PRESETS["lip"]})))
    text = " ".join(stream.getvalue().split())
    assert "stop_accuracy 0.1 at least 0, below 1" in text
    assert "synthesis.jitter 16 at least 0" in text
    # What this preset has with the same value as the default is not said again.
    assert "--preset paper: images=64, noise=[0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0], samples=25" in text
    assert "stop_accuracy=" not in text.split("--preset paper")[1]


def test_names_of_settings_are_whole_on_80_columns() -> None:
    console, stream = shown(80)
    console.print(*method_tables(listed_lip({name: GradientAscent() for name in PRESETS["lip"]})))
    assert all(f"synthesis.{setting['name']} " in stream.getvalue() for setting in describe(GradientAscent()))


def test_a_preset_is_listed_with_its_own_images() -> None:
    console, stream = shown()
    console.print(*method_tables(listed_lip({name: preset_synthesizer(name) for name in PRESETS["lip"]})))
    _, lipschitz, paper = " ".join(stream.getvalue().split()).split("--preset ")
    assert "synthesis." not in lipschitz
    assert "synthesis.jitter=16" in paper
    assert "synthesis.acceptance_scale" not in paper, "the same for both"


def test_a_stage_counts_to_its_end_with_a_rate() -> None:
    console, stream = shown(120)
    reporter: Reporter = Terminal(console)
    with reporter.stage("working [hard]", 3) as advance:
        for _ in range(3):
            advance(1)
    text = stream.getvalue()
    assert "working [hard]" in text
    assert "3/3" in text
    assert "/s" in text


def test_in_a_file_a_long_stage_says_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 30.0, 70.0, 100.0, 140.0])
    # rich has a clock of its own.
    monkeypatch.setattr("efface.console.time", SimpleNamespace(monotonic=lambda: next(clock)))
    console, stream = shown(120)
    with Terminal(console).stage("working", 400) as advance:
        for _ in range(4):
            advance(35)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["working: 70 of 400, 1/s", "working: 140 of 400, 1/s"]
