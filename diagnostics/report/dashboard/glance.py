"""How a run stands, from the end of its metrics and from its events: what the list of runs shows, also of long runs."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from rltrain.records import RunFiles, jsonl, pulse
from rltrain.records.cells import step_of
from rltrain.records.follow import Mark, marks

END = 65_536  # bytes of the end of a file that are read: a line of metrics has a few thousand
WRITTEN = ("config.yaml", "metrics.jsonl", "events.jsonl", "rollouts", "checkpoints")  # by the run itself
READ = ("step", "planned", "reward", "outcome", "step_s", "warnings", "errors")
QUIET_S = 120.0  # without a write for so long, a run without a pulse that is not at its end counts as stopped


class Glances:
    """Reads a run's end once, and again when its files change."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[dict[str, Mark], dict[str, Any]]] = {}

    def of(self, path: Path, now: float | None = None) -> dict[str, Any]:
        """Step, planned steps, state, last write, last reward and outcome, number of warnings and errors."""
        try:
            found = marks(path)
        except PermissionError:  # its files may be known by name and not be listed
            return dict.fromkeys(READ) | {"written": 0.0, "state": "unreadable"}
        if path not in self._known or self._known[path][0] != found:
            try:
                self._known[path] = (found, _read(path))
            except OSError:  # one run that may not be read must not hide the others
                self._known[path] = (found, dict.fromkeys(READ))
        read = self._known[path][1]
        written = max((found[name][1] for name in WRITTEN if name in found), default=0) / 1e9
        now = time.time() if now is None else now
        return read | {"written": written, "state": _state(read, pulse.look(path, now), now - written)}


def _state(read: dict[str, Any], felt: pulse.Pulse | None, quiet_s: float) -> str:
    """How the run stands: by its steps, by its process, and where that left no word by how long it has been quiet."""
    if read["warnings"] is None:
        return "unreadable"
    if read["planned"] is not None and read["step"] is not None and read["step"] >= read["planned"]:
        return "finished"
    if felt is not None:
        return "running" if felt == "beating" else "stopped"
    return "running" if quiet_s < max(QUIET_S, 5 * (read["step_s"] or 0.0)) else "stopped"


def _read(path: Path) -> dict[str, Any]:
    lines = [line for line in last_objects(path / "metrics.jsonl") if step_of(line.get("step")) is not None]
    steps = [int(line["step"]) for line in lines]
    events = list(jsonl.read(path / "events.jsonl"))  # all of them: the last ones may be many and harmless
    return {
        "step": max(steps, default=None),
        "planned": RunFiles(path).planned_steps,
        "reward": _last(lines, "reward/mean"),
        "outcome": _last(lines, "reward/outcome"),
        "step_s": _last(lines, "time/step_s"),
        "warnings": sum(event.get("severity") == "warning" for event in events),
        "errors": sum(event.get("severity") == "error" for event in events),
    }


def _last(lines: list[dict[str, Any]], name: str) -> float | None:
    values = (line.get(name) for line in reversed(lines))
    return next((v for v in values if isinstance(v, int | float) and math.isfinite(v)), None)


def last_objects(path: Path) -> list[dict[str, Any]]:
    """The objects in the last `END` bytes of a file of lines; none where there is no file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - END))
            if size > END:
                file.readline()  # the part of a line that the cut left
            return list(jsonl.objects(file))
    except FileNotFoundError:
        return []
