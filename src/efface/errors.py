"""The errors that a caller may want to catch, the hint at names that were misspelt, and numbers in words."""

import difflib
from collections.abc import Iterable


class EffaceError(Exception):
    """Anything that efface refuses or cannot do; ``hint`` says what would be right."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # A worker process hands its errors over by pickle, which knows nothing of keyword arguments.
        return _rebuild, (type(self), str(self), self.hint)


class InputError(EffaceError):
    """What was asked for, or the files it names, cannot be used."""


class NotFiniteError(EffaceError):
    """A loss, a weight or a feature is NaN or infinite."""


class EffaceWarning(UserWarning):
    """Allowed, and probably not what was meant."""


def offer(value: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest ones, or all where none is near."""
    names = list(known)
    near = difflib.get_close_matches(value, names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names) or 'none'}"


def check_known(value: str, known: Iterable[str], what: str) -> None:
    """Refuses a name that there is not.

    Raises:
        InputError: It offers the nearest names.
    """
    names = list(known)
    if value not in names:
        raise InputError(f"there is no {what} {value!r}", hint=offer(value, names))


def is_text(value: str) -> bool:
    """Whether a text can be written as UTF-8: one with half a surrogate pair, as bytes of no text are read, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def counted(n: int, noun: str) -> str:
    """A number with its noun: ``1 image``, ``2 images``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _rebuild(kind: type[EffaceError], message: str, hint: str) -> EffaceError:
    return kind(message, hint=hint)
