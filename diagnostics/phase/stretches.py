"""The stretches of a run between its certain moves: how they follow each other, and which of them stand still."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from diagnostics.phase.apart import FALL_EXPECTED
from diagnostics.phase.rise import FEWEST, Rise, find_rise
from diagnostics.phase.verdict import Segment, State

EVIDENCE = math.log(30)  # log Bayes factor from which on a fall of execution is believed
RISEN = math.log(15)  # that of a rise of diversity, now and some observations ago; measured in docs/phases.md
LOSING = {"diversity": "plan diversity falls", "execution": "execution gets less sure"}
LOST = {"diversity": "plan diversity fell", "execution": "execution got less sure"}
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

    def within(self, start: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps, execution and diversity from one step to another, both with it."""
        inside = (self.steps >= start) & (self.steps <= end)
        return self.steps[inside], self.execution[inside], self.diversity[inside]

    def between(self, start: int, end: int) -> int:
        """How many steps were seen from one step up to another."""
        return int(np.count_nonzero((self.steps >= start) & (self.steps < end)))


def is_certain(move: Rise | None) -> bool:
    """Whether a move of execution is believed."""
    return move is not None and move.log_bayes_factor >= EVIDENCE


class Still(NamedTuple):
    """Whether nothing moves in a stretch, from its last loss on."""

    began: int  # step: where the first loss that is over began
    since: int  # step: where the last one ended; both the beginning of the stretch where there is none
    enough: bool  # whether enough was seen since then to say that nothing moves
    chance: float  # that nothing moves since then, by what gets better there; 1 where there was no loss
    worse: str  # what gets worse still, in words; empty where nothing does
    was_worse: str  # what got worse before `since`, in words

    @property
    def is_certain(self) -> bool:
        return self.enough and not self.worse and self.chance > 0.5


def standing_still(seen: Seen, start: int, end: int) -> Still:
    """Whether enough was seen from one step to another to say that nothing moves, and in words what gets worse there.

    Behind losses that are over it is asked again, also what gets better there: the loss would hide it. Memory is that
    of the stretch: over the whole record a course that the model has not, a decay where it knows ramps, looks like
    noise that wanders, the more so the better it is measured.
    """
    since, over = start, {}
    while True:
        steps, execution, diversity = seen.within(since, end)
        moves = {"diversity": find_rise(steps, -diversity), "execution": find_rise(steps, execution)}
        worse = {name: move for name, move in moves.items() if move and move.log_bayes_factor > 0}
        lasting = {name: move for name, move in worse.items() if move.going_on >= 0.5}
        ends = max((move.end for move in worse.values()), default=since)
        if lasting or ends <= since:  # what goes on must not be cut in two, or it is too little to be seen
            break
        since, over = ends, worse | over
    enough = all(move is not None and move.count / move.memory >= FLAT_ENOUGH for move in moves.values())
    began = max(start, min((move.onset for move in over.values()), default=start))
    chance = chances_within(seen, since, end)[0] if over else 1.0
    return Still(began, since, enough, chance, _in_words(lasting or worse, LOSING), _in_words(over, LOST))


def _in_words(names: Iterable[str], words: Mapping[str, str]) -> str:
    return " and ".join(words[name] for name in words if name in names)


def segments(
    seen: Seen, state: State, since: int, confidence: float, still: Still | None = None
) -> tuple[Segment, ...]:
    """The stretches of the run: what came before `since`, then `state`. Gaps too short to judge join a neighbour.

    `still`: what was found of the stretch that ends with the record, where it stands still.
    """
    first, last = int(seen.steps[0]), int(seen.steps[-1])
    parts: list[Segment] = []
    if seen.has_fallen and seen.fall.onset < since:
        begin = settling_since(seen)
        end = seen.fall.end if seen.between(seen.fall.end, since) >= FEWEST else since
        if begin > first:
            parts += _quiet(seen, first, begin)
        parts.append(Segment("consolidating", begin, end, seen.fall.probability))
    reached = parts[-1].end if parts else first
    if reached < since:
        parts += _quiet(seen, reached, since) if still is None else _before(seen, reached, still)
    return _joined([*parts, Segment(state, since, last, confidence)])


def _joined(parts: Sequence[Segment]) -> tuple[Segment, ...]:
    """Neighbours of one state as one stretch, as sure as the later."""
    found: list[Segment] = []
    for part in parts:
        start = found.pop().start if found and found[-1].state == part.state else part.start
        found.append(replace(part, start=start))
    return tuple(found)


def settling_since(seen: Seen) -> int:
    """The step at which the fall began; the first one where too little was seen before it."""
    first = int(seen.steps[0])
    return seen.fall.onset if seen.between(first, seen.fall.onset) >= FEWEST else first


def _quiet(seen: Seen, start: int, end: int) -> tuple[Segment, ...]:
    """A stretch in which no move is certain, called stalled from where on nothing moves, if that is long enough."""
    still = standing_still(seen, start, end)
    if still.is_certain and (stalled := chances_within(seen, still.since, end)[0]) > 0.5:
        return (*_before(seen, start, still), Segment("stalled", still.since, end, stalled))
    return (Segment("undecided", start, end, max(chances_within(seen, start, end))),)


def _before(seen: Seen, start: int, still: Still) -> tuple[Segment, ...]:
    """From `start` to where it stands still: what came before the loss, and the loss."""
    if still.since <= start:
        return ()
    quiet = _quiet(seen, start, still.began) if still.began > start else ()
    lost = max(start, still.began)
    return (*quiet, Segment("undecided", lost, still.since, max(chances_within(seen, lost, still.since))))


def chances_within(seen: Seen, start: int, end: int) -> tuple[float, float, float]:
    """`chances` by the moves from one step to another; zeros where too little is known there."""
    steps, execution, diversity = seen.within(start, end)
    rise, fall = find_rise(steps, diversity), find_rise(steps, -execution, FALL_EXPECTED)
    return chances(rise, fall) if rise and fall else (0.0, 0.0, 0.0)


def chances(rise: Rise | None, fall: Rise | None) -> tuple[float, float, float]:
    """Of stalled, consolidating and planning, by a rise of diversity and a fall of execution's uncertainty."""
    flat = 1.0 if rise is None else 1 - rise.probability
    falling = 0.0 if fall is None else fall.probability * fall.going_on
    return flat * (1 - falling), flat * falling, 1 - flat
