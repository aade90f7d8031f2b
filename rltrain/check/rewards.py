"""Rewards bound, routed and tried on one task of each source."""

from __future__ import annotations

import numpy as np

from rltrain import reward_trial, scoring
from rltrain.check.judge import check_judge
from rltrain.check.lent import TrialScorer
from rltrain.check.sources import Tasks
from rltrain.check.trials import DRESSES, GARBAGE, trial_group
from rltrain.check.verdicts import Section, where
from rltrain.config import Config
from rltrain.generators import Scripted
from rltrain.judging import BoundReward
from rltrain.types import Score, Task

WRONG = "Answer: 0"  # what an answer has to be told from
ANSWERS = 32  # rows whose own answers are tried, over all sources


def check_rewards(config: Config, tasks: Tasks, *, tried: bool = True) -> tuple[Section, dict[str, tuple[Score, ...]]]:
    """Rewards bound and routed; each tried with the gold answer, nothing, and garbage. Scores by source."""
    section = Section("rewards")
    borrowed = {"scorer": TrialScorer(), "judge": Scripted()}
    bound = section.attempt("rewards", lambda: scoring.bind(config.rewards, borrowed))
    if bound is None:
        return section, {}
    kinds = {source: task.kind for source, task in tasks.samples.items()}
    notes = section.attempt("rewards", lambda: scoring.check_routing(bound, kinds))
    for note in notes or []:
        section.warn(note)
    for reward in bound:
        about = f"{reward.spec.role}, weight {reward.spec.weight:g}, form {reward.form}"
        section.ok(f"{reward.label}: {where(reward.call)}; {about}")
        for name, one in borrowed.items():
            if reward.arguments.get(name) is one:
                section.unchecked(
                    f"{reward.label}: its values", f"its {name} is not asked; one without a model answers"
                )
    check_judge(section, config)
    if not tried or notes is None:
        return section, {}
    groups = [trial_group(task, _texts(task)) for task in tasks.samples.values()]
    scored = section.attempt("rewards", lambda: reward_trial.scores(bound, groups, borrowed)) or []
    for group, scores in zip(groups, scored, strict=False):
        _tell(section, bound, group.task, scores)
    if not any(score.error for scores in scored for score in scores):
        _try_answers(section, bound, tasks)
    return section, {group.task.source: scores for group, scores in zip(groups, scored, strict=False)}


def _texts(task: Task) -> list[str]:
    """The gold answer in several forms, nothing, garbage."""
    return [*(dress.format(task.answer or "") for dress in DRESSES), "", GARBAGE]


def _tell(section: Section, bound: list[BoundReward], task: Task, scores: tuple[Score, ...]) -> None:
    """What a source's sample scored, and whether that is what a reward is for."""
    if failed := dict.fromkeys(s.error.splitlines()[0] for s in scores if s.error):
        section.error(f"{task.source}: {'; '.join(failed)}")
        return
    *right, empty, garbage = scores
    best = max(right, key=lambda score: (score.outcome or 0.0, score.total))
    told = f"{task.source}: gold answer {_said(best)}; empty {_said(empty)}; garbage {_said(garbage)}"
    judging = [r for r in bound if r.spec.role == "outcome" and r.applies_to(task.source, task.kind)]
    judges, lent = [r.label for r in judging], any({"judge", "scorer"} & r.arguments.keys() for r in judging)
    if judges and all(score.outcome is None for score in scores):
        section.warn(f"{told}. The outcome reward {judges[0]!r} does not apply to tasks of {task.source!r}")
    elif best.outcome is not None and task.answer is not None and not lent and best.outcome <= (empty.outcome or 0.0):
        section.warn(f"{told}. The gold answer, bare or as {', '.join(DRESSES[1:])}, scores no better than nothing")
    else:
        section.ok(told)


def _try_answers(section: Section, bound: list[BoundReward], tasks: Tasks) -> None:
    """Answers on which the outcome reward itself fails (it cannot read them, say), of rows spread over all."""
    judging = [r for r in bound if r.spec.role == "outcome" and not {"judge", "scorer"} & r.arguments.keys()]
    table = tasks.sets.train if tasks.sets is not None and tasks.whole else ()
    if not judging or not len(table):
        return
    spread = np.unique(np.linspace(0, len(table) - 1, ANSWERS).astype(int))
    some = [task for task in (table[int(i)] for i in spread) if task.answer is not None]
    scored = reward_trial.scores(judging, [trial_group(task, [task.answer, WRONG]) for task in some])
    failed = [error for scores in scored if (error := next((score.error for score in scores if score.error), None))]
    if failed:
        first = failed[0].splitlines()[0]
        section.warn(f"{len(failed)} of {len(some)} answers tried are errors to their reward. The first: {first}")


def _said(score: Score) -> str:
    outcome = "no outcome" if score.outcome is None else f"outcome {score.outcome:.2g}"
    return f"{outcome}, reward {score.total:.2g}"
