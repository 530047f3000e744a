import pytest

from efface.functional.recovery import steps_to_recovery

CURVE = {8: 0.9, 1: 0.2, 2: 0.5, 4: 0.4}


@pytest.mark.parametrize(
    ("before", "lost", "share", "steps"),
    [
        (1.0, 0.0, 0.5, 2),  # half of it is reached at once, though it is lost again
        (1.0, 0.0, 0.9, 8),
        (1.0, 0.0, 0.95, None),
        (0.9, 0.1, 0.5, 2),  # 0.1 + 0.5 x 0.8 is 0.5 to the last digit
        (1.0, 0.2, 0.5, 8),  # 0.6 is what lies half way
        (0.4, 0.4, 0.5, 0),
        (0.4, 0.7, 0.5, 0),
    ],
)
def test_the_first_step_at_which_the_share_is_there(
    before: float, lost: float, share: float, steps: int | None
) -> None:
    assert steps_to_recovery(CURVE, before, lost, share=share) == steps


def test_what_was_never_tried_never_comes_back() -> None:
    assert steps_to_recovery({}, 1.0, 0.0) is None
