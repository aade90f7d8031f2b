"""When one form has taken over, and whether it was the right one.

A collapse is a form at nine tenths of all completions that was not there at the start (papers: Echo Chamber, arXiv
2504.07912). The level alone would be crossed by noise in small batches and says nothing where the base model writes
everything in one form anyway; so the share is smoothed along its course, and the rise above the form's own share in the
first steps has to pass a test that holds for runs of any length. A share that stops short of the level is no collapse:
the course may be a plateau as well as a line, and the level is reached when the course is there for sure. How sure it
is depends on the groups of a step: completions of one prompt are alike, and a step of one group shows nothing of that.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diagnostics.format_diversity.course import KEPT, Course, course
from diagnostics.format_diversity.curve import logit
from diagnostics.format_diversity.measures import Row
from diagnostics.sequential import Baseline, RiseTest

MARGIN = 0.05  # a share may be this far above its start, or below the level, before it counts as risen, or fallen
LATELY = 5  # steps over which a label leads


class Takeover(NamedTuple):
    """A form that has taken over."""

    label: str
    onset: int  # first step at which its smoothed share is at the level
    rise: int  # likely step at which it began to rise
    share: float  # smoothed, now
    base_share: float


class Recovery(NamedTuple):
    """The end of a takeover."""

    label: str  # that had taken over
    until: int  # first step at which its smoothed share is below the level again
    share: float  # smoothed, now


class Seen(NamedTuple):
    """A form at a step."""

    share: float  # mean over groups
    variance: float  # of that mean; NaN in a step of one group, which shows none
    gain: float  # covariance of the advantage of trained completions and of having this form


NOTHING = Seen(0.0, 0.0, 0.0)


class Alarm:
    """Watches the shares of all labels; says that one of them has taken over, and when that is over."""

    def __init__(self, *, level: float, alpha: float, base_groups: int):
        """`base_groups`: of the base at least, of which more steps are taken where those told to hold fewer."""
        self._level, self._alpha, self._least = level, alpha, base_groups
        self._base: dict[str, Baseline] = {}
        self._base_groups = 0
        self._tests: dict[str, RiseTest] = {}
        self._recent: deque[tuple[int, dict[str, Seen]]] = deque(maxlen=KEPT)
        self._winner: str | None = None  # that has taken over
        self._since_step = 0  # from which on it has
        self._told_step = 0  # at which that was certain
        self._leader = "", Course(np.zeros(1), 0.0, 0.0)  # the most frequent label lately and its course

    def learn(self, step: int, rows: Sequence[Row]) -> None:
        """A step of the base: what the policy wrote before it was trained much."""
        for label, values in _per_group(rows).items():
            if label not in self._base:
                self._base[label] = Baseline()
                self._base[label].add(np.zeros(self._base_groups))
            self._base[label].add(values)
        for label in set(self._base) - {label for row in rows for label in row.labels}:
            self._base[label].add(np.zeros(len(rows)))
        self._base_groups += len(rows)
        self._remember(step, rows)

    def update(self, step: int, rows: Sequence[Row]) -> Takeover | Recovery | None:
        """The takeover, at the step at which it is first certain; after one its end, in the same way."""
        if self._base_groups < self._least:
            self.learn(step, rows)
            return None
        self._remember(step, rows)
        values = _per_group(rows)
        for label in sorted({*values, *self._tests}):
            self._test(label).update(step, values.get(label, np.zeros(len(rows))))
        return self._takeover() if self._winner is None else self._recovery(self._winner)

    def _takeover(self) -> Takeover | None:
        label, course = self._leader
        test, level = self._tests.get(label), logit(self._level)
        if self.base_share(label) >= self._level:
            return None  # it had taken over before the run began
        if test is None or test.fired is None or course.low() < level:
            return None
        if course.lowest() < logit(self._level - MARGIN):
            return None  # few groups, or groups that differ: it may be a share that has stopped short
        self._winner = label
        self._since_step, self._told_step = self._since(course.fitted >= level), self._recent[-1][0]
        return Takeover(label, self._since_step, test.onset, course.share, self.base_share(label))

    def _recovery(self, label: str) -> Recovery | None:
        """Surely below the level by a margin: a share that hovers about the level stays a takeover.

        The course is that since the takeover: no smooth curve holds a rise and a fall that follows at once.
        """
        course = self._course(label, self._since_step)
        if course.high() >= logit(self._level - MARGIN) or course.highest() >= logit(self._level):
            return None
        until = max(self._since(course.fitted < logit(self._level)), self._told_step + 1)
        self._winner = None
        # another takeover has to be another rise, along a course that does not hold the first
        self._tests[label] = RiseTest(self._tests[label].ceiling, alpha=self._tests[label].alpha)
        self._recent = deque(((step, of) for step, of in self._recent if step >= until), maxlen=KEPT)
        return Recovery(label, until, course.share)

    def leading(self) -> tuple[str, float]:
        """The label with the largest smoothed share."""
        label, course = self._leader
        return label, course.share

    def base_share(self, label: str) -> float:
        """Mean share of a label in the first steps."""
        return self._base[label].mean if label in self._base else 0.0

    def base_leading(self) -> tuple[str, float]:
        """The label with the largest share in the first steps."""
        return max(((label, of.mean) for label, of in self._base.items()), key=lambda found: found[1])

    def _test(self, label: str) -> RiseTest:
        if label not in self._tests:
            base = self._base[label].upper() if label in self._base else 0.0
            # Labels of the base share half of alpha; the k-th that turns up later gets 1/(k(k+1)) of the other half.
            if label in self._base:
                part = 0.5 / len(self._base)
            else:
                k = 1 + len(self._tests.keys() - self._base.keys())
                part = 0.5 / (k * (k + 1))
            self._tests[label] = RiseTest(min(base + MARGIN, 0.99), alpha=self._alpha * part)
        return self._tests[label]

    def _remember(self, step: int, rows: Sequence[Row]) -> None:
        gains = _gains(rows)
        seen = {label: Seen(*_mean(values), gains.get(label, 0.0)) for label, values in _per_group(rows).items()}
        self._recent.append((step, seen))
        lately: Counter[str] = Counter()
        for _, of in list(self._recent)[-LATELY:]:
            lately.update({label: seen.share for label, seen in of.items()})
        label = max(sorted(lately), key=lambda name: lately[name])
        self._leader = label, self._course(label)

    def _course(self, label: str, since: int = 0) -> Course:
        """The course of a label over the steps that are kept, from one on."""
        points = ((step, *_seen(of, label)[:2], push(of, label)) for step, of in self._recent if step >= since)
        return course(*np.array(list(points)).T)

    def _since(self, holds: np.ndarray) -> int:
        """The first of the last steps (steps,) for which something holds without a break; it does for the last."""
        unbroken = len(holds) if holds.all() else int(np.argmin(holds[::-1]))
        return self._recent[-unbroken][0]

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers."""
        return {
            "base": {label: vars(of) for label, of in self._base.items()},
            "base_groups": self._base_groups,
            "tests": {label: test.state_dict() for label, test in self._tests.items()},
            "recent": [[step, of] for step, of in self._recent],
            "winner": self._winner,
            "since": [self._since_step, self._told_step],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._base = {label: Baseline(**of) for label, of in state["base"].items()}
        self._base_groups = state["base_groups"]
        self._tests = {label: RiseTest.from_state(of) for label, of in state["tests"].items()}
        recent = ((step, {label: Seen(*seen) for label, seen in of.items()}) for step, of in state["recent"])
        self._recent = deque(recent, maxlen=KEPT)
        self._winner = state["winner"]
        self._since_step, self._told_step = state.get("since", (0, 0))


def _per_group(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """(groups,) share of each label inside each group."""
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(rows)))
    for i, row in enumerate(rows):
        for label, n in Counter(row.labels).items():
            found[label][i] = n / len(row.labels)
    return dict(found)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean over groups and the variance of that mean, never below that of one dissenting completion in a hundred.

    The completions of a single group share their prompt, so what lies between groups cannot be seen in it: NaN.
    """
    n = len(values)
    return float(values.mean()), max(float(values.var()), 1e-4) / (n - 1) if n > 1 else math.nan


def _seen(of: Mapping[str, Seen], label: str) -> Seen:
    """A form at a step, also where nobody wrote in it."""
    alone = any(math.isnan(other.variance) for other in of.values())
    return of.get(label, Seen(0.0, math.nan if alone else 0.0, 0.0))


def _gains(rows: Sequence[Row]) -> dict[str, float]:
    """Covariance of the advantage of trained completions and of having each label."""
    found: Counter[str] = Counter()
    advantages = [advantage for row in rows for advantage in row.advantages]
    mean = sum(advantages) / max(len(advantages), 1)
    for row in rows:
        for label, advantage in zip(row.labels, row.advantages, strict=False):
            found[label] += (advantage - mean) / len(advantages)
    return dict(found)


def push(seen: Mapping[str, Seen], label: str) -> float:
    """What a gradient step of a softmax over the forms would add to the log-odds of one, at a learning rate of 1."""
    others = [of for name, of in seen.items() if name != label]
    total = sum(of.share for of in others)
    against = sum(of.share * of.gain for of in others) / total if total else 0.0
    return seen.get(label, NOTHING).gain - against
