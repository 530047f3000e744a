import pytest
import torch

from efface import encoding
from efface.encoding import encode_classes, predict
from efface.errors import NotFiniteError
from efface.testing import tiny_class_tokens, tiny_dual_encoder, tiny_images


def test_classes_are_encoded_alike_in_one_batch_and_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_dual_encoder()
    tokens = tiny_class_tokens().repeat(1, 2, 1)
    whole = encode_classes(model, tokens)
    monkeypatch.setattr(encoding, "TEXT_BATCH", 5)
    torch.testing.assert_close(encode_classes(model, tokens), whole)
    assert whole.shape == (6, 16)
    assert not whole.requires_grad


def test_a_class_of_two_equal_texts_is_that_text() -> None:
    model = tiny_dual_encoder()
    tokens = tiny_class_tokens()
    torch.testing.assert_close(encode_classes(model, tokens.repeat(1, 2, 1)), model.encode_text(tokens[:, 0]).detach())


def test_texts_that_come_out_as_nan_are_refused() -> None:
    model = tiny_dual_encoder(steps=0)
    with torch.no_grad():
        model.module.get_parameter("text.projection.weight").fill_(float("inf"))
    with pytest.raises(NotFiniteError, match="the text tower puts out NaN"):
        encode_classes(model, tiny_class_tokens())


def test_a_trained_model_predicts_the_classes_of_its_world() -> None:
    model = tiny_dual_encoder()
    data = tiny_images(5, rng=torch.Generator().manual_seed(3))
    predicted = predict(model, data.images, encode_classes(model, tiny_class_tokens()))
    assert (predicted == data.labels).float().mean() > 0.95
