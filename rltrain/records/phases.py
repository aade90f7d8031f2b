"""Which phase of learning a run is in: the stretches, since when, when it was noticed, how sure that is.

The one place that says it: console, `rltrain status`, report and dashboard take the words from here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rltrain.records.read import RunFiles

STATES = ("undecided", "consolidating", "planning", "stalled")  # what `phase/state` counts
CURVES = ("phase/state", "phase/confidence", "phase/onset", "phase/onset_low", "phase/onset_high")

Values = Sequence[float | None]


class Stretch(NamedTuple):
    """Steps in one state; the next stretch begins where it ends."""

    state: str
    start: int
    end: int
    confidence: float  # NaN where it is not known


class Phases(NamedTuple):
    """The phases of a run, as far as its files tell."""

    segments: tuple[Stretch, ...]  # in order; the last one is the present
    onset: int | None  # step at which planning began
    interval: tuple[int, int] | None  # 90% interval of it
    judged: int | None  # last step that diagnosis.json has judged; None where the file does not say
    detected: int | None  # step from which on each step judged itself to be in the present state
    why: str = ""  # in words, where diagnosis.json says it of the present


def phases(run: RunFiles) -> Phases:
    """Of a run's files."""
    frame = run.metrics
    curves = {name: frame[name].tolist() for name in CURVES if name in frame}
    return judged(frame["step"].tolist(), curves, run.diagnosis.get("phase"))


def judged(steps: Sequence[int], curves: Mapping[str, Values], verdict: Any = None) -> Phases:
    """From the verdict of `diagnosis.json`, which looks back over the whole run, and after it that of each step.

    The file is rewritten at checkpoints: of a run that is being written the last steps are judged by `phase/state`.
    `curves`: of `CURVES`, one value a step.
    """
    found = verdict if isinstance(verdict, Mapping) else {}
    listed = found.get("segments")
    segments = tuple(part for given in (listed if isinstance(listed, list) else ()) if (part := _stretch(given)))
    end = segments[-1].end if segments else None
    rows = _states(steps, curves)
    online = _stretches([row for row in rows if end is None or row[0] > end], end)
    onset, interval = _onset(found.get("onset_step"), found.get("interval"))
    if onset is None and online and online[-1].state == "planning":
        onset, interval = _last_onset(curves)
    if segments and online and online[0].state == segments[-1].state:
        longer = segments[-1]._replace(end=online[0].end, confidence=online[0].confidence)
        segments, online = (*segments[:-1], longer), online[1:]
    whole = (*segments, *online)
    why = found.get("why") if not online and isinstance(found.get("why"), str) else ""
    return Phases(whole, onset, interval, end, _detected(rows, whole[-1].state) if whole else None, why)


def told(found: Phases) -> str:
    """The present phase in one line: since when, with its interval and when it was noticed, and how sure that is.

    Empty where nothing was judged.
    """
    if not found.segments:
        return ""
    last = found.segments[-1]
    if last.state == "undecided":
        sure = f", the likeliest state is {last.confidence:.0%} sure" if math.isfinite(last.confidence) else ""
        return f"undecided since step {last.start}: {found.why or 'no move is certain'}{sure}"
    planning = last.state == "planning" and found.onset is not None
    since, notes = (found.onset if planning else last.start), []
    if planning and found.interval is not None:
        notes.append(f"90% interval {found.interval[0]} to {found.interval[1]}")
    if found.detected is not None and found.detected != since:
        notes.append(f"detected at step {found.detected}")
    sure = f", {last.confidence:.0%} sure" if math.isfinite(last.confidence) else ""
    aside = f" ({', '.join(notes)})" if notes else ""
    return f"{last.state} since step {since}{aside}{sure}"


def _states(steps: Sequence[int], curves: Mapping[str, Values]) -> list[tuple[int, str, float]]:
    """(step, state, how sure) of the steps that judged themselves."""
    missing: Values = [None] * len(steps)
    states, sure = curves.get("phase/state") or missing, curves.get("phase/confidence") or missing
    return [
        (int(step), STATES[int(state)], math.nan if chance is None else float(chance))
        for step, state, chance in zip(steps, states, sure, strict=True)
        if state is not None and math.isfinite(state) and 0 <= int(state) < len(STATES)
    ]


def _stretches(rows: Iterable[tuple[int, str, float]], after: int | None) -> tuple[Stretch, ...]:
    """Rows of equal states; where two stretches meet, one begins as the other ends. The first begins at `after`."""
    made: list[Stretch] = []
    for state, of in itertools.groupby(rows, key=lambda row: row[1]):
        part = list(of)
        start = part[0][0] if made or after is None else after
        made = [*made[:-1], made[-1]._replace(end=start)] if made else made
        made.append(Stretch(state, start, part[-1][0], part[-1][2]))
    return tuple(made)


def _detected(rows: Sequence[tuple[int, str, float]], state: str) -> int | None:
    last = list(itertools.takewhile(lambda row: row[1] == state, reversed(rows)))
    return last[-1][0] if last else None


def _last_onset(curves: Mapping[str, Values]) -> tuple[int | None, tuple[int, int] | None]:
    """As the last step that knew one judged it."""
    listed = [curves.get(name) or () for name in CURVES[2:]]
    known = [row for row in zip(*listed, strict=False) if all(map(_finite, row))]
    return _onset(known[-1][0], list(known[-1][1:])) if known else (None, None)


def _stretch(given: Any) -> Stretch | None:
    """A stretch as the file has it; None where another version wrote something else."""
    if not isinstance(given, Mapping) or given.get("state") not in STATES:
        return None
    start, end, sure = (given.get(key) for key in ("start", "end", "confidence"))
    if not all(map(_finite, (start, end, sure))):
        return None
    return Stretch(given["state"], int(start), int(end), float(sure))


def _onset(onset: Any, interval: Any) -> tuple[int | None, tuple[int, int] | None]:
    pair = isinstance(interval, list) and len(interval) == 2 and all(map(_finite, interval))
    return (int(onset) if _finite(onset) else None), ((int(interval[0]), int(interval[1])) if pair else None)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
