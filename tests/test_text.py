"""Text of a run among the report's words: no mark in it turns or hides them, in HTML, in figures or in a terminal."""

import io
import json
import re

from rich.console import Console
from synthetic import run

from diagnostics.report.html import write_report
from diagnostics.report.text import END, ISOLATE, as_html, shown, visible
from rltrain.records import load_run
from rltrain.status import render
from rltrain.types import Event

TURNED = "\u202e drawer \u2067\u200f"  # an override and an isolate that nobody ends
HEBREW = "\u05d0\u05d1\u05d2"
STEERING = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066\u2067\x00-\x08\x0b-\x1f\x7f-\x9f]")


def test_hidden_letters_are_spelt_out():
    assert visible("a\x1b[2J\u202eb\nc\x7f\ue000") == "a\u241b[2JU+202Eb\u21b5c\u2421U+E000"
    assert visible("a\n\tb\x00", lines=True) == "a\n\tb\u2400" and visible("abcdef", 4) == "abc\u2026"
    assert visible(f"{ISOLATE}x{END}", keep=ISOLATE + END) == f"{ISOLATE}x{END}"


def test_text_from_right_to_left_is_kept_apart():
    assert shown(HEBREW) == f"{ISOLATE}{HEBREW}{END}" and shown("na\u00efve \u65e5\u672c") == "na\u00efve \u65e5\u672c"
    assert as_html(f"{ISOLATE}{HEBREW} <b>") == f"{ISOLATE}U+2068{HEBREW} &lt;b&gt;{END}"


def test_no_mark_of_a_run_reaches_the_page_the_figures_or_the_terminal(tmp_path):
    made = run(tmp_path / f"a{TURNED}", config=f"name: '{TURNED}'\ndiagnostics: [{{use: '{TURNED}'}}]\n")
    evidence = {"engine": TURNED, "cause": TURNED}
    made.log_event(Event(6, "engine_restarted", "warning", evidence, f"look at {TURNED}"))
    made.log_event(Event(7, f"odd {TURNED}", "error", {TURNED: TURNED}, TURNED))
    made.log_metrics(13, {f"reward/outcome_all@{TURNED}": 0.5, f"format/share@{TURNED}": 1.0, "eval/x@b": 1})
    other = run(tmp_path / HEBREW)
    paths = [made.path, other.path]
    text = write_report(paths, tmp_path / "r.html").read_text()
    body = text[: text.index('<script type="application/json"')]
    assert not STEERING.search(body), ascii(STEERING.search(body))
    assert "U+202E drawer U+2067U+200F" in body and f"{ISOLATE}{HEBREW}{END}" in body
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.S)[1])
    for figure in figures:
        words = [one.get("name", "") for one in figure["data"]] + [figure["layout"]["title"]["text"]]
        words += [
            note.get(key, "") for note in figure["layout"].get("annotations", ()) for key in ("text", "hovertext")
        ]
        assert not STEERING.search(" ".join(words)), words
        assert all(HEBREW not in each or f"{ISOLATE}{HEBREW}{END}" in each for each in words), words
    screen = Console(width=120, file=io.StringIO())
    screen.print(render(load_run(made.path)))
    assert not STEERING.search(screen.file.getvalue())
