"""The house rules that no linter knows."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "efface").rglob("*.py"))
LINES = 300


def mirror(source: Path) -> Path:
    """Where the tests of a source file are: test_init.py for a package's own file."""
    inside = source.relative_to(ROOT / "src" / "efface")
    name = {"__init__": "init", "__main__": "main"}.get(inside.stem, inside.stem)
    return ROOT / "tests" / inside.parent / f"test_{name}.py"


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_source_file_with_code_has_its_tests(source: Path) -> None:
    body = source.read_text(encoding="utf-8").split('"""', maxsplit=2)[2].strip()
    if body and source.parent.name + source.stem != "efface__init__":
        assert mirror(source).is_file(), f"{mirror(source).relative_to(ROOT)} is missing"


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda p: str(p.name))
def test_no_file_is_too_long_to_read(path: Path) -> None:
    limit = LINES if path in SOURCES else 2 * LINES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


def test_the_tree_in_the_readme_is_true() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.split("<!-- tree -->")[1]
    named = {line.split()[0] for line in tree.splitlines() if line.strip().split(" ")[0].endswith(".py")}
    inside = {source.name for source in SOURCES if source.stem not in ("__init__", "__main__")}
    assert named == inside
