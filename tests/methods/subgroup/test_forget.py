"""The first stage: what it parts and what it holds, where it trains, and that it goes on where it was stopped."""

import dataclasses

import pytest
import torch

from efface.encoding import encode_classes, predict
from efface.errors import InputError
from efface.methods.base import ForgetMethod
from efface.methods.subgroup import Forget, Subgroup
from efface.settings import with_settings
from efface.testing import CLASSES, TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import DualEncoder, ForgetData, Needs, TensorImages, WeightGroup
from tests.methods.subgroup.material import TARGET, changed, edit, gone_on, kind, material, shares, state

SMALL = Forget(
    images=16,
    leaves=16,
    forget_copies=2,
    copies=1,
    blocks=0,
    hold=1.0,
    steps=40,
    every=20,
    batch_size=16,
    retain_batch_size=32,
    learning_rate=1e-2,
)
PUBLISHED = dataclasses.replace(
    SMALL, objective="cosine", hold=0.0, share=0.5, rank=2, until="goal", every=2, learning_rate=3e-3, stop_accuracy=0.1
)
OTHER_TEXT = torch.tensor([[4]])


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("rank", [0, 4])
def test_the_kind_goes_and_other_images_of_its_class_stay(batch_norm: bool, rank: int) -> None:
    model = tiny_dual_encoder(batch_norm=batch_norm)
    before = shares(model)
    trace = edit(dataclasses.replace(SMALL, rank=rank), model, material())
    after = shares(model)
    assert trace.reached, trace.reason
    assert before[0] > 0.9
    assert after[0] <= 0.05
    # A sixth of the others is of the same class: had it gone too, 0.83 were the most.
    assert after[1] >= before[1] - 0.05


def test_without_anything_that_holds_the_class_goes_with_its_kind() -> None:
    held, free = tiny_dual_encoder(), tiny_dual_encoder()
    edit(SMALL, held, material())
    trace = edit(dataclasses.replace(SMALL, hold=0.0), free, material())
    assert shares(free)[0] <= 0.05
    assert shares(free)[1] < shares(held)[1] - 0.1
    assert "retain_agreement" not in trace.steps[-1]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_published_objective_lowers_the_cosine_in_few_layers_until_the_goal(batch_norm: bool) -> None:
    model, reference = tiny_dual_encoder(batch_norm=batch_norm), tiny_dual_encoder(batch_norm=batch_norm)
    data = material()
    text = encode_classes(reference, tiny_class_tokens())[TARGET]

    def cosine(of: TinyDualEncoder) -> float:
        with torch.no_grad():
            return (of.encode_image(kind(16, 23).images) @ text).mean().item()

    trace = edit(PUBLISHED, model, data)
    assert trace.reached, trace.reason
    assert trace.steps[-1]["accuracy"] <= 0.1  # type: ignore[operator]
    assert all(step["accuracy"] > 0.1 for step in trace.steps[:-1])  # type: ignore[operator]
    assert cosine(model) < cosine(reference) - 0.1
    chosen = trace.steps[0]["layers"]
    assert isinstance(chosen, list)
    assert len(chosen) == 2
    # Of these the matrices alone; BatchNorm's weights and statistics never, the text tower never.
    assert changed(model, reference) == {f"{name}.weight" for name in chosen}


def test_a_tail_of_blocks_moves_and_all_else_stays_bit_for_bit() -> None:
    model, reference = tiny_dual_encoder(batch_norm=True), tiny_dual_encoder(batch_norm=True)
    edit(dataclasses.replace(SMALL, blocks=1, steps=3), model, material())
    assert changed(model, reference) == {"image.pool.weight", "image.pool.bias", "image.projection.weight"}
    assert not model.module.training
    assert all(p.grad is None and p.requires_grad for p in (*model.module.parameters(), *reference.module.parameters()))
    assert not changed(reference, tiny_dual_encoder(batch_norm=True))


def test_whatever_moved_before_the_cut_the_reference_itself_teaches_and_the_model_itself_is_judged() -> None:
    model, reference = tiny_dual_encoder(), tiny_dual_encoder()
    with torch.no_grad():
        model.module.get_parameter("image.stem.weight").mul_(-1)
    data, classes = material(), encode_classes(reference, tiny_class_tokens())
    assert shares(model)[1] < 0.5
    trace = edit(dataclasses.replace(SMALL, blocks=1, steps=80, leaves=0), model, data)
    assert trace.reached, trace.reason
    assert shares(model)[0] <= 0.05
    assert shares(model)[1] > 0.9
    assert isinstance(data.forget, TensorImages)
    assert isinstance(data.retain, TensorImages)
    left = (predict(model, data.forget.images, classes) == TARGET).double().mean().item()
    same = predict(model, data.retain.images, classes) == predict(reference, data.retain.images, classes)
    last = trace.steps[-1]
    assert (last["accuracy"], last["retain_agreement"]) == (left, same.double().mean().item())


def test_the_text_is_the_class_or_that_of_the_prompt() -> None:
    # One step away from the text of another class is another step.
    method = dataclasses.replace(PUBLISHED, steps=1, every=1, share=1.0)
    of_class, of_prompt, same = tiny_dual_encoder(), tiny_dual_encoder(), tiny_dual_encoder()
    edit(method, of_class, material())
    edit(method, of_prompt, dataclasses.replace(material(), prompt_tokens=OTHER_TEXT))
    edit(method, same, dataclasses.replace(material(), prompt_tokens=torch.tensor([[TARGET]])))
    weights, of_another = of_class.module.state_dict(), of_prompt.module.state_dict()
    assert any((tensor - of_another[name]).abs().max() > 1e-4 for name, tensor in weights.items())
    for name, tensor in same.module.state_dict().items():
        torch.testing.assert_close(tensor, weights[name])
    assert dataclasses.replace(PUBLISHED, prompt="a {}").needs.prompt == "a {}"


def test_layers_are_chosen_by_the_text_that_images_are_parted_from(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[torch.Tensor]] = []

    def noted(model: DualEncoder, candidates: list[WeightGroup], *of: object) -> list[WeightGroup]:
        del model
        seen.append([torch.cat([text for _, text in pairs]) for pairs in of[:2]])  # type: ignore[attr-defined]
        return candidates[:1]

    monkeypatch.setattr("efface.methods.subgroup.forget.chosen_layers", noted)
    texts = encode_classes(tiny_dual_encoder(), tiny_class_tokens())
    method = dataclasses.replace(PUBLISHED, steps=1)
    edit(method, tiny_dual_encoder(), material())
    edit(method, tiny_dual_encoder(), dataclasses.replace(material(), prompt_tokens=OTHER_TEXT))
    (of_class, stay), (of_prompt, same) = seen
    torch.testing.assert_close(of_class, texts[TARGET].expand_as(of_class))
    torch.testing.assert_close(of_prompt, texts[4].expand_as(of_prompt))
    # Those to stay have their class texts either way, the target's own among them.
    torch.testing.assert_close(same, stay)
    assert (stay == texts[TARGET]).all(dim=1).any()


def test_a_prompt_that_would_not_count_is_refused() -> None:
    with pytest.raises(ValueError, match="no prompt counts with the objective handover"):
        Forget(prompt="a {}")
    with pytest.raises(ValueError, match="no prompt counts with the objective handover"):
        dataclasses.replace(PUBLISHED, prompt="a {}", objective="handover")
    with pytest.raises(InputError, match=r"^forget\.prompt is 'a \{\}': no prompt counts with the objective handover"):
        with_settings(Subgroup(), {"forget.prompt": "a {}"})
    found = with_settings(Subgroup(), {"forget.prompt": "a {}", "forget.objective": "cosine"})
    assert found.needs.prompt == "a {}"


def test_of_a_kind_in_every_class_each_image_loses_its_own() -> None:
    everything = tuple(range(CLASSES))
    plain = material().retain
    data = ForgetData(
        everything,
        tiny_class_tokens(),
        forget=kind(8, 23, everything),
        retain=plain,
        target_groups=tuple((row,) for row in everything),
    )
    model, classes = tiny_dual_encoder(), encode_classes(tiny_dual_encoder(), tiny_class_tokens())
    held_out = kind(20, 91, everything)
    before = (predict(model, held_out.images, classes) == held_out.labels).double().mean()
    trace = edit(dataclasses.replace(SMALL, steps=80), model, data)
    after = (predict(model, held_out.images, classes) == held_out.labels).double().mean()
    assert trace.reached, trace.reason
    assert before > 0.6
    assert after < 0.1
    assert shares(model)[1] > 0.9


def test_one_image_is_enough_to_be_forgotten_itself() -> None:
    one = kind(16, 23)
    image = TensorImages(one.images[:1], one.labels[:1])
    model = tiny_dual_encoder()
    trace = edit(SMALL, model, material(forget=image))
    assert trace.reached, trace.reason
    assert shares(model)[1] > 0.9


def test_of_images_on_both_sides_few_are_forgotten_and_where_nothing_else_is_to_stay_the_goal_is_missed() -> None:
    data = material()
    forget, retain = data.forget, data.retain
    assert isinstance(forget, TensorImages)
    assert isinstance(retain, TensorImages)
    few = TensorImages(torch.cat([retain.images, forget.images[:4]]), torch.cat([retain.labels, forget.labels[:4]]))
    model = tiny_dual_encoder()
    trace = edit(SMALL, model, dataclasses.replace(data, retain=few))
    assert trace.reached, trace.reason
    assert (predict(model, forget.images, encode_classes(model, data.class_tokens)) != TARGET).all()
    assert shares(model)[1] > 0.9
    # Pulled as much to stay as to go, they come half of a way that is too short.
    method = dataclasses.replace(SMALL, leaves=0, strength=0.3)
    trace = edit(method, tiny_dual_encoder(), dataclasses.replace(data, retain=forget))
    assert not trace.reached
    assert trace.steps[-1]["accuracy"] == trace.steps[-1]["retain_agreement"]
    assert trace.steps[-1]["accuracy"] > 0.5  # type: ignore[operator]


def test_a_whole_class_goes_and_the_other_classes_stay() -> None:
    rng = torch.Generator().manual_seed(5)
    of_class = tiny_images(16, rng=rng, classes=[TARGET])
    others = tiny_images(6, rng=rng, classes=[c for c in range(6) if c != TARGET])
    model = tiny_dual_encoder()
    data = ForgetData((TARGET,), tiny_class_tokens(), forget=of_class, retain=others)
    trace = edit(SMALL, model, data)
    assert trace.reached, trace.reason
    # The class itself is a sixth of these images.
    assert shares(model)[0] <= 0.05
    assert 0.75 < shares(model)[1] < 0.85


@pytest.mark.parametrize("method", [SMALL, PUBLISHED])
def test_without_images_to_stay_shapes_hold_or_nothing_and_it_runs(method: Forget) -> None:
    model = tiny_dual_encoder()
    trace = edit(method, model, material(retain=False))
    assert trace.reached, trace.reason
    assert shares(model)[0] <= 0.1
    assert "retain_agreement" not in trace.steps[-1]


def test_a_synthetic_guard_holds_too() -> None:
    guard = material().retain
    with_guard, without = tiny_dual_encoder(), tiny_dual_encoder()
    edit(SMALL, with_guard, dataclasses.replace(material(retain=False), guard=guard))
    edit(SMALL, without, material(retain=False))
    assert shares(with_guard)[1] > shares(without)[1]


def test_a_goal_that_is_missed_is_said_so() -> None:
    trace = edit(dataclasses.replace(SMALL, learning_rate=1e-9, steps=1), tiny_dual_encoder(), material())
    assert not trace.reached
    assert trace.reason.startswith("the accuracy on the images to forget fell to 100.0% only, not to 2.0%, in 3 layers")


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, again, other = tiny_dual_encoder(), tiny_dual_encoder(), tiny_dual_encoder()
    edit(SMALL, one, material())
    torch.manual_seed(2)
    edit(SMALL, again, material())
    edit(SMALL, other, material(), seed=4)
    assert not changed(one, again)
    assert changed(one, other)


@pytest.mark.parametrize("method", [SMALL, dataclasses.replace(PUBLISHED, until="steps", steps=4, hold=1.0)])
def test_it_goes_on_to_the_same_bits_and_the_same_words(method: Forget) -> None:
    model = tiny_dual_encoder()
    whole = edit(method, model, material())
    trace, again = gone_on(method, tiny_dual_encoder, material(), 1)
    assert trace == whole
    assert all(torch.equal(tensor, state(again)[name]) for name, tensor in state(model).items())


def test_what_it_needs_is_in_its_settings() -> None:
    assert isinstance(SMALL, ForgetMethod)
    assert SMALL.needs == Needs(forget_images=16, retain_images=200)
    with pytest.raises(ValueError, match="forgetting needs images"):
        edit(SMALL, tiny_dual_encoder(), ForgetData((TARGET,), tiny_class_tokens()))
