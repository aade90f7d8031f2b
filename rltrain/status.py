"""`rltrain status`: one screen about a run from its files, also while they are being written."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rltrain.records import FollowedRun, load_run, pulse
from rltrain.screen import MOST_EVENTS, PHASE, RECENT, SHOWN, Screen, View
from rltrain.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

    from rltrain.console import Console
    from rltrain.records import RunFiles

EVERY_S = 2.0  # between two looks at the files
WRITTEN = ("config.yaml", "metrics.jsonl", "events.jsonl")  # by the run, at its start and as it goes on


def render(run: RunFiles) -> Screen:
    """The screen: where the run stands, its phase and curves, where the time goes, engines, events."""
    return Screen(view(run))


def view(run: RunFiles) -> View:
    """What the run's files have to show."""
    frame, verdict = run.metrics, run.diagnosis.get("phase")
    written = [(run.path / name).stat().st_mtime for name in WRITTEN if (run.path / name).exists()]
    return View(
        run.name,
        str(run.path),
        run.planned_steps or 0,
        steps=frame["step"].tolist(),
        curves={name: frame[name].tolist() for name in (*SHOWN, *PHASE) if name in frame},
        recent=_rows(frame.tail(RECENT)),
        verdict=verdict if isinstance(verdict, dict) else {},
        events=run.events,
        notes=run.notes,
        silent_s=max(0.0, time.time() - max(written)) if written else None,
        pulse=pulse.look(run.path),
    )


def watch(path: Path, console: Console, every_s: float = EVERY_S) -> None:
    """Show a run on the console as it goes on, until its last step or its end. ValueError if there is no run."""
    run = FollowedRun(load_run(path).path)
    run.refresh()
    console.start(run.name, run.planned_steps or 0, printable(path))
    frame = run.metrics
    drawn = [name for name in ("step", *SHOWN, *PHASE) if name in frame]
    for row in _rows(frame.iloc[:-RECENT][drawn]) + _rows(frame.iloc[-RECENT:-1]):
        console.recall(int(row["step"]), row)
    for row in _rows(frame.tail(1)):
        console.step(int(row["step"]), row)
    for event in run.events[-MOST_EVENTS:]:
        console.event(event)
    for note in run.notes:
        console.note(note)
    told, step = len(run.events), _last(frame)
    while not run.planned_steps or step < run.planned_steps:
        over = pulse.look(path) in ("ended", "lost")  # before the last look, so that nothing is missed
        time.sleep(every_s)
        if not run.refresh():
            if over:
                return console.note(f"{run.name} has ended at step {max(0, step)}; `rltrain train --resume` goes on")
            continue
        step = min(step, _last(run.metrics))  # a resumed run was cut back
        for row in _rows(run.metrics[run.metrics["step"] > step]):
            step = int(row["step"])
            console.step(step, row)
        for event in run.events[min(told, len(run.events)) :]:
            console.event(event)
        told = len(run.events)


def _last(frame: pd.DataFrame) -> int:
    return int(frame["step"].max()) if len(frame) else -1


def _rows(frame: pd.DataFrame) -> list[dict[str, float]]:
    """One mapping a step, without what a step does not have."""
    return [{name: value for name, value in row.items() if not math.isnan(value)} for row in frame.to_dict("records")]
