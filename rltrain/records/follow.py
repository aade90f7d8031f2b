"""A run that is being written: each look reads only what its files have gained."""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltrain.records.lines import Columns, events_of
from rltrain.records.read import RunFiles
from rltrain.types import Event

if TYPE_CHECKING:
    import pandas as pd

Mark = tuple[int, int, int]
"""Inode, time of change and size of a file: while they stay, so does what was read of it."""


class FollowedRun(RunFiles):
    """A run's files, as `RunFiles`, that can be looked at again. Not for several threads at once."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._marks: dict[str, Mark] = {}
        self._rows: list[dict[str, Any]] = []

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
                    with contextlib.suppress(OSError):  # it went away in this moment, or is a link to nothing
                        stat = entry.stat()
                        found[entry.name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:  # the run went away: the next look will tell
        return found
    return found
