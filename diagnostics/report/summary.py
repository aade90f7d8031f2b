"""A run in plain sentences, and its held-out evaluation as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diagnostics.report.text import shown
from rltrain.metrics import METRICS, stem
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd


INSIDE = ("time/step_s", "time/gradients_s")  # the whole, and what is a part of another part


class Change(NamedTuple):
    """A held-out figure at the first and at the last evaluation."""

    name: str
    unit: str
    first_step: int
    first: float
    last_step: int
    last: float


def evaluations(frame: pd.DataFrame) -> list[Change]:
    """Each `eval/*` metric at its first and last evaluation, totals before classes."""
    changes = []
    for name in sorted(name for name in frame.columns if name.startswith("eval/")):
        known = frame[["step", name]].dropna()
        if len(known) and stem(name) in METRICS:
            (first_step, first), (last_step, last) = known.iloc[0], known.iloc[-1]
            changes.append(Change(name, METRICS[stem(name)].unit, int(first_step), first, int(last_step), last))
    return changes


def sentences(run: RunFiles) -> list[str]:
    """What the run did, most important first; says nothing that its files do not hold."""
    frame = run.metrics
    if frame.empty:
        return ["No step has been written yet."]
    told = [_extent(run), _evaluation(frame), _forecast(run)]
    told.append(_course(frame, "reward/mean", "Mean reward"))
    told.append(_course(frame, "reward/outcome", "Mean outcome in training"))
    told.append(_course(frame, "entropy/mean", "Entropy", " nats"))
    told.append(_gap(frame))
    told.append(_course(frame, "length/mean", "Length", " tokens"))
    told += [_time(frame), _events(run)]
    return [sentence for sentence in told if sentence]


def _extent(run: RunFiles) -> str:
    frame = run.metrics
    trained = frame[frame["step"] > 0]
    planned = run.planned_steps
    steps = int(frame["step"].max())
    words = [f"{steps} optimizer step{'s' * (steps != 1)}" + (f" of {planned}" if planned and planned != steps else "")]
    if "tokens/step" in trained:
        words.append(f"{trained['tokens/step'].sum():,.0f} completion tokens trained")
    if "time/step_s" in trained:
        words.append(f"{_duration(trained['time/step_s'].sum())} in the steps")
    return ", ".join(words) + "."


def _evaluation(frame: pd.DataFrame) -> str:
    change = next((change for change in evaluations(frame) if change.name == "eval/outcome"), None)
    if change is None:
        return "There was no held-out evaluation."
    if change.first_step == change.last_step:
        return f"Held-out outcome at step {change.first_step}: {change.first:.3g}; there is no second evaluation yet."
    word = "rose" if change.last > change.first else "fell" if change.last < change.first else "stayed"
    return (
        f"Held-out outcome {word} from {change.first:.3g} at step {change.first_step} "
        f"to {change.last:.3g} at step {change.last_step} ({change.last - change.first:+.3g})."
    )


def _forecast(run: RunFiles) -> str:
    """The order's forecast against what came; the last event of it counts."""
    events = [event for event in run.events if event.name == "order_forecast"]
    forecast, came = (events[-1].evidence.get(key) for key in ("forecast", "came")) if events else (None, None)
    if not isinstance(forecast, dict) or not isinstance(came, dict):
        return ""
    pairs = [(name, came[name], forecast[name]) for name in came if name in forecast]
    known = [(name, *two) for name, *two in pairs if all(isinstance(value, int | float) for value in two)]
    told = ", ".join(f"{shown(name, 60)} {value:.3g} ({expected:.3g})" for name, value, expected in known)
    return f"What the order of the sources ended with, against its forecast: {told}." if told else ""


def _course(frame: pd.DataFrame, name: str, label: str, unit: str = "") -> str:
    """First tenth against last tenth, at most 20 steps each: single steps are noise."""
    known = frame[name].dropna() if name in frame else []
    if len(known) < 2:
        return ""
    window = min(20, max(1, len(known) // 10))
    first, last = known.iloc[:window].mean(), known.iloc[-window:].mean()
    span = f"mean of {window} steps" if window > 1 else "single steps"
    return f"{label}: {first:.3g}{unit} at the start, {last:.3g}{unit} at the end ({span})."


def _gap(frame: pd.DataFrame) -> str:
    names = ["step", "entropy/gap", "entropy/gap_low", "entropy/gap_high"]
    found = frame.reindex(columns=names).dropna(subset="entropy/gap")
    if not len(found):
        few = "Planning and execution entropy cannot be compared: too few planning tokens."
        return few if "plan/ratio" in frame else ""
    known = found.dropna()
    if not len(known):
        step, gap, *_ = found.iloc[-1]
        return f"Planning minus execution entropy at step {step:.0f}: {gap:.3g} nats; too few prompts for an interval."
    step, gap, low, high = known.iloc[-1]
    sure = "above 0" if low > 0 else "below 0" if high < 0 else "not told from 0"
    return (
        f"Planning minus execution entropy at step {step:.0f}: {gap:.3g} nats, "
        f"95% interval {low:.3g} to {high:.3g}, {sure}."
    )


def _time(frame: pd.DataFrame) -> str:
    whole = frame["time/step_s"].sum() if "time/step_s" in frame else 0
    parts = {name: frame[name].sum() for name in frame if name.startswith("time/") and name not in INSIDE}
    whole = max(whole, sum(parts.values())) if whole else 0  # the parity gate and evaluations lie outside the steps
    largest = sorted(parts, key=parts.__getitem__, reverse=True)[:3]
    words = [f"{name[5:].removesuffix('_s')} {parts[name] / whole:.0%}" for name in largest if whole and parts[name]]
    return f"Where the time went: {', '.join(words)}." if words else ""


def _events(run: RunFiles) -> str:
    grave = [event for event in run.events if event.severity != "info"]
    if not grave:
        return "No warnings."
    last = max(grave, key=lambda event: event.step)
    errors = sum(event.severity == "error" for event in grave)
    tally = ((errors, "error"), (len(grave) - errors, "warning"))
    counts = " and ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in tally if count)
    return f"{counts}; the last one at step {last.step}: {shown(last.name, 60)}."


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
