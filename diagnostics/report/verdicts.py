"""The three questions a person has about a run, answered in sentences: what phase, what is wrong, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from diagnostics.phase.diagnostic import ADVICE
from diagnostics.report.text import shown
from rltrain.records import RunFiles
from rltrain.records.phases import phases, told
from rltrain.types import Event

WAVE = 0.1  # share of all prompts set aside in one step that is told as a wave
MOST = 5  # findings and pieces of advice told, the gravest and latest first
MEANING = {
    "consolidating": "execution is getting surer, planning has not begun",
    "planning": "the variety of plans has risen, execution stayed sure",
    "stalled": "neither execution nor the variety of plans moves",
}
NAMED = {
    "format_collapse": ("one form of answers took over", "{winner}, from {base_share:.0%} to {share:.0%} of answers"),
    "format_wrong_winner": ("the form that took over is less often right than another", "{winner} than {better}"),
    "engine_restarted": ("an engine was replaced", "{engine}: {cause}"),
    "entropy_spent": ("most of the entropy is spent", "{spent:.0%} of that of the first steps"),
    "metric_jump": ("pass/fail jumped and nothing continuous moved with it", "{pass_change:+.0%}"),
    "nothing_learnable": ("no prompt was left to learn from", ""),
    "stuck": ("a part of a step took very long", "{stage}, over {seconds:,.0f} s"),
    "task_starved": ("a task was hardly ever trained", ""),
}
"""Event -> what happened, and its particulars out of the evidence."""
MOST_CAUSES = 3  # told of events of one name


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
    last = found.segments[-1].state
    words = told(found)
    return _sentence(f"{words}: {MEANING[last]}" if last in MEANING else words)


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
        return ["Nothing is wrong; go on. To name a phase takes some tens of steps with execution and plans known."]
    return [_sentence(ADVICE[states[-1]] if states else "nothing is wrong; go on")]


def _steps(run: RunFiles) -> int:
    """The last step that anything is known of."""
    return max([int(run.metrics["step"].max()) if len(run.metrics) else 0, *(event.step for event in run.events)])


def _finding(events: Sequence[Event]) -> Finding:
    last = events[-1]
    # "nothing is lost; look into it if it recurs" is advice once it has recurred
    idle = last.advice.startswith("nothing" if len(events) == 1 else "nothing to do")
    severity = "error" if any(event.severity == "error" for event in events) else "warning"
    return Finding(severity, _sentence(_told(events)), "" if idle else shown(last.advice, 300), last.step)


def _told(events: Sequence[Event]) -> str:
    """What happened how often, and by which causes."""
    name = events[-1].name
    what = NAMED[name][0] if name in NAMED else shown(name.replace("_", " "), 60)
    causes = Counter(filter(None, map(_particulars, events)))
    alike = len(causes) == 1 and causes.total() == len(events)
    listed = [cause if alike or times == 1 else f"{cause}, {times} times" for cause, times in causes.most_common()]
    more = f"; {len(listed) - MOST_CAUSES} other causes" if len(listed) > MOST_CAUSES else ""
    aside = f" ({'; '.join(listed[:MOST_CAUSES])}{more})" if listed else ""
    return f"{what}{aside}, {_when([event.step for event in events])}"


def _when(steps: Sequence[int]) -> str:
    """At step 7; twice, at step 7; 3 times, from step 3 to 9."""
    first, last = min(steps), max(steps)
    often = "" if len(steps) == 1 else "twice, " if len(steps) == 2 else f"{len(steps):,} times, "
    at = "before the first step" if last == 0 else f"at step {last}"
    return often + (at if first == last else f"from step {first} to {last}")


def _particulars(event: Event) -> str:
    """The numbers and names it rests on; nothing where it is none of ours, or lacks them."""
    known = {key: shown(value, 80) if isinstance(value, str) else value for key, value in event.evidence.items()}
    try:
        return NAMED[event.name][1].format(**known) if event.name in NAMED else ""
    except (KeyError, ValueError, TypeError):  # evidence of another version
        return ""


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
    """The answers: `phase` (one sentence), `wrong`, `todo` and `missing` (sentences; none where all is there)."""
    found, missing, last = (
        wrong(run),
        [f"{shown(note)}." for note in run.notes],
        _steps(run),
    )  # names of files as they are
    said = [] if last else ["No optimizer step has been finished."]
    said += [finding.words for finding in found[:MOST]]
    if len(found) > MOST:
        said.append(f"And {len(found) - MOST} more; see the events.")
    read = "what can be read" if missing else f"{last:,} step{'s' * (last != 1)}"
    well = f"no warning and no error in {read}."
    return {
        "phase": phase(run),
        "wrong": said or [_sentence(well) if missing else f"Nothing: {well}"],
        "todo": todo(run),
        "missing": missing,
    }
