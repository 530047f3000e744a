"""The pages of real runs in a real browser."""

from pathlib import Path

import datasets
import pytest

import efface
from efface.backends.base import LoadedCLIP
from efface.data.prompts import class_names_from
from efface.demo import SETTINGS
from efface.export.folder import read_run
from efface.methods.lip import Lip
from efface.report.compare import render_comparison
from efface.symbols.catalogue import MEMBERS
from efface.synthesis.ascent import GradientAscent
from tests.report.browser import CHROMIUM, Seen, look
from tests.worlds import NAMES, World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
LARGEST = 2_000_000


def check(page: str, tmp_path: Path) -> Seen:
    assert len(page.encode()) < LARGEST
    seen = look(page, tmp_path)
    assert seen.requests == ()
    assert seen.complaints == ()
    assert seen.overflows == ()
    return seen


def test_what_is_looked_for_is_found_where_it_is(tmp_path: Path) -> None:
    bad = '<body><div style="width:700px">wide</div><img src="http://127.0.0.1:9/x.png">'
    bad += '<script>console.error("no")</script>'
    seen = look(bad, tmp_path)
    assert len(seen.overflows) == 1
    assert "700px" in seen.overflows[0]
    assert set(seen.requests) == {"http://127.0.0.1:9/x.png"}
    assert any('"no"' in line for line in seen.complaints)


def test_a_run_with_images_of_its_own_and_a_comparison_fit_a_phone_and_a_desk(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    method = Lip(images=3, samples=2, max_rounds=2, learning_rate=1e-3)
    quick = GradientAscent(jitter=2, acceptance_scale=1.0, threshold=0.01)
    run = efface.forget(clip, "dog", among=NAMES, method=method, synthesizer=quick, data=[world.data])
    folder = run.save(tmp_path / "run")
    seen = check((folder / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert seen.heights[0] > seen.heights[1] > 1000
    record = read_run(folder)
    check(render_comparison((record, record), ("a" * 80, "b" * 80)), tmp_path)


@pytest.mark.slow
def test_the_page_of_a_builtin_run(tmp_path: Path) -> None:
    clip = efface.load("builtin:symbols-rn")
    run = efface.forget(clip, "knight", among=MEMBERS, method=SETTINGS["projection"], data=["symbols:test"])
    check((run.save(tmp_path / "run") / "report.html").read_text(encoding="utf-8"), tmp_path)


@pytest.mark.slow
@pytest.mark.natural
def test_the_page_of_a_natural_run(natural: Path, tmp_path: Path) -> None:
    rows = datasets.Dataset.from_parquet(str(natural / "data" / "tiny-imagenet" / "val.parquet"))
    rows.select(range(0, len(rows), 5)).to_parquet(str(tmp_path / "sample.parquet"))
    names = class_names_from(natural / "data" / "tiny-imagenet" / "classnames.txt")
    clip = efface.load(f"local-dir:{natural / 'models' / 'tiny-natural-rn'}")
    run = efface.forget(clip, "monarch", among=names, method="projection", data=[tmp_path / "sample.parquet"])
    check((run.save(tmp_path / "run") / "report.html").read_text(encoding="utf-8"), tmp_path)
