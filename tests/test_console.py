import io

from rich.console import Console

from efface.console import Terminal, score_table
from efface.report.record import Scores
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
            assert f"{100 * score.value:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})" in text
    assert "acc5" not in text
    assert " image " in text
    assert " text " in text


def test_a_run_without_a_model_shows_the_base() -> None:
    console, stream = shown()
    record = sample()
    console.print(score_table(sample(scores=Scores(before=record.scores.before), changes=())))
    before = record.scores.before[0]
    assert f"{100 * before.value:.1f}" in stream.getvalue()


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
