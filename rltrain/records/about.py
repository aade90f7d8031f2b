"""What a run is, in a few lines: how a notebook shows it. Text out of a run stays text."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rltrain.metrics import METRICS
from rltrain.terminal import number, printable

if TYPE_CHECKING:
    from rltrain.records.read import RunFiles

SHOWN = ("eval/outcome", "reward/outcome", "reward/mean", "entropy/gap", "format/effective", "length/mean")
EVENTS = 3  # the last ones


def markdown(run: RunFiles) -> str:
    """Name, facts, a table of the main curves, the last events."""
    lines = [f"### {_marked(run.name)}", "", *(f"- {name}: {_marked(text)}" for name, text in facts(run).items())]
    if rows := courses(run):
        lines += ["", "| metric | unit | first | last |", "|---|---|---|---|"]
        lines += [f"| `{name}` | {unit} | {first} | {last} |" for name, unit, first, last in rows]
    return "\n".join(lines) + "\n"


def page(run: RunFiles) -> str:
    """The same as HTML."""
    told = "".join(f"<li>{name}: {_escaped(text)}</li>" for name, text in facts(run).items())
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td>{unit}</td><td>{first}</td><td>{last}</td></tr>"
        for name, unit, first, last in courses(run)
    )
    head = "<tr><th>metric</th><th>unit</th><th>first</th><th>last</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>" if rows else ""
    return f"<h3>{_escaped(run.name)}</h3><ul>{told}</ul>{table}"


def facts(run: RunFiles) -> dict[str, str]:
    """What to know first, by name; says nothing that the files do not hold."""
    steps, planned = run.metrics["step"], run.planned_steps
    at = f"{int(steps.max())}" if len(steps) else "none yet"
    found = {"where": str(run.path), "steps": at + (f" of {planned}" if planned else "")}
    config = run.config
    if path := _at(config, "model", "path"):
        found["model"] = str(path)
    for name in ("tasks", "rewards"):
        specs = config.get(name)
        used = [str(spec["use"]) for spec in specs or () if isinstance(spec, Mapping) and "use" in spec]
        if used:
            found[name] = ", ".join(used)
    if run.events:
        found["last events"] = "; ".join(f"step {event.step} {event.name}" for event in run.events[-EVENTS:])
    if run.notes:
        found["missing or not readable"] = "; ".join(run.notes)
    return found


def courses(run: RunFiles) -> list[tuple[str, str, str, str]]:
    """(metric, unit, first value, last value) of the main curves."""
    rows = []
    for name in SHOWN:
        values = run.metrics[name].dropna() if name in run.metrics else ()
        if len(values):
            first, last = number(float(values.iloc[0])), number(float(values.iloc[-1]))
            rows.append((name, METRICS[name].unit, first, last))
    return rows


def _at(config: Mapping[str, Any], section: str, key: str) -> Any:
    found = config.get(section)
    return found.get(key) if isinstance(found, Mapping) else None


def _escaped(text: str) -> str:
    return html.escape(printable(text, 500))


def _marked(text: str) -> str:
    """Text that Markdown takes for text."""
    safe = html.escape(printable(text, 500), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!|~" else letter for letter in safe)
