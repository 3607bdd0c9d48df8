"""What looking costs: a recording over a training forward pass, and the page in a browser.

The page is measured with 10,000 steps of 512 units in a headless Chromium that draws in software, on the cores of
the server; a browser with a graphics card has it easier.
"""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import bars
from benchmarks.bars import Judged
from benchmarks.settings import Part, Settings, cores, counted, torch_threads
from benchmarks.timing import interleaved
from gatewright import LSTM, look
from gatewright.insight.recorder import prepare, record
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.html import export
from gatewright.inspector.server import PageServer

T, D, H = 10_000, 64, 512
#: Frames of one pan.
FRAMES = 180

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

#: Resolves to milliseconds since the navigation began, once the map has been painted.
_PAINTED = """() => new Promise((resolve) => {
  const look = () => {
    const map = document.querySelector("canvas.gw-heat-map");
    const middle = map?.width > 0 && map.getContext("2d").getImageData(map.width / 2, map.height / 2, 1, 1);
    if (middle && middle.data[3]) resolve(performance.now()); else requestAnimationFrame(look);
  };
  look();
})"""

#: Pans over a quarter of the sequence a step a frame; resolves to the milliseconds that each frame took.
_PAN = """(frames) => new Promise((resolve) => {
  const state = document.getElementById("gatewright-page").gatewright;
  const T = state.steps.value, took = [];
  let last = performance.now();
  const step = (now) => {
    took.push(now - last);
    last = now;
    const first = (took.length / frames) * T * 0.7;
    state.range.value = [first, first + T / 4];
    if (took.length <= frames) requestAnimationFrame(step); else resolve(took.slice(1));
  };
  requestAnimationFrame(step);
})"""


def run(settings: Settings) -> Part:
    """Measure and print all of it."""
    steps = T // 10 if settings.quick else T
    torch.manual_seed(0)
    lstm, x = LSTM(D, H), torch.randn(steps, 1, D)
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    print(f"\na recording of T={steps}, B=1, D={D}, H={H} over a training forward pass (milliseconds)")
    for threads in settings.threads:
        found = _cost(settings, lstm, x, threads)
        print(f"{counted(threads):11}{found['look']:9.2f} over{found['forward']:9.2f}  = {found['ratio']:.3f}")
        figures.append({"threads": threads, **found})
        judged.append(Judged(bars.LOOK, threads, found["ratio"]))
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None or not importlib.util.find_spec("playwright"):
        print("the page: not measured, for want of Chromium or Playwright")
        return Part(figures, judged)
    found = _page(lstm, x, browser, 3 if settings.quick else 7)
    print(
        f"the page of it: painted after {found['ready']:.2f} s, {found['fps']:.0f} frames a second while panning "
        f"(worst of ten {found['slow']:.1f} ms), exported {found['megabytes']:.1f} MB in {found['export']:.1f} s"
    )
    figures.append({"threads": cores(), **found})
    judged.append(Judged(bars.PAGE, cores(), found["ready"]))
    return Part(figures, judged)


def _cost(settings: Settings, lstm: LSTM, x: torch.Tensor, threads: int) -> dict[str, float]:
    """Return milliseconds of both, and their ratio."""

    def recorded() -> tuple[Any]:
        return (torch.from_numpy(look(lstm, x).predictions),)

    def trained() -> tuple[Any]:
        return (lstm(x)[0].detach(),)

    with torch_threads(threads):
        timed = interleaved({"forward": trained, "look": recorded}, settings.plan)
    ms = {name: one.seconds * 1e3 for name, one in timed.items()}
    return {**ms, "ratio": ms["look"] / ms["forward"]}


def _page(lstm: LSTM, x: torch.Tensor, browser: str, rounds: int) -> dict[str, float]:
    """Return seconds until the page is painted, frames a second, and size and seconds of an export: medians."""
    from playwright.sync_api import sync_playwright

    model, batch = prepare(lstm, x, title="benchmark")
    recording = record(model, batch)
    catalog = Catalog()
    catalog.add(Entry("only"), lambda: Subject(recording=recording))
    catalog.payload("only")
    ready, frames = [], []
    with sync_playwright() as play, PageServer(catalog, "benchmark") as server:
        chromium = play.chromium.launch(executable_path=browser, args=list(ARGUMENTS))
        for _ in range(rounds):
            page = chromium.new_page(viewport={"width": 1360, "height": 860})
            page.goto(server.url, wait_until="commit")
            ready.append(page.evaluate(_PAINTED) / 1e3)
            page.wait_for_timeout(2000)  # whatever else it asks for has come
            frames += page.evaluate(_PAN, FRAMES)
            page.close()
        chromium.close()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        size = export(Path(folder) / "page.html", catalog, "only")
        took = time.perf_counter() - began
    return {
        "ready": statistics.median(ready),
        "fps": 1e3 / statistics.fmean(frames),
        "slow": statistics.quantiles(frames, n=10)[-1],
        "megabytes": size / 1e6,
        "export": took,
    }
