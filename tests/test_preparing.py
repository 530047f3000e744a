from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from efface import checkpoints, picking
from efface.backends.base import LoadedCLIP
from efface.checkpoints import Working
from efface.choosing import choose, counts
from efface.data.images import BadImages
from efface.data.own import open_own, open_pool
from efface.data.sifted import LeakError
from efface.encoding import encode_classes, predict
from efface.errors import EffaceWarning, InputError
from efface.preparing import Prepared, has_images_of_each, images_digest, prepare
from efface.request import ClassTarget, ForgetRequest
from efface.sifting import Sifting
from efface.synthesis.ascent import GradientAscent
from efface.synthesis.base import Synthetic
from efface.types import DualEncoder, ForgetData, Needs, Reporter, Silent, TensorImages, Trace
from tests.data.test_alike import pictures, saved
from tests.worlds import NAMES, World

DOG = ForgetRequest((ClassTarget("dog"),), NAMES)
TWO = ForgetRequest(
    (ClassTarget("dog", ("hound",), ("man's best friend",)), ClassTarget("fox", ("vixen", "reynard"))),
    NAMES,
    ("a photo of a {}.", "{}"),
)


@dataclass(frozen=True)
class Needy:
    """A method that asks for five images of a class, and for its name in a text of its own."""

    summary: ClassVar[str] = "asks"

    @property
    def needs(self) -> Needs:
        return Needs(forget_images=5, prompt="one {} only")

    def edit_(
        self, model: DualEncoder, reference: DualEncoder, data: ForgetData, *, rng: torch.Generator, reporter: Reporter
    ) -> Trace:
        raise NotImplementedError


@dataclass(frozen=True)
class Plain:
    """A synthesis that notes what it was asked for and draws noise; it stops itself at a call."""

    calls: list[tuple[Tensor, int, int]] = field(default_factory=list)
    stop_at: int = -1

    def __call__(
        self,
        model: DualEncoder,
        class_tokens: Tensor,
        target: int,
        count: int,
        *,
        rng: torch.Generator,
        reporter: Reporter,
        checkpoint: Any,
    ) -> Synthetic:
        if len(self.calls) == self.stop_at:
            checkpoint.offer(lambda: {})
            raise KeyboardInterrupt
        self.calls.append((class_tokens, target, count))
        images = torch.randn((count, 3, 2, 2), generator=rng)
        return Synthetic(images, Trace(({"count": count},), reached=True, reason=f"{count} made"))


def prepared(
    clip: LoadedCLIP, request: ForgetRequest, made_by: Any, folder: Path | None = None
) -> tuple[ForgetData, Synthetic]:
    with Working(folder, {}, resume=True) as working:
        found = prepare(clip, request, Needy(), made_by, working.stage("synthesis", {}), Silent())
    assert found.synthetic is not None
    return found.data, found.synthetic


def test_images_that_were_made_are_not_made_again(
    clip: LoadedCLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    quick = GradientAscent(jitter=2, acceptance_scale=1.0, threshold=0.01)
    (_, first), (_, second) = (prepared(clip, DOG, quick, tmp_path / "w") for _ in range(2))
    monkeypatch.setattr(GradientAscent, "climb", None)
    _, third = prepared(clip, DOG, quick, tmp_path / "w")
    assert torch.equal(first.images, third.images)
    assert first.trace == second.trace == third.trace


def test_classes_stand_first_then_aliases_then_phrases_each_with_images_and_a_prompt(clip: LoadedCLIP) -> None:
    # NAMES has cat, dog, fox and owl, say: what is added follows.
    kinds = len(NAMES)
    synthesis = Plain()
    data, made = prepared(clip, TWO, synthesis)
    dog, fox = NAMES.index("dog"), NAMES.index("fox")
    assert data.targets == (dog, fox, kinds, kinds + 1, kinds + 2, kinds + 3)
    added = [["a photo of a hound.", "hound"], ["a photo of a vixen.", "vixen"], ["a photo of a reynard.", "reynard"]]
    added.append(["man's best friend"] * 2)
    assert torch.equal(data.class_tokens[kinds:], clip.class_tokens(added))
    prompts = [f"one {name} only" for name in ("dog", "fox", "hound", "vixen", "reynard")]
    assert data.prompt_tokens is not None
    assert torch.equal(data.prompt_tokens, clip.tokenize([*prompts, "man's best friend"]))
    # Five images a class: the dog, the hound and the phrase share theirs as 2, 2 and 1, the fox and its two as well.
    assert counts(TWO, 5) == (2, 2, 2, 2, 1, 1)
    assert data.forget is not None
    assert data.forget.labels.tolist() == [dog] * 2 + [fox] * 2 + [kinds] * 2 + [kinds + 1] * 2 + [kinds + 2, kinds + 3]
    assert len(made.images) == 10
    # Each stands in the place of its class, beside the same others.
    assert [(target, count) for _, target, count in synthesis.calls] == [
        (dog, 2), (fox, 2), (dog, 2), (fox, 2), (fox, 1), (dog, 1)
    ]  # fmt: skip
    for (tokens, target, _), row in zip(synthesis.calls, data.targets, strict=True):
        assert torch.equal(tokens[target], data.class_tokens[row])
        others = torch.arange(kinds) != target
        assert torch.equal(tokens[others], data.class_tokens[:kinds][others])
    assert [step["text"] for step in made.trace.steps][:3] == ["dog", "fox", "hound"]


def test_of_several_classes_each_must_have_an_image(clip: LoadedCLIP) -> None:
    @dataclass(frozen=True)
    class Without(Plain):
        """One that makes none of a class."""

        lacking: int = -1

        def __call__(self, *given: Any, checkpoint: Any, **more: Any) -> Synthetic:
            made = super().__call__(*given, checkpoint=checkpoint, **more)
            return replace(made, images=made.images[:0]) if given[2] == self.lacking else made

    def found(synthesis: Plain) -> Prepared:
        with Working(None, {}) as working:
            made_by: Any = synthesis
            return prepare(clip, TWO, Needy(), made_by, working.stage("synthesis", {}), Silent())

    assert has_images_of_each(TWO, found(Plain()))
    # Those of an alias stand for its class, but the fox's are made in the fox's place too.
    assert not has_images_of_each(TWO, found(Without(lacking=NAMES.index("fox"))))


def test_synthesis_goes_on_with_the_text_that_it_was_stopped_at(
    clip: LoadedCLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    whole, _ = prepared(clip, TWO, Plain())
    with pytest.raises(KeyboardInterrupt):
        prepared(clip, TWO, Plain(stop_at=3), tmp_path / "w")
    rest = Plain()
    resumed, _ = prepared(clip, TWO, rest, tmp_path / "w")
    assert len(rest.calls) == 3
    assert whole.forget is not None
    assert resumed.forget is not None
    for one, other in zip(whole.forget.batches(99), resumed.forget.batches(99), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_a_class_of_which_no_image_can_be_decoded_is_named(clip: LoadedCLIP, tmp_path: Path) -> None:
    for name in ("dog", "fox"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / name / f"{i}.png")
    both = ForgetRequest((ClassTarget("dog"), ClassTarget("fox")), NAMES)

    unused: Any = Plain()

    def given() -> ForgetData:
        own = open_own(str(tmp_path), ("dog", "fox"), preprocess=clip.preprocess, skipped=BadImages())
        with Working(None, {}) as working:
            lots = choose(both, Needy().needs, {"forget": own})
            return prepare(clip, both, Needy(), unused, working.stage("synthesis", {}), Silent(), lots).data

    (tmp_path / "fox" / "0.png").write_bytes(b"no image")
    data = given()
    assert data.forget is not None
    assert len(data.forget) == 3
    (tmp_path / "fox" / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none of the images of 'fox' drawn from '.*' can be decoded"):
        given()


def test_what_is_left_out_is_told_and_counted_as_used_no_more(clip: LoadedCLIP, tmp_path: Path) -> None:
    shown = [to_pil_image(one) for one in pictures(3, side=32)]
    mine = saved(tmp_path / "mine", shown)
    judging = saved(tmp_path / "judging", [shown[1].resize((64, 64)), to_pil_image(pictures(1, seed=1)[0])])
    own, held_out = (open_own(str(folder), ("dog",), preprocess=clip.preprocess) for folder in (mine, judging))
    unused: Any = Plain()

    def given(sifting: Sifting) -> Prepared:
        request = replace(DOG, images=str(mine), sifting=sifting)
        with Working(None, {}) as working:
            stage, lots = working.stage("synthesis", {}), choose(request, Needy().needs, {"forget": own})
            return prepare(clip, request, Needy(), unused, stage, Silent(), lots, [held_out])

    with pytest.raises(LeakError, match="1 near duplicate"):
        given(Sifting())
    with pytest.warns(EffaceWarning, match="left out of what is worked on"):
        found = given(Sifting("drop"))
    assert found.data.forget is not None
    assert found.own is not None
    assert (len(found.data.forget), found.own.found, found.own.used) == (2, {"dog": 3}, {"dog": 2})
    assert found.own.drawn == images_digest(found.data.forget)
    assert found.own.note == "the method asks for 5 images a class, and was handed 2 of dog"
    (twin,) = found.sifted.duplicates
    assert (
        twin.words == f"the image '1.png' in {str(mine)!r} shows the picture of the image '0.png' in {str(judging)!r}"
    )


def test_an_alias_too_many_gets_no_image() -> None:
    many = ForgetRequest((ClassTarget("dog", ("a", "b", "c")),), NAMES)
    assert counts(many, 2) == (1, 1, 0, 0)


@dataclass(frozen=True)
class Keeping(Needy):
    """One that asks for images of what is to stay too, and for some to choose a setting by."""

    @property
    def needs(self) -> Needs:
        return Needs(forget_images=3, retain_images=6, calibration_images=2)


def of_pool(clip: LoadedCLIP, world: World) -> Prepared:
    lots = choose(DOG, Keeping().needs, {"pool": open_pool(world.data, preprocess=clip.preprocess)})
    with Working(None, {}) as working:
        unused: Any = Plain()
        return prepare(clip, DOG, Keeping(), unused, working.stage("synthesis", {}), Silent(), lots)


def test_what_is_to_stay_is_picked_from_images_without_labels(
    clip: LoadedCLIP, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "CONFIDENT", 0.0)
    found = of_pool(clip, world)
    data = found.data
    assert isinstance(data.pool, TensorImages)
    assert isinstance(data.retain, TensorImages)
    classes, dog = encode_classes(clip.encoder, data.class_tokens), NAMES.index("dog")
    others = int((predict(clip.encoder, data.pool.images, classes) != dog).sum())
    # Six to stay and two to choose by; of fewer than eight a fifth is put aside, or what is too much.
    picks = min(8, others)
    aside = max(0, picks - 6, picks // 5)
    counts = {one.role: sum(one.used.values()) for one in found.handed}
    assert counts == {"pool": 0, "retain": picks - aside} | ({"calibration": aside} if aside else {})
    assert torch.equal(data.retain.labels, predict(clip.encoder, data.retain.images, classes))
    assert dog not in data.retain.labels
    assert len(torch.unique(data.retain.images.flatten(1), dim=0)) == len(data.retain)


def test_a_pool_of_which_nothing_is_surely_another_class_is_refused(
    clip: LoadedCLIP, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "CONFIDENT", 1.1)
    with pytest.raises(InputError, match=r"none of 12 images of .* is surely of a class that is to stay"):
        of_pool(clip, world)
