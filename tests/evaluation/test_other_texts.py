import torch

from efface.data.holdout import EvalData
from efface.encoding import encode_classes
from efface.evaluation.other_texts import text_changes, text_scores
from efface.evaluation.zero_shot import Answers, OtherTexts, answer
from efface.functional.metrics import paired_change, wilson_interval
from efface.request import TargetText
from efface.testing import CLASSES, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ClassTokens, Silent

NAMES = tuple(f"class {i}" for i in range(CLASSES))
ALIAS = TargetText("alias", "alias", NAMES[2])
PHRASE = TargetText("a phrase", "phrase", NAMES[2])


def answered(*texts: tuple[TargetText, ClassTokens], targets: tuple[int, ...] = (2,)) -> Answers:
    other = OtherTexts(
        tuple(text for text, _ in texts),
        tuple(NAMES.index(text.name) for text, _ in texts),
        torch.stack([tokens for _, tokens in texts]),
    )
    data = EvalData("data", tiny_images(10, rng=torch.Generator().manual_seed(5)), NAMES, "0" * 64)
    models = tiny_dual_encoder(), tiny_dual_encoder(seed=1, steps=0)
    return answer(
        models, data, tiny_class_tokens(), targets=targets, batch_size=16, reporter=Silent(), other=other
    )  # fmt: skip


def test_a_text_that_is_the_class_s_own_scores_as_the_class_does_and_changes_nothing_else() -> None:
    tokens = tiny_class_tokens()
    found = answered((ALIAS, tokens[2]))
    alone = answered((TargetText("x", "phrase", NAMES[0]), tokens[1]))
    rows = found.labels == 2
    for pair in ("before", "both", "image", "text"):
        assert torch.equal(found.by_other_text[pair][rows, 0], found.ranks[pair][rows] < 1)
        assert torch.equal(found.ranks[pair], alone.ranks[pair])
    (score,), (change,) = text_scores(found, "before"), text_changes(found, "both")
    right = int((found.ranks["before"][rows] < 1).sum())
    assert (score.name, score.text, score.kind, score.n) == (NAMES[2], "alias", "alias", 10)
    assert (score.value, score.low, score.high) == (right / 10, *wilson_interval(right, 10))
    expected = paired_change(found.ranks["before"][rows] < 1, found.ranks["both"][rows] < 1)
    assert (change.value, change.low, change.high) == expected


def test_a_text_stands_in_the_place_of_its_class_and_has_the_others_as_rivals() -> None:
    tokens = tiny_class_tokens()
    # The text of another class: a rival with the same text is as near, and any third one is no nearer than it was.
    found = answered((ALIAS, tokens[4]), (PHRASE, tokens[2]))
    base = tiny_dual_encoder()
    images = tiny_images(10, rng=torch.Generator().manual_seed(5))
    near = base.encode_image(images.images) @ encode_classes(base, tokens).T
    near[:, 2] = near[:, 4]
    by_hand = near.topk(1, dim=1).indices[:, 0] == 2
    rows = found.labels == 2
    assert torch.equal(found.by_other_text["before"][rows, 0], by_hand[rows])
    assert [score.text for score in text_scores(found, "both")] == ["alias", "a phrase"]
