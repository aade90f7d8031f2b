"""Files of lines, read as far as they go: the steps and events they hold, and what of them cannot be read."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from rltrain.records import jsonl
from rltrain.records.cells import finite, step_of
from rltrain.types import Event

if TYPE_CHECKING:
    import pandas as pd

MOST = 4  # metrics that are named


class Tail:
    """The objects that a file of lines gains. A line that is still being written is left for the next look."""

    def __init__(self, path: Path):
        self._path = path
        self._inode: int | None = None
        self._place = 0
        self.torn = 0  # whole lines that hold no object
        self.cut = False  # whether the file ends inside a line
        self.error = ""  # why the file cannot be read

    def read(self) -> tuple[Iterator[dict[str, Any]], bool]:
        """(objects since the last look, one at a time; whether the file was begun anew, as a resumed run's are)."""
        self.error = ""
        try:
            file = open(self._path, "rb")  # noqa: SIM115 (one line is in memory at a time)
        except FileNotFoundError:
            anew = self._place > 0
            self._inode, self._place, self.torn, self.cut = None, 0, 0, False
            return iter(()), anew
        except OSError as error:  # no right to read it, or a folder in its place
            self.error = jsonl.cause(error)
            return iter(()), False
        stat = os.fstat(file.fileno())
        anew = self._inode is not None and (stat.st_ino != self._inode or stat.st_size < self._place)
        if anew:
            self._place = self.torn = 0
        self._inode = stat.st_ino
        return self._objects(file), anew

    def notes(self) -> list[str]:
        """What could not be read by now, in words."""
        name = self._path.name
        if self.error:
            return [f"{name} cannot be read ({self.error}); this is what the other files say"]
        told = []
        if self.torn:
            told.append(f"Damaged lines of {name}, which are left out: {self.torn:,}")
        if self.cut:
            told.append(f"The last line of {name} is cut off: it is being written, or the run ended while it wrote")
        return told

    def _objects(self, file: BinaryIO) -> Iterator[dict[str, Any]]:
        self.cut = False
        try:
            with file:
                file.seek(self._place)
                for line in file:
                    value = jsonl.parsed(line)
                    if value is None and not line.endswith(b"\n"):  # not finished yet
                        self.cut = True
                        return
                    self._place += len(line)
                    if value is not None:
                        yield value
                    elif line.strip():
                        self.torn += 1
        except OSError as error:  # a bad sector, a share that went away
            self.error = jsonl.cause(error)


class Columns:
    """Lines with a whole number as `step` as columns, one number each; what is none is NaN.

    Lines of the same step complete each other. Eight bytes a number, since a long run has millions.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # step -> row
        self._columns: dict[str, array] = {}
        self._strange: dict[str, None] = {}  # metrics with a value that is no number; in order
        self._stepless = 0

    def add(self, lines: Iterable[dict[str, Any]]) -> None:
        """Further lines."""
        for line in lines:
            if (step := step_of(line.get("step"))) is None:
                self._stepless += 1
                continue
            place = self._places.setdefault(step, len(self._places))
            for name, value in line.items():
                column = self._columns.setdefault(name, array("d"))
                column.extend([math.nan] * (place + 1 - len(column)))
                number = finite(value)
                column[place] = math.nan if number is None else number
                if not isinstance(value, int | float | None):
                    self._strange[name] = None

    def notes(self, name: str) -> list[str]:
        """What of the lines of a file of this name is left out, in words."""
        told = [f"Lines of {name} without a step, which are left out: {self._stepless:,}"] if self._stepless else []
        if self._strange:
            named = ", ".join(metric[:60] for metric in list(self._strange)[:MOST])
            more = f" and {len(self._strange) - MOST:,} more" if len(self._strange) > MOST else ""
            told.append(f"{name} holds values that are no numbers, which are left out: {named}{more}")
        return told

    def frame(self) -> pd.DataFrame:
        """One row a step, by step."""
        import pandas as pd

        for column in self._columns.values():
            column.extend([math.nan] * (len(self._places) - len(column)))
        values = {name: np.array(column) for name, column in self._columns.items() if name != "step"}
        frame = pd.DataFrame({"step": np.array(list(self._places), np.int64), **values})
        return frame.sort_values("step", ignore_index=True)


def events_of(rows: Iterable[dict[str, Any]]) -> list[Event]:
    """The events that rows of `events.jsonl` hold; a row without step and name is none."""
    return [
        Event(
            step=step,
            name=str(row["name"]),
            severity=row["severity"] if row.get("severity") in ("info", "warning", "error") else "info",
            evidence=row["evidence"] if isinstance(row.get("evidence"), dict) else {},
            advice=str(row.get("advice") or ""),
        )
        for row in rows
        if (step := step_of(row.get("step"))) is not None and "name" in row
    ]
