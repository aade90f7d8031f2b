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

import numpy as np

from diagnostics.phase.apart import FALL_EXPECTED, LEAST, loss_along
from diagnostics.phase.rise import FEWEST, Rise, find_rise, first_fall, rise_and_first_fall
from diagnostics.phase.verdict import Segment, State, Verdict

EVIDENCE = math.log(30)  # log Bayes factor from which on a fall of execution is believed
RISEN = math.log(15)  # that of a rise of diversity, now and `LASTING` observations ago; measured in docs/phases.md
LASTING = 5  # observations
USUAL_WAIT = 100  # observations after which about two in three rises have begun
APART = 0.7  # odds, before looking at execution, that a rise of diversity is a policy that falls apart
SURELY_APART = 0.8  # probability from which on the verdict says so; below, that it is too early to tell
FALLS_FIRST = 0.25  # odds that diversity falls at the beginning
NEGLIGIBLE = -2.0  # log odds of a fall below which it is not followed up
FLAT_ENOUGH = 20.0  # independent observations without a move from which on a run is called stalled
ENDED = 0.2  # probability that a fall goes on from which down it is over; at a half the verdict would go to and fro
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
    if not _risen(rise):
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
    return _with_evidence(likelier, evidence + begun)


def blurring(steps: np.ndarray, execution: np.ndarray, rise: Rise) -> tuple[float, Rise | None]:
    """Log Bayes factor of execution getting less sure, together with the rise of diversity or at all; the latter.

    Along the rise it is looked for beside the fall with which the uncertainty (N,) of execution usually begins,
    and at all behind it.
    """
    together = loss_along(steps, execution, rise.onset, rise.end)
    fall = first_fall(steps, execution, FALL_EXPECTED)
    if _certain(fall):
        steps, execution = steps[steps >= fall.end], execution[steps >= fall.end]
    alone = find_rise(steps, execution)
    if alone is None or alone.size < LEAST * alone.noise:
        return together, alone
    return float(np.logaddexp(alone.log_bayes_factor, together) - math.log(2)), alone


def judge(steps: np.ndarray, execution: np.ndarray, diversity: np.ndarray) -> Verdict:
    """The verdict on execution uncertainty (N,) and plan diversity (N,) at steps (N,): all that was seen so far."""
    rise, fall = diversity_rise(steps, diversity), find_rise(steps, -execution, FALL_EXPECTED)
    if rise is None and fall is None:
        return Verdict("undecided", None, None, 0.0, (), "too few steps with a value", {})
    evidence = _numbers("diversity_rise", rise) | _numbers("execution_fall", fall)
    if _risen(rise) and fall is not None:
        against, blurred = blurring(steps, execution, rise)
        evidence |= _numbers("execution_rise", blurred) | {"apart_log_bayes_factor": against}
        apart = _chance(against + math.log(APART))
        chance = rise.probability * (1 - apart)
        if apart > 0.5:
            since = rise.onset if blurred is None else min(rise.onset, blurred.onset)
            parts = _segments(steps, rise, fall, "undecided", since, chance)
            why = "plan diversity rises, but " + (
                "execution gets less sure as well, as in a policy that falls apart"
                if apart > SURELY_APART
                else "it is too early to tell whether execution holds or the policy falls apart"
            )
            return Verdict("undecided", None, None, chance, parts, why, evidence)
        parts = _segments(steps, rise, fall, "planning", rise.onset, chance)
        why = "plan diversity has risen, and execution did not become less sure"
        return Verdict("planning", rise.onset, rise.interval, chance, parts, why, evidence)
    state, since, confidence, why = _without_a_rise(steps, rise, fall, execution, diversity)
    parts = _segments(steps, rise, fall, state, since, confidence)
    return Verdict(state, None, None, confidence, parts, why, evidence)


def getting_worse(steps: np.ndarray, since: int, execution: np.ndarray, diversity: np.ndarray) -> str:
    """In words, what of execution (N,) and diversity (N,) moves the wrong way from a step on; empty if nothing does."""
    late = steps >= since
    moves = {
        "plan diversity falls": find_rise(steps[late], -diversity[late]),
        "execution gets less sure": find_rise(steps[late], execution[late]),
    }
    return " and ".join(words for words, move in moves.items() if move is not None and move.log_bayes_factor > 0)


def _without_a_rise(
    steps: np.ndarray, rise: Rise | None, fall: Rise | None, execution: np.ndarray, diversity: np.ndarray
) -> tuple[State, int, float, str]:
    """State, since when, how sure, and why, where a rise of plan diversity is not certain, or execution unknown."""
    flat = 1.0 if rise is None else 1 - rise.probability
    falling = 0.0 if fall is None else fall.probability * fall.going_on
    if _certain(fall) and falling > ENDED:
        why = "execution is getting surer, plan diversity does not rise"
        return "consolidating", _begin(steps, fall), flat * falling, why
    since = fall.end if _certain(fall) else int(steps[0])
    chances = (flat * (1 - falling), flat * falling, 1 - flat)  # of stalled, consolidating, planning
    if rise is None or fall is None:
        missing = "plan diversity" if rise is None else "execution"
        why = f"{missing} has too few values, or none that differ, and one series alone does not tell"
        return "undecided", since, max(chances), why
    if chances[0] > 0.5 and _independent(steps, since, int(steps[-1]), rise, fall) >= FLAT_ENOUGH:
        worse = getting_worse(steps, since, execution, diversity)
        if worse:
            return "undecided", since, max(chances), worse
        return "stalled", since, chances[0], "neither execution nor plan diversity moves"
    return "undecided", since, max(chances), "no move is certain, and too little was seen to call it stalled"


def _with_evidence(move: Rise, evidence: float) -> Rise:
    return move._replace(log_bayes_factor=evidence, probability=_chance(evidence))


def _certain(move: Rise | None) -> bool:
    return move is not None and move.log_bayes_factor >= EVIDENCE


def _risen(rise: Rise | None) -> bool:
    return rise is not None and rise.log_bayes_factor >= RISEN


def _independent(steps: np.ndarray, start: int, end: int, *moves: Rise) -> float:
    """How many independent observations those of a stretch are worth, in the less telling series."""
    share = np.count_nonzero((steps > start) & (steps <= end)) / len(steps)
    return min(share * move.count / move.memory for move in moves)


def _segments(
    steps: np.ndarray, rise: Rise | None, fall: Rise | None, state: State, since: int, confidence: float
) -> tuple[Segment, ...]:
    """The stretches of the run: what came before `since`, then `state`. Gaps too short to judge join a neighbour."""
    first, last = int(steps[0]), int(steps[-1])
    parts: list[Segment] = []
    if _certain(fall) and fall.onset < since:
        begin = _begin(steps, fall)
        end = fall.end if since - fall.end >= FEWEST else since
        if begin > first:
            parts.append(_quiet(steps, first, begin, rise, fall))
        parts.append(Segment("consolidating", begin, end, fall.probability))
    reached = parts[-1].end if parts else first
    if reached < since:
        parts.append(_quiet(steps, reached, since, rise, fall))
    if parts and parts[-1].state == state:
        since = parts.pop().start
    return (*parts, Segment(state, since, last, confidence))


def _begin(steps: np.ndarray, move: Rise) -> int:
    """Its onset; the first step where too little was seen before it."""
    first = int(steps[0])
    return move.onset if move.onset - first >= FEWEST else first


def _quiet(steps: np.ndarray, start: int, end: int, rise: Rise | None, fall: Rise | None) -> Segment:
    """A stretch between certain moves in which nothing moves, called stalled where it is long enough."""
    long = rise is not None and fall is not None and _independent(steps, start, end, rise, fall) >= FLAT_ENOUGH
    chance = min(move.probability for move, sure in ((rise, _risen(rise)), (fall, _certain(fall))) if sure)
    return Segment("stalled" if long else "undecided", start, end, chance)


def _chance(log_odds: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * log_odds))


def _numbers(name: str, move: Rise | None) -> dict[str, float]:
    """A move as evidence."""
    if move is None:
        return {}
    found = {"log_bayes_factor": move.log_bayes_factor, "size": move.size, "noise": move.noise, "memory": move.memory}
    return {f"{name}_{key}": value for key, value in (found | {"observations": float(move.count)}).items()}
