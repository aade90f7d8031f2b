"""The stretches of a run between its certain moves: how they follow each other, and which of them stand still."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from diagnostics.phase.rise import FEWEST, Rise, find_rise
from diagnostics.phase.verdict import Segment, State

EVIDENCE = math.log(30)  # log Bayes factor from which on a fall of execution is believed
RISEN = math.log(15)  # that of a rise of diversity, now and some observations ago; measured in docs/phases.md
FLAT_ENOUGH = 20.0  # independent observations without a move from which on a stretch is called stalled


class Seen(NamedTuple):
    """What was seen of a run so far, and the moves found in it."""

    steps: np.ndarray  # (N,)
    execution: np.ndarray  # (N,) how unsure
    diversity: np.ndarray  # (N,) of plans
    rise: Rise | None  # of diversity
    fall: Rise | None  # of execution's uncertainty

    @property
    def has_risen(self) -> bool:
        return self.rise is not None and self.rise.log_bayes_factor >= RISEN

    @property
    def has_fallen(self) -> bool:
        return is_certain(self.fall)

    def between(self, start: int, end: int) -> int:
        """How many steps were seen from one step up to another."""
        return int(np.count_nonzero((self.steps >= start) & (self.steps < end)))


def is_certain(move: Rise | None) -> bool:
    """Whether a move of execution is believed."""
    return move is not None and move.log_bayes_factor >= EVIDENCE


def standing_still(seen: Seen, start: int, end: int) -> tuple[bool, str]:
    """Whether enough was seen from one step to another to say that nothing moves, and in words what gets worse there.

    Memory is that of the stretch: over the whole record a course that the model has not, a decay where it knows ramps,
    looks like noise that wanders, the more so the better it is measured.
    """
    within = (seen.steps >= start) & (seen.steps <= end)
    moves = {
        "plan diversity falls": find_rise(seen.steps[within], -seen.diversity[within]),
        "execution gets less sure": find_rise(seen.steps[within], seen.execution[within]),
    }
    enough = all(move is not None and move.count / move.memory >= FLAT_ENOUGH for move in moves.values())
    return enough, " and ".join(words for words, move in moves.items() if move and move.log_bayes_factor > 0)


def segments(seen: Seen, state: State, since: int, confidence: float) -> tuple[Segment, ...]:
    """The stretches of the run: what came before `since`, then `state`. Gaps too short to judge join a neighbour."""
    first, last = int(seen.steps[0]), int(seen.steps[-1])
    parts: list[Segment] = []
    if seen.has_fallen and seen.fall.onset < since:
        begin = settling_since(seen)
        end = seen.fall.end if seen.between(seen.fall.end, since) >= FEWEST else since
        if begin > first:
            parts.append(_quiet(seen, first, begin))
        parts.append(Segment("consolidating", begin, end, seen.fall.probability))
    reached = parts[-1].end if parts else first
    if reached < since:
        parts.append(_quiet(seen, reached, since))
    if parts and parts[-1].state == state:
        since = parts.pop().start
    return (*parts, Segment(state, since, last, confidence))


def settling_since(seen: Seen) -> int:
    """The step at which the fall began; the first one where too little was seen before it."""
    first = int(seen.steps[0])
    return seen.fall.onset if seen.between(first, seen.fall.onset) >= FEWEST else first


def _quiet(seen: Seen, start: int, end: int) -> Segment:
    """A stretch between certain moves in which nothing moves, called stalled where it is long enough."""
    enough, worse = standing_still(seen, start, end)
    sure = [
        move.probability for move, is_sure in ((seen.rise, seen.has_risen), (seen.fall, seen.has_fallen)) if is_sure
    ]
    return Segment("stalled" if enough and not worse else "undecided", start, end, min(sure))
