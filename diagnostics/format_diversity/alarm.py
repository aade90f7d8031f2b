"""When one form has taken over, and whether it was the right one.

A collapse is a form at nine tenths of all completions that was not there at the start (papers: Echo Chamber, arXiv
2504.07912). The level alone would be crossed by noise in small batches and says nothing where the base model writes
everything in one form anyway; so the share is smoothed without lag, and the rise above the form's own share in the
first steps has to pass a test that holds for runs of any length.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from math import log
from typing import Any, NamedTuple

import numpy as np

from diagnostics.format_diversity.measures import Row
from diagnostics.sequential import Baseline, RiseTest

MARGIN = 0.05  # a share may be this much above its start before it counts as risen
KEPT = 150  # steps whose shares are kept
SLOW = (40, KEPT)  # steps of the curves whose mean follows a slow takeover: the long one is quiet, the short one bends
EARLY = 0.5  # standard errors taken off: a noisy curve that is looked at every step crosses a level too early
# Straight lines that catch a sudden one: their steps, and by how many standard errors they must be above the level.
FAST = ((10, 3.0), (5, 3.5))


class Takeover(NamedTuple):
    """A form that has taken over."""

    label: str
    onset: int  # first step at which its smoothed share is at the level
    rise: int  # likely step at which it began to rise
    share: float  # smoothed, now
    base_share: float


class Alarm:
    """Watches the shares of all labels; says once that one of them has taken over."""

    def __init__(self, *, level: float, alpha: float):
        self._level, self._alpha = level, alpha
        self._base: dict[str, Baseline] = {}
        self._base_groups = 0
        self._tests: dict[str, RiseTest] = {}
        self._recent: deque[tuple[int, dict[str, tuple[float, float]]]] = deque(maxlen=KEPT)
        self._raised = False
        self._leader: tuple[str, np.ndarray] = ("", np.zeros(1))  # the most frequent label lately and its curve

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

    def update(self, step: int, rows: Sequence[Row]) -> Takeover | None:
        """The takeover, at the step at which it is first certain."""
        self._remember(step, rows)
        values = _per_group(rows)
        for label in sorted({*values, *self._tests}):
            self._test(label).update(step, values.get(label, np.zeros(len(rows))))
        label, share = self.leading()
        test = self._tests.get(label)
        if self.base_share(label) >= self._level:
            return None  # it had taken over before the run began
        if self._raised or test is None or test.fired is None or (above := self._above(label)) is None:
            return None
        self._raised = True
        return Takeover(label, above, test.onset, share, self.base_share(label))

    def leading(self) -> tuple[str, float]:
        """The label with the largest smoothed share."""
        label, curve = self._leader
        return label, float(1 / (1 + np.exp(-curve[-1])))

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
        self._recent.append((step, {label: _mean(values) for label, values in _per_group(rows).items()}))
        lately: Counter[str] = Counter()
        for _, of in list(self._recent)[-FAST[-1][0] :]:
            lately.update({label: share for label, (share, _) in of.items()})
        label = max(sorted(lately), key=lambda name: lately[name])
        self._leader = label, self._slow(label)

    def _fit(self, label: str, window: int, degree: int) -> Curve:
        recent = list(self._recent)[-window:]
        points = np.array([(step, *of.get(label, (0.0, 0.0))) for step, of in recent])
        return logit_curve(points[:, 0], points[:, 1], points[:, 2], min(degree, (len(recent) - 1) // 4))

    def _slow(self, label: str) -> np.ndarray:
        """Smoothed log-odds of the last steps."""
        curves = [self._fit(label, window, degree=2) for window in SLOW]
        kept = min(len(curve.fitted) for curve in curves)
        return np.mean([curve.fitted[-kept:] for curve in curves], axis=0) - EARLY * curves[-1].error

    def _above(self, label: str) -> int | None:
        """The first of the last steps that are above the level without a break, if they are by one of the curves."""
        level = logit(self._level)
        slow = self._leader[1]
        if slow[-1] >= level:
            return self._first(slow >= level)
        last = [of.get(label, (0.0, 0.0))[0] for _, of in list(self._recent)[-FAST[-1][0] :]]
        if max(last) < self._level:
            return None
        for window, errors in FAST:
            curve = self._fit(label, window, degree=1)
            if len(self._recent) >= window and curve.fitted[-1] - errors * curve.error >= level:
                return self._first(curve.fitted >= level)
        return None

    def _first(self, above: np.ndarray) -> int:
        unbroken = len(above) if above.all() else int(np.argmin(above[::-1]))
        return self._recent[-unbroken][0]

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers."""
        return {
            "base": {label: vars(of) for label, of in self._base.items()},
            "base_groups": self._base_groups,
            "tests": {label: test.state_dict() for label, test in self._tests.items()},
            "recent": [[step, of] for step, of in self._recent],
            "raised": self._raised,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._base = {label: Baseline(**of) for label, of in state["base"].items()}
        self._base_groups = state["base_groups"]
        self._tests = {label: RiseTest.from_state(of) for label, of in state["tests"].items()}
        recent = ((step, {label: tuple(pair) for label, pair in of.items()}) for step, of in state["recent"])
        self._recent = deque(recent, maxlen=KEPT)
        self._raised = state["raised"]


def _per_group(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """(groups,) share of each label inside each group."""
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(rows)))
    for i, row in enumerate(rows):
        for label, n in Counter(row.labels).items():
            found[label][i] = n / len(row.labels)
    return dict(found)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean over groups and the variance of that mean, never below that of one dissenting completion in a hundred."""
    n = len(values)
    return float(values.mean()), max(float(values.var()), 1e-4) / max(n - 1, 1)


class Curve(NamedTuple):
    """A polynomial through log-odds."""

    fitted: np.ndarray  # (steps,)
    error: float  # standard error at the last step


def logit_curve(steps: np.ndarray, shares: np.ndarray, variances: np.ndarray, degree: int) -> Curve:
    """Logistic regression of shares on powers of the step, by iteratively reweighted least squares.

    A form that gains in proportion to what it has is a straight line in log-odds; a penalty on the divergence
    from the base bends it. So a ramp makes the curve neither lag behind nor run ahead. Arrays are (steps,).
    """
    x = ((steps - steps[-1]) / max(steps[-1] - steps[0], 1.0))[:, None] ** np.arange(degree + 1)
    mean = float(np.clip(shares.mean(), 0.01, 0.99))
    size = max(mean * (1 - mean) / float(variances.mean()), 1.0)  # independent completions that a step is worth
    beta = np.zeros(degree + 1)
    beta[0] = logit(mean)
    ridge = 1e-3 * np.eye(degree + 1)  # keeps a share of exactly 1 finite
    for _ in range(12):
        fitted = 1 / (1 + np.exp(-np.clip(x @ beta, -12, 12)))
        weights = size * np.maximum(fitted * (1 - fitted), 1e-4)
        information = x.T @ (weights[:, None] * x) + ridge
        move = np.clip(np.linalg.solve(information, size * x.T @ (shares - fitted) - ridge @ beta), -2, 2)
        beta = beta + move
        if np.abs(move).max() < 1e-4:
            break
    return Curve(x @ beta, float(np.sqrt(np.linalg.inv(information)[0, 0])))


def logit(share: float) -> float:
    """Log-odds."""
    return log(share / (1 - share))
