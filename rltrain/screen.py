"""One screen about a run, the same for the live console and `rltrain status`, laid out for the terminal at hand."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from rltrain.metrics import METRICS
from rltrain.records import phases
from rltrain.records.pulse import Pulse
from rltrain.terminal import (
    BLOCKS,
    duration,
    engine_seconds,
    number,
    printable,
    shares,
    short,
    sparkline,
    stage_seconds,
)
from rltrain.types import Event

SHOWN = (
    *("reward/mean", "reward/outcome", "eval/outcome", "entropy/mean", "entropy/gap", "format/effective"),
    *("length/mean", "loss/grad_norm", "drift/kl_sampler_trainer", "throughput/tokens_per_s"),
)
"""The curves, most important first: a low terminal leaves out the last ones."""
PHASE = phases.CURVES
RECENT = 20  # steps that the time left, the bar and the engines look back on
STALE_S, STALE_STEPS = 60.0, 10  # a run without a word for both of these is thought to have ended
SEVERITY = {"info": "dim", "warning": "yellow", "error": "bold red"}
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta", "grey50")
ENGINE_COLOURS = {"generating": "green", "loading": "yellow", "idle": "grey50", "starting": "red"}
SOLID, PATTERNS = "\u2588", "\u2588\u2593\u2592\u2591"  # with colours, and where there are none
ASCII_RAMP, ASCII_PATTERNS = ".:-=+*#@", "#=+-"
LOW = 12  # lines; a terminal with fewer has no room for where the time goes
LEAST_EVENTS, LEAST_ENGINES = 3, 2  # lines they have before the curves get theirs
MOST_EVENTS, MOST_ENGINES = 5, 8


@dataclass(frozen=True)
class View:
    """What there is to show of a run, wherever it was found. Text in it may be anything."""

    name: str
    header: str = ""
    total: int = 0  # optimizer steps of the whole run; 0: unknown
    steps: Sequence[int] = ()
    curves: Mapping[str, Sequence[float | None]] = field(default_factory=dict)  # of SHOWN and PHASE, one value a step
    recent: Sequence[Mapping[str, float]] = ()  # all metrics of the last steps
    verdict: Mapping[str, Any] = field(default_factory=dict)  # `phase` of diagnosis.json, which looks back
    events: Sequence[Event] = ()
    notes: Sequence[str] = ()
    stages: Sequence[tuple[str, int, int, float]] = ()  # name, done, total, seconds: what goes on outside the steps
    silent_s: float | None = None  # since something was written; None: it is being watched from inside
    pulse: Pulse | None = None  # of its process; None: it says nothing of itself

    @property
    def step(self) -> int:
        """The last step."""
        return self.steps[-1] if self.steps else 0

    @property
    def left_s(self) -> float | None:
        """Seconds until the last step, from the recent steps; None before the first."""
        known = [row["time/step_s"] for row in self.recent if (row.get("time/step_s") or 0) > 0]
        return sum(known) / len(known) * max(0, self.total - self.step) if known and self.total else None


class Screen:
    """A view as rich draws it: as wide and at most as high as the terminal; elsewhere as high as it likes."""

    def __init__(self, view: View, *, events: bool = True):
        self._view, self._events = view, events

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        view, pen = self._view, _Pen(console, options)
        top = [_head(view), _progress(view, pen), *phase_lines(view), *(_note(text) for text in view.notes)]
        times = [] if console.is_terminal and options.size.height < LOW else _times(view, pen)
        low = [*times, *(_stage(*state) for state in view.stages)]
        names = [name for name in SHOWN if any(map(_known, view.curves.get(name, ())))]
        engines = engine_seconds(view.recent)
        told = list(view.events) if self._events else []
        wanted = len(names), min(len(engines), MOST_ENGINES), min(len(told), MOST_EVENTS)
        used = 1 + sum(_height(part, pen.width) for part in (*top, *low)) + bool(names)  # 1: for the prompt
        room = options.size.height - used if console.is_terminal else 10 * sum(wanted)
        curves, lines, events = _rooms(room, *wanted)
        yield from top
        if not view.steps:
            yield Text("no step has been written yet", "dim")
        if curves:
            yield _curves(view, names[:curves], pen)
        yield from low
        yield from _engines(view, engines, lines, pen)
        yield from (_event(event) for event in told[len(told) - events :])


class _Pen:
    """What the terminal can show: its width, colours or patterns, blocks or plain characters."""

    def __init__(self, console: Console, options: ConsoleOptions):
        self.width, self.plain = options.max_width, options.ascii_only
        self.coloured = console.color_system is not None and not console.no_color
        self.ramp = ASCII_RAMP if self.plain else BLOCKS

    def bar(self, cells: Mapping[str, int], colours: Mapping[str, str]) -> Text:
        """Parts of a bar, one after another."""
        return Text.assemble(*((self.mark(name, colours) * count, colours[name]) for name, count in cells.items()))

    def mark(self, name: str, colours: Mapping[str, str]) -> str:
        """What stands for one of the parts."""
        if self.coloured and not self.plain:
            return SOLID
        patterns = ASCII_PATTERNS if self.plain else PATTERNS
        return patterns[list(colours).index(name) % len(patterns)]


def _rooms(room: int, curves: int, engines: int, events: int) -> tuple[int, int, int]:
    """Lines for each, of those they could use: events and engines have a few first, then the curves, then the rest."""
    given = {"events": min(events, LEAST_EVENTS, room // 3), "engines": min(engines, LEAST_ENGINES, room // 3)}
    given = {name: max(0, lines) for name, lines in given.items()}
    given["curves"] = max(1, min(curves, room - sum(given.values()))) if curves else 0
    for name, wanted in (("engines", engines), ("events", events)):
        given[name] += max(0, min(wanted - given[name], room - sum(given.values())))
    return given["curves"], given["engines"], given["events"]


def line(*parts: str | tuple[str, str]) -> Text:
    """One line, cut where the terminal ends."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _height(text: Text, width: int) -> int:
    """Lines it takes."""
    return 1 if text.no_wrap else max(1, math.ceil(text.cell_len / max(1, width)))


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _head(view: View) -> Text:
    return line((printable(view.name), "bold"), "  ", (printable(view.header), "dim"))


def _progress(view: View, pen: _Pen) -> Text:
    """Where it stands, and how long it will take; said in words where it has ended or seems to have."""
    at = f"step {view.step}" + (f"/{view.total}" if view.total else "")
    done = bool(view.total) and view.step >= view.total
    said = "done" if done else f"{duration(view.left_s)} left" if view.left_s is not None else ""
    style = ""
    if view.silent_s is not None:
        quiet, style = ("", "") if done else _quiet(view)
        said = quiet or ", ".join(filter(None, [said, f"written {duration(view.silent_s)} ago"]))
    width = max(0, min(40, pen.width - len(at) - len(said) - 3)) if view.total else 0
    filled = min(width, round(width * view.step / max(1, view.total)))
    full, rest = ("#", "-") if pen.plain else ("\u2501", "\u2501" if pen.coloured else "\u2500")
    return line(f"{at} ", (full * filled, "green"), (rest * (width - filled), "grey30"), "  ", (said, style))


def _quiet(view: View) -> tuple[str, str]:
    """What there is to say of a run that writes nothing, and its style; nothing where it is as usual."""
    assert view.silent_s is not None
    silent = duration(view.silent_s)
    if view.pulse in ("ended", "lost"):
        return f"{'it has ended' if view.pulse == 'ended' else 'its process is gone'}, written {silent} ago", "yellow"
    usual = [row["time/step_s"] for row in view.recent if _known(row.get("time/step_s"))]
    if view.silent_s <= max(STALE_S, STALE_STEPS * max(usual, default=0.0)):
        return "", ""
    if view.pulse is None:
        return f"nothing written for {silent}: it has ended, or it hangs", "yellow"
    return f"nothing written for {silent}, its process is at work", "yellow" if usual else ""


def phase_lines(view: View) -> list[Text]:
    """The phase and since when, as the report says it; nothing where it was not judged."""
    words = phases.told(phases.judged(view.steps, view.curves, view.verdict))
    state, _, rest = words.partition(" ")
    return [Text.assemble("phase ", (state, "bold"), f" {rest}")] if words else []


def _curves(view: View, names: Sequence[str], pen: _Pen) -> Table:
    """One row a curve: first and last value, unit, its course."""
    wide = pen.width >= 60
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for head in ("metric", "first", "last", "unit") if wide else ("metric", "last"):
        table.add_column(head, justify="right" if head in ("first", "last") else "left", no_wrap=True)
    table.add_column("course", ratio=1)
    for name in names:
        values = [value for value in view.curves[name] if _known(value)]
        first, last = number(values[0]), number(values[-1])
        cells = (name, first, last, METRICS[name].unit) if wide else (name, last)
        table.add_row(*cells, _Course(view.curves[name], pen.ramp))
    return table


class _Course:
    """A curve as wide as its column."""

    def __init__(self, values: Sequence[float | None], ramp: str):
        self._values, self._ramp = values, ramp

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(sparkline(self._values, options.max_width, self._ramp), "cyan")


def _times(view: View, pen: _Pen) -> list[Text]:
    """Where the time of the recent steps went: a bar, and what its parts are."""
    seconds = stage_seconds(view.recent)
    if not seconds:
        return []
    colours = dict(zip(seconds, itertools.cycle(COLOURS), strict=False))
    steps = len(view.recent)
    told = {name: f"{name} {short(spent / steps)}  " for name, spent in seconds.items()}
    legend = Text.assemble(*((f"{pen.mark(name, colours)} {words}", colours[name]) for name, words in told.items()))
    return [pen.bar(shares(seconds, min(pen.width, 60)), colours), legend]


def _engines(view: View, engines: Mapping[str, Mapping[str, float]], lines: int, pen: _Pen) -> list[Text]:
    """What each engine did in the recent steps, as many as there is room for; the last line counts the others."""
    if not lines:
        return []
    restarts = Counter(str(event.evidence.get("engine")) for event in view.events if event.name == "engine_restarted")
    names = list(engines) if len(engines) <= lines else list(engines)[: lines - 1]
    told = [_engine(name, engines[name], restarts[name], pen) for name in names]
    if rest := list(engines)[len(names) :]:
        whole = {doing: sum(engines[name].get(doing, 0.0) for name in rest) for doing in ENGINE_COLOURS}
        told.append(_engine(f"{len(rest)} more", whole, sum(restarts[name] for name in rest), pen))
    return told


def _engine(name: str, spent: Mapping[str, float], restarts: int, pen: _Pen) -> Text:
    whole = sum(spent.get(doing, 0.0) for doing in ENGINE_COLOURS) or 1.0
    known = {doing: spent[doing] for doing in ENGINE_COLOURS if spent.get(doing, 0.0) >= 0.005 * whole}
    parts: list[str | tuple[str, str]] = [f"{printable(name, 16):10}"]
    for doing, seconds in known.items():
        parts.append((f" {pen.mark(doing, ENGINE_COLOURS)} {doing} {seconds / whole:.0%} ", ENGINE_COLOURS[doing]))
    if spent.get("tokens_per_s"):
        parts.append(f" {number(spent['tokens_per_s'])} tokens/s")
    if restarts:
        parts.append((f"  {restarts} restart{'s' * (restarts != 1)}", "yellow"))
    return line(*parts)


def _stage(name: str, done: int, total: int, seconds: float) -> Text:
    count = f" {done}/{total}" if total > 1 else ""
    return line((f"{printable(name)}{count} ... {duration(seconds)}", "yellow"))


def _note(text: str) -> Text:
    return Text(printable(text, 400), "yellow")


def _event(event: Event) -> Text:
    advice = f": {printable(event.advice, 300)}" if event.advice else ""
    return line((f"step {event.step}  {printable(event.name, 60)}{advice}", SEVERITY[event.severity]))
