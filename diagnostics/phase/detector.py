"""The verdict: one judgement over how surely the policy executes and how variedly it plans.

    consolidating  the uncertainty of execution is falling; plan diversity has not begun to rise
    planning       plan diversity has risen since `onset_step`, and execution did not become less sure meanwhile
    stalled        neither moves, and enough has been seen since the last move to say so
    undecided      the evidence carries none of these

After Wang et al., arXiv 2509.03646: execution is consolidated first, then the semantic entropy of strategic phrases
rises. Token entropy of planning tokens is not read: the paper does not report that it rises. A policy that
falls apart says more different things too, and is told from planning by its execution, which gets less sure.

`judge` is a pure function of what was seen so far. Online it is called on the series up to now, after the fact on
the whole series: at the same step both say the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from diagnostics.phase.apart import FALL_EXPECTED, LEAST, loss_along
from diagnostics.phase.rise import Rise, find_rise, first_fall, rise_and_first_fall
from diagnostics.phase.stretches import (
    RISEN,
    Seen,
    Still,
    chances,
    is_certain,
    segments,
    settling_since,
    standing_still,
)
from diagnostics.phase.verdict import State, Verdict

LASTING = 5  # observations that a rise of diversity has to have been believed for
USUAL_WAIT = 100  # observations after which about two in three rises have begun
APART = 0.7  # odds, before looking at execution, that a rise of diversity is a policy that falls apart
SURELY_APART = 0.8  # probability from which on the verdict says so; below, that it is too early to tell
FALLS_FIRST = 0.25  # odds that diversity falls at the beginning
NEGLIGIBLE = -2.0  # log odds of a fall below which it is not followed up
PERPLEXITY, ENTROPY, DIVERSITY = NAMES = ("ppl/execution_rel", "entropy/execution", "plan/variety")


def retrospective(steps: Sequence[int], metrics: Mapping[str, Sequence[float]]) -> Verdict:
    """The verdict after `steps` (N,), which increase, on the series of `metrics`.

    `metrics` holds (N,) series under the names of the metric table, NaN where a step has no value. Of
    `ppl/execution_rel` and `entropy/execution` one is enough; without a series the verdict is "undecided", or
    what the others carry. Raises ValueError for steps that do not increase and for a series of another length.
    """
    times = np.asarray(steps, np.int64)
    if np.any(np.diff(times) <= 0):
        raise ValueError("phase: steps do not increase; expected one row a step, in order; sort and merge the rows")
    series = {name: np.asarray(metrics.get(name, np.full(len(times), np.nan)), np.float64) for name in NAMES}
    for name, values in series.items():
        if values.shape != times.shape:
            raise ValueError(f"phase: {name} has {len(values)} values; expected {len(times)}, one a step, NaN for none")
    return judge(times, execution_uncertainty(series[PERPLEXITY], series[ENTROPY]), series[DIVERSITY])


def execution_uncertainty(perplexity_rel: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """One series (N,) in nats of what relative perplexity (N,) and token entropy (N,) of execution both measure.

    On its own samples a policy's mean negative log-likelihood has the entropy as expectation, and the log of the
    relative perplexity is that likelihood up to a constant: their mean is steadier than either. Where they are
    mostly not known together, the one that is known more often is taken alone.
    """
    positive = np.isfinite(perplexity_rel) & (perplexity_rel > 0)
    surprise = np.where(positive, np.log(np.where(positive, perplexity_rel, 1.0)), np.nan)
    alone, other, both = (int(np.isfinite(series).sum()) for series in (surprise, entropy, surprise + entropy))
    if both >= 0.8 * max(alone, other):
        return 0.5 * (surprise + entropy)
    return surprise if alone >= other else entropy


def diversity_rise(steps: np.ndarray, diversity: np.ndarray) -> Rise | None:
    """The rise in plan diversity (N,), which may come after a fall, as in the paper's Llama runs.

    Four courses are weighed against each other: flat, a rise, a fall at the beginning, a rise after such a fall. The
    Bayes factor is less by the share of rises that have not begun after so few observations; without that most false
    alarms come from the first steps, where noise is least known.

    A rise with evidence enough has no more than it had `LASTING` observations ago. An upswing of noise at the end of
    the record looks like a rise for few steps only, so this keeps out more of them than a bar twice as high does.
    """
    rise = _weighed(steps, diversity)
    if rise is None or rise.log_bayes_factor < RISEN:
        return rise
    known = np.flatnonzero(np.isfinite(diversity))
    ago = known[-round(LASTING * len(known) / rise.count)]  # in a thinned series an observation is several values
    before = _weighed(steps[:ago], diversity[:ago])
    held = 0.0 if before is None else before.log_bayes_factor
    return rise if held >= rise.log_bayes_factor else _with_evidence(rise, held)


def _weighed(steps: np.ndarray, diversity: np.ndarray) -> Rise | None:
    """The rise in plan diversity (N,) with the evidence that these steps alone carry."""
    whole, fall = rise_and_first_fall(steps, diversity)
    if whole is None:
        return None
    begun = math.log(-math.expm1(-whole.count / USUAL_WAIT))
    if fall is None or (odds := fall.log_bayes_factor + math.log(FALLS_FIRST)) < NEGLIGIBLE:
        return _with_evidence(whole, whole.log_bayes_factor + begun)
    later = steps >= fall.end
    after = find_rise(steps[later], diversity[later])
    rises = odds + (0.0 if after is None else after.log_bayes_factor)
    evidence = float(np.logaddexp(whole.log_bayes_factor, rises) - np.logaddexp(0.0, odds))
    likelier = after if after is not None and rises > whole.log_bayes_factor else whole
    return _with_evidence(likelier._replace(count=whole.count), evidence + begun)


def blurring(steps: np.ndarray, execution: np.ndarray, rise: Rise) -> tuple[float, Rise | None]:
    """Log Bayes factor of execution getting less sure, together with the rise of diversity or at all; the latter.

    Along the rise it is looked for beside the fall with which the uncertainty (N,) of execution usually begins,
    and at all behind it.
    """
    together = loss_along(steps, execution, rise.onset, rise.end)
    fall = first_fall(steps, execution, FALL_EXPECTED)
    if is_certain(fall):
        steps, execution = steps[steps >= fall.end], execution[steps >= fall.end]
    alone = find_rise(steps, execution)
    if alone is None or alone.size < LEAST * alone.noise:
        return together, alone
    return float(np.logaddexp(alone.log_bayes_factor, together) - math.log(2)), alone


def judge(steps: np.ndarray, execution: np.ndarray, diversity: np.ndarray) -> Verdict:
    """The verdict on execution uncertainty (N,) and plan diversity (N,) at steps (N,): all that was seen so far."""
    rise, fall = diversity_rise(steps, diversity), find_rise(steps, -execution, FALL_EXPECTED)
    seen = Seen(steps, execution, diversity, rise, fall)
    if rise is None and fall is None:
        return Verdict("undecided", None, None, 0.0, (), "too few steps with a value", {})
    evidence = _numbers("diversity_rise", rise) | _numbers("execution_fall", fall)
    if seen.has_risen and fall is not None:
        against, blurred = blurring(steps, execution, rise)
        evidence |= _numbers("execution_rise", blurred) | {"apart_log_bayes_factor": against}
        apart = _chance(against + math.log(APART))
        chance = rise.probability * (1 - apart)
        if apart > 0.5:
            since = rise.onset if blurred is None else min(rise.onset, blurred.onset)
            parts = segments(seen, "undecided", since, chance)
            why = "plan diversity rises, but " + (
                "execution gets less sure as well, as in a policy that falls apart"
                if apart > SURELY_APART
                else "it is too early to tell whether execution holds or the policy falls apart"
            )
            return Verdict("undecided", None, None, chance, parts, why, evidence)
        parts = segments(seen, "planning", rise.onset, chance)
        why = "plan diversity has risen, and execution did not become less sure"
        return Verdict("planning", rise.onset, rise.interval, chance, parts, why, evidence)
    found = _without_a_rise(seen)
    parts = segments(seen, found.state, found.since, found.confidence, found.still)
    return Verdict(found.state, None, None, found.confidence, parts, found.why, evidence)


class Found(NamedTuple):
    """What a run without a certain rise of diversity is at."""

    state: State
    since: int  # step
    confidence: float
    why: str
    still: Still | None = None  # what was found of a stretch that stands still


def _without_a_rise(seen: Seen) -> Found:
    """Where a rise of diversity is not certain, or execution unknown."""
    rise, fall = seen.rise, seen.fall
    stalled, consolidating, planning = chances(rise, fall)
    likeliest = max(stalled, consolidating, planning)
    if seen.has_fallen and consolidating > 0.5:
        why = "execution is getting surer, plan diversity does not rise"
        return Found("consolidating", settling_since(seen), consolidating, why)
    since = fall.end if seen.has_fallen else int(seen.steps[0])
    why = "no move is certain, and too little was seen to call it stalled"
    if rise is None or fall is None:
        missing = "plan diversity" if rise is None else "execution"
        why = f"{missing} has too few values, or none that differ, and one series alone does not tell"
    elif stalled > 0.5:
        still = standing_still(seen, since, int(seen.steps[-1]))
        before = still.was_worse and f"{still.was_worse} until step {still.since}, and "
        if still.is_certain:
            why = f"{before}neither execution nor plan diversity moves"
            return Found("stalled", still.since, min(stalled, still.chance), why, still)
        if still.worse or before:
            lacking = "no move since is certain" if still.enough else "too little was seen since"
            why = still.worse or before + lacking
    return Found("undecided", since, likeliest, why)


def _with_evidence(move: Rise, evidence: float) -> Rise:
    return move._replace(log_bayes_factor=evidence, probability=_chance(evidence))


def _chance(log_odds: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * log_odds))


def _numbers(name: str, move: Rise | None) -> dict[str, float]:
    """A move as evidence."""
    if move is None:
        return {}
    found = {"log_bayes_factor": move.log_bayes_factor, "size": move.size, "noise": move.noise, "memory": move.memory}
    return {f"{name}_{key}": value for key, value in (found | {"observations": float(move.count)}).items()}
