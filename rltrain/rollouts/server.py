"""Drives one engine on a thread of its own, so that every question to it is answered at once.

Commands are served in order: a `load` waits until the groups before it are finished, so a completion
is sampled under one version of the weights from its first token to its last.
"""

from __future__ import annotations

import collections
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rltrain.rollouts.activity import Activity, Doing
from rltrain.rollouts.engine import Engine, Finished
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import Packed, digest, unpack
from rltrain.types import Ticket

LINGER_S = 0.01  # how long a finished group waits for company; an engine with work at hand samples on meanwhile
DOING: Mapping[str, Doing] = {"submit": "generating", "fault": "idle"}  # what a command begins; others move weights


@dataclass
class Report:
    """What happened in an engine since it was last asked."""

    finished: list[Finished] = field(default_factory=list)
    loaded: list[tuple[int, str, float]] = field(default_factory=list)  # (version, digest, seconds)
    stalled_s: float = 0.0  # since the engine last made progress while it had work
    error: str | None = None  # traceback of what ended the engine's thread
    ready: bool = False
    doing: Doing = "starting"  # at this moment
    seconds: dict[str, float] = field(default_factory=dict)  # by activity


class EngineServer:
    """The body of an engine actor: a queue of commands in, reports out."""

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._fault: str | None = None
        self._commands: collections.deque[tuple[str, Any]] = collections.deque()
        self._early: dict[int, list[tuple[str, Any]]] = {}  # came before their turn
        self._next = 0
        self._news = threading.Condition()
        self._report = Report()
        self._working_since: float | None = time.monotonic()
        self._activity = Activity(time.monotonic())
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"{spec.name}-loop", daemon=True)
        self._thread.start()

    def submit(self, number: int, tickets: list[Ticket]) -> None:
        """Queue groups. `number` counts this engine's commands: Ray may deliver them in another order."""
        self._enqueue(number, [("submit", ticket) for ticket in tickets])

    def load(self, number: int, version: int, packed: Packed) -> None:
        """Queue a change of weights; the report will say when it is done and what was consumed."""
        self._enqueue(number, [("load", (version, packed))])

    def call(self, number: int, name: str, *args: Any) -> None:
        """Queue a method of the engine itself (sleep, wake, a weight-transfer step)."""
        self._enqueue(number, [("call", (name, args))])

    def ask(self, number: int, name: str, *args: Any) -> Any:
        """Run a method of the engine when its turn comes, and return what it returns, or raise what it raises."""
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._enqueue(number, [("ask", (answer, name, args))])
        result, error = answer.get()
        if error is not None:
            raise error
        return result

    def inject(self, number: int, fault: str) -> None:
        """Break on purpose: `kill`, `hang`, `slow` or `stale` (tests and `--fault`)."""
        self._enqueue(number, [("fault", fault)])

    def collect(self, wait_s: float) -> Report:
        """Wait for news at most `wait_s` seconds and take what there is.

        A group that finished waits a moment for others to come along, unless it was the last one at hand: with many
        engines the number of reports is what the driver feels.
        """
        with self._news:
            self._news.wait_for(self._has_news, timeout=wait_s)
            if self._report.finished:
                self._news.wait_for(lambda: self._working_since is None or self._report.error, timeout=LINGER_S)
            report, self._report = self._report, Report(ready=self._report.ready)
            if self._working_since is not None:
                report.stalled_s = time.monotonic() - self._working_since
            report.seconds, report.doing = self._activity.take(time.monotonic()), self._activity.doing
            return report

    def _has_news(self) -> bool:
        r = self._report
        return bool(r.finished or r.loaded or r.error)

    def _enqueue(self, number: int, commands: list[tuple[str, Any]]) -> None:
        with self._news:
            self._early[number] = commands
            while self._next in self._early:
                self._commands.extend(self._early.pop(self._next))
                self._next += 1
            self._news.notify_all()

    def _run(self) -> None:
        try:
            engine = self._spec.build()
            with self._news:
                self._report.ready = True
                self._rest()
            while True:
                self._take_commands(engine)
                if engine.unfinished():
                    finished = engine.poll()
                    self._progress(engine, finished)
        except BaseException:  # the thread's last word; the pool reads it from the report and replaces the engine
            with self._news:
                self._report.error = traceback.format_exc()
                self._news.notify_all()

    def _rest(self) -> None:
        """Nothing is left to do. Holding `_news`, as all that changes the report."""
        self._working_since = None
        self._activity.turn("idle", time.monotonic())

    def _progress(self, engine: Engine, finished: list[Finished]) -> None:
        if self._fault == "slow":
            time.sleep(0.2)
        with self._news:
            self._report.finished.extend(finished)
            self._working_since = time.monotonic()
            if not engine.unfinished() and not self._commands:
                self._rest()
            if finished:
                self._news.notify_all()

    def _take_commands(self, engine: Engine) -> None:
        """Run the commands whose turn has come; sleep when there is nothing at all to do."""
        while True:
            with self._news:
                if not self._commands and not engine.unfinished():
                    self._rest()
                    self._news.wait_for(lambda: bool(self._commands))
                if self._working_since is None:
                    self._working_since = time.monotonic()
                if not self._commands or (self._commands[0][0] != "submit" and engine.unfinished()):
                    self._activity.turn("generating", time.monotonic())
                    return
                kind, argument = self._commands.popleft()
                self._activity.turn(DOING.get(kind, "loading"), time.monotonic())
            if kind == "submit":
                engine.submit(argument)
            elif kind == "load":
                self._load(engine, *argument)
            elif kind == "call":
                getattr(engine, argument[0])(*argument[1])
            elif kind == "ask":
                self._answer(engine, *argument)
            else:
                self._break(argument)

    @staticmethod
    def _answer(engine: Engine, answer: queue.SimpleQueue, name: str, args: tuple[Any, ...]) -> None:
        try:
            answer.put((getattr(engine, name)(*args), None))
        except BaseException as error:  # told to whoever asked, and the end of this engine as well
            answer.put((None, error))
            raise

    def _load(self, engine: Engine, version: int, packed: Packed) -> None:
        begun = time.monotonic()
        # A stale engine acknowledges the new weights and serves the old ones: its completions give it away.
        stale = self._fault == "stale"
        consumed = digest(unpack(packed)) if stale else engine.load(version, unpack(packed))
        self._loaded(version, consumed, begun)

    def _loaded(self, version: int, consumed: str, begun: float) -> None:
        with self._news:
            self._report.loaded.append((version, consumed, time.monotonic() - begun))
            self._activity.turn("idle", time.monotonic())
            self._news.notify_all()

    def _break(self, fault: str) -> None:
        self._fault = fault
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            while True:
                time.sleep(3600)
