"""Class names, templates and the texts made of them."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from efface.data.prompts import (
    class_names_from,
    imagenet_names,
    names_for,
    templates_from,
    texts,
    with_target,
    with_targets,
)
from efface.errors import InputError
from efface.symbols.catalogue import MEMBERS
from tests.hub_cache import lay_out

WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff{}"), min_size=1).filter(
    lambda text: text == text.strip()
)
NAMES = st.lists(WORDS, min_size=1, max_size=5, unique=True).map(tuple)


def _written(folder: Path | str, text: str, name: str = "given.txt") -> Path:
    path = Path(folder, name)
    path.write_bytes(text.encode())
    return path


@given(NAMES, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]), st.integers(0, 3))
def test_class_names_survive_a_file(names: tuple[str, ...], end: str, mark: str, blank_lines: int) -> None:
    with TemporaryDirectory() as folder:
        assert class_names_from(_written(folder, mark + end.join(names) + end * blank_lines)) == names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cat\n\ndog\n", "class name 2 is empty"),
        ("cat\ndog\ncat\n", "class names stand twice: 'cat'"),
        ("\n\n", "there are no class names"),
    ],
)
def test_unusable_class_names_are_refused_with_their_file(tmp_path: Path, text: str, problem: str) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        class_names_from(path)
    assert str(caught.value) == f"in {str(path)!r}: {problem}"


def test_a_missing_file_of_class_names_brings_up_its_nearest_sibling(tmp_path: Path) -> None:
    _written(tmp_path, "cat", name="classnames.txt")
    with pytest.raises(InputError, match=r"classname.txt' does not exist") as caught:
        class_names_from(tmp_path / "classname.txt")
    assert f"did you mean {str(tmp_path / 'classnames.txt')!r}?" in caught.value.hint


@given(WORDS, WORDS, st.sampled_from(["{}", "{c}"]))
def test_a_value_with_a_place_is_a_template(before: str, after: str, place: str) -> None:
    assert templates_from(f"{before} {place} {after}") == (f"{before} {{}} {after}",)


@given(st.lists(WORDS, min_size=1, max_size=5), st.sampled_from(["{}", "{c}"]))
def test_templates_survive_a_file(words: list[str], place: str) -> None:
    with TemporaryDirectory() as folder:
        path = _written(folder, "".join(f"{word} {place}\n" for word in words))
        assert templates_from(str(path)) == tuple(f"{word} {{}}" for word in words)


@pytest.mark.parametrize("value", ["a {} of {}", "a {} of {c}"])
def test_a_template_with_two_places_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"'a \{\} of \{\}' has 2 places") as caught:
        templates_from(value)
    assert caught.value.hint.startswith("write {} once")


def test_a_line_without_a_place_is_refused_with_its_file(tmp_path: Path) -> None:
    path = _written(tmp_path, "a {}\na photo\n")
    with pytest.raises(InputError) as caught:
        templates_from(str(path))
    assert str(caught.value) == f"in {str(path)!r}: the template 'a photo' has 0 places for the class name"


def test_an_empty_file_of_templates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no templates"):
        templates_from(str(_written(tmp_path, "\n")))


@pytest.mark.parametrize("value", ["a photo of a cat", "", "w" * 5000])
def test_neither_a_template_nor_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        templates_from(value)
    assert "write {} where the class name goes" in caught.value.hint or "is a folder" in str(caught.value)


def test_a_json_file_holds_a_list_or_lists_by_data_set(tmp_path: Path) -> None:
    plain, named = tmp_path / "plain.json", tmp_path / "named.json"
    plain.write_text(json.dumps(["a {}", "the {c}"]))
    named.write_text(json.dumps({"cifar10": ["a {c}"], "cupl": {"cat": ["a cat with fur"]}}))
    assert templates_from(str(plain)) == ("a {}", "the {}")
    assert templates_from(f"{named}:cifar10") == ("a {}",)
    with pytest.raises(InputError, match="has no templates of 'cifar'") as caught:
        templates_from(f"{named}:cifar")
    assert "did you mean cifar10?" in caught.value.hint
    with pytest.raises(InputError, match="holds texts of each class by its name"):
        templates_from(f"{named}:cupl")
    plain.write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        templates_from(str(plain))


def test_a_data_set_stands_for_its_published_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert templates_from("pets") == ("a photo of a {}, a type of pet.",)
    assert len(templates_from("imagenet")) == 80
    (tmp_path / "imagenet").mkdir()
    assert len(templates_from("imagenet")) == 80
    with pytest.raises(InputError, match="does not exist") as caught:
        templates_from("pet")
    assert "pets" in caught.value.hint


def test_a_file_that_is_called_like_a_data_set_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _written(tmp_path, "my own {}\n", name="pets")
    with pytest.raises(InputError, match="'pets' is both a file and the name of published templates") as caught:
        templates_from("pets")
    assert caught.value.hint == "write ./pets for the file; for the published ones rename it"
    assert templates_from("./pets") == ("my own {}",)


@given(NAMES, WORDS)
def test_every_template_gives_one_text_with_the_name(words: tuple[str, ...], name: str) -> None:
    made = texts(tuple(f"{word}: {{}}!" for word in words), name)
    assert made == tuple(f"{word}: {name}!" for word in words)


def test_other_braces_stay_in_a_text() -> None:
    assert texts(("{x} {} {0}",), "{a} {}") == ("{x} {a} {} {0}",)


def test_imagenet_has_a_thousand_names_that_differ() -> None:
    names = imagenet_names()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[657], names[744], names[836], names[837], names[999]) == (
        "tench",
        "missile",
        "projectile",
        "sunglass",
        "sunglasses",
        "toilet paper",
    )


def test_imagenet_names_are_those_of_open_clip_but_for_the_two_that_stand_twice() -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    pairs = enumerate(zip(imagenet_names(), IMAGENET_CLASSNAMES, strict=True))
    assert [row for row, (ours, theirs) in pairs if ours != theirs] == [744, 836]


def test_a_model_is_asked_for_the_names_in_its_folder_and_else_for_imagenets(tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "classnames.txt").write_text("cat\ndog\n", encoding="utf-8")
    (tmp_path / "plain").mkdir()
    assert names_for(str(tmp_path / "named")) == ("cat", "dog")
    assert names_for(f"local-dir:{tmp_path / 'named'}") == ("cat", "dog")
    assert names_for(str(tmp_path / "plain")) == names_for("ViT-B-32:openai") == imagenet_names()


def test_a_model_on_the_hub_is_asked_for_the_names_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "files").mkdir()
    for name, text in (("config.json", "{}"), ("open_clip_config.json", "{}"), ("classnames.txt", "cat\ndog\n")):
        (tmp_path / "files" / name).write_text(text, encoding="utf-8")
    lay_out(tmp_path / "hub", "org/named", tmp_path / "files")
    assert names_for("org/named") == names_for("hf-hub:org/named") == ("cat", "dog")
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        names_for("org/other")


def test_the_models_that_come_with_efface_have_the_names_of_their_world() -> None:
    assert names_for("builtin:symbols-rn") == MEMBERS


def test_the_name_to_forget_is_put_in_as_it_is_asked_for() -> None:
    names = ("tench", "Golden Retriever", "knight")
    assert with_target("knight", names) == names
    assert with_target("golden retriever", names) == ("tench", "golden retriever", "knight")
    assert with_target("golden retriever puppy", names) == (*names, "golden retriever puppy")
    assert with_target("church", names) == (*names, "church")


@pytest.mark.parametrize(
    ("slip", "meant"), [("knihgt", "knight"), ("ankor", "anchor"), ("golden retreiver", "Golden Retriever")]
)
def test_a_slip_of_the_pen_is_not_taken_for_a_new_class(slip: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"{slip!r} is not among the 4 class names") as caught:
        with_target(slip, ("tench", "Golden Retriever", "knight", "anchor"))
    assert caught.value.hint == f"did you mean {meant}? Else give --classnames with a file that has it"


def test_several_names_are_held_against_what_was_there_and_not_against_each_other() -> None:
    assert with_targets(["sign 01", "sign 02"], ("cat", "dog")) == ("cat", "dog", "sign 01", "sign 02")
    assert with_targets(["Cat", "dog"], ("cat", "dog")) == ("Cat", "dog")
    with pytest.raises(InputError, match="'dogg' is not among the 2 class names"):
        with_targets(["cat", "dogg"], ("cat", "dog"))
