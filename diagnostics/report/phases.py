"""Which phase of learning a run is in, out of its files: the stretches, the onset, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from diagnostics.phase.verdict import STATES, Segment
from rltrain.records import RunFiles


class Phases(NamedTuple):
    """The phases of a run, as far as its files tell."""

    segments: tuple[Segment, ...]  # in order; the last one is the present
    onset: int | None  # step at which planning began
    interval: tuple[int, int] | None  # 90% interval of it
    judged: int | None  # last step that diagnosis.json has judged; None where the file does not say


def phases(run: RunFiles) -> Phases:
    """The verdict of `diagnosis.json`, which looks back over the whole run, and after it that of each step.

    The file is rewritten at checkpoints: of a run that is being written the last steps are judged by `phase/state`.
    """
    found = run.diagnosis.get("phase")
    found = found if isinstance(found, Mapping) else {}
    segments = tuple(part for given in found.get("segments") or () if (part := _segment(given)))
    judged = segments[-1].end if segments else None
    online = _online(run, after=judged)
    onset, interval = _onset(found)
    if onset is None and online and online[-1].state == "planning":
        onset, interval = _last_onset(run)
    if segments and online and online[0].state == segments[-1].state:
        longer = replace(segments[-1], end=online[0].end, confidence=online[0].confidence)
        segments, online = (*segments[:-1], longer), online[1:]
    return Phases((*segments, *online), onset, interval, judged)


def _segment(given: Any) -> Segment | None:
    """A stretch as the file has it; None where another version wrote something else."""
    if not isinstance(given, Mapping) or given.get("state") not in STATES:
        return None
    start, end, sure = (given.get(key) for key in ("start", "end", "confidence"))
    if not all(isinstance(value, int | float) for value in (start, end, sure)):
        return None
    return Segment(given["state"], int(start), int(end), float(sure))


def _onset(found: Mapping[str, Any]) -> tuple[int | None, tuple[int, int] | None]:
    onset, interval = found.get("onset_step"), found.get("interval")
    pair = isinstance(interval, list) and len(interval) == 2 and all(isinstance(v, int | float) for v in interval)
    return (int(onset) if isinstance(onset, int | float) else None), (tuple(map(int, interval)) if pair else None)


def _last_onset(run: RunFiles) -> tuple[int | None, tuple[int, int] | None]:
    names = ["phase/onset", "phase/onset_low", "phase/onset_high"]
    known = run.metrics[names].dropna() if set(names) <= set(run.metrics.columns) else ()
    if not len(known):
        return None, None
    onset, low, high = (int(value) for value in known.iloc[-1])
    return onset, (low, high)


def _online(run: RunFiles, after: int | None) -> tuple[Segment, ...]:
    """Stretches of equal `phase/state`, as each step judged itself; where they meet, one begins as the other ends."""
    names = ["step", "phase/state", "phase/confidence"]
    if not set(names) <= set(run.metrics.columns):
        return ()
    rows = run.metrics[names].dropna()
    rows = rows[rows["step"] > after] if after is not None else rows
    rows = rows[rows["phase/state"].isin(range(len(STATES)))]
    if rows.empty:
        return ()
    step, state, sure = (rows[name].to_numpy() for name in names)
    starts = np.flatnonzero(np.diff(state, prepend=-1))
    ends = [*step[starts[1:]], step[-1]]
    first = [after if after is not None else step[0], *step[starts[1:]]]
    stops = [*starts[1:], len(step)]
    return tuple(
        Segment(STATES[int(state[i])], int(a), int(b), float(sure[stop - 1]))
        for i, a, b, stop in zip(starts, first, ends, stops, strict=True)
    )
