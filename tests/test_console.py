import io

from rich.console import Console

from efface.console import Terminal, method_tables, score_table
from efface.methods import PRESETS
from efface.report.record import Scores
from efface.settings import describe
from efface.synthesis.ascent import GradientAscent
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


def test_a_run_without_a_model_shows_the_base() -> None:
    console, stream = shown()
    record = sample()
    console.print(score_table(sample(scores=Scores(before=record.scores.before), changes=())))
    before, text = record.scores.before[0], stream.getvalue()
    assert f"{100 * before.value:.1f}" in text
    assert "accuracy" in text
    assert "change" not in text


def test_the_listing_of_a_method_shows_ranges_and_what_a_preset_changes() -> None:
    console, stream = shown()
    lip = {"name": "lip", "summary": "s", "needs": {"forget_images": 64}, "synthesis": describe(GradientAscent())}
    console.print(*method_tables(lip | {"presets": {n: describe(m) for n, m in PRESETS["lip"].items()}}))
    text = " ".join(stream.getvalue().split())
    assert "stop_accuracy 0 at least 0, below 1" in text
    assert "synthesis.jitter 16 at least 0" in text
    assert "--preset paper: learning_rate_growth=1, stop_accuracy=0.1, keep_rejected=true" in text


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
