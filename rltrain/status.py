"""`rltrain status`: one screen about a run, also while it is being written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rltrain.metrics import METRICS
from rltrain.terminal import duration, number, printable, sparkline, stage_seconds
from rltrain.types import Event

if TYPE_CHECKING:
    from rltrain.records import RunFiles

SHOWN = (
    "reward/mean",
    "reward/outcome",
    "eval/outcome",
    "entropy/mean",
    "entropy/gap",
    "length/mean",
    "loss/grad_norm",
    "drift/kl_sampler_trainer",
    "throughput/tokens_per_s",
)
EVENTS = 5
SEVERITY = {"info": "dim", "warning": "yellow", "error": "bold red"}


def render(run: RunFiles) -> RenderableType:
    """The screen: where the run stands, its main curves, where the time goes, its last events."""
    parts: list[RenderableType] = [_head(run), *(Text(printable(note), "yellow") for note in run.notes)]
    if len(run.metrics):
        parts += [_curves(run), _times(run)]
    else:
        parts.append(Text("no step has been written yet", "dim"))
    return Group(*parts, *(_event(event) for event in run.events[-EVENTS:]))


def _head(run: RunFiles) -> Text:
    steps = run.metrics["step"]
    total = f" of {run.planned_steps}" if run.planned_steps else ""
    at = f"step {int(steps.max()) if len(steps) else 0}{total}"
    path = run.path / "metrics.jsonl"
    age = f", written {duration(time.time() - path.stat().st_mtime)} ago" if path.exists() else ""
    return Text.assemble((printable(run.name), "bold"), f"  {at}{age}  ", (printable(run.path), "dim"))


def _curves(run: RunFiles) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("metric", "first", "last", "unit", "course"):
        table.add_column(head, justify="right" if head in ("first", "last") else "left")
    for name in SHOWN:
        values = run.metrics[name].dropna() if name in run.metrics else []
        if len(values):
            first, last = number(float(values.iloc[0])), number(float(values.iloc[-1]))
            table.add_row(name, first, last, METRICS[name].unit, Text(sparkline(values, 40), "cyan"))
    return table


def _times(run: RunFiles) -> Text:
    rows = run.metrics.tail(20).to_dict("records")
    seconds = stage_seconds(rows)
    whole = sum(seconds.values())
    told = ", ".join(f"{stage} {spent / whole:.0%}" for stage, spent in seconds.items())
    return Text(f"time: {told}" if told else "", "dim")


def _event(event: Event) -> Text:
    advice = f": {printable(event.advice, 200)}" if event.advice else ""
    return Text(f"step {event.step}  {printable(event.name, 60)}{advice}", SEVERITY[event.severity])
