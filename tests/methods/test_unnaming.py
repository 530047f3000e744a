"""The class's texts say what their prompts say of no class; all other texts, and the image tower, stay."""

import pytest
import torch
from torch import Tensor

from efface.cut import CutText
from efface.errors import InputError
from efface.functional.nameless import nameless
from efface.methods import unnaming
from efface.methods.unnaming import Unnamed, Unnaming, texts_of
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder
from efface.types import ForgetData, Silent, Step

TARGET = 2
TOKENS = tiny_class_tokens()
STAY = [row for row in range(len(TOKENS)) if row != TARGET]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of the tiny model but one are enough."""
    monkeypatch.setattr(unnaming, "FEWEST", len(STAY))


def edit(steps: int = 100, targets: tuple[int, ...] = (TARGET,)) -> tuple[list[Step], TinyDualEncoder]:
    model, rng = tiny_dual_encoder(), torch.Generator().manual_seed(1)
    method = Unnaming(steps=steps, blocks=1, learning_rate=1e-2)
    found = method.edit_(model, tiny_dual_encoder(), ForgetData(targets, TOKENS), rng=rng, reporter=Silent())
    assert (found.reason != "") == (not found.steps and steps > 0)
    return list(found.steps), model


def unnamed(targets: tuple[int, ...]) -> Unnamed:
    one, other = tiny_dual_encoder(), tiny_dual_encoder()
    data = ForgetData(targets, TOKENS)
    return Unnaming(3, 1, 1e-2).edit_(one, other, data, rng=torch.Generator(), reporter=Silent())


def texts(model: TinyDualEncoder) -> Tensor:
    with torch.no_grad():
        return model.encode_text(TOKENS[:, 0])


def test_the_text_goes_to_what_the_others_share_and_the_others_stay() -> None:
    before = texts(tiny_dual_encoder())
    wanted = nameless(before[STAY][:, None])[0]
    steps, model = edit()
    after = texts(model)
    assert before[TARGET] @ wanted < 0.5
    assert after[TARGET] @ wanted > 0.98
    assert (before * after).sum(dim=1)[STAY].min() > 0.98
    # What it says of itself is that: squared distances of unit vectors.
    assert steps[-1]["text_left"] == pytest.approx(2 - 2 * (after[TARGET] @ wanted).item(), abs=1e-4)
    moved = (after - before)[STAY].square().sum(dim=1).mean().item()
    assert steps[-1]["text_moved"] == pytest.approx(moved, abs=1e-4)


def test_nothing_but_the_text_tower_moves_and_of_that_no_table() -> None:
    before = tiny_dual_encoder().module.state_dict()
    _, model = edit(steps=3)
    after = model.module.state_dict()
    moved = {name.rsplit(".", 1)[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"text.block", "text.projection"}
    assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


def test_several_targets_end_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnaming, "FEWEST", len(TOKENS) - 2)
    _, model = edit(targets=(1, 4))
    after = texts(model)
    assert after[1] @ after[4] > 0.98


def test_no_steps_and_no_class_that_stays_change_nothing() -> None:
    for steps, model in (edit(steps=0), edit(targets=tuple(range(len(TOKENS))))):
        assert steps == []
        torch.testing.assert_close(texts(model), texts(tiny_dual_encoder()), rtol=0, atol=0)


def test_where_few_classes_stay_their_mean_is_no_text_without_a_name() -> None:
    for targets in ((0, 1), tuple(range(len(TOKENS)))):
        found = Unnaming(3, 1, 1e-2).edit_(
            tiny_dual_encoder(),
            tiny_dual_encoder(),
            ForgetData(targets, TOKENS),
            rng=torch.Generator(),
            reporter=Silent(),
        )
        assert found == Unnamed(reason="fewer than 5 classes stay")


def test_a_text_tower_whose_parts_are_not_known_stays_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> list[object]:
        raise InputError("the parts of the text tower are not known", hint="")

    monkeypatch.setattr(CutText, "groups", unknown)
    found = Unnaming(3, 1, 1e-2).edit_(
        tiny_dual_encoder(),
        tiny_dual_encoder(),
        ForgetData((TARGET,), TOKENS),
        rng=torch.Generator(),
        reporter=Silent(),
    )
    assert found == Unnamed(reason="the parts of the text tower are not known")


def test_what_was_taught_can_be_taken_back() -> None:
    _, model = edit(steps=3)
    before = tiny_dual_encoder().module.state_dict()
    Unnaming(3, 1, 1e-2).undo_(model, tiny_dual_encoder())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())


def test_a_text_that_is_the_same_in_all_prompts_counts_once() -> None:
    """A phrase: what it is taught lies between what each prompt would teach it."""
    same = TOKENS[TARGET].expand(1, 2, -1)
    tokens = torch.cat([torch.cat([TOKENS, TOKENS.flip(0)], dim=1), same])
    found = texts_of(tiny_dual_encoder(), ForgetData((len(TOKENS),), tokens), rng=torch.Generator().manual_seed(1))
    assert found is not None
    assert found.targets == 1
    assert len(found.tokens) == 1 + 2 * len(TOKENS)
    with torch.no_grad():
        each = nameless(torch.stack([texts(tiny_dual_encoder()), texts(tiny_dual_encoder()).flip(0)], dim=1))
    torch.testing.assert_close(found.wanted[0], nameless(each[:, None])[0])


def test_a_round_is_twenty_steps_and_the_last_one_what_is_left() -> None:
    steps, _ = edit(steps=41)
    assert [step["round"] for step in steps] == [0, 1, 2]
    assert {step["tower"] for step in steps} == {"text"}


def test_more_prompts_are_taught_beside_those_of_the_request() -> None:
    more = torch.stack([TOKENS.flip(0)[:, 0], TOKENS[:, 0]], dim=1)
    data = ForgetData((TARGET,), TOKENS, more_tokens=more)
    found = texts_of(tiny_dual_encoder(), data, rng=torch.Generator().manual_seed(1))
    assert found is not None
    # Of the target's three texts two are one.
    assert found.targets == 2
    assert sorted(found.tokens[:2, 0].tolist()) == sorted([TARGET, len(TOKENS) - 1 - TARGET])
    assert len(found.tokens) == 2 + 3 * (len(TOKENS) - 1) == len(found.wanted)


def test_of_many_texts_some_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnaming, "TEXTS", 4)
    found = texts_of(tiny_dual_encoder(), ForgetData((TARGET,), TOKENS), rng=torch.Generator().manual_seed(1))
    assert found is not None
    chosen = found.tokens[1:, 0].tolist()
    assert len(chosen) == len(set(chosen)) == 4
    assert set(chosen) < set(STAY)
