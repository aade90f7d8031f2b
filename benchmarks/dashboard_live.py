"""How soon the dashboard shows what a run writes, and how soon it is there on a long one.

    python -m benchmarks.dashboard_live [--long RUN] [--steps 20]

In a real browser on this machine. *New step*: from the return of the run's own write to the step's number on the page,
and to the last point of the reward's picture. *First paint*: from the start of navigation to the browser's first
contentful paint, to the run's name and step, and to the first picture drawn; then from the click on *worst* to that
completion. `--long`: the run to open (default: a planted one of 200 steps;
`benchmarks.report_scale --keep` leaves one of 10,000). Targets: 3 s, 2 s. Writes
benchmarks/results/dashboard_live.json.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import planted_run
from benchmarks.planted_curves import Curves
from benchmarks.tell import keep

TARGETS = {"step_s": 3.0, "picture_s": 3.0, "paint_s": 2.0}
DRAWN = "() => Boolean(document.querySelector('.card .plot .plot-container'))"


def main(arguments: list[str] | None = None) -> None:
    """Measure, and keep what was found."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="benchmarks.dashboard_live", description="How live the dashboard is.")
    parser.add_argument("--long", type=Path, help="a run to open (default: one of 200 steps)")
    parser.add_argument("--steps", type=int, default=20, help="steps written while someone looks")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), headless=True)
        long = asked.long or Path(folder) / "runs" / "long"
        if asked.long is None:
            planted_run.write(long, 200)
        found = new_steps(browser, Path(folder) / "live", asked.steps) | first_paint(browser, long)
        opened = sum(1 for _ in (long / "rollouts").glob("*.parquet"))
        browser.close()
    met = {name: found[name] <= target for name, target in TARGETS.items()}
    told = ", ".join(f"{name} {found[name]:.2f} s" for name in (*TARGETS, "named_s", "first_picture_s", "worst_s"))
    Console().print(f"{told} (median of steps {found['step_median_s']:.2f} s)")
    keep("dashboard_live", found | {"steps_opened": opened, "targets": TARGETS, "met": met})


def new_steps(browser: Any, folder: Path, steps: int) -> dict[str, float]:
    """Seconds from a written step to its number (`step_s`) and to its point in a picture (`picture_s`), the longest."""
    curves = Curves(steps + 20)
    run = planted_run.start(folder / "run", curves)
    lines, numbers, points = curves.lines(), [], []
    for step, metrics in lines:
        run.log_metrics(step, metrics)
        if step == 10:
            break
    with serving(folder) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function(DRAWN)
        for step, metrics in lines:
            if step > 10 + steps:
                break
            run.write_rollouts(planted_run.record(step, curves, 4, 8))
            run.flush()
            run.log_metrics(step, metrics)
            begun = time.perf_counter()
            said = f"() => document.getElementById('step').textContent.startsWith('step {step} of')"
            page.wait_for_function(said, polling=20)
            numbers.append(time.perf_counter() - begun)
            reaches = f"p => p.calcdata?.some(c => c.at(-1)?.x === {step})"
            page.wait_for_function(f"() => [...document.querySelectorAll('div.plot')].some({reaches})", polling=20)
            points.append(time.perf_counter() - begun)
            time.sleep(0.37)  # at another moment of the server's look each time
        page.close()
    run.close()
    return {"step_s": max(numbers), "step_median_s": statistics.median(numbers), "picture_s": max(points)}


def first_paint(browser: Any, path: Path) -> dict[str, float]:
    """Seconds to the first paint and to the first picture, the server having read nothing of the run before."""
    with serving(path) as address:
        page = browser.new_page()
        begun = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_function("() => document.querySelector('#head .state')", polling=20)
        named = time.perf_counter() - begun
        page.wait_for_function(DRAWN, timeout=120_000, polling=20)
        drawn = time.perf_counter() - begun
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
        begun = time.perf_counter()
        page.locator("#tabs a", has_text="worst").click()
        page.wait_for_selector(".completion.chosen", timeout=120_000)
        worst = time.perf_counter() - begun
        page.close()
    return {"paint_s": paint, "named_s": named, "first_picture_s": drawn, "worst_s": worst}


@contextmanager
def serving(runs: Path) -> Iterator[str]:
    """The dashboard as a process of its own; its address."""
    command = [sys.executable, "-m", "rltrain", "dashboard", str(runs), "--port", "0"]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert served.stdout is not None
    try:
        yield re.search(r"http://\S+", served.stdout.readline())[0]  # type: ignore[index]
    finally:
        served.send_signal(signal.SIGINT)
        served.wait(timeout=20)


if __name__ == "__main__":
    main()
