"""The whole of the method: its stages one after the other, what it says of them, and that it goes on in each."""

import dataclasses
import json

import pytest
import torch

from efface.encoding import encode_classes, predict
from efface.errors import EffaceWarning
from efface.methods import method_name, method_preset
from efface.methods.base import ForgetMethod
from efface.methods.subgroup import PAPER, Forget, Remind, Restore, Stage, Subgroup
from efface.settings import describe, field_names, with_settings
from efface.testing import tiny_class_tokens, tiny_dual_encoder
from efface.types import ForgetData, Needs, TensorImages
from tests.methods.subgroup.material import TARGET, changed, edit, gone_on, kind, material, shares, state
from tests.methods.subgroup.test_forget import PUBLISHED
from tests.methods.subgroup.test_forget import SMALL as FORGET
from tests.methods.subgroup.test_remind import SMALL as REMIND
from tests.methods.subgroup.test_remind import damaged

ALL: tuple[Stage, ...] = ("forget", "remind", "restore")
DEFAULT = Subgroup(forget=FORGET, restore=Restore(evaluations=4))
WHOLE = Subgroup(stages=ALL, forget=PUBLISHED, remind=REMIND, restore=Restore(evaluations=4))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    "method", [DEFAULT, dataclasses.replace(WHOLE, remind=dataclasses.replace(REMIND, align_steps=0))]
)
def test_the_kind_goes_and_the_rest_stays(method: Subgroup, batch_norm: bool) -> None:
    model = tiny_dual_encoder(batch_norm=batch_norm)
    trace = edit(method, model, material())
    assert trace.reached, trace.reason
    assert shares(model)[0] <= 0.1
    assert shares(model)[1] > 0.9


def test_every_step_says_its_stage_and_the_reason_says_all_of_them() -> None:
    trace = edit(WHOLE, tiny_dual_encoder(batch_norm=True), material())
    stages = [step["stage"] for step in trace.steps]
    assert stages == sorted(stages, key=lambda name: ALL.index(str(name)))
    assert set(stages) == set(ALL)
    assert trace.reason.startswith("0.0% of the images to forget are answered with their class in the end; forget: ")
    assert "; remind: of the images to stay " in trace.reason
    assert "; restore: " in trace.reason


def test_chained_it_is_its_stages_one_after_the_other() -> None:
    chained, by_hand = tiny_dual_encoder(batch_norm=True), tiny_dual_encoder(batch_norm=True)
    edit(WHOLE, chained, material())
    rng = torch.Generator().manual_seed(3)
    for stage in (WHOLE.forget, WHOLE.remind, WHOLE.restore):
        edit(stage, by_hand, material(), rng=rng)
    assert not changed(chained, by_hand)


@pytest.mark.parametrize("stages", [("restore",), ("remind",)])
def test_each_stage_alone_asks_for_images_to_forget_by_which_the_run_is_judged(stages: tuple[Stage, ...]) -> None:
    method = Subgroup(stages=stages, remind=Remind(forgotten=0.0, align_steps=0, steps=2))
    assert method.needs.forget_images == method.forget.images
    model = damaged()
    assert "in the end" in edit(method, model, material()).reason


def test_a_stage_can_be_left_out() -> None:
    one, forgot = tiny_dual_encoder(), tiny_dual_encoder()
    trace = edit(dataclasses.replace(WHOLE, stages=("forget",)), one, material())
    edit(PUBLISHED, forgot, material())
    assert not changed(one, forgot)
    assert {step["stage"] for step in trace.steps} == {"forget"}
    with pytest.raises(ValueError, match="stages"):
        Subgroup(stages=())
    with pytest.raises(ValueError, match="name each stage once at most"):
        Subgroup(stages=("forget", "restore", "forget"))


def test_in_any_order_the_notes_of_a_stage_are_true_of_the_model() -> None:
    model, data = damaged(), material()
    # Reminding brings back what an edit before this run took away, then the kind goes.
    method = Subgroup(stages=("remind", "forget"), forget=dataclasses.replace(FORGET, blocks=1), remind=REMIND)
    trace = edit(method, model, data)
    assert isinstance(data.forget, TensorImages)
    left = predict(model, data.forget.images, encode_classes(model, data.class_tokens)) == TARGET
    assert trace.steps[-1]["accuracy"] == left.double().mean().item() == 0.0
    assert trace.reached, trace.reason
    assert shares(model)[1] > 0.9


def test_with_forget_images_alone_it_forgets_and_says_what_it_left_out() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    with pytest.warns(EffaceWarning, match="no images of what is to stay"):
        trace = edit(dataclasses.replace(WHOLE, forget=FORGET), model, material(retain=False, calibration=False))
    assert trace.reached, trace.reason
    assert "remind: reminding was left out" in trace.reason
    assert "restore: restoring was left out" in trace.reason


@pytest.mark.parametrize("method", [DEFAULT, WHOLE])
def test_one_image_is_enough_to_be_forgotten_itself_and_the_rest_stays(method: Subgroup) -> None:
    images = kind(1, 23)
    data = dataclasses.replace(material(forget=images), calibration_forget=None)
    model = tiny_dual_encoder(batch_norm=True)
    trace = edit(method, model, data)
    classes = encode_classes(model, data.class_tokens)
    assert trace.reached, trace.reason
    assert predict(tiny_dual_encoder(batch_norm=True), images.images, classes).item() == TARGET
    assert predict(model, images.images, classes).item() != TARGET
    assert shares(model)[1] > 0.9
    # With one image to forget there is none that nothing was trained on, to restore by.
    assert "restore: restoring was left out" in trace.reason


def test_what_comes_back_while_reminding_is_no_success() -> None:
    # Nothing holds what was forgotten, and among the images to stay are those very ones.
    forgotten = material().forget
    data = dataclasses.replace(material(), retain=forgotten)
    remind = dataclasses.replace(REMIND, forgotten=0.0)
    method = dataclasses.replace(WHOLE, stages=("forget", "remind"), forget=FORGET, remind=remind)
    trace = edit(method, tiny_dual_encoder(batch_norm=True), data)
    assert not trace.reached
    assert not trace.reason.startswith("0.0% of the images")


def test_where_no_mixture_forgets_the_run_says_so() -> None:
    forget = dataclasses.replace(FORGET, learning_rate=1e-9, steps=1)
    trace = edit(dataclasses.replace(DEFAULT, forget=forget), tiny_dual_encoder(), material())
    assert not trace.reached
    assert "no mixture with the reference forgets" in trace.reason
    assert trace.reason.endswith("the edited weights are kept")


# Forgetting and reminding offer after each of their two rounds and, as stages, once more at their ends: 1 to 3 and 4 to
# 6; restoring offers at its end alone. At 3 and 6 the next stage begins, at 7 none is left.
@pytest.mark.parametrize("stop_at", [1, 4, 7, *(pytest.param(at, marks=pytest.mark.slow) for at in (3, 6))])
def test_it_goes_on_in_every_stage_to_the_same_bits_and_the_same_words(stop_at: int) -> None:
    method = dataclasses.replace(WHOLE, forget=dataclasses.replace(FORGET, rank=2))
    model = tiny_dual_encoder(batch_norm=True)
    whole = edit(method, model, material())
    trace, again = gone_on(method, lambda: tiny_dual_encoder(batch_norm=True), material(), stop_at)
    assert trace == whole
    assert all(torch.equal(tensor, state(again)[name]) for name, tensor in state(model).items())


def test_it_needs_what_its_stages_need() -> None:
    assert isinstance(DEFAULT, ForgetMethod)
    assert Subgroup().needs == Needs(forget_images=64, retain_images=200, calibration_images=200)
    assert dataclasses.replace(DEFAULT, stages=("restore",)).needs == Needs(forget_images=16, calibration_images=200)
    prompted = dataclasses.replace(PUBLISHED, prompt="a {}")
    assert dataclasses.replace(DEFAULT, forget=prompted).needs.prompt == "a {}"
    with pytest.raises(ValueError, match="subgroup needs images"):
        edit(DEFAULT, tiny_dual_encoder(), ForgetData((TARGET,), tiny_class_tokens()))


def test_its_presets_are_found_by_name_and_its_settings_by_stage_and_name() -> None:
    assert method_preset("subgroup", "paper") == PAPER
    assert method_name(PAPER) == "subgroup"
    assert PAPER.forget.objective == "cosine"
    assert PAPER.stages == ALL
    changed_one = with_settings(Subgroup(), {"forget.steps": 3, "restore.search": "grid"})
    assert changed_one == Subgroup(forget=Forget(steps=3), restore=Restore(search="grid"))
    names = [setting["name"] for setting in describe(Subgroup())]
    assert names == field_names(Subgroup())
    assert {"stages", "forget.rank", "remind.bound", "restore.towers"} < set(names)
    assert Subgroup(**json.loads(json.dumps(dataclasses.asdict(PAPER)))) == PAPER
    assert Subgroup(remind=Remind(average="beta")).remind.average == "beta"
