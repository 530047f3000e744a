import pickle

import pytest

from efface.backends.loading import in_one_line, no_code_of_others
from efface.errors import InputError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AssertionError("width\n  changed"), "m could not be loaded: width changed"),
        (Exception("x" * 400), "m could not be loaded: " + "x" * 300),
        (KeyError(101), "m could not be loaded: KeyError: 101"),
        (ValueError(), "m could not be loaded: ValueError:"),
        (pickle.UnpicklingError("no"), "m could not be loaded: its weights are a pickle that holds more than tensors,"),
    ],
)
def test_what_a_library_raises_becomes_one_line(error: Exception, told: str) -> None:
    with pytest.raises(InputError) as caught, in_one_line("m", hint="look"):
        raise error
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [InputError("no", hint="yes"), MemoryError(), KeyboardInterrupt()])
def test_errors_that_say_it_themselves_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, in_one_line("m", hint="look"):
        raise error
    assert caught.value is error


def test_transformers_asks_again_afterwards() -> None:
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    with no_code_of_others():
        within = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    with pytest.raises(OSError, match="x"), no_code_of_others():
        raise OSError("x")
    assert within == 0
    assert dynamic_module_utils.TIME_OUT_REMOTE_CODE == before > 0
