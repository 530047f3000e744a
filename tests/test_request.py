import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.errors import InputError
from efface.request import (
    ClassTarget,
    ForgetRequest,
    check_names,
    check_templates,
    in_words,
    listed,
    position,
    targets_of,
)

names = st.lists(st.text(min_size=1).filter(lambda s: bool(s.strip())), min_size=2, unique=True)


@given(names, st.data())
def test_every_name_is_found_where_it_stands(among: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(among))
    assert ForgetRequest((ClassTarget(name),), tuple(among)).rows == (among.index(name),)


def test_an_unknown_class_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match="the class 'monach' is not among the 3 class names") as caught:
        position("monach", ("monarch", "tabby", "pizza"))
    assert caught.value.hint == "did you mean 'monarch'?"


def test_a_class_like_no_other_is_answered_with_the_first_names() -> None:
    with pytest.raises(InputError) as caught:
        position("xyzzy", ("monarch", "tabby"))
    assert caught.value.hint == "the first names are ['monarch', 'tabby']"


def test_names_that_stand_twice_are_listed_once_each() -> None:
    with pytest.raises(InputError, match=r"class names stand twice: 'crane', 'bat'$"):
        check_names(("crane", "bat", "crane", "bat", "crane"))


@pytest.mark.parametrize(
    ("among", "text"),
    [
        ((), "there are no class names"),
        (("a", " ", "b", ""), "class name 2, 4 is empty"),
        (("a", "\udcff"), "'.udcff' is no"),
    ],
)
def test_missing_and_empty_names_are_refused(among: tuple[str, ...], text: str) -> None:
    with pytest.raises(InputError, match=text):
        check_names(among)


@pytest.mark.parametrize(
    ("templates", "text"),
    [
        ((), "there are no templates"),
        (("a photo",), "'a photo' has 0 places"),
        (("{} and {}",), "has 2 places"),
        (("\ud800 {}",), r"'\\ud800 \{\}' is no UTF-8 text"),
    ],
)
def test_templates_without_one_place_for_the_name_are_refused(templates: tuple[str, ...], text: str) -> None:
    with pytest.raises(InputError, match=text):
        check_templates(templates)


def test_a_class_alone_cannot_be_told_apart() -> None:
    with pytest.raises(InputError, match="the only class name"):
        ForgetRequest((ClassTarget("a"),), ("a",))


def test_a_word_says_which_of_several_classes_it_is_of_and_of_one_it_stands_as_it_is() -> None:
    assert targets_of("a", ["b=c"], ("x",)) == (ClassTarget("a", ("b=c",), ("x",)),)
    found = targets_of(("a", "a=b"), ["a=b=c", "a=d"], {"a": ["one", "two"]})
    assert found == (ClassTarget("a", ("d",), ("one", "two")), ClassTarget("a=b", ("c",)))
    with pytest.raises(InputError, match="the alias 'c' does not say which of the 2 classes it is of"):
        targets_of(("a", "b"), ["c"])
    with pytest.raises(InputError, match="there is no class to forget"):
        targets_of((), ["c"])
    with pytest.raises(InputError, match="'c' has a phrase, and is not to be forgotten"):
        targets_of(("a", "b"), (), {"c": ["x"]})


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        ((), "there is no class to forget"),
        ((ClassTarget("a"), ClassTarget("a")), "'a' is to be forgotten twice"),
        ((ClassTarget("a"), ClassTarget("b"), ClassTarget("c")), "all class names are to be forgotten"),
        ((ClassTarget("a", ("B",)),), "the alias 'B' is one of the class names"),
        ((ClassTarget("a", ("x",)), ClassTarget("b", ("x",))), "the alias 'x' is given twice"),
        ((ClassTarget("a", ("x", "y", "X")),), "'x' and 'X' are one alias: they differ in capitals alone"),
        ((ClassTarget("a", (), ("An x",)), ClassTarget("b", (), ("an X",))), "'An x' and 'an X' are one phrase"),
        ((ClassTarget("a", (), (" ",)),), "a phrase is empty"),
        ((ClassTarget("a", (), ("\udcff",)),), "the phrase .* is no UTF-8 text"),
    ],
)
def test_what_cannot_be_forgotten_is_refused(targets: tuple[ClassTarget, ...], text: str) -> None:
    with pytest.raises(InputError, match=text):
        ForgetRequest(targets, ("a", "b", "c"))


def test_names_in_words() -> None:
    assert [in_words("abcdef"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert in_words("abcdef") == "a, b, c and 3 more"


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=str(seed)):
        ForgetRequest((ClassTarget("a"),), ("a", "b"), seed=seed)


def test_a_text_is_no_list_of_its_letters() -> None:
    assert listed("among", ["a", "b"]) == ("a", "b")
    with pytest.raises(InputError, match="among is the text 'ab'"):
        listed("among", "ab")


def test_a_request_is_checked_without_torch() -> None:
    code = "import efface, efface.request, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
