"""`make screenshots`: report and dashboard of a planted run as pictures in `docs/screenshots/`, light and dark.

    python -m benchmarks.screenshots [--out DIR] [--run RUN]

Pictures of a planted run (`planted_run`): what they show is known. `--run`: of another one; `docs/quickstart.png` is
the `reward-light.png` of a quickstart.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import planted_run
from benchmarks.dashboard_live import serving
from diagnostics.report.html import write_report

DOCS = Path(__file__).parent.parent / "docs" / "screenshots"
WIDTH, HEIGHT = 1280, 900
COLOURS = 256  # of a picture: a third of the bytes


def main(arguments: list[str] | None = None) -> None:
    """Write them, and say which."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="benchmarks.screenshots", description="Pictures of report and dashboard.")
    parser.add_argument("--out", type=Path, default=DOCS)
    parser.add_argument("--run", type=Path, help="a run (default: a planted one)")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), headless=True)
        runs = Path(folder) / "runs"
        run = asked.run or runs / "planted-001"
        if asked.run is None:
            planted_run.write(run)
            planted_run.write(runs / "planted-002", 80, seed=1)
        report = write_report([run], Path(folder) / "report.html")
        with serving(run if asked.run else runs) as address:
            for dark in (False, True):
                kind = "dark" if dark else "light"
                of_dashboard(browser, address, run.name, dark, asked.out, kind)
                of_report(browser, report.as_uri(), dark, asked.out, kind)
        browser.close()


def of_report(browser: Any, address: str, dark: bool, out: Path, kind: str) -> None:
    """The top of the report, and each of its views."""
    with page_of(browser, address, dark) as page:
        settled(page)
        keep(page.screenshot(), out / f"report-{kind}.png")
        for view in page.locator("main .card:not(.detail)").all():
            name = view.get_attribute("id")
            if name in ("events", "completions", "comparison"):
                continue
            view.scroll_into_view_if_needed()
            page.wait_for_function(
                "id => [...document.querySelectorAll(`#${id} div.plot`)].every(p => p.data)", arg=name
            )
            settled(page)
            place = view.evaluate(
                "e => { const r = e.getBoundingClientRect(); "
                "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height}; }"
            )
            keep(page.screenshot(full_page=True, clip=place), out / f"{name}-{kind}.png")


def of_dashboard(browser: Any, address: str, name: str, dark: bool, out: Path, kind: str) -> None:
    """The run's pictures, and the worst completion of its last step with a token explained."""
    with page_of(browser, f"{address}#run={name}", dark) as page:
        page.wait_for_selector("#summary .answer")
        page.wait_for_selector(".card .plot .plot-container")
        settled(page)
        keep(page.screenshot(), out / f"dashboard-{kind}.png")
        page.locator("#tabs a", has_text="worst").click()
        page.wait_for_selector(".completion.chosen")
        page.locator(".completion.chosen .text").focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.evaluate("scrollTo(0, 0)")
        settled(page)
        keep(page.screenshot(), out / f"rollouts-{kind}.png")


@contextmanager
def page_of(browser: Any, address: str, dark: bool) -> Iterator[Any]:
    """A fresh page."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    try:
        page = context.new_page()
        page.goto(address)
        yield page
    finally:
        context.close()


def settled(page: Any) -> None:
    """Wait until the plots in view are drawn and have stopped moving."""
    page.wait_for_timeout(900)


def keep(png: bytes, path: Path) -> None:
    """Write a picture with few colours, and say so."""
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    octree = Image.Quantize.FASTOCTREE  # thin lines keep their colours; a median cut gives them their neighbours'
    picture = whole.quantize(COLOURS, method=octree, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    print(f"{path.name:36} {path.stat().st_size / 1000:6.0f} kB")


if __name__ == "__main__":
    main()
