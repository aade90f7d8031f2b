"""The viewer's JavaScript and CSS, each as one text, for a page that holds them or a server that serves them."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).with_name("static")
SCRIPTS = ("text.js", "explain.js", "diff.js", "completion.js", "viewer.js")  # in the order they build on each other


def script() -> str:
    """All of the viewer's JavaScript; it makes one global name, `Rollouts`."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)


def style() -> str:
    """The viewer's CSS. Colours of text and cards are the page's: `--back --card --text --soft --line --link`."""
    return (STATIC / "viewer.css").read_text(encoding="utf-8")
