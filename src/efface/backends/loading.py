"""What libraries raise at files that are damaged or do not fit, put into words; and no code of others is run."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from efface.errors import EffaceError, InputError


def not_loaded(source: object, reason: str, *, hint: str) -> InputError:
    """The error at a model that cannot be used, in one line."""
    return InputError(f"{source} could not be loaded: {' '.join(reason.split())[:300]}", hint=hint)


@contextmanager
def in_one_line(source: object, *, hint: str) -> Iterator[None]:
    """Puts what a library raises into an InputError; its kinds are many, and a tokenizer raises a bare Exception.

    Only calls of libraries belong under it: a fault of efface's own would lose its traceback.

    Raises:
        InputError: In place of any other exception but a lack of memory.
    """
    try:
        yield
    except (EffaceError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise not_loaded(
            source,
            "its weights are a pickle that holds more than tensors, and may run code",
            hint="convert it to safetensors where it comes from",
        ) from error
    except Exception as error:
        # Of a lookup the text is the key alone.
        name = f"{type(error).__name__}: " if isinstance(error, LookupError) or not str(error) else ""
        raise not_loaded(source, f"{name}{error}", hint=hint) from error


@contextmanager
def no_code_of_others() -> Iterator[None]:
    """Lets transformers refuse configurations that bring code, where the library between says nothing of it.

    Else it asks on the terminal whether to run the code, and a careless yes runs it.
    """
    from transformers import dynamic_module_utils

    seconds = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    # How long it waits for an answer; at none it raises.
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = seconds
