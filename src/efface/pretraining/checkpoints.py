"""Checkpoints and the log: files that a run which was stopped at any moment goes on from."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from efface.errors import InputError
from efface.plain import differences
from efface.whole import written_whole

KEPT = 2


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Writes a checkpoint, whole or not at all, and deletes all but the last two.

    Args:
        folder: made where it is not there.
        step: finished steps.
        state: tensors, numbers, texts, and lists and tables of them.

    Raises:
        OSError: If it cannot be written, on a full disk say.
    """
    path = folder / f"step-{step:08d}.pt"
    with written_whole(path) as partial, partial.open("wb") as file:
        torch.save(dict(state), file)
    for old in _checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def last_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What the latest checkpoint holds, on the CPU; None where there is none.

    Raises:
        InputError: If it cannot be read.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    try:
        state: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"the checkpoint {found[-1]} cannot be read: {' '.join(str(error).split())[:200]}",
            hint="delete it to go on from the one before",
        ) from error
    return state


def check_same(recipe: Mapping[str, Any], stored: Mapping[str, Any], where: Path) -> None:
    """Refuses to go on with another recipe than a run was begun with.

    Raises:
        InputError: It names every value that differs.
    """
    found = list(differences(recipe, stored))
    if found:
        raise InputError(
            f"the recipe is not the one that {where} was begun with: {', '.join(found)} differ"
            + ("s" if len(found) == 1 else ""),
            hint="give the same values to go on, or begin anew with --overwrite",
        )


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


class Log:
    """A file of JSON lines, each with the finished steps under ``step``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def cut(self, step: int) -> None:
        """Drops the lines of later steps, and one that was cut off: the steps after a checkpoint are done again."""
        kept = [text for text, line in self._entries() if line["step"] <= step]
        with written_whole(self.path) as partial:
            partial.write_text("".join(f"{text}\n" for text in kept), encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        """All lines."""
        return [line for _, line in self._entries()]

    def _entries(self) -> list[tuple[str, dict[str, Any]]]:
        if not self.path.is_file():
            return []
        found = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append((text, json.loads(text)))
            except ValueError:
                continue
        return found
