import pytest
import torch

from efface.backends.base import digest
from efface.report.weights import compare_weights

BEFORE = {"b": torch.tensor([3.0, 4.0]), "a": torch.zeros(2, dtype=torch.float16), "n": torch.tensor(5)}


def test_each_tensor_says_whether_and_by_how_much_it_changed() -> None:
    after = BEFORE | {"b": torch.tensor([3.0, 4.5])}
    found = compare_weights(BEFORE, after)
    assert (found.base, found.result) == (digest(BEFORE), digest(after))
    assert found.changed == ("b",)
    of = {tensor.name: tensor for tensor in found.tensors}
    assert list(of) == ["a", "b", "n"]
    # The norm of what was added is 0.5, that of the base 5.
    assert of["b"].relative_change == pytest.approx(0.1)
    assert of["b"].largest_change == 0.5
    assert (of["a"].dtype, of["a"].shape, of["n"].shape) == ("float16", (2,), ())
    assert of["a"].relative_change is None
    assert (of["n"].relative_change, of["n"].largest_change) == (0.0, 0.0)
    assert {name for name, tensor in of.items() if tensor.base != tensor.result} == {"b"}
    assert of["b"].result == digest({"b": after["b"]})


def test_what_grew_from_nothing_has_no_relative_change() -> None:
    (found,) = compare_weights({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, -2.0])}).tensors
    assert (found.relative_change, found.largest_change) == (None, 2.0)


def test_without_a_result_only_the_base_is_told() -> None:
    found = compare_weights(BEFORE, None)
    assert (found.result, found.changed) == (None, ())
    assert {tensor.result for tensor in found.tensors} == {None}
