import pytest

from tests.fuzz.cases import Case
from tests.fuzz.driver import Ground, Outcome, run_many


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("fuzz") / "ground")


def _none_is_wrong(ground: Ground, count: int, seed: int) -> None:
    seen: list[int | None] = []

    def note(case: Case, outcome: Outcome) -> None:
        assert not outcome.faults, "\n".join((str(case), *outcome.faults))
        seen.append(outcome.code)

    run_many(ground, count, seed, note)
    # Else what is drawn has become all wrong, or all right, and tells little.
    assert len(seen) >= count
    assert {0, 2} <= set(seen)


def test_whatever_is_asked_is_done_or_refused_and_nothing_is_left_elsewhere(ground: Ground) -> None:
    _none_is_wrong(ground, 60, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_two_thousand_command_lines(ground: Ground, seed: int) -> None:
    _none_is_wrong(ground, 250, seed)


def test_what_is_wrong_is_seen(ground: Ground) -> None:
    def attempt(*arguments: str, outputs: tuple[str, ...] = ()) -> tuple[str, ...]:
        return ground.attempt(Case(arguments, {}, {}, outputs)).faults

    push = ("push", "world/run", "--repo", "me/clip")
    assert attempt(*push) == ()
    report = ("report", "world/run", "--out", "page.html")
    assert attempt(*report, outputs=("page.html",)) == ()
    assert attempt(*report) == ("page.html was left",)
    assert attempt("report", "world/run") == ("world/run/report.html was changed",)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("efface.export.hub.plan_upload", lambda *_, **__: 1 / 0)
        (fault,) = attempt(*push)
    assert fault.strip().endswith("ZeroDivisionError: division by zero")
