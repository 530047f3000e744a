"""How many synthetic images stand for what stays."""

from efface.beside import Beside
from efface.guard_counts import OWN_SHARE, guard_images, own_share
from efface.types import Needs

STAY = Needs(forget_images=3, retain_images=40)
GUARD = Needs(forget_images=3, guard_images=20)
KIND = Beside(where={"color": "red"})


def test_images_to_stay_that_are_not_given_are_made() -> None:
    assert guard_images(STAY, Beside()) == 40
    assert guard_images(STAY, Beside(retain="mine")) == guard_images(STAY, Beside(pool="any")) == 0
    # A guard is made whatever is given.
    assert guard_images(GUARD, Beside(retain="mine")) == 20
    assert guard_images(Needs(), Beside()) == 0


def test_some_are_near_the_class_itself_where_a_kind_of_it_goes() -> None:
    assert own_share(STAY, KIND) == OWN_SHARE
    assert own_share(STAY, Beside()) == 0
    # A guard of other classes stays one.
    assert own_share(GUARD, KIND) == 0
