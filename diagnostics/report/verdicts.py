"""The three questions a person has about a run, answered in sentences: what phase, what is wrong, what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from diagnostics.phase.diagnostic import ADVICE
from diagnostics.report.phases import phases
from rltrain.records import RunFiles
from rltrain.types import Event

WAVE = 0.1  # share of all prompts set aside in one step that is told as a wave
MOST = 5  # findings and pieces of advice told, the gravest and latest first
STATES = {
    "consolidating": "Consolidating since step {start}: execution is getting surer, planning has not begun",
    "planning": "Planning since step {onset}{interval}: the variety of plans has risen, execution stayed sure",
    "stalled": "Stalled since step {start}: neither execution nor the variety of plans moves",
    "undecided": "No phase can be named at step {end}: no move is certain",
}
NAMED = {
    "format_collapse": "one form of answers took over: {winner}, from {base_share:.0%} to {share:.0%} of completions",
    "format_wrong_winner": "the form that took over, {winner}, is less often right than {better}",
    "engine_restarted": "an engine was replaced ({engine}: {cause})",
    "entropy_spent": "{spent:.0%} of the first steps' entropy is spent",
    "metric_jump": "pass/fail moved by {pass_change:+.0%} and nothing continuous moved with it",
    "nothing_learnable": "no prompt was left to learn from",
    "task_starved": "a task was hardly ever trained",
}


class Finding(NamedTuple):
    """Events of one name, or what a file says, in words."""

    severity: str
    words: str
    advice: str
    step: int


def phase(run: RunFiles) -> str:
    """Which phase the run is in, since when, and how sure that is."""
    found = phases(run)
    if not found.segments:
        return "The phase of learning is not known: the files hold no verdict (the phase diagnostic makes it)."
    last = found.segments[-1]
    onset = found.onset if found.onset is not None else last.start
    low, high = found.interval or (onset, onset)
    interval = f" (90% interval: step {low} to {high})" if found.interval else ""
    words = STATES[last.state].format(start=last.start, end=last.end, onset=onset, interval=interval)
    chance = "the likeliest state has a probability of" if last.state == "undecided" else "probability"
    return f"{words}; {chance} {last.confidence:.0%}."


def wrong(run: RunFiles) -> list[Finding]:
    """What is wrong, gravest first, then latest; warnings and errors of one name are one finding."""
    by_name: dict[str, list[Event]] = {}
    for event in run.events:
        if event.severity != "info":
            by_name.setdefault(event.name, []).append(event)
    found = [_finding(events) for events in by_name.values()] + _waves(run)
    return sorted(found, key=lambda finding: (finding.severity != "error", -finding.step))


def todo(run: RunFiles) -> list[str]:
    """What to do next: the advice of what is wrong, or of the phase where nothing is."""
    found = [f"{finding.advice.rstrip('. ')} (step {finding.step})" for finding in wrong(run) if finding.advice]
    if found:
        return [_sentence(words) for words in list(dict.fromkeys(found))[:MOST]]
    if not _steps(run):
        return ["Find out why no step was finished: see the console's last words and `rltrain check` of its config."]
    states = [segment.state for segment in phases(run).segments]
    if set(states) == {"undecided"}:  # nothing went before that could be gone
        return ["Nothing is wrong; go on. Most runs need some tens of steps before a phase can be named."]
    return [_sentence(ADVICE[states[-1]] if states else "nothing is wrong; go on")]


def _steps(run: RunFiles) -> int:
    """The last step that anything is known of."""
    return max([int(run.metrics["step"].max()) if len(run.metrics) else 0, *(event.step for event in run.events)])


def _finding(events: Sequence[Event]) -> Finding:
    first, last = events[0], events[-1]
    often = f"{len(events)} times, from step {first.step} to {last.step}" if len(events) > 1 else f"at step {last.step}"
    # "nothing is lost; look into it if it recurs" is advice once it has recurred
    idle = last.advice.startswith("nothing" if len(events) == 1 else "nothing to do")
    advice = "" if idle else last.advice
    return Finding(last.severity, _sentence(f"{_words(last)}, {often}"), advice, last.step)


def _words(event: Event) -> str:
    """The event in words; its name where it is none of ours, or lacks its numbers."""
    plain = event.name.replace("_", " ")
    try:
        return NAMED[event.name].format(**event.evidence) if event.name in NAMED else plain
    except (KeyError, ValueError, TypeError):  # evidence of another version
        return plain


def _waves(run: RunFiles) -> list[Finding]:
    """Steps in which a large part of all prompts was set aside at once."""
    sizes = [c for c in ("unknown", "learnable", "too_easy", "quarantined") if f"curriculum/{c}" in run.metrics]
    whole = run.metrics[[f"curriculum/{c}" for c in sizes]].sum(axis=1).max() if sizes else 0
    aside: dict[int, int] = {}
    for event in run.events:
        count = event.evidence.get("prompts")
        if event.name == "quarantined" and isinstance(count, int):
            aside[event.step] = aside.get(event.step, 0) + count
    found = {step: count for step, count in aside.items() if whole and count >= WAVE * whole}
    if not found:
        return []
    step = max(found, key=found.__getitem__)
    words = f"A wave of quarantine: {found[step]:,} of {whole:,.0f} prompts were set aside as too hard at step {step}"
    words += f", and {len(found) - 1} more such steps." if len(found) > 1 else "."
    advice = "look at completions of that step: if good answers fail, the reward broke; else the prompts are too hard"
    return [Finding("warning", words, advice, step)]


def _sentence(words: str) -> str:
    return (words[:1].upper() + words[1:]).rstrip(". ") + "."


def verdict(run: RunFiles) -> Mapping[str, Any]:
    """The answers: `phase` (one sentence), `wrong` and `todo` (sentences)."""
    found = wrong(run)
    last = _steps(run)
    told = [] if last else ["No optimizer step has been finished."]
    told += [_sentence(note) for note in run.notes]
    told += [finding.words for finding in found[:MOST]]
    if len(found) > MOST:
        told.append(f"And {len(found) - MOST} more; see the events.")
    return {
        "phase": phase(run),
        "wrong": told or [f"Nothing: no warning and no error in {last:,} steps."],
        "todo": todo(run),
    }
