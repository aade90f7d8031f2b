"""`rltrain plugin check SPEC`: what a run expects of a reward, tried before a run depends on it."""

from __future__ import annotations

import pickle
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rltrain import reward_trial, scoring
from rltrain.check.trials import DRESSES
from rltrain.check.verdicts import Section, errors, show, where
from rltrain.judging import BoundReward
from rltrain.kit import rows
from rltrain.kit.adversaries import adversaries
from rltrain.kit.lent import borrowed, on_trial
from rltrain.types import Group, Score

RIGHT, LOW = 0.99, 0.5  # a gold answer reaches the first, nothing else the second
SLOW_S = 0.1  # a call that takes longer is worth a word
TIMED = 15  # calls whose median is told
PLAIN = (
    {"prompt": "What is 17 + 25?", "answer": "42"},
    {"prompt": "Name the colour of a clear sky.", "answer": "blue"},
    {"prompt": "How many days has a leap year?", "answer": "366"},
)
"""Tasks for a reward that brings no examples; the answer stands in several forms, of which one has to do."""


class Case(NamedTuple):
    """A completion that was judged, and how."""

    task: str
    name: str
    text: str
    score: Score
    gold: bool
    form: bool = False  # gold, as one of several forms of a plain task's answer


def main(reward: BoundReward, path: Path | None) -> int:
    """Print what was found. 0 where it holds, else 2."""
    from rich.console import Console

    console = Console(highlight=False, width=shutil.get_terminal_size((120, 24)).columns)
    sections, cases = look(reward, path)
    for section in sections:
        show(section, console)
    if wrong := misjudged(reward, cases):
        console.print(_table(wrong))
    count = len(errors(sections))
    console.print(f"{count} error(s)", style="bold red" if count else "bold green")
    return 2 if count else 0


def look(reward: BoundReward, path: Path | None) -> tuple[list[Section], list[Case]]:
    """All sections, and every completion with its score."""
    examples, origin = _examples(reward, path)
    groups, names = _groups(examples, dressed=origin is None)
    large = [rows.group(groups[0].task, [text]) for text in _large(groups[0]).values()]
    timed = [rows.group(group.task, [group.completions[0].text]) for group in groups] * TIMED
    lent = borrowed(reward)
    told = reward_trial.trials(reward, [*groups, *groups, *large, *timed[:TIMED]], lent)
    again = reward_trial.trials(reward, groups, lent)
    scores = [scoring.combine([reward], [trial.judgements], len(trial.judgements)) for trial in told]
    cases = [
        Case(group.task.key, name, completion.text, score, gold, gold and origin is None)
        for group, labels, row in zip(groups, names, scores, strict=False)
        for (name, gold), completion, score in zip(labels, group.completions, row, strict=True)
    ]
    seconds = [trial.seconds for trial in told]
    first, second, sizes = len(groups), 2 * len(groups), len(large)
    behaviour = _behaviour(reward, told[:first], [told[first:second], again])
    behaviour.fact(_times(seconds[second + sizes :], seconds[second : second + sizes]))
    if statistics.median(seconds[second + sizes :]) > SLOW_S:
        behaviour.warn(f"a call takes longer than {SLOW_S:g} s; scoring may hold up the run (see time/score_s)")
    key = groups[0].task.key
    for (name, text), row in zip(_large(groups[0]).items(), scores[second : second + sizes], strict=True):
        cases.append(Case(key, name, text[:100], row[0], False))
    return [_signature(reward, origin), behaviour, _judgements(reward, cases)], cases


def misjudged(reward: BoundReward, cases: Sequence[Case]) -> list[Case]:
    """Completions that deserve nothing and were accepted, and gold ones that were refused.

    Of a task whose answer stands in several forms one is enough, and a reward may be for numbers or for words only.
    """
    if reward.spec.role != "outcome" or on_trial(reward):
        return []
    judged = [case for case in cases if case.score.outcome is not None]
    accepted = [case for case in judged if not case.gold and case.score.outcome >= LOW]
    refused = [case for case in judged if case.gold and case.score.outcome < RIGHT]
    solved = any(case.gold and case.form and case.score.outcome >= RIGHT for case in judged)
    return [*accepted, *(case for case in refused if not (case.form and solved))]


def _examples(reward: BoundReward, path: Path | None) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    """Rows whose completion must score 1, and where they come from; None: there are only plain tasks."""
    if path is not None:
        return rows.read(path), str(path)
    module = sys.modules.get(getattr(reward.call, "__module__", ""))
    own = getattr(module, "EXAMPLES", None)
    if own is None:
        return PLAIN, None
    place = f"EXAMPLES of {where(reward.call)}"
    return [rows.checked(row, f"{place}, row {number}") for number, row in enumerate(own, 1)], place


def _groups(
    examples: Sequence[Mapping[str, Any]], *, dressed: bool
) -> tuple[list[Group], list[list[tuple[str, bool]]]]:
    """A group a task, gold completions first, and for each completion its name and whether it is gold."""
    groups, names = [], []
    for number, row in enumerate(examples, 1):
        task = rows.task(row, number)
        forms = {f"gold as {dress}": dress.format(task.answer) for dress in DRESSES}
        gold = forms if dressed else {"gold": row["completion"]}
        small = {name: text for name, text in adversaries(task).items() if not name.startswith("megabyte")}
        groups.append(rows.group(task, [*gold.values(), *small.values()], number))
        names.append([*((name, True) for name in gold), *((name, False) for name in small)])
    return groups, names


def _large(group: Group) -> Mapping[str, str]:
    return {name: text for name, text in adversaries(group.task).items() if name.startswith("megabyte")}


def _signature(reward: BoundReward, origin: str | None) -> Section:
    section = Section("signature")
    section.ok(f"{reward.label}: {where(reward.call)}, form {reward.form}, role {reward.spec.role}; arguments bind")
    pickle.dumps(reward.spec)  # what travels to the scoring processes; the function is imported there
    section.ok("spec and arguments travel, and resolve in another process")
    if not (reward.call.__doc__ or "").strip():
        section.warn("no docstring; say in a line what scores 1 and what 0")
    if origin is None:
        section.warn(
            "no examples of its own: tried on three plain questions. Define EXAMPLES beside it, or give --file, "
            "with rows {prompt, answer, meta, completion} whose completion must score 1"
        )
    else:
        section.fact(f"gold completions: {origin}")
    return section


def _behaviour(
    reward: BoundReward, first: Sequence[reward_trial.Trial], others: Sequence[Sequence[reward_trial.Trial]]
) -> Section:
    """Whether it says the same again, in its process and in another."""
    section = Section("behaviour")
    for other, place in zip(others, ("in the same process", "in another process"), strict=True):
        same = all(_values(one) == _values(two) for one, two in zip(first, other, strict=True))
        if same:
            section.ok(f"the same values again {place}")
        else:
            section.error(f"{reward.label}: other values the second time {place}; a resumed run would differ")
    return section


def _values(trial: reward_trial.Trial) -> list[tuple[float | None, Mapping[str, float]]]:
    return [(judgement.value, judgement.parts) for judgement in trial.judgements]


def _times(calls: Sequence[float], large: Sequence[float]) -> str:
    median, most = statistics.median(calls) * 1e3, max(calls) * 1e3
    return f"one completion: {median:.2f} ms in the median, {most:.2f} ms at most; of a megabyte {max(large):.2f} s"


def _judgements(reward: BoundReward, cases: Sequence[Case]) -> Section:
    """Errors, and what was accepted or refused wrongly."""
    section = Section("false accepts and false rejects")
    for case in cases:
        if case.score.error:
            section.error(f"{case.name}: {case.score.error.splitlines()[0]}")
    if reward.spec.role != "outcome":
        section.unchecked("what is right", "role shaping has no right and wrong; values are finite where no error is")
        return section
    if names := on_trial(reward):
        advice = (
            "; --judge URL --judge-model NAME lends a real one" if "judge" in names else "; --scorer MODEL lends one"
        )
        section.unchecked(
            "what is right", f"no {' and no '.join(names)} is asked here, one without a model answers{advice}"
        )
        return section
    gold = [case for case in cases if case.gold]
    if all(case.score.outcome is None for case in gold) and not errors([section]):
        section.error(f"{reward.label} applies to none of the tasks it was tried on; give --file with rows it is for")
    wrong = misjudged(reward, cases)
    for what, is_gold in (("false accepts", False), ("false rejects", True)):
        found = [case for case in wrong if case.gold == is_gold]
        of = sum(case.gold == is_gold for case in cases)
        line = f"{what}: {len(found)} of {of}"
        if found:
            section.error(f"{line}: {', '.join(dict.fromkeys(case.name for case in found))}")
        else:
            section.ok(line)
    return section


def _table(wrong: Sequence[Case]) -> Any:
    from rich.table import Table

    from rltrain.terminal import printable

    table = Table("task", "completion", "text", "score", title="judged otherwise than expected")
    for case in wrong:
        table.add_row(case.task, case.name, printable(case.text, 50), f"{case.score.outcome:.3g}")
    return table
