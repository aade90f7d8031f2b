"""`report.html`: one self-contained file about one run, or about several side by side."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from diagnostics.report.cards import Card, cards, run_panels
from diagnostics.report.panels import Resolve, installed
from diagnostics.report.summary import evaluations, sentences
from rltrain.records import RunFiles, jsonl, load_run
from rltrain.types import Panel

PAGE = Path(__file__).with_name("page.html")


def write_report(
    runs: Sequence[Path], out: Path, panels: Sequence[Panel] | None = None, *, resolve: Resolve = installed
) -> Path:
    """Write the report of some runs to `out` and return it.

    `panels` are drawn first; by default those of the diagnostics and curricula in the runs' configs, which `resolve`
    finds. Every other declared metric follows by area. ValueError if a path holds no run or `out` is no place for a
    file, OSError if it cannot be written.
    """
    if not runs:
        raise ValueError("report: no run given; expected at least one run directory")
    files = [load_run(path) for path in runs]
    out = Path(out)
    if out.is_dir():
        raise ValueError(f"report {str(out)!r}: a directory; expected a file, for example {out / 'report.html'}")
    if not out.parent.is_dir():
        raise ValueError(f"report {str(out)!r}: no directory {str(out.parent)!r}; make it, or give another file")
    notes = [f"{run.name}: {note}" for run in files for note in run.notes]
    if panels is None:
        panels, missing = run_panels(files, resolve)
        notes += missing
    jsonl.replace(out, jsonl.clean(_page(files, cards(files, panels=panels), notes)))
    return out


def _page(runs: Sequence[RunFiles], shown: Sequence[Card], notes: Sequence[str]) -> str:
    from plotly.offline import get_plotlyjs

    drawings: list[Any] = []
    panels = [_card(card, drawings) for card in shown if card.figures]
    title = " and ".join(run.name for run in runs)
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        summary="".join(_summary(run, len(runs) > 1) for run in runs),
        notes="".join(f"<p class=note>{html.escape(note)}</p>" for note in notes),
        evaluation="".join(_evaluation(run, len(runs) > 1) for run in runs),
        links=" ".join(f'<a href="#{card.anchor}">{html.escape(card.title)}</a>' for card in shown if card.figures),
        panels="".join(panels),
        events="".join(_events(run, len(runs) > 1) for run in runs),
        configs="".join(_config(run) for run in runs),
        figures=_inline(drawings),
        plotly=get_plotlyjs(),
    )


def _card(card: Card, drawings: list[Any]) -> str:
    """The HTML of a card; its figures go to `drawings`, where the page finds them by number."""
    plots = "".join(
        f'<div class=plot data-figure="{number}"></div>'
        for number in range(len(drawings), len(drawings) + len(card.figures))
    )
    drawings += card.figures
    terms = "".join(
        f"<dt><code>{html.escape(m.stem)}</code> <small>{html.escape(m.unit)}</small></dt>"
        f"<dd>{html.escape(m.meaning)} <small>= {html.escape(m.formula)}; {html.escape(m.source)}</small></dd>"
        for m in card.terms
    )
    return (
        f'<section class=panel id="{card.anchor}"><h2>{html.escape(card.title)}</h2>'
        f"<p>{html.escape(card.how_to_read)}</p><div class=plots>{plots}</div><dl>{terms}</dl></section>"
    )


def _heading(run: RunFiles, several: bool) -> str:
    return f"<h3>{html.escape(run.name)}</h3>" if several else ""


def _summary(run: RunFiles, several: bool) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences(run))
    return f"{_heading(run, several)}<ul>{items}</ul>"


def _evaluation(run: RunFiles, several: bool) -> str:
    """First and last evaluation of a run as a table."""
    changes = evaluations(run.metrics)
    if not changes:
        return ""
    rows = "".join(
        f"<tr><td><code>{html.escape(c.name)}</code> <small>{html.escape(c.unit)}</small></td>"
        f"<td>{c.first:.3g} <small>step {c.first_step}</small></td>"
        + (
            f"<td>{c.last:.3g} <small>step {c.last_step}</small></td><td>{c.last - c.first:+.3g}</td></tr>"
            if c.last_step > c.first_step
            else "<td>-</td><td>-</td></tr>"
        )
        for c in changes
    )
    head = "<tr><th>held-out</th><th>first</th><th>last</th><th>change</th></tr>"
    return f"{_heading(run, several)}<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _events(run: RunFiles, several: bool) -> str:
    if not run.events:
        return f"{_heading(run, several)}<p>None.</p>"
    rows = "".join(
        f"<tr class={event.severity}><td>{event.step}</td><td>{event.severity}</td><td>{html.escape(event.name)}</td>"
        f"<td><code>{html.escape(json.dumps(event.evidence, ensure_ascii=False))}</code></td>"
        f"<td>{html.escape(event.advice)}</td></tr>"
        for event in run.events
    )
    head = "<tr><th>step</th><th>severity</th><th>event</th><th>evidence</th><th>advice</th></tr>"
    return f"{_heading(run, several)}<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _config(run: RunFiles) -> str:
    path = run.path / "config.yaml"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else "missing"
    return (
        f"<details><summary>Config of {html.escape(run.name)}</summary><pre>{html.escape(text)}</pre></details>"
        f"<details><summary>Manifest of {html.escape(run.name)}</summary>"
        f"<pre>{html.escape(json.dumps(run.manifest, indent=2, ensure_ascii=False))}</pre></details>"
    )


def _inline(value: Any) -> str:
    """JSON inside a script element: no `<` that could end it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
