"""Make the pictures in docs/images, light and dark, from real models in a real browser.

Wants Playwright's Python package and Chromium, clang and lld, and the run that `make run` makes:

    .venv/bin/python docs/screenshots.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).parent / "images"
WEATHER = Path("runs/seattle_weather")
SIZE, SMALL = {"width": 1360, "height": 860}, {"width": 1100, "height": 700}
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """Run `gatewright look`, and yield the address of its page."""
    command = [sys.executable, "-m", "gatewright", "look", *arguments, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(word for line in process.stdout for word in line.split() if word.startswith("http"))
        finally:
            process.terminate()


def example(page: Page, url: str) -> Iterator[str]:
    """Show the flag that is remembered: yields the name of each picture when it is to be taken."""
    page.goto(url)
    settle(page)
    yield "example-timeline"
    page.get_by_role("button", name="Got it").click()
    page.keyboard.press("3")
    settle(page)
    yield "example-ledger"
    page.keyboard.press("2")
    settle(page)
    yield "example-cell"


def weather(page: Page, url: str) -> Iterator[str]:
    """Show a forecaster."""
    page.goto(f"{url}#view=timeline&t=120&units=3")
    settle(page)
    yield "timeline"
    page.keyboard.press("4")
    settle(page)
    yield "units"
    page.keyboard.press("5")
    settle(page)
    page.get_by_role("button", name="Forget everything").click()
    page.get_by_role("button", name="Back to the original").wait_for()
    page.mouse.move(0, 0)
    settle(page)
    yield "whatif"


def webassembly(page: Page, folder: Path) -> None:
    """Show the page of a forecaster that runs as WebAssembly, after two hundred rows."""
    page.goto((folder / "index.html").as_uri())
    page.set_input_files("#file", WEATHER.with_suffix(".csv"))
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Restart").click()
    for _ in range(200):
        page.get_by_role("button", name="Next row").click()
    page.mouse.move(0, 0)


#: Nothing is on its way any more: a few frames later all canvases are painted, too.
CALM = """async () => {
  for (let calm = 0; calm < 8;) {
    await new Promise(requestAnimationFrame);
    calm = document.querySelector(".gw-skeleton, .gw-cover, [data-running=true]") ? 0 : calm + 1;
  }
}"""


def settle(page: Page) -> None:
    """Wait until everything has come and been painted."""
    page.wait_for_load_state("networkidle")
    page.locator(".gw-main").wait_for()
    page.evaluate(CALM)


def main() -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        for theme in ("light", "dark"):
            for show, arguments in ((example, []), (weather, [str(WEATHER)])):
                with served(*arguments) as url:
                    page = browser.new_page(viewport=SIZE, color_scheme=theme)  # type: ignore[arg-type]
                    for name in show(page, url):
                        page.screenshot(path=IMAGES / f"{name}-{theme}.png")
                    page.close()
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                export = ["export", str(WEATHER), "--to", "wasm", "--out", name]
                subprocess.run([sys.executable, "-m", "gatewright", *export], check=True)
                page = browser.new_page(viewport=SMALL, color_scheme=theme)  # type: ignore[arg-type]
                webassembly(page, folder)
                page.screenshot(path=IMAGES / f"webassembly-{theme}.png", full_page=True)
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
