"""A word of the class says what its prompts say of no class; texts without it, and the image tower, stay."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from efface.functional.nameless import nameless
from efface.methods import unnaming, words
from efface.methods.course import Course
from efface.methods.unnaming import Unnamed, Unnaming, undo_
from efface.methods.words import Taught, table_of
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder
from efface.types import ForgetData, Silent, Step
from tests.test_cut import WRITE, clip

TARGET = 2
TOKENS = tiny_class_tokens()
STAY = [row for row in range(len(TOKENS)) if row != TARGET]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of the tiny model but one are enough."""
    monkeypatch.setattr(words, "FEWEST", len(STAY))


def edit(steps: int = 100, targets: tuple[int, ...] = (TARGET,)) -> tuple[list[Step], TinyDualEncoder]:
    model, rng = tiny_dual_encoder(), torch.Generator().manual_seed(1)
    method = Unnaming(steps=steps, learning_rate=1e-1)
    found = method.edit_(model, tiny_dual_encoder(), ForgetData(targets, TOKENS), rng=rng, reporter=Silent())
    assert (found.reason != "") == (not found.steps and steps > 0)
    return list(found.steps), model


def unnamed(targets: tuple[int, ...]) -> Unnamed:
    one, other = tiny_dual_encoder(), tiny_dual_encoder()
    data = ForgetData(targets, TOKENS)
    return Unnaming(3, 1e-2).edit_(one, other, data, rng=torch.Generator(), reporter=Silent())


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
    assert torch.equal(before[STAY], after[STAY])
    # What it says of itself is that: squared distances of unit vectors.
    assert steps[-1]["text_left"] == pytest.approx(2 - 2 * (after[TARGET] @ wanted).item(), abs=1e-4)
    assert steps[-1]["text_moved"] == 0


def test_a_word_that_is_stuck_does_not_hide_behind_one_that_is_not() -> None:
    model, rows = tiny_dual_encoder(), [1, 4]
    now = texts(model)[rows]
    taught = Taught(TOKENS[rows, 0], torch.stack([now[0], -now[1]]), 2, (1, 4))
    table = table_of(model, taught.tokens)
    assert table is not None
    vectors = unnaming.Vectors(model, taught.words, torch.nn.Parameter(table.weight.detach()[rows]))
    course = Course("", 1, 1, 1.0, True, torch.Generator())
    # The first text is where it is to be, the second opposite.
    assert unnaming._Run(taught, vectors, course).judge()[1] == pytest.approx({"text_left": 4.0, "text_moved": 0.0})
    # Nor does a name of which no word is taught.
    alone = replace(taught, words=(1,))
    vectors = replace(vectors, words=(1,), values=torch.nn.Parameter(vectors.values.detach()[:1]))
    assert unnaming._Run(alone, vectors, course).judge()[1] == pytest.approx({"text_left": 4.0, "text_moved": 0.0})


def test_nothing_but_the_vector_of_a_word_moves() -> None:
    before = tiny_dual_encoder().module.state_dict()
    _, model = edit(steps=3)
    after = model.module.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"text.table.weight"}
    moved = (before["text.table.weight"] != after["text.table.weight"]).any(dim=1)
    assert moved.nonzero()[:, 0].tolist() == [TARGET]
    assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


def test_several_targets_end_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "FEWEST", len(TOKENS) - 2)
    _, model = edit(targets=(1, 4))
    after = texts(model)
    assert after[1] @ after[4] > 0.98


def test_no_steps_and_no_class_that_stays_change_nothing() -> None:
    for steps, model in (edit(steps=0), edit(targets=tuple(range(len(TOKENS))))):
        assert steps == []
        torch.testing.assert_close(texts(model), texts(tiny_dual_encoder()), rtol=0, atol=0)


def test_where_few_classes_stay_their_mean_is_no_text_without_a_name() -> None:
    for targets in ((0, 1), tuple(range(len(TOKENS)))):
        found = Unnaming(3, 1e-2).edit_(
            tiny_dual_encoder(),
            tiny_dual_encoder(),
            ForgetData(targets, TOKENS),
            rng=torch.Generator(),
            reporter=Silent(),
        )
        assert found == Unnamed(reason="fewer than 5 classes stay")


def test_a_text_tower_without_a_table_stays_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnaming, "table_of", lambda *_: None)
    assert unnamed((TARGET,)) == Unnamed(reason="the text tower looks its tokens up in no table")


def test_what_was_taught_can_be_taken_back() -> None:
    _, model = edit(steps=3)
    before = tiny_dual_encoder().module.state_dict()
    undo_(model, tiny_dual_encoder(), ForgetData((TARGET,), TOKENS), (TARGET,))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())


def test_where_one_word_does_not_carry_the_name_more_are_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    # A text is its first token: the second, which is tried first for its number, carries nothing.
    tokens = torch.cat([TOKENS, torch.zeros_like(TOKENS)], dim=2)
    tokens[:, :, 1] = 0
    tokens[TARGET, :, 1] = len(TOKENS) - 1
    tokens[-1, :, 0] = 0
    data = ForgetData((TARGET,), tokens)
    model = tiny_dual_encoder()
    rng = torch.Generator().manual_seed(1)
    found = Unnaming(40, 1e-1).edit_(model, tiny_dual_encoder(), data, rng=rng, reporter=Silent())
    assert set(found.words) == {TARGET, len(TOKENS) - 1}
    first, *_, last = found.steps
    assert first["words"] == [str(len(TOKENS) - 1)]
    assert float(last["text_left"]) < unnaming.STUCK < float(first["text_left"])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [*WRITE])
def test_of_a_real_tower_other_texts_stay_bit_for_bit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "FEWEST", 2)
    model, reference = copy.deepcopy(clip(kind)), clip(kind)
    names = ("a red fish", "a dog", "a bee", "six")
    tokens = torch.stack([model.tokenize([name, f"photo of {name}"]) for name in names])
    data = ForgetData((0,), tokens)
    before = reference.encoder.encode_text(tokens.flatten(0, 1)).detach()
    rng = torch.Generator().manual_seed(1)
    found = Unnaming(5, 1e-1).edit_(model.encoder, reference.encoder, data, rng=rng, reporter=Silent())
    after = model.encoder.encode_text(tokens.flatten(0, 1)).detach()
    has_word = torch.isin(tokens.flatten(0, 1), torch.tensor(found.words)).any(dim=1)
    assert found.words
    assert has_word[:2].all()
    assert torch.equal(before[~has_word], after[~has_word])
    assert not torch.equal(before[:2], after[:2])
    undo_(model.encoder, reference.encoder, data, found.words)
    weights = zip(model.encoder.module.parameters(), reference.encoder.module.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_a_name_of_words_that_most_classes_have_stays_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "COMMON", -1.0)
    assert unnamed((TARGET,)) == Unnamed(reason="no word of them is the class's own")


def test_a_round_is_twenty_steps_and_the_last_one_what_is_left() -> None:
    steps, _ = edit(steps=41)
    assert [step["round"] for step in steps] == [0, 1, 2]
    assert {step["tower"] for step in steps} == {"text"}
