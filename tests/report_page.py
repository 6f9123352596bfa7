"""A report as a browser and a reader of markup see it."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HOSTILE = "<script>alert('x')</script>&\"'|`=1+1"
VOID = {"meta", "link", "br", "hr", "img", "input"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Collects what the tests ask for, and fails on tags that do not match."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(text for tag, text in self.texts if tag != "style")


def downloads(page: Page) -> dict[str, str]:
    """What every link with a name gives, decoded."""
    found = {}
    for link in page.all("a"):
        if "download" in link:
            kind, _, coded = str(link["href"]).partition(",")
            assert re.fullmatch(r"data:(text/csv|application/json);charset=utf-8;base64", kind)
            found[str(link["download"])] = base64.b64decode(coded).decode()
    return found


def csv_rows(text: str) -> list[list[str]]:
    """Rows of a table, the header first."""
    return list(csv.reader(io.StringIO(text)))


HARNESS = """<!DOCTYPE html><html><body><p id="answer"></p><script>
const pages = PAGES, widths = WIDTHS, answers = [];
function look(frame, width) {
  const page = frame.contentDocument, root = page.scrollingElement;
  page.querySelectorAll("details").forEach(d => d.open = true);
  const shown = [...page.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().width);
  const wide = [...page.querySelectorAll("body *")]
    .filter(e => !e.closest(".scroll") || e.classList.contains("scroll"))
    .filter(e => e.getBoundingClientRect().right > root.clientWidth + 1)
    .map(e => e.tagName + ": " + e.textContent.slice(0, 40));
  const cut = shown.flatMap(s => [...s.querySelectorAll("text")].filter(t => {
    const inner = t.getBoundingClientRect(), outer = s.getBoundingClientRect();
    return inner.right > outer.right + 1 || inner.left < outer.left - 1
      || inner.top < outer.top - 2 || inner.bottom > outer.bottom + 2;
  }).map(t => s.getAttribute("aria-label").slice(0, 40) + ": " + t.textContent));
  const letters = shown.map(
    s => 12.5 * s.getBoundingClientRect().width / s.viewBox.baseVal.width);
  const sizes = {scroll: root.scrollWidth, client: root.clientWidth, svgs: shown.length};
  const ground = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
  answers.push({width, wide, cut, letters, ground, ...sizes});
  document.getElementById("answer").textContent = JSON.stringify(answers);
}
for (const page of pages) for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.width = width;
  frame.onload = () => look(frame, width);
  frame.srcdoc = page;
  document.body.append(frame);
}
</script></body></html>"""


def browse(
    pages: Sequence[str], widths: Sequence[int], folder: Path, dark: bool = False
) -> list[dict[str, Any]]:
    """What headless Chromium makes of pages at widths; nothing may be said on its console."""
    content = HARNESS.replace("PAGES", json.dumps(list(pages)).replace("</", "<\\/"))
    harness = folder / "harness.html"
    harness.write_text(content.replace("WIDTHS", json.dumps(list(widths))), encoding="utf-8")
    result = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr",
            "--hide-scrollbars", "--window-size=1400,1000", "--virtual-time-budget=8000",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            "--dump-dom", harness.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in result.stderr
    answers = json.loads(html.unescape(re.findall(r'<p id="answer">(.*?)</p>', result.stdout)[0]))
    assert sorted(a["width"] for a in answers) == sorted(len(pages) * list(widths))
    return list(answers)
