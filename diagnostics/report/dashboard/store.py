"""The runs of a directory as the dashboard follows them. Thread-safe; nothing is written anywhere."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostics.report.cards import Card, cards
from diagnostics.report.figures import X
from diagnostics.report.summary import sentences
from diagnostics.report.verdicts import verdict
from diagnostics.report.viewer import History, group_payload, settings, step_payload, text_payload
from diagnostics.report.viewer.reading import outline
from rltrain.records import FollowedRun
from rltrain.records.jsonl import plain
from rltrain.records.read import MARKS, step_files

STEPS_KEPT = 16  # light rows of so many steps stay in memory
SEARCH_S = 1.0  # seconds that one look through a run's steps for a prompt may take


class Missing(LookupError):
    """What was asked for is not there, in words."""


class Run:
    """One run: its files, read on as they grow."""

    def __init__(self, path: Path):
        self.path = path
        self.lock = threading.RLock()  # over `files` and all that is read from it
        self.files = FollowedRun(path)
        self._outlines: OrderedDict[tuple[int, int], list[dict[str, Any]]] = OrderedDict()
        self._history, self._searching = History(path), threading.Lock()

    def look(self) -> str:
        """Read what is new; the version of what was read."""
        if not self.files.changed():
            return self.files.version
        with self.lock:
            self.files.refresh()
            return self.files.version

    def steps(self) -> list[int]:
        """The steps that have rollouts."""
        return [step for step, _ in step_files(self.path / "rollouts")]

    def about(self) -> dict[str, Any]:
        """What the run did in sentences, its events, and what its advantages are made with."""
        with self.lock:
            self.files.refresh()
            files = self.files
            events = [
                {name: getattr(event, name) for name in ("step", "name", "severity", "evidence", "advice")}
                for event in files.events[-200:]
            ]
            told = {
                "version": files.version,
                "verdict": verdict(files),
                "sentences": sentences(files),
                "events": events,
                "more_events": max(0, len(files.events) - len(events)),
                "settings": settings(files.config),
                "steps": self.steps(),
            }
            return plain(told)

    def step(self, step: int) -> dict[str, Any]:
        """The light rows of a step. Missing where there are none."""
        rows = self._rows(step)
        return step_payload(step, rows, len(rows))

    def group(self, step: int, group: str) -> dict[str, Any]:
        """A group with its tokens. Missing where there is none."""
        members = [row for row in self._rows(step) if str(row["group"]) == group]
        if not members:
            raise Missing(f"step {step} has no group {group}")
        return group_payload(self._file(step), step, members, [row["row"] for row in members])

    def text(self, step: int, row: int) -> str:
        """The whole text of a completion. Missing where there is none."""
        if not any(light["row"] == row for light in self._rows(step)):
            raise Missing(f"step {step} has no row {row}")
        return text_payload(self._file(step), row)

    def history(self, key: str) -> dict[str, Any]:
        """The visits of a prompt that are known by now; `growing` while there are steps to look through."""
        with self._searching:
            known, of = self._history.look(SEARCH_S)
            return plain({"visits": self._history.visits(key), "known": known, "of": of, "growing": known < of})

    def _file(self, step: int) -> Path:
        path = self.path / "rollouts" / f"step_{step:05d}.parquet"
        if not path.is_file():
            raise Missing(f"step {step} has no rollouts (yet)")
        return path

    def _rows(self, step: int) -> list[dict[str, Any]]:
        path = self._file(step)
        place = (step, path.stat().st_mtime_ns)
        if place not in self._outlines:
            self._outlines[place] = outline(path)
            while len(self._outlines) > STEPS_KEPT:
                self._outlines.popitem(last=False)
        return self._outlines[place]


class Store:
    """The runs in a directory, or the one run that the directory is."""

    def __init__(self, root: Path):
        self._root = root
        self._runs: dict[Path, Run] = {}
        self._lock = threading.Lock()

    def paths(self) -> dict[str, Path]:
        """Runs by name, the one written last first."""
        if _is_run(self._root):
            return {_name(self._root.resolve()): self._root}
        children = [path for path in self._root.iterdir() if _is_run(path)] if self._root.is_dir() else []
        return {_name(path): path for path in sorted(children, key=_written, reverse=True)}

    def run(self, name: str) -> Run:
        """A run by its name in `paths`; no other path can be asked for. Missing where there is none."""
        path = self.paths().get(name)
        if path is None:
            raise Missing(f"no run {name!r} here")
        with self._lock:
            return self._runs.setdefault(path, Run(path))

    def cards(self, names: Sequence[str], x: X, only: Sequence[str]) -> list[Card]:
        """The cards of some runs side by side, with the figures of those in `only`."""
        runs = [self.run(name) for name in names]
        locks = sorted({id(run): run.lock for run in runs}.items())  # in one order: two requests cannot wait in a ring
        for _, lock in locks:
            lock.acquire()
        try:
            for run in runs:
                run.files.refresh()
            return cards([run.files for run in runs], x, only=only)
        finally:
            for _, lock in locks:
                lock.release()


def _is_run(path: Path) -> bool:
    try:
        return path.is_dir() and any((path / mark).exists() for mark in MARKS)
    except PermissionError:  # somebody else's directory beside the runs must not hide them
        return False


def _name(path: Path) -> str:
    """The directory's name as text: bytes that are no UTF-8 are replaced."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def _written(path: Path) -> float:
    return max(((path / mark).stat().st_mtime for mark in MARKS if (path / mark).exists()), default=0.0)
