from efface.checkpoints import Working
from efface.clock import Clock


def test_stages_are_timed_and_what_came_before_a_stop_counts() -> None:
    clock = Clock()
    with Working(None, {}) as working:
        stage = working.stage("a", {})
        stage.seconds = 100.0
        with clock("first", stage), clock("second"):
            pass
    assert 100 <= clock.stages["first"] < 110
    assert 0 <= clock.stages["second"] < 10
    assert clock.total() >= 100
