"""A page in headless Chromium: what it asks for, what it complains of, and whether it is wider than its window."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 1280)
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--virtual-time-budget=4000"),
)
# Each page stands in a frame of each width, which its media queries and its layout take for a window.
_SCRIPT = """
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map((frame) => {
    const inside = frame.contentDocument.documentElement;
    const wide = [...inside.querySelectorAll("body *")].filter((e) =>
      !e.closest(".scroll") && e.getBoundingClientRect().right > frame.clientWidth + 0.5);
    return {
      width: frame.clientWidth,
      content: inside.scrollWidth,
      wide: wide.slice(0, 5).map((e) => e.outerHTML.slice(0, 200)),
      height: inside.scrollHeight,
      requests: frame.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name),
    };
  });
  document.getElementById("found").textContent = JSON.stringify(found);
});
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a browser made of a page, for each width.

    Attributes:
        overflows: the elements that reach out of the window, or its own width where none does.
        requests: what was asked for over any network or from any file.
        complaints: lines of the console.
        heights: of the whole page in pixels.
    """

    overflows: tuple[str, ...]
    requests: tuple[str, ...]
    complaints: tuple[str, ...]
    heights: tuple[int, ...]


def look(page: str, folder: Path) -> Seen:
    """Opens a page at the widths of a phone and of a desk."""
    assert CHROMIUM is not None
    frames = "".join(
        f'<iframe style="border:0;width:{width}px;height:800px" srcdoc="{html.escape(page)}"></iframe>'
        for width in WIDTHS
    )
    harness = folder / "harness.html"
    source = f'<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre>{frames}<script>{_SCRIPT}</script>'
    harness.write_text(source, encoding="utf-8")
    command = [CHROMIUM, *_QUIET, f"--user-data-dir={folder / 'profile'}", "--dump-dom", harness.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (told,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    found = json.loads(html.unescape(told))
    assert [one["width"] for one in found] == list(WIDTHS)
    return Seen(
        overflows=tuple(
            what
            for one in found
            if one["content"] > one["width"] or one["wide"]
            for what in one["wide"] or [one["content"]]
        ),
        requests=tuple(request for one in found for request in one["requests"]),
        complaints=tuple(line for line in done.stderr.splitlines() if "CONSOLE" in line),
        heights=tuple(one["height"] for one in found),
    )
