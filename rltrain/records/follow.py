"""A run that is being written: each look reads only what its files have gained."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rltrain.records.read import Columns, RunFiles, events_of
from rltrain.types import Event

if TYPE_CHECKING:
    import pandas as pd

Mark = tuple[int, int, int]
"""Inode, time of change and size of a file: while they stay, so does what was read of it."""


class Tail:
    """The objects that a file of lines gains. A line that is still being written is left for the next look."""

    def __init__(self, path: Path):
        self._path = path
        self._inode: int | None = None
        self._place = 0

    def read(self) -> tuple[Iterator[dict[str, Any]], bool]:
        """(objects since the last look, one at a time; whether the file was begun anew, as a resumed run's are)."""
        try:
            file = open(self._path, "rb")  # noqa: SIM115 (one line is in memory at a time)
        except FileNotFoundError:
            anew = self._place > 0
            self._inode, self._place = None, 0
            return iter(()), anew
        stat = os.fstat(file.fileno())
        anew = self._inode is not None and (stat.st_ino != self._inode or stat.st_size < self._place)
        if anew:
            self._place = 0
        self._inode = stat.st_ino
        return self._objects(file), anew

    def _objects(self, file: BinaryIO) -> Iterator[dict[str, Any]]:
        with file:
            file.seek(self._place)
            for line in file:
                try:
                    value = json.loads(line)
                except ValueError:  # torn, or bad UTF-8; without a line end it is not finished yet
                    if not line.endswith(b"\n"):
                        return
                    value = None
                self._place += len(line)
                if isinstance(value, dict):
                    yield value


class FollowedRun(RunFiles):
    """A run's files, as `RunFiles`, that can be looked at again. Not for several threads at once."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._marks: dict[str, Mark] = {}
        self._lines, self._told = Tail(path / "metrics.jsonl"), Tail(path / "events.jsonl")
        self._columns, self._rows = Columns(), []

    @property
    def version(self) -> str:
        """Changes with the files; equal for equal files, also in another process."""
        return hashlib.blake2b(repr(sorted(self._marks.items())).encode(), digest_size=8).hexdigest()

    def changed(self) -> bool:
        """Whether a file was written since the last `refresh`; reads nothing."""
        return marks(self.path) != self._marks

    def refresh(self) -> bool:
        """Read what is new; whether there was anything."""
        now = marks(self.path)
        if now == self._marks:
            return False
        self._marks = now
        lines, anew = self._lines.read()
        if anew:
            self._columns = Columns()
        self._columns.add(lines)
        rows, anew = self._told.read()
        self._rows = [*(() if anew else self._rows), *rows]
        for name in [name for name in vars(self) if isinstance(getattr(type(self), name, None), cached_property)]:
            del self.__dict__[name]  # read again when asked for
        return True

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row a step: `step` and a column for each metric, NaN where a step has none."""
        return self._columns.frame()

    @cached_property
    def events(self) -> list[Event]:
        """The run's events, in the order they were written."""
        return events_of(self._rows)


def marks(path: Path) -> dict[str, Mark]:
    """The mark of every file and folder directly in a run's directory; empty where there is none any more."""
    found: dict[str, Mark] = {}
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    stat = entry.stat()
                    found[entry.name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:  # the run, or one of its files, went away in this moment: the next look will tell
        return found
    return found
