import shutil
from pathlib import Path

import pytest

from efface.export.folder import card_of, read_run
from efface.verifying.rendered import check_rendered
from tests.verifying.runs import record_of, write_record


def test_page_and_card_are_what_the_record_makes(run: Path) -> None:
    assert check_rendered(run, read_run(run)) == ([], [])


@pytest.mark.parametrize("name", ["report.html", "README.md"])
def test_a_page_or_card_that_was_edited_or_is_gone_is_named(run: Path, name: str) -> None:
    text = (run / name).read_text(encoding="utf-8")
    (run / name).write_text(text.replace("dog", "cat", 1), encoding="utf-8")
    (problem,), notes = check_rendered(run, read_run(run))
    assert problem.startswith(f"{name} is not what the record makes")
    (run / name).unlink()
    assert check_rendered(run, read_run(run)) == ([f"{name} is missing"], notes)


def test_of_a_page_by_another_version_nothing_is_said(run: Path) -> None:
    document = record_of(run)
    document["environment"]["pillow"] = "1.0"
    write_record(run, document, sealed=True)
    assert check_rendered(run, read_run(run)) == ([], [])
    (run / "report.html").write_text("<p>as it was then", encoding="utf-8")
    problems, (note,) = check_rendered(run, read_run(run))
    assert problems == []
    assert note.startswith("report.html was not checked: ")
    assert "pillow 1.0 then and" in note


def test_a_page_that_cannot_be_made_of_the_record_is_not_of_it(run: Path) -> None:
    (run / "retrieved.png").write_bytes(b"no picture")
    assert check_rendered(run, read_run(run))[0][0].startswith("report.html is not what the record makes")


def test_the_license_is_that_of_the_base_and_stands_in_the_card_alone(run: Path) -> None:
    card = (run / "README.md").read_text(encoding="utf-8")
    (run / "README.md").write_text(card.replace("---\n", '---\nlicense: "mit"\n', 1), encoding="utf-8")
    made = card_of(run, read_run(run))
    assert 'license: "mit"\n' in made
    (run / "README.md").write_text(made, encoding="utf-8")
    assert check_rendered(run, read_run(run)) == ([], [])


def test_what_others_put_there_is_named_and_fails_nothing(run: Path) -> None:
    (run / "notes.txt").write_text("looks good")
    (run / "more").mkdir()
    assert check_rendered(run, read_run(run)) == ([], ["not of the run, and not looked at: more, notes.txt"])


def test_a_run_without_a_model_has_no_card(run: Path) -> None:
    document = record_of(run)
    document["weights"]["result"] = None
    write_record(run, document, sealed=True)
    (run / "README.md").unlink()
    shutil.rmtree(run / "model")
    assert check_rendered(run, read_run(run)) == ([], [])
