"""Where the share of a form is now, and how surely: curves of several kinds, each believed as far as it fits.

Nobody knows beforehand whether a share runs on or has stopped, so a parabola, a ramp between two plateaus and the
curve along what training pushed are held against each other on the same steps by their evidence. As long as the
steps cannot tell them apart the answer lies between them and its error is as wide.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diagnostics.format_diversity.curve import Curve, averaged, driven_curve, logit_curve, plateau_curve

KEPT = 100  # steps of a course; over more of them the factor of the driven curve changes
NEAR = 40  # steps of the curves that bend sooner; with those of all steps, which are quieter, they are averaged
FEWEST = 8  # steps below which a course is taken as level
SURE = 0.5  # standard errors between a course and what is said of it; more is later on real runs, less too early
APART = 3.0  # standard errors to what surely has been left behind
LEAST, MOST = 1e-4, 0.25  # variance of the share of one group


class Course(NamedTuple):
    """Smoothed log-odds of a share, (steps,), and how far off the last may be."""

    fitted: np.ndarray
    error: float  # standard error of the last, none of what follows the pushes
    doubt: float  # standard error of the last, that of what follows the pushes too

    @property
    def share(self) -> float:
        """At the last step."""
        return float(1 / (1 + np.exp(-self.fitted[-1])))

    def low(self) -> float:
        """Log-odds that the last step is above."""
        return float(self.fitted[-1]) - SURE * self.error

    def high(self) -> float:
        """Log-odds that the last step is below."""
        return float(self.fitted[-1]) + SURE * self.error

    def lowest(self) -> float:
        """Log-odds that the last step is above whichever curve is right."""
        return float(self.fitted[-1]) - APART * self.doubt

    def highest(self) -> float:
        """Log-odds that the last step is below whichever curve is right."""
        return float(self.fitted[-1]) + APART * self.doubt


def course(steps: np.ndarray, shares: np.ndarray, variances: np.ndarray, pushes: np.ndarray) -> Course:
    """The course of a share, all arrays (steps,); a push is seen in the share from the next step on.

    `error` takes none of the driven curve: it is believed only where it fits better than all curves in the step, and
    then the share is on its way by a known force; an error would be paid in steps where the way is slow. `doubt` does:
    in small batches pushes fit by chance.
    """
    near, far = (_free(steps[-n:], shares[-n:], known(shares[-n:], variances[-n:])) for n in (NEAR, KEPT))
    earlier, lately = np.split(far.fitted, [len(far.fitted) - len(near.fitted)])
    free = Curve(np.concatenate([earlier, (near.fitted + lately) / 2]), (near.error + far.error) / 2, far.evidence)
    if len(steps) <= NEAR or not pushes.any():
        return Course(free.fitted, free.error, free.error)
    driven = driven_curve(np.cumsum(pushes) - pushes, shares, known(shares, variances))
    belief = 1 / (1 + np.exp(-np.clip(driven.evidence - free.evidence, -50.0, 50.0)))
    both = averaged([free, driven])
    return Course(both.fitted, (1 - belief) * free.error, both.error)


def known(shares: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """The variances (steps,), NaN replaced by half the mean square of the differences of neighbouring shares.

    That estimate (von Neumann 1941) holds whatever makes steps differ: completions, prompts, the mix of both.
    """
    lacking = np.isnan(variances)
    if not lacking.any():
        return variances
    apart = float((np.diff(shares) ** 2).mean() / 2) if len(shares) > 1 else MOST
    return np.where(lacking, max(apart, LEAST), variances)


def _free(steps: np.ndarray, shares: np.ndarray, variances: np.ndarray) -> Curve:
    """Log-odds as a function of the step alone."""
    if len(steps) < FEWEST:
        return logit_curve(steps, shares, variances, degree=0)
    return averaged([logit_curve(steps, shares, variances, degree=2), plateau_curve(steps, shares, variances)])
