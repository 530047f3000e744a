import pytest
import timm
from torch import nn

from efface.errors import InputError
from efface.export.to_open_clip import activation


def test_activations_have_the_names_of_transformers() -> None:
    assert activation(nn.GELU()) == "gelu"
    assert activation(nn.GELU(approximate="tanh")) == activation(timm.layers.GELUTanh()) == "gelu_pytorch_tanh"
    with pytest.raises(InputError, match="no name for the activation ReLU"):
        activation(nn.ReLU())
