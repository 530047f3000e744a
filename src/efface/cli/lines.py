"""Lines for people: errors, hints and warnings, one line each, on standard error."""

from typing import Any

from rich.console import Console
from rich.text import Text

from efface.errors import EffaceError, EffaceWarning

err = Console(stderr=True)


class Stopped(EffaceError):
    """Interrupted, when there is something to go on from: exit code 130, with words that are true of it."""


def line(label: str, text: str) -> None:
    """A labelled text as one line, whatever the terminal's width."""
    style = "bold red" if label == "error" else "bold"
    err.print(Text.assemble((f"{label}: ", style), visible(" ".join(text.split()))), soft_wrap=True)


def visible(text: str) -> str:
    """A text of others, a name in a record say, as what a terminal shows and does not obey.

    A line break or an escape sequence in it could pass for a line of efface's own: what cannot be printed is written
    out, as Python writes it.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(message: str, hint: str) -> None:
    """One error line and one hint line."""
    line("error", message)
    line("hint", hint)


def of_system(error: OSError) -> str:
    """What the system said, and of which file."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def warn(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """One warning line; Python's own way would show a line of source too."""
    del where, more
    line("warning", str(message) if issubclass(category, EffaceWarning) else f"{category.__name__}: {message}")
