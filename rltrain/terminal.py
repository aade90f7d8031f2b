"""Small pictures for a terminal, shared by the live console and `rltrain status`. Text in, text out."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shlex
import shutil
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
STAGES = ("rollout", "score", "train", "publish", "eval", "parity", "diagnostics", "write")
"""The parts of a step, in the order they happen; `time/<stage>_s` is the metric of each."""


def printable(text: object, width: int | None = None) -> str:
    """Text that cannot steer a terminal: control, format and surrogate characters become spaces or U+FFFD."""
    given = str(text)
    if width is not None and len(given) > width:  # cut first: a completion may be a megabyte
        given = given[: width - 1] + "\u2026"
    return "".join(map(_safe, given))


def _safe(letter: str) -> str:
    if letter in "\n\r\t":
        return " "
    return "\ufffd" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else letter


def discard(file: IO[str]) -> None:
    """What is still buffered for a reader that is gone, or a disk that is full, goes nowhere."""
    with contextlib.suppress(OSError):  # it is no file of the system, and holds nothing back
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def typed(program: str) -> str:
    """What to type here for a program of this environment: its name where the shell finds it by that, else its path.

    Who came by `make` has no environment active: a command that is printed has to work as it stands.
    """
    own, found = Path(sys.executable).with_name(program), shutil.which(program)
    if not own.exists() or (found and os.path.samefile(found, own)):
        return program
    return shlex.quote(os.path.relpath(own) if Path.cwd() in own.parents[1:] else str(own))


def sparkline(values: Iterable[float | None], width: int = 30, blocks: str = BLOCKS) -> str:
    """The values as blocks from lowest to highest (eight of them), pooled down to `width`; a gap is a space."""
    known = [math.nan if value is None else float(value) for value in values]
    if len(known) > width:
        edges = [round(i * len(known) / width) for i in range(width + 1)]
        known = [_mean(known[a:b]) for a, b in itertools.pairwise(edges)]
    finite = [value for value in known if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    span = high - low
    return "".join(
        " " if not math.isfinite(v) else blocks[int((v - low) / span * 7.999)] if span else blocks[3] for v in known
    )


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def number(value: float | None) -> str:
    """Three significant digits, whole thousands in full: 0.123, 4.56, 7,890; 1e+12 where they are beyond reading."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) >= 1e12:
        return f"{value:.3g}"
    if abs(value) >= 1000 or (value == int(value) and abs(value) >= 10):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """42 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def short(seconds: float) -> str:
    """Seconds of one step: 0.41 s, 3.2 s, 41 s."""
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def stage_seconds(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds of each stage over some steps, and `other` for what no stage claims; empty stages are left out."""
    rows = list(rows)
    seconds = {stage: sum(_seconds(row.get(f"time/{stage}_s")) for row in rows) for stage in STAGES}
    whole = sum(_seconds(row.get("time/step_s")) for row in rows)
    seconds["other"] = max(0.0, whole - sum(seconds.values()))
    return {stage: spent for stage, spent in seconds.items() if spent > 0.005 * max(whole, 1e-9)}


def engine_seconds(rows: Iterable[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Engine -> seconds of each activity over some steps, and `tokens_per_s` while it generated."""
    found: dict[str, dict[str, float]] = {}
    tokens: dict[str, float] = defaultdict(float)
    for row in rows:
        for name, value in row.items():
            stem, _, engine = name.partition("@")
            if not stem.startswith("engine/"):
                continue
            if stem == "engine/tokens_per_s":
                tokens[engine] += _seconds(value) * _seconds(row.get(f"engine/generating_s@{engine}"))
            else:
                spent = found.setdefault(engine, defaultdict(float))
                spent[stem.removeprefix("engine/").removesuffix("_s")] += _seconds(value)
    for engine, spent in found.items():
        if tokens[engine] and spent["generating"]:
            spent["tokens_per_s"] = tokens[engine] / spent["generating"]
    return found


def _seconds(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def shares(seconds: Mapping[str, float], width: int) -> dict[str, int]:
    """Cells of a bar of `width` for each stage: largest remainders, so that they fill it exactly."""
    whole = sum(seconds.values())
    if not whole:
        return {}
    exact = {stage: width * spent / whole for stage, spent in seconds.items()}
    cells = {stage: int(value) for stage, value in exact.items()}
    for stage in sorted(exact, key=lambda s: cells[s] - exact[s])[: width - sum(cells.values())]:
        cells[stage] += 1
    return cells
