import io
import xml.etree.ElementTree as ET

from matplotlib.figure import Figure

from efface.report.svg import INK, drawing, shortened


def line(figure: Figure) -> None:
    axes = figure.add_axes((0, 0, 1, 1))
    axes.plot([0, 1], [0, 1], "o-", color=INK)
    axes.text(0, 0, "@a@", color=INK)
    axes.text(1, 1, "@b@", color=INK)


def test_texts_are_put_in_once_and_escaped() -> None:
    svg = drawing(100.0, 50.0, line, words='<"words">', texts={"a": "@b@", "b": "<b>"})
    root = ET.parse(io.StringIO(svg)).getroot()
    shown = ["".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"@b@", "<b>"} <= set(shown)
    assert root.get("aria-label") == '<"words">'
    assert root.get("viewBox") == "0 0 100 50"


def test_two_drawings_of_one_page_share_no_id() -> None:
    def ids(words: str) -> set[str]:
        root = ET.parse(io.StringIO(drawing(100.0, 50.0, line, words=words, texts={"a": "", "b": ""}))).getroot()
        return {found for part in root.iter() if (found := part.get("id"))}

    assert ids("one")
    assert not ids("one") & ids("other")


def test_long_texts_end_in_an_ellipsis() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
