"""The third stage: mixtures of a model and its reference, chosen on calibration images."""

import dataclasses

import pytest
import torch

from efface.encoding import encode_classes
from efface.functional.searching import Measured
from efface.methods.base import ForgetMethod
from efface.methods.subgroup import Restore
from efface.methods.subgroup.restore import TOWERS, _Mixtures
from efface.testing import TinyDualEncoder, tiny_dual_encoder, tiny_images
from efface.types import ClassFeatures, ClassTokens, DualEncoder, Needs, Step, Tower
from tests.methods.subgroup.material import TARGET, changed, edit, kind, material, shares, state
from tests.methods.subgroup.test_forget import SMALL as FORGET
from tests.methods.subgroup.test_remind import damaged

GRID = Restore(search="grid", evaluations=11)
PLAIN = dataclasses.replace(GRID, copies=0)


def coefficients(steps: tuple[Step, ...], tower: str = "image") -> list[float]:
    return [float(step[f"{tower}_coefficient"]) for step in steps]  # type: ignore[arg-type]


def left(step: Step) -> float:
    """What the constraint bounds: the larger share, of images and of copies."""
    return max(float(step[name]) for name in ("forget_accuracy", "copies_accuracy") if name in step)  # type: ignore[arg-type]


def moved_text(model: TinyDualEncoder) -> TinyDualEncoder:
    """With the class's text turned a little, too: an edit of both towers."""
    with torch.no_grad():
        model.module.get_parameter("text.table.weight")[TARGET] *= 0.9
    return model


@pytest.mark.parametrize("method", [Restore(), GRID])
def test_the_mixture_forgets_and_keeps_more(method: Restore) -> None:
    model = damaged()
    before = shares(model)
    trace = edit(method, model, material())
    after = shares(model)
    assert trace.reached, trace.reason
    assert before[0] <= 0.05
    assert after[0] <= 0.15
    assert after[1] > before[1] + 0.05


@pytest.mark.parametrize("method", [Restore(), GRID, PLAIN])
def test_it_is_the_best_of_the_path_bit_for_bit(method: Restore) -> None:
    model, edited, reference = damaged(), damaged(), tiny_dual_encoder(batch_norm=True)
    trace = edit(method, model, material())
    assert all(("copies_accuracy" in step) == bool(method.copies) for step in trace.steps)
    allowed = [step for step in trace.steps if left(step) <= 0.02]
    best = max(allowed, key=lambda s: (s["calibration_accuracy"], -left(s), s["image_coefficient"]))
    chosen = float(best["image_coefficient"])  # type: ignore[arg-type]
    assert 0 < chosen < 1
    assert f"with {chosen:.3g} of the edit of the image tower" in trace.reason
    for name, tensor in model.module.state_dict().items():
        base = reference.module.state_dict()[name]
        expected = torch.lerp(base, edited.module.state_dict()[name], chosen) if base.is_floating_point() else base
        assert torch.equal(tensor, expected if name in changed(edited, reference) else base), name


def test_less_of_the_edit_has_to_win_three_images_at_least() -> None:
    def gain(settings: Restore, images: int) -> float:
        data = dataclasses.replace(material(), calibration=kind(images, 1, (0,)))
        return _Mixtures(settings, damaged(), tiny_dual_encoder(batch_norm=True), data, torch.Generator()).gain(
            settings.gain
        )

    assert gain(Restore(gain=0.01), 12) == 0.25
    assert gain(Restore(gain=0.5), 12) == 0.5
    assert gain(Restore(gain=0.01), 1000) == 0.01
    # Published is no gain at all.
    assert gain(Restore(gain=0.0), 12) == 0.0


def test_the_grid_is_even_and_bisection_asks_less() -> None:
    grid, few = edit(GRID, damaged(), material()), edit(Restore(evaluations=4), damaged(), material())
    assert coefficients(grid.steps) == pytest.approx([i / 10 for i in range(11)])
    assert coefficients(few.steps)[:3] == [1.0, 0.0, 0.5]
    assert len(few.steps) == 4
    # What was searched is said, for the page to draw the path over it; only the image tower moved.
    assert [step["coefficient"] for step in few.steps] == coefficients(few.steps)
    assert {step["towers"] for step in few.steps} == {"image"}
    # At 0 it is the reference, at 1 the model as it was found.
    assert grid.steps[0]["forget_accuracy"] > 0.9  # type: ignore[operator]
    assert grid.steps[0]["calibration_accuracy"] == 1.0
    assert grid.steps[-1]["forget_accuracy"] == 0.0


def test_where_no_mixture_forgets_the_edited_weights_are_kept() -> None:
    model = moved_text(tiny_dual_encoder(batch_norm=True))
    trace = edit(GRID, model, material())
    assert not trace.reached
    assert trace.reason.startswith("no mixture with the reference forgets: with all of the edit ")
    assert trace.reason.endswith("the edited weights are kept")
    assert not changed(model, moved_text(tiny_dual_encoder(batch_norm=True)))


def test_copies_forbid_mixtures_that_the_images_themselves_would_allow() -> None:
    careful, bold = (edit(method, damaged(), material()).steps for method in (GRID, PLAIN))
    # The same mixtures, of which fewer are allowed.
    assert coefficients(careful) == coefficients(bold)
    assert [s["forget_accuracy"] for s in careful] == [s["forget_accuracy"] for s in bold]
    assert sum(left(s) <= 0.02 for s in careful) < sum(left(s) <= 0.02 for s in bold)


def test_where_only_copies_come_back_the_edited_weights_are_kept_and_it_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Copies that show something else: images of the class that are to stay, which every mixture answers with it.
    others = tiny_images(4, rng=torch.Generator().manual_seed(1), classes=[TARGET]).images
    pixels = tiny_dual_encoder(steps=0).pixels.denormalize(others)
    monkeypatch.setattr("efface.methods.subgroup.restore.varied", lambda images, rng: pixels[:1].expand_as(images))
    model = tiny_dual_encoder(batch_norm=True)
    edit(FORGET, model, material())
    forgot = state(model)
    trace = edit(GRID, model, material())
    assert trace.reached
    assert trace.reason == "no mixture with the reference forgets as surely; the edited weights are kept"
    assert all(torch.equal(tensor, state(model)[name]) for name, tensor in forgot.items())


def test_what_was_never_edited_cannot_forget() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    trace = edit(Restore(), model, material())
    assert not trace.reached
    assert not changed(model, tiny_dual_encoder(batch_norm=True))


def test_each_tower_gets_a_coefficient_of_its_own() -> None:
    model = moved_text(damaged())
    trace = edit(dataclasses.replace(GRID, towers="apart"), model, material())
    assert trace.reached, trace.reason
    assert len(trace.steps) == 33
    common = coefficients(trace.steps, "image")[:11]
    assert common == coefficients(trace.steps, "text")[:11]
    # Of the image tower while the text's stays where both were best, then the other way about.
    assert len(set(coefficients(trace.steps, "text")[11:22])) == 1
    assert len(set(coefficients(trace.steps, "image")[22:])) == 1
    assert coefficients(trace.steps, "image")[11:22] == coefficients(trace.steps, "text")[22:] == common
    # Of the image tower some is taken back, in which something is won. In the text's nothing is: the edit stays whole.
    image = coefficients(trace.steps, "image")[-1]
    assert 0 < image < 1
    assert f" {image:.3g} of the edit of the image tower and 1 of the edit of the text tower" in trace.reason
    name = "text.table.weight"
    assert torch.equal(model.module.get_parameter(name), moved_text(damaged()).module.get_parameter(name))


@pytest.mark.parametrize(("best", "expected"), [((0.375, 0.375), (0.375, 0.375)), ((0.375, 0.9), (0.375, 1.0))])
def test_apart_never_keeps_less_than_together(
    best: tuple[float, float], expected: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(self: _Mixtures, towers: tuple[Tower, ...], coefficient: float) -> Measured:
        image, text = ({**self.coefficients, **dict.fromkeys(towers, coefficient)}[tower] for tower in TOWERS)
        keep = 1 - abs(image - best[0]) - abs(text - best[1])
        return Measured(coefficient, 0.0 if image >= 0.3 else 1.0, keep)

    monkeypatch.setattr(_Mixtures, "measured", measured)
    # Of the text alone nothing is needed, so that its search looks at both ends and not at what is there.
    model = moved_text(damaged())
    trace = edit(Restore(evaluations=5, towers="apart"), model, material())
    assert f"with {expected[0]:.3g} of the edit of the image tower and {expected[1]:.3g} of the edit" in trace.reason


@pytest.mark.parametrize("text_moves", [False, True])
def test_class_texts_are_encoded_again_only_where_the_text_tower_moved(
    text_moves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[ClassFeatures] = []

    def noted(model: DualEncoder, tokens: ClassTokens) -> ClassFeatures:
        times.append(encode_classes(model, tokens))
        return times[-1]

    model = moved_text(damaged()) if text_moves else damaged()
    monkeypatch.setattr("efface.methods.subgroup.restore.encode_classes", noted)
    trace = edit(PLAIN, model, material())
    assert len(trace.steps) == 11
    assert len(times) == (12 if text_moves else 1)


def test_towers_are_searched_apart_only_where_both_moved() -> None:
    assert len(edit(dataclasses.replace(GRID, towers="apart"), damaged(), material()).steps) == 11


def test_without_calibration_images_to_forget_it_is_left_out_and_said() -> None:
    model = damaged()
    trace = edit(Restore(), model, material(calibration=False))
    assert trace.reached
    assert trace.reason == "restoring was left out: there are no images to forget that nothing was trained on"
    assert not changed(model, damaged())


def test_images_trained_on_are_to_be_forgotten_too() -> None:
    # Calibration images that the reference does not answer with the class: those trained on are the ones that bind.
    others = tiny_images(2, rng=torch.Generator().manual_seed(1), classes=[0, 1])
    trace = edit(GRID, damaged(), dataclasses.replace(material(), calibration_forget=others))
    assert trace.steps[0]["forget_accuracy"] > 0.9  # type: ignore[operator]


def test_what_it_needs_is_in_its_settings() -> None:
    assert isinstance(GRID, ForgetMethod)
    assert GRID.needs == Needs(calibration_images=200)
