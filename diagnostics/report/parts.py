"""The parts of the page that are words and tables. Whatever a run holds goes through `as_html`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from diagnostics.report import compare
from diagnostics.report.cards import Card
from diagnostics.report.summary import evaluations, sentences
from diagnostics.report.text import as_html, shown, visible
from diagnostics.report.verdicts import verdict
from rltrain.metrics.metric import Metric
from rltrain.records import RunFiles, jsonl
from rltrain.types import Event

MOST_EVENTS = 400  # rows of the table of events, the gravest first


def summary(run: RunFiles, several: bool) -> str:
    """What phase, what is wrong, what to do next, what is missing from the files, and what happened."""
    told = verdict(run)
    lead = f"<h3>{as_html(run.name)}</h3>" if several else ""
    level = "h4" if several else "h3"

    def part(kind: str, heading: str, words: Iterable[str]) -> str:
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in words)
        return f'<div class="answer {kind}"><{level}>{heading}</{level}><ul>{items}</ul></div>'

    answers = (
        part("phase", "What phase", [told["phase"]]),
        part("wrong", "What is wrong", told["wrong"]),
        part("todo", "What to do next", told["todo"]),
        part("absent", "What is missing", told["missing"]) if told["missing"] else "",
        part("course", "What happened", sentences(run)),
    )
    return f"<section class=summary>{lead}<div class=answers>{''.join(answers)}</div></section>"


def card(given: Card, first: int) -> str:
    """A card; its figures are numbered from `first` on, as the page finds them."""
    plots = "".join(_plot(figure, number) for number, figure in enumerate(given.figures, first))
    lies = f"<p class=lies><strong>When it lies.</strong> {escape(given.lies)}</p>" if given.lies else ""
    missing = "".join(f"<li>{escape(words)}</li>" for words in given.missing)
    missing = (
        f"<details class=missing><summary>Not in the files</summary><ul>{missing}</ul></details>" if missing else ""
    )
    terms = "".join(_term(metric, given.samples.get(metric.stem)) for metric in given.terms)
    terms = f"<details class=terms><summary>What the curves are</summary><dl>{terms}</dl></details>" if terms else ""
    kind = "card detail" if given.detail else "card"
    return (
        f'<section class="{kind}" id="{given.anchor}" aria-labelledby="{given.anchor}-title">'
        f'<h2 id="{given.anchor}-title">{escape(given.title)}</h2><p>{escape(given.how_to_read)}</p>{lies}'
        f"<div class=plots>{plots}</div>{missing}{terms}</section>"
    )


def _plot(figure: dict, number: int) -> str:
    layout = figure["layout"]
    title = layout["title"]["text"]  # is HTML already, as plotly wants it
    read = escape(layout["meta"]["read"])
    height = int(layout["height"]) - layout["meta"]["head"]
    return (
        f"<figure><figcaption><h3>{title}</h3><p>{read}</p></figcaption>"
        f'<div class=plot data-figure="{number}" style="height:{height}px" role=img tabindex=0 '
        f'aria-label="{title}. {read}"></div></figure>'
    )


def _term(metric: Metric, sample: str | None) -> str:
    rests = f" <em>Rests on:</em> {escape(sample)}." if sample else ""
    reading = " ".join(f"{escape(words)}" for words in (metric.reading,) if words)
    lies = f" <em>Lies:</em> {escape(metric.lies)}" if metric.lies else ""
    return (
        f"<dt><code>{escape(metric.stem)}</code> <small>{escape(metric.unit)}</small></dt>"
        f"<dd>{escape(metric.meaning)} {reading}{lies}{rests} "
        f"<small>= {escape(metric.formula)}; {escape(metric.source)}</small></dd>"
    )


def table(label: str, heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table that scrolls inside the page, reachable by keyboard. `rows` are HTML."""
    cells = "".join(f"<th scope=col>{head}</th>" for head in heads)
    return (
        f'<div class=scroll tabindex=0 role=region aria-label="{escape(label)}"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def evaluation(run: RunFiles, several: bool) -> str:
    """First and last evaluation of a run as a table."""
    changes = evaluations(run.metrics)
    if not changes:
        return ""
    rows = (
        f"<tr><td><code>{as_html(c.name, 100)}</code> <small>{escape(c.unit)}</small></td>"
        f"<td>{c.first:.3g} <small>step {c.first_step}</small></td>"
        + (
            f"<td>{c.last:.3g} <small>step {c.last_step}</small></td><td>{c.last - c.first:+.3g}</td></tr>"
            if c.last_step > c.first_step
            else "<td>-</td><td>-</td></tr>"
        )
        for c in changes
    )
    heads = ("held-out", "first", "last", "change")
    return _heading(run, several) + table(f"Evaluation of {shown(run.name)}", heads, rows)


def _heading(run: RunFiles, several: bool) -> str:
    return f"<h3>{as_html(run.name)}</h3>" if several else ""


def events(run: RunFiles, several: bool) -> str:
    """All events, or the gravest of very many, in the order of the steps."""
    if not run.events:
        return f"{_heading(run, several)}<p>None.</p>"
    order = ("error", "warning", "info")
    gravest = sorted(run.events, key=lambda event: order.index(event.severity))[:MOST_EVENTS]
    left = len(run.events) - len(gravest)
    note = f"<p class=note>{left:,} more of lesser weight are in events.jsonl.</p>" if left else ""
    rows = map(_event, sorted(gravest, key=lambda event: event.step))
    heads = ("step", "severity", "event", "evidence", "advice")
    return _heading(run, several) + note + table(f"Events of {shown(run.name)}", heads, rows)


def _event(event: Event) -> str:
    rounded = json.loads(json.dumps(event.evidence), parse_float=lambda digits: float(f"{float(digits):.4g}"))
    evidence = json.dumps(rounded, ensure_ascii=False)
    cells = (as_html(event.name, 200), f"<code>{as_html(evidence, 600)}</code>", as_html(event.advice, 600))
    told = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr class={event.severity}><td>{event.step}</td><td>{event.severity}</td>{told}</tr>"


def comparison(runs: Sequence[RunFiles]) -> str:
    """Means of the second half with intervals, and what the configs differ in; nothing for one run."""
    if len(runs) < 2:
        return ""
    rows = [
        f"<tr><td>{as_html(run.name)}</td><td><code>{c.name}</code> <small>{escape(c.unit)}</small></td>"
        f"<td>{c.first:.4g}</td><td>{c.other:.4g}</td><td>{c.difference:+.3g} <small>[{c.low:+.3g}, {c.high:+.3g}]"
        f"</small></td><td>{'told from 0' if c.low > 0 or c.high < 0 else 'not told from 0'}</td></tr>"
        for run in runs[1:]
        for c in compare.changes(runs[0], run)
    ]
    heads = ("run", "metric", as_html(runs[0].name), "this run", "difference [95%]", "verdict")
    means = (
        "<p>Means over the second half of the steps both have; the interval is a moving-block bootstrap over steps, "
        f"which does not know how much two seeds of one config would differ.</p>{table('Differences', heads, rows)}"
        if rows
        else "<p>The runs have too few steps in common for differences with intervals.</p>"
    )
    changed = compare.config_changes(runs)
    lines = (
        f"<tr><td><code>{as_html(key)}</code></td>{''.join(f'<td><code>{as_html(v)}</code></td>' for v in values)}</tr>"
        for key, values in changed
    )
    names = ("key", *(as_html(run.name) for run in runs))
    configs = table("Configs", names, lines) if changed else "<p>The configs do not differ.</p>"
    return (
        "<section class=card id=comparison><h2>What differs</h2>"
        f"<h3>Means</h3>{means}<h3>Configs</h3>{configs}</section>"
    )


def config(run: RunFiles) -> str:
    """Config and manifest, folded."""
    folded = (("Config", _text(run, "config.yaml")), ("Manifest", _text(run, "manifest.json")))
    return "".join(
        f"<details><summary>{what} of {as_html(run.name)}</summary>"
        f"<pre tabindex=0>{escape(visible(text, lines=True))}</pre></details>"
        for what, text in folded
    )


def _text(run: RunFiles, name: str) -> str:
    """A file as it is, also a damaged one; in its place why there is nothing to show."""
    try:
        return (run.path / name).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read ({jsonl.cause(error)})"
