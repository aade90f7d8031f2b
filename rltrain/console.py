"""What a person watches during a run: a live screen in a terminal, one plain line a step elsewhere."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from rich.console import Console as RichConsole
from rich.live import Live
from rich.text import Text

from rltrain.screen import PHASE, RECENT, SEVERITY, SHOWN, Screen, View
from rltrain.terminal import discard, duration, number, printable
from rltrain.types import Event

FIGURES = {
    "reward": "reward/mean",
    "outcome": "reward/outcome",
    "entropy": "entropy/mean",
    "length": "length/mean",
    "held-out": "eval/outcome",
    "tokens/s": "throughput/tokens_per_s",
}
"""What a plain line says of a step."""


class Terminal(RichConsole):
    """A terminal that goes silent when nobody reads any more: a closed window must not end a run."""

    def __init__(self, file: IO[str] | None = None, **options: Any):
        file = file or sys.stdout
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="replace")  # a terminal without UTF-8 shows question marks
        super().__init__(file=file, highlight=False, **options)

    @property
    def moves(self) -> bool:
        """Whether a picture on it can be drawn anew."""
        return self.is_terminal and not self.is_dumb_terminal

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:
            self.quiet = True
            discard(self.file)


class Console:
    """Shows a run. Never raises over what it is shown: text is data here, not markup.

    `live=False`, or an output on which nothing can be drawn anew, prints lines instead of a screen.
    """

    def __init__(self, live: bool = True, out: IO[str] | None = None, clock: Callable[[], float] = time.monotonic):
        self._terminal = Terminal(out)
        self._clock = clock
        self._wants_live = live and self._terminal.moves
        self._live: Live | None = None
        self._title, self._header, self._total = "", "", 0
        self._steps: list[int] = []
        self._curves: dict[str, list[float | None]] = {name: [] for name in (*SHOWN, *PHASE)}
        self._recent: deque[Mapping[str, float]] = deque(maxlen=RECENT)
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._stages: dict[str, tuple[int, int, float]] = {}  # name -> done, total, begun

    def start(self, run_name: str, total_steps: int, header: str = "") -> None:
        """Open the screen for a run of `total_steps` optimizer steps."""
        self._title, self._header, self._total = printable(run_name, 200), printable(header, 500), total_steps
        if self._wants_live:
            self._live = Live(
                console=self._terminal, get_renderable=lambda: Screen(self.view(), events=False), refresh_per_second=4
            )
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
        self.recall(step, metrics)
        if not self._live:
            told = (f"{label} {number(metrics[name])}" for label, name in FIGURES.items() if name in metrics)
            left = self.view().left_s
            told = (f"step {step}/{self._total}", *told, *([] if left is None else [f"{duration(left)} left"]))
            self._print(Text("  ".join(told)))

    def recall(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take a step into the picture that was there before anybody looked."""
        with self._lock:
            self._steps.append(step)
            for name, values in self._curves.items():
                values.append(metrics.get(name))
            self._recent.append(dict(metrics))

    def event(self, event: Event) -> None:
        """Print an event above the screen."""
        self._events.append(event)
        evidence = ", ".join(f"{key} {value}" for key, value in event.evidence.items())
        detail = f" ({printable(evidence, 200)})" if evidence else ""
        advice = f": {printable(event.advice, 300)}" if event.advice else ""
        line = f"step {event.step} {event.severity} {printable(event.name, 60)}{detail}{advice}"
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

    def view(self) -> View:
        """What there is to show now."""
        stages = [(name, done, of, self._clock() - begun) for name, (done, of, begun) in list(self._stages.items())]
        with self._lock:  # the screen is drawn by a thread of its own
            return View(
                self._title,
                self._header,
                self._total,
                steps=list(self._steps),
                curves={name: list(values) for name, values in self._curves.items()},
                recent=list(self._recent),
                events=list(self._events),
                stages=stages,
            )

    def _print(self, line: Text) -> None:
        self._terminal.print(line, soft_wrap=self._live is None)
