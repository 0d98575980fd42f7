"""The report page in a real Chromium, headless: opened, hovered, tabbed, read out, timed.

The browser is Debian's `chromium`, driven by playwright. CI has to have it (`CI=true`): there
its absence is a failure. `KEEP_SCREENSHOTS=folder` keeps what the browser saw.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import dumps_fixture as dumps
from tests.report.inputs import large, with_history
from triage.dump.file import read_dump
from triage.dump.sections import Dump
from triage.explain.together import Input, together
from triage.report.contents import contents
from triage.report.page import html

GOLDEN = Path(__file__).resolve().parents[2] / "dumps"
NAMES = ("chromium", "chromium-browser", "google-chrome")
INTERACTIVE_MS = 2_000


def missing(what: str) -> None:
    text = f"the report page is tested in a real browser: {what}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{text}, and CI has to have it")
    pytest.skip(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing("no chromium is installed; as root on Debian: apt-get install -y chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install 'sglang-triage[test]'")
    with sync_playwright() as driver:
        # --no-sandbox: CI runs as root, and the page is our own
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


class Seen:
    """A page that is open, with what it said on the console and what it asked for."""

    def __init__(self, browser: Any, file: Path, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 800}, color_scheme=scheme)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=20_000)
        self.file = file

    @property
    def ready_ms(self) -> int:
        return int(self.page.get_attribute("html", "data-ready"))

    def live(self, box: str = ".map") -> str:
        return str(self.page.inner_text(f"{box} .live"))

    def readout(self) -> dict[str, str]:
        pairs = "each => [...each].map(e => [e.children[0].textContent, e.children[1].textContent])"
        return dict(self.page.eval_on_selector_all(".readout > div", pairs))

    def colours(self, selector: str) -> int:
        """How many different colours a canvas shows."""
        return int(
            self.page.eval_on_selector(
                selector,
                "c => new Set(new Uint32Array(c.getContext('2d')"
                ".getImageData(0, 0, c.width, c.height).data.buffer)).size",
            )
        )

    def close(self) -> None:
        """Nothing went wrong meanwhile, and nothing but the file was loaded."""
        if folder := os.environ.get("KEEP_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=f"{folder}/{self.file.stem}.png", full_page=True)
        self.page.close()
        assert self.said == [] and self.asked == [self.file.as_uri()]


def page_file(dump: Dump, path: Path) -> Path:
    path.write_bytes(html(contents(together([Input(path.stem, "a dump", dump)]))))
    return path


GIVEN = {
    "e4b_out_of_range": (64, 13, "[47, 135]", "outside the tensor"),
    "e4b_stale_swa_state": (64, 13, "[14, 128]", "wrong id space"),
    "smoke_stale_swa_state": (4, 16, "[3, 2]", "wrong id space"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_page_opens_at_the_fault_and_is_read_by_mouse_and_keyboard(browser, name, tmp_path):
    _, _, first, says = GIVEN[name]
    scheme = "dark" if name.startswith("smoke") else "light"
    dump = read_dump(GOLDEN / f"{name}.msgpack")
    seen = Seen(browser, page_file(dump, tmp_path / f"{name}.html"), scheme)
    page = seen.page

    # WHEN it is opened THEN it stands at the first wrong entry, and is drawn
    assert seen.readout()["block_tables"] == first
    assert says in seen.readout()["is"]
    assert seen.readout()["whose hand"] == "not recorded"
    assert seen.colours(".scroll canvas") >= 4

    # WHEN the mouse hovers over the map's first cell THEN that one is read
    canvas = page.locator(".scroll canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.eval_on_selector(".scroll", "each => each.scrollTo(0, 0)")
    page.mouse.move(box["x"] + 46 + 4, box["y"] + 20 + 4)
    assert dump.tables is not None
    assert seen.readout()["block_tables"].startswith("[0, ")
    assert f"{dump.tables.cache_seqlens[0]} tokens" in seen.readout()["row"]

    # WHEN it is reached by the tab key alone THEN arrow keys and n move, and it is read out
    page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('scroll')"):
            break
    assert page.evaluate("document.activeElement.getAttribute('role')") == "application"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Page tab")
    row, column = map(int, first.strip("[]").split(", "))
    page.keyboard.press("ArrowLeft")
    assert f"[{row}, {column - 1}]" in seen.live()
    page.keyboard.press("n")
    assert first in seen.live() and says in seen.live() and "expected page" in seen.live()
    assert page.get_attribute(".map .live", "aria-live") == "polite"
    seen.close()


TIMELINE = "with a timeline"
AXE = [(name, "light") for name in (*GIVEN, TIMELINE)]
AXE += [(TIMELINE, "dark")]  # of the pages whose colours a dark scheme changes, the fullest
AXE += [pytest.param(name, "dark", marks=pytest.mark.slow) for name in GIVEN]


@pytest.mark.parametrize(("name", "scheme"), AXE)
def test_axe_core_finds_nothing_that_a_screen_reader_would_miss(browser, name, scheme, tmp_path):
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-core is not installed: pip install 'sglang-triage[test]'")
    small = dumps.make_dump(dumps.SMALL)
    dump = read_dump(GOLDEN / f"{name}.msgpack") if name in GIVEN else with_history(small)
    seen = Seen(browser, page_file(dump, tmp_path / "page.html"), scheme)
    found = Axe().run(seen.page).response
    assert [(each["id"], each["help"]) for each in found["violations"]] == []
    assert len(found["passes"]) > 10
    # AND a button without a name would have been found
    seen.page.evaluate("document.body.append(document.createElement('button'))")
    again = Axe().run(seen.page).response["violations"]
    assert "button-name" in [each["id"] for each in again]
    seen.close()


def test_the_timeline_is_read_by_keyboard_and_marks_the_first_wrong_launch(browser, tmp_path):
    dump = with_history(dumps.make_dump(dumps.SMALL))
    seen = Seen(browser, page_file(dump, tmp_path / "history.html"), "dark")
    assert seen.page.inner_text(".marks").split("\n")[0].startswith("first wrong: launch 5120")
    seen.page.focus(".timeline svg")
    seen.page.keyboard.press("End")
    assert seen.live(".timeline").startswith("launch 5299 (step 82); target; DECODE")
    assert seen.page.locator(".timeline rect.on").count() == 1
    seen.close()


def test_a_large_table_is_interactive_within_two_seconds(browser, tmp_path):
    # GIVEN 256 rows of 2,048 entries, of which one leaves the cache
    seen = Seen(browser, page_file(large(), tmp_path / "large.html"))
    # THEN the page is ready in time and stands at it
    assert seen.readout()["block_tables"] == "[200, 1500]"
    assert seen.ready_ms < INTERACTIVE_MS
    assert not seen.page.is_hidden(".overview") and seen.colours(".overview") >= 2
    # AND a key is answered within a frame or two
    took = seen.page.evaluate(
        "() => { const box = document.querySelector('.scroll'), start = performance.now();"
        "for (const key of ['PageUp', 'Home', 'n', '+', '-'])"
        "  box.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));"
        "return performance.now() - start; }"
    )
    assert took < 1_000
    assert "[200, 1500]" in seen.live()
    seen.close()


def test_on_paper_the_page_is_light_and_whole(browser, tmp_path):
    dump = dumps.make_dump(dumps.SMALL)
    seen = Seen(browser, page_file(dump, tmp_path / "print.html"), "dark")
    seen.page.emulate_media(media="print")
    background = "getComputedStyle(document.body).backgroundColor"
    assert seen.page.evaluate(background) == "rgb(255, 255, 255)"
    fill = "getComputedStyle(document.querySelector('rect.s-unseen')).fill"
    assert seen.page.evaluate(fill) == "rgb(201, 208, 215)", "the light palette"
    assert seen.page.is_hidden("nav") and seen.page.is_visible(".scroll canvas")
    seen.close()
