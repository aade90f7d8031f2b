"""Which groups enter a batch, how many are asked for, and what becomes of those accepted beyond it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from rltrain import advantages, blame, collect
from rltrain.config import Config
from rltrain.run import Run
from rltrain.types import Event, Group

EQUAL, FAILED = "zero variance in outcome", "all scores failed"  # reasons against a group that are the loop's own


def at_first(config: Config, left_over: int) -> int:
    """Groups to ask for at once, for a batch of which `left_over` groups are there already."""
    return math.ceil(config.admission.oversample * max(0, config.groups_per_rollout - left_over))


def missing(config: Config, judged: Sequence[Group]) -> int:
    """Groups to ask for in place of those refused; 0 where there are enough, or the cap is reached."""
    short = config.groups_per_rollout - sum(group.admitted for group in judged)
    room = int(config.admission.max_factor * config.groups_per_rollout) - len(judged)
    return max(0, min(math.ceil(config.admission.oversample * short), room))


def split(judged: Sequence[Group], wanted: int) -> tuple[list[Group], list[Group]]:
    """The batch, its first `wanted` accepted groups and all refused ones, and the accepted ones left over."""
    kept = [group.ticket for group in judged if group.admitted]
    later = set(kept[wanted:])
    return [g for g in judged if g.ticket not in later], [g for g in judged if g.ticket in later]


def admitted(run: Run, group: Group) -> Group:
    """The group with the verdict of the outcome rule, the curriculum and its gates."""
    reason = None
    if group.scores and all(score.error for score in group.scores):
        reason = FAILED
    elif run.config.admission.zero_variance == "drop" and advantages.zero_variance(group):
        reason = EQUAL
    spec = run.config.curriculum
    for judge, of_judge in zip((run.curriculum, *run.gates), (spec, *spec.gates), strict=True):
        if reason is None:
            with blame.curriculum(of_judge, "admit"):
                reason = judge.admit(group)
    return collect.admit(group, reason)


def enough(run: Run, groups: list[Group], version: int) -> list[Group]:
    """At least one group per update is trained; where none was admitted, some are kept, and an event says so."""
    need = run.config.training.updates_per_rollout
    have = sum(group.admitted for group in groups)
    if have < need:
        reasons = Counter(group.reject_reason for group in groups if not group.admitted)
        evidence = {"sampled": len(groups), "admitted": have, "reasons": dict(reasons.most_common(5))}
        run.event(Event(version + 1, "nothing_admitted", "warning", evidence, _admission_advice(run, reasons)))
        spare = [i for i, group in enumerate(groups) if not group.admitted][: need - have]
        for i in spare:
            groups[i] = dataclasses.replace(groups[i], admitted=True, reject_reason=None)
    return groups


def _admission_advice(run: Run, reasons: Iterable[str]) -> str:
    """What to do about a batch that was refused for these reasons."""
    known = {
        EQUAL: "a prompt's outcomes are all equal: easier tasks, more generations, or admission.zero_variance: keep",
        FAILED: "the rewards failed: see the column `error` of the rollouts",
    }
    advice = [said for reason, said in known.items() if reason in reasons]
    if any(reason not in known for reason in reasons):
        spec = run.config.curriculum
        named = ", ".join(repr(judge.use) for judge in (spec, *spec.gates))
        advice.append(f"the curriculum or a gate refused ({named}): loosen its arguments")
    return "; ".join(["the step keeps refused groups", *advice])
