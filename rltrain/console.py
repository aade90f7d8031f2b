"""What a person watches during a run: a live screen in a terminal, one plain line a step elsewhere."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from rich.console import Console as Terminal
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rltrain.terminal import duration, number, printable, shares, sparkline, stage_seconds
from rltrain.types import Event

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta", "grey50")
SEVERITY = {"info": "dim", "warning": "yellow", "error": "bold red"}
RECENT = 20  # steps that the time left and the bar look back on


class _Terminal(Terminal):
    """A terminal that goes silent when nobody reads any more: a closed window must not end a run."""

    def __init__(self, file: IO[str], **options: Any):
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="replace")  # a terminal without UTF-8 shows question marks
        super().__init__(file=file, **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:
            self.quiet = True


class Console:
    """Shows a run. Never raises over what it is shown: text is data here, not markup.

    `live=False`, or an output that is no terminal, prints lines instead of a screen.
    """

    def __init__(self, live: bool = True, out: IO[str] | None = None, clock: Callable[[], float] = time.monotonic):
        self._terminal = _Terminal(file=out or sys.stdout, highlight=False)
        self._clock = clock
        self._wants_live = live and self._terminal.is_terminal
        self._live: Live | None = None
        self._title, self._header, self._total = "", "", 0
        self._step = 0
        self._history: deque[dict[str, float]] = deque(maxlen=2000)
        self._stages: dict[str, tuple[int, int, float]] = {}  # name -> done, total, begun

    def start(self, run_name: str, total_steps: int, header: str = "") -> None:
        """Open the screen for a run of `total_steps` optimizer steps."""
        self._title, self._header, self._total = printable(run_name), printable(header), total_steps
        if self._wants_live:
            self._live = Live(console=self._terminal, get_renderable=self.render, refresh_per_second=4)
            self._live.start()
        else:
            self._print(Text(f"{self._title}: {total_steps} steps. {self._header}".rstrip(". ")))

    def stage(self, name: str, done: int, total: int) -> None:
        """Progress of a phase outside the steps: loading, starting engines, evaluation. It ends at done = total."""
        begun = self._stages[name][2] if name in self._stages else self._clock()
        new = name not in self._stages
        self._stages[name] = (done, total, begun)
        if done >= total:
            del self._stages[name]
            self._print(Text(f"{printable(name)}: done in {duration(self._clock() - begun)}", "dim"))
        elif new and not self._live:
            self._print(Text(f"{printable(name)} ..."))

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of a step."""
        self._step = step
        self._history.append(dict(metrics))
        if not self._live:
            told = (f"{label} {number(metrics[name])}" for label, name in _FIGURES if name in metrics)
            left = self.time_left()
            told = (f"step {step}/{self._total}", *told, *([] if left is None else [f"{duration(left)} left"]))
            self._print(Text("  ".join(told)))

    def event(self, event: Event) -> None:
        """Print an event above the screen."""
        evidence = ", ".join(f"{key} {value}" for key, value in event.evidence.items())
        detail = f" ({printable(evidence, 200)})" if evidence else ""
        advice = f": {printable(event.advice, 300)}" if event.advice else ""
        line = f"step {event.step} {event.severity} {printable(event.name)}{detail}{advice}"
        self._print(Text(line, SEVERITY.get(event.severity, "")))

    def note(self, text: str) -> None:
        """Print a remark above the screen."""
        for line in text.splitlines():
            self._print(Text(printable(line)))

    def finish(self, lines: Sequence[str] = ()) -> None:
        """Close the screen, leave its last picture, and print the run's last words."""
        self.close()
        for line in lines:
            self.note(line)

    def close(self) -> None:
        """Close the screen; also after a crash, and more than once."""
        self._stages.clear()
        if self._live:
            live, self._live = self._live, None
            with contextlib.suppress(OSError):
                live.stop()

    def time_left(self) -> float | None:
        """Seconds until the last step, from the recent steps; None before the first."""
        recent = [row["time/step_s"] for row in list(self._history)[-RECENT:] if (row.get("time/step_s") or 0) > 0]
        return sum(recent) / len(recent) * max(0, self._total - self._step) if recent else None

    def render(self) -> RenderableType:
        """The screen as it is now."""
        parts: list[RenderableType] = [Text.assemble((self._title, "bold"), "  ", (self._header, "dim"))]
        if self._history:
            parts += [self._progress(), self._figures(), self._where_time_goes()]
        parts += [self._stage_line(name, *state) for name, state in list(self._stages.items())]
        return Stack(*parts)

    def _progress(self) -> Text:
        width = 40
        filled = round(width * self._step / max(1, self._total))
        return Text.assemble(
            f"step {self._step}/{self._total} ",
            ("\u2501" * filled, "green"),
            ("\u2501" * (width - filled), "grey30"),
            f"  {duration(self.time_left())} left",
        )

    def _figures(self) -> Table:
        """One row a figure: label, last value, its course."""
        table = Table.grid(padding=(0, 2))
        for label, name in _FIGURES:
            course = [row.get(name) for row in self._history]
            if any(value is not None for value in course):
                last = next(value for value in reversed(course) if value is not None)
                table.add_row(label, Text(number(last), "bold", justify="right"), Text(sparkline(course, 40), "cyan"))
        return table

    def _where_time_goes(self) -> Text:
        seconds = stage_seconds(list(self._history)[-RECENT:])
        cells = shares(seconds, 60)
        colour = dict(zip(seconds, COLOURS, strict=False))
        bar = Text.assemble(*(("\u2588" * count, colour[stage]) for stage, count in cells.items()))
        steps = min(RECENT, len(self._history))
        legend = [
            (f"\u25a0 {stage} {duration_short(spent / steps)}  ", colour[stage]) for stage, spent in seconds.items()
        ]
        return bar + Text("\n") + Text.assemble(*legend)

    def _stage_line(self, name: str, done: int, total: int, begun: float) -> Text:
        count = f" {done}/{total}" if total > 1 else ""
        return Text(f"{printable(name)}{count} ... {duration(self._clock() - begun)}", "yellow")

    def _print(self, line: Text) -> None:
        self._terminal.print(line, soft_wrap=self._live is None)


_FIGURES = (
    ("reward", "reward/mean"),
    ("outcome", "reward/outcome"),
    ("entropy", "entropy/mean"),
    ("length", "length/mean"),
    ("held-out", "eval/outcome"),
    ("tokens/s", "throughput/tokens_per_s"),
)


def duration_short(seconds: float) -> str:
    """Seconds of one step: 0.41 s, 3.2 s, 41 s."""
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)
