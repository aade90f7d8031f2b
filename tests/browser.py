"""A page in a real browser, with everything it asked for and complained of, and its pictures as pixels."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image


class Opened:
    """A page, the addresses it asked for, and what it said on its console."""

    def __init__(self, page: Any):
        self.page, self.asked, self.complaints = page, [], []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(f"{error} {error.stack}"))
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))

    def violations(self, within: str | None = None) -> list[str]:
        """What an accessibility checker (axe-core, WCAG A and AA) finds: rule and the first places."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, context=within, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        return [
            f"{rule['id']}: {[(node['target'], node['failureSummary'][-200:]) for node in rule['nodes'][:3]]}"
            for rule in found.response["violations"]
        ]

    def picture(self, plot: str) -> Picture:
        """A drawn plot as pixels."""
        element = self.page.locator(plot)
        element.scroll_into_view_if_needed()
        self.page.wait_for_function("css => Boolean(document.querySelector(css)?.data)", arg=plot)
        axes = element.evaluate(
            "plot => { const all = plot._fullLayout, x = all.xaxis; return {"
            "x: [x._offset, x._length, ...x.range], "
            "y: all._subplots.yaxis.map(name => all[name.replace('y', 'yaxis')]).map(y => [y._offset, y._length])}; }"
        )
        return Picture(element.screenshot(), axes["x"], axes["y"])


class Picture:
    """Pixels of a plot, addressed by step and by row of the plot (0 is the top one)."""

    def __init__(self, png: bytes, x: list[float], y: list[list[float]]):
        self.pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        self._x, self._y = x, y

    def column(self, step: float, row: int = 0, width: int = 3) -> np.ndarray:
        """(height x width, 3) pixels of a row of the plot around a step."""
        offset, length, low, high = self._x
        middle = round(offset + (step - low) / (high - low) * length)
        top, tall = self._y[row]
        part = self.pixels[round(top) + 1 : round(top + tall) - 1, middle - width // 2 : middle + width // 2 + 1]
        return part.reshape(-1, 3)


def share(pixels: np.ndarray, colour: tuple[int, int, int], within: int = 60) -> float:
    """Share of the pixels that are near a colour."""
    return float((np.abs(pixels - np.array(colour)).max(axis=1) <= within).mean())


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two sets of pixels, 0 to 255."""
    return float(np.abs(one - other).mean())


@contextmanager
def opened(browser: Any, address: str, dark: bool = False, width: int = 1280, height: int = 1000):
    """A fresh page at an address."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    context.set_default_timeout(10_000)
    shown = Opened(context.new_page())
    try:
        shown.page.goto(address)
        yield shown
    finally:
        context.close()
