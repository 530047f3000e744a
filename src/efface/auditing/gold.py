"""Whether gold can be what others are measured by: another model than those, which does not know the class."""

from efface.attacks.base import EDITED, GOLD, REFERENCE, Asked
from efface.errors import InputError
from efface.functional.metrics import difference_interval, wilson_interval
from efface.report.audit import Subject

KNOWS = 0.2
"""So far above the level of a name that was never learned the interval of gold's accuracy on the class may not lie."""


def check_gold(asked: Asked, subject: Subject) -> None:
    """Refuses gold beside which nothing could be told. Without gold there is nothing to check.

    Raises:
        InputError: If it is the edited model or the original, or knows the class.
    """
    if GOLD not in asked.models:
        return
    hint = f"give a model that was trained without {asked.name!r}, or leave --gold out"
    weights = {called: one.weights for called, one in subject.models.items()}
    for called, what in ((EDITED, "the edited model itself"), (REFERENCE, "the original itself")):
        if weights[GOLD] == weights[called]:
            raise InputError(f"gold is {what}, {subject.models[called].source!r}", hint=hint)
    own = asked.features(GOLD, "held_out", "final")[asked.labels("held_out") == asked.own]
    shares = []
    for classes in (asked.texts(GOLD), asked.unnamed(GOLD)):
        right = int(((own @ classes.T).argmax(dim=1) == asked.own).sum())
        shares.append((right / len(own), *wilson_interval(right, len(own))))
    by_name, by_none = shares
    if difference_interval(by_name, by_none)[0] > KNOWS:
        raise InputError(
            f"gold, {subject.models[GOLD].source!r}, knows {asked.name!r}: by that name it has {by_name[0]:.1%} of "
            f"{len(own)} images right, by one that was never learned {by_none[0]:.1%}",
            hint=hint,
        )
