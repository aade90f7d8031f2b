"""How well can the onset of a collapse be known from the forms alone? An observer that is told the rule of the bandit.

It knows start, accuracies, learning rate, KL and how noisy an update is, and sees how many completions of a step have
which form; what it does not know is which way the noise of the updates went. A particle filter over the policy's
logits is then close to the best there is for one who sees no rewards (the noise of an update is taken as normal, its
mean as if each advantage had the spread of all), and its alarm the step from which on it is more likely than not that
a share of `LEVEL` has been reached.
"""

from __future__ import annotations

import numpy as np

from benchmarks import format_bandit as bandit

PARTICLES = 2000
LEVEL = 0.9


class Observer:
    """Follows one run of the bandit; `alarm` is the step it says, None as long as it says none."""

    def __init__(self, setting: bandit.Setting, seed: int) -> None:
        self._setting, self._rng = setting, np.random.default_rng([seed, 3])
        self._logits = np.tile(np.log(np.array(bandit.SHARES)), (PARTICLES, 1))
        self._reached = np.zeros(PARTICLES, bool)
        self.alarm: int | None = None

    def observe(self, step: int, counts: np.ndarray) -> None:
        """The completions of each form (3,) at a step; then the update that follows on it."""
        p = np.exp(self._logits - self._logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        self._reached |= p.max(1) >= LEVEL
        fit = np.log(p) @ counts
        weights = np.exp(fit - fit.max())
        kept = self._drawn(weights / weights.sum())
        self._logits, self._reached, p = self._logits[kept], self._reached[kept], p[kept]
        if self.alarm is None and self._reached.mean() >= 0.5:
            self.alarm = step
        self._logits = self._logits + bandit.RATE * self._update(p)

    def _drawn(self, weights: np.ndarray) -> np.ndarray:
        """Particles that go on: systematic resampling."""
        at = (self._rng.random() + np.arange(PARTICLES)) / PARTICLES
        return np.minimum(np.searchsorted(np.cumsum(weights), at), PARTICLES - 1)

    def _update(self, p: np.ndarray) -> np.ndarray:
        """A sample of the gradient of each particle, (M, 3): its mean and the noise of a batch."""
        accuracies, bonus = np.array(self._setting.accuracies), np.array(self._setting.bonus)
        reward = accuracies + bonus
        mean = p @ reward
        spread = np.sqrt(p @ (accuracies * (1 - accuracies) + reward**2) - mean**2)
        gain = p * (reward - mean[:, None]) / spread[:, None]
        noise = np.sqrt(p) * self._rng.standard_normal(p.shape)
        noise -= p * noise.sum(1, keepdims=True)
        log_ratio = np.log(p / np.array(bandit.SHARES))
        kl = p * (log_ratio - (p * log_ratio).sum(1, keepdims=True))
        return gain + noise / np.sqrt(bandit.PROMPTS * bandit.SAMPLES) - self._setting.beta * kl
