from dataclasses import replace

import pytest
import torch

from efface.attacks.probe import LinearProbe
from efface.auditing import sharing
from efface.auditing.asking import HALF, Wanted, ask
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData, Kind
from efface.errors import EffaceWarning, InputError
from efface.request import ClassTarget
from efface.types import TensorImages
from tests.auditing.mine import Mine
from tests.evaluation.test_features import data_of

TEMPLATES = ("a photo of a {}.",)
DOG = ClassTarget("dog", aliases=("hound",), phrases=("it barks",))


def marks(data: EvalData) -> set[float]:
    """One number an image, by which it is known again."""
    ((images, _),) = data.images.batches(len(data.images))
    return {round(float(image.sum()), 3) for image in images}


def test_half_of_the_held_out_images_are_the_attackers_and_do_not_judge(clip: LoadedCLIP) -> None:
    data = data_of(30)
    asked, subject = ask({"reference": clip, "edited": clip}, DOG, data, TEMPLATES, Wanted())
    assert asked.images is not None
    assert not marks(asked.images) & marks(asked.held_out)
    assert marks(asked.images) | marks(asked.held_out) == marks(data)
    assert torch.bincount(asked.images.images.labels).tolist() == [5, 5, 5]
    assert subject.images.note == HALF
    assert (subject.held_out.n, subject.images.n) == (15, 15)
    again, _ = ask({"reference": clip, "edited": clip}, DOG, data, TEMPLATES, Wanted())
    assert marks(again.held_out) == marks(asked.held_out)
    other, _ = ask({"reference": clip, "edited": clip}, DOG, data, TEMPLATES, Wanted(seed=1))
    assert marks(other.held_out) != marks(asked.held_out)


def test_the_control_is_the_class_with_the_nearest_text(clip: LoadedCLIP) -> None:
    asked, subject = ask({"reference": clip, "edited": clip}, DOG, data_of(12), TEMPLATES, Wanted())
    near = asked.texts("reference") @ asked.texts("reference")[1]
    assert asked.control == subject.control == asked.among[max((0, 2), key=lambda label: float(near[label]))]
    assert [(word.text, word.kind) for word in asked.words] == [("hound", "alias"), ("it barks", "phrase")]
    assert set(subject.models) == {"reference", "edited"}
    assert asked.members is None
    seen = data_of(9, "trained on", seed=8)
    known = Wanted(members=seen)
    assert ask({"reference": clip, "edited": clip}, DOG, data_of(12), TEMPLATES, known)[0].members is seen


def test_images_are_as_many_as_are_needed(clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("JUDGED", 6), ("GALLERY", 15), ("EACH", 2)):
        monkeypatch.setattr(sharing, name, limit)
    own = data_of(30, "own", seed=5)
    asked, _ = ask({"reference": clip, "edited": clip}, DOG, data_of(60), TEMPLATES, Wanted(images=own))
    assert asked.images is not None
    assert torch.bincount(asked.images.images.labels).tolist() == [2, 2, 2]
    counts = dict(zip(asked.among, torch.bincount(asked.held_out.images.labels).tolist(), strict=True))
    assert (counts.pop("dog"), counts.pop(asked.control)) == (6, 6)
    assert list(counts.values()) == [3]


def test_what_cannot_be_asked_is_refused(clip: LoadedCLIP) -> None:
    models = {"reference": clip, "edited": clip}
    with pytest.raises(InputError, match="'made' has no image of 'cow'"):
        ask(models, ClassTarget("cow"), data_of(9), TEMPLATES, Wanted())
    data = data_of(9)
    ((images, labels),) = data.images.batches(9)
    dogs = replace(data, images=TensorImages(images[labels == 1], labels[labels == 1]))
    with pytest.raises(InputError, match="no images of a class that was to stay beside 'dog'"):
        ask(models, DOG, dogs, TEMPLATES, Wanted())
    with pytest.raises(InputError, match="holds the images that judge"):
        ask(models, DOG, data, TEMPLATES, Wanted(images=data))
    of_kind = replace(data, kind=Kind({"breed": "beagle"}, data.images.labels == 1))
    with pytest.raises(InputError, match="of 'dog' one kind alone was to be forgotten, breed=beagle"):
        ask(models, DOG, of_kind, TEMPLATES, Wanted())


def test_what_was_forgotten_beside_it_is_no_control_and_the_attacker_has_no_image_of_it(clip: LoadedCLIP) -> None:
    models, data = {"reference": clip, "edited": clip}, data_of(12)
    first = ask(models, DOG, data, TEMPLATES, Wanted())[0].control
    asked, subject = ask(models, DOG, data, TEMPLATES, Wanted(), (first,))
    (other,) = {"cat", "fox"} - {first}
    assert asked.control == subject.control == other
    assert asked.beside == subject.beside == (first,)
    assert asked.images is not None
    assert sorted(torch.unique(asked.labels("images")).tolist()) == sorted(label for _, label in asked.roles)
    with pytest.raises(InputError, match="no images of a class that was to stay beside 'dog'"):
        ask(models, DOG, data, TEMPLATES, Wanted(), ("cat", "fox"))
    for strange, problem in (("dog", "'dog' is the class itself"), ("cow", "'made' has no class 'cow'")):
        with pytest.raises(InputError, match=problem):
            ask(models, DOG, data, TEMPLATES, Wanted(), (strange,))


def test_a_word_that_is_another_class_is_refused(clip: LoadedCLIP) -> None:
    models = {"reference": clip, "edited": clip}
    with pytest.raises(InputError, match="the word 'Cat' for 'dog' is another class of 'made'"):
        ask(models, ClassTarget("dog", aliases=("hound", "Cat")), data_of(9), TEMPLATES, Wanted())
    # The class itself in capitals is no other.
    ask(models, ClassTarget("dog", aliases=("Dog",)), data_of(9), TEMPLATES, Wanted())


def test_a_name_that_two_others_have_stops_nothing(clip: LoadedCLIP) -> None:
    models, data = {"reference": clip, "edited": clip}, data_of(24)
    names = ("cat", "dog", "fox", "fox")
    ((images, _),) = data.images.batches(24)
    alike = replace(data, images=TensorImages(images, torch.arange(24) % 4), class_names=names)
    with pytest.warns(EffaceWarning, match="several classes called 'fox'"):
        asked, subject = ask(models, DOG, alike, TEMPLATES, Wanted())
    assert asked.control == "cat"
    assert set(asked.labels("held_out").tolist()) == set(asked.labels("images").tolist()) == {0, 1}
    assert subject.held_out.classes == 2
    with pytest.raises(InputError, match="several classes called 'fox'"):
        ask(models, ClassTarget("fox"), alike, TEMPLATES, Wanted())


def test_an_image_that_a_source_holds_twice_is_not_on_both_sides(clip: LoadedCLIP) -> None:
    models, data = {"reference": clip, "edited": clip}, data_of(24)
    ((images, labels),) = data.images.batches(24)
    twice = replace(data, images=TensorImages(images.repeat(2, 1, 1, 1), labels.repeat(2)))
    with pytest.warns(EffaceWarning, match="of the attacker's left out that judge too"):
        asked, subject = ask(models, DOG, twice, TEMPLATES, Wanted())
    assert asked.images is not None
    assert not marks(asked.images) & marks(asked.held_out)
    assert subject.images.n == len(asked.images.images)


def test_training_images_judge_nothing_and_are_not_the_attackers(clip: LoadedCLIP) -> None:
    models, judging, own = {"reference": clip, "edited": clip}, data_of(12), data_of(9, "own", seed=5)
    for members, whose in ((judging, "that judge"), (own, "that the attacker has")):
        with pytest.raises(InputError, match=f"trained on are among those {whose}"):
            ask(models, DOG, judging, TEMPLATES, Wanted(images=own, members=members))


def test_one_image_a_class_judges_and_leaves_the_attacker_none(clip: LoadedCLIP) -> None:
    asked, subject = ask({"reference": clip, "edited": clip}, DOG, data_of(3), TEMPLATES, Wanted())
    assert asked.images is None
    assert (subject.held_out.n, subject.images.n) == (3, 0)


def test_attacks_are_chosen_by_name_or_given_with_settings() -> None:
    def names(*attacks: str | Mine | LinearProbe, quick: bool = False) -> list[str]:
        return [attack.name for attack in Wanted(attacks, quick=quick).chosen()]

    assert names("probe") == ["plain", "probe"]
    assert names(Mine()) == ["plain", "mine"]
    assert names("towers", Mine()) == ["plain", "towers", "mine"]
    assert "probe" in names(quick=True)
    probe = LinearProbe(shots=(2,))
    assert Wanted((probe,)).chosen()[1] is probe
