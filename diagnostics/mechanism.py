"""How much entropy is left to pay with: reward against entropy, and the tokens through which entropy goes.

Over the course of a run reward follows R = b - a exp(H) with H the policy's entropy (Cui et al. 2025,
arXiv 2505.22617). What is left when all entropy is spent (H = 0) is the ceiling b - a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diagnostics.student import student_t
from rltrain.types import Event, Panel, StepRecord, TokenArrays

SPENT = 0.9  # share of the entropy after which a run has little left to buy reward with
FEWEST = 8  # independent steps below which no interval is given
MOST = 1.0  # the largest outcome there is (`Score.outcome`)
TOP = 0.002  # share of the tokens with the largest covariance: the paper's 0.2 %


class Fit(NamedTuple):
    """R = b - a exp(H) by least squares, and its ceiling b - a with a 95% interval."""

    a: float
    b: float
    ceiling: float
    low: float
    high: float
    steps: int  # it rests on


class EntropyMechanism:
    """Computes `entropy/ceiling`, `entropy/spent` and `entropy/covariance` of a step.

    The fit takes all steps so far, `min_steps` at least, and is left out while entropy has not moved enough
    to tell a slope from noise, where the interval of `a` holds 0, and where the law cannot hold: where the whole
    interval of the ceiling lies above the largest outcome there is.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Reward ceiling",
            ("entropy/ceiling", "entropy/ceiling_low", "entropy/ceiling_high", "entropy/ceiling_steps"),
            "line",
            "The outcome this run would reach with all its entropy spent, if reward goes on following "
            "b - a exp(H). It is an extrapolation: believe it when the band is narrow and the curve flat. A "
            "ceiling near today's outcome says that more steps will not help; more entropy would.",
        ),
        Panel(
            "Entropy spent",
            ("entropy/spent",),
            "line",
            "Share of the first steps' entropy that is gone. Near 1 exploration is over.",
        ),
        Panel(
            "Where entropy goes",
            ("entropy/covariance", "entropy/covariance_top", "entropy/covariance_tokens"),
            "line",
            "Mean covariance of advantage and log-prob over the tokens: above 0 the step lowers entropy, below 0 "
            "it raises it. The second curve is its mean over the 0.2 % of tokens with the largest: where it is "
            "orders above the first, few tokens carry the loss, and kl_cov or clip_cov can spare them.",
        ),
    )

    def __init__(self, *, min_steps: int = 12, reference_steps: int = 3):
        if min_steps < 4 or reference_steps < 1:
            raise ValueError(
                f"mechanism diagnostic: min_steps {min_steps} and reference_steps {reference_steps}; "
                "expected at least 4 and 1"
            )
        self.min_steps = min_steps
        self.reference_steps = reference_steps
        self._entropy: list[float] = []
        self._outcome: list[float] = []
        self._told = False
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; empty when nothing was trained."""
        metrics, level = _of_tokens([tokens for _, _, _, tokens in record.completions() if tokens is not None])
        if level is None and not record.tokens:
            level = record.metrics.get("entropy/mean")  # of a trainer's own log, where it is all there is
        outcomes = [value for group in record.groups if group.admitted for value in group.outcomes]
        if level is None:
            return metrics
        self._entropy.append(level)
        self._outcome.append(float(np.mean(outcomes)) if outcomes else float("nan"))
        start = float(np.mean(self._entropy[: self.reference_steps]))
        if len(self._entropy) > self.reference_steps and start > 0:
            metrics["entropy/spent"] = 1 - self._entropy[-1] / start
            self._watch(record.step, metrics["entropy/spent"], start)
        if found := fit(self._entropy, self._outcome, self.min_steps):
            metrics |= {"entropy/ceiling": found.ceiling, "entropy/ceiling_steps": float(found.steps)}
            metrics |= {"entropy/ceiling_low": found.low, "entropy/ceiling_high": found.high}
        return metrics

    def _watch(self, step: int, spent: float, start: float) -> None:
        if spent >= SPENT and not self._told:
            evidence = {"spent": spent, "entropy": self._entropy[-1], "at_start": start}
            advice = "exploration is over: raise entropy_coef, use kl_cov or clip_cov, or take an earlier checkpoint"
            self._events.append(Event(step, "entropy_spent", "warning", evidence, advice))
        self._told = spent >= SPENT

    def events(self) -> list[Event]:
        """`entropy_spent`, when nine tenths of the first steps' entropy are gone."""
        events, self._events = self._events, []
        return events

    def state_dict(self) -> dict[str, Any]:
        """The series so far."""
        return {"entropy": list(self._entropy), "outcome": list(self._outcome), "told": self._told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the series."""
        self._entropy, self._outcome = list(state["entropy"]), list(state["outcome"])
        self._told = state["told"]


def _of_tokens(arrays: Sequence[TokenArrays]) -> tuple[dict[str, float], float | None]:
    """Covariance metrics and the mean entropy of the trained tokens; None where no entropy is finite."""
    if not arrays:
        return {}, None
    mask = np.concatenate([tokens.loss_mask for tokens in arrays])
    names = ("entropy", "train_logprob", "token_advantage")
    joined = (np.concatenate([getattr(tokens, name) for tokens in arrays]) for name in names)
    entropy, logp, advantage = (values[mask].astype(np.float64) for values in joined)
    entropy = entropy[np.isfinite(entropy)]
    return covariance_metrics(advantage, logp), float(entropy.mean()) if len(entropy) else None


def covariance_metrics(advantage_N: np.ndarray, logp_N: np.ndarray) -> dict[str, float]:
    """Mean of (A - mean A)(log p - mean log p) over tokens, and over the top 0.2 % of them; empty without tokens."""
    known = np.isfinite(advantage_N) & np.isfinite(logp_N)
    advantage, logp = advantage_N[known], logp_N[known]
    if not len(logp):
        return {}
    covariance = (advantage - advantage.mean()) * (logp - logp.mean())
    count = max(1, int(len(covariance) * TOP))
    top = np.partition(covariance, len(covariance) - count)[-count:]
    return {
        "entropy/covariance": float(covariance.mean()),
        "entropy/covariance_top": float(top.mean()),
        "entropy/covariance_tokens": float(len(covariance)),
    }


def fit(entropy: Sequence[float], outcome: Sequence[float], min_steps: int) -> Fit | None:
    """R = b - a exp(H) with a 95% interval of the ceiling b - a; None where there is too little to tell.

    The interval is that of a regression line at H = 0, with the steps' number cut to what their
    autocorrelation leaves of it. An interval wholly above `MOST` is none of a ceiling: the course has to bend
    before H = 0, and where it will is not in it.
    """
    x, y = np.exp(np.asarray(entropy, float)), np.asarray(outcome, float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < min_steps or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    slope, intercept = np.polyfit(x, y, 1)
    residual = y - (intercept + slope * x)
    n = _effective(residual) if residual.std() > 1e-12 * y.std() else float(len(x))  # a perfect fit leaves rounding
    if n < FEWEST:
        return None
    spread = np.sqrt((residual**2).sum() / len(x) * n / (n - 2))  # residual deviation, n - 2 degrees of freedom
    sxx = x.var() * n
    t = student_t(n - 2)
    if slope + t * spread / np.sqrt(sxx) >= 0:  # the slope is -a, and a > 0 is the whole model
        return None
    ceiling = intercept + slope
    half = t * spread * np.sqrt(1 / n + (1 - x.mean()) ** 2 / sxx)
    if ceiling - half > MOST:
        return None
    return Fit(float(-slope), float(intercept), float(ceiling), float(ceiling - half), float(ceiling + half), len(x))


def _effective(residual: np.ndarray) -> float:
    """Independent steps that as many autocorrelated ones are worth: n (1 - r) / (1 + r), r at lag 1, not below 0."""
    if not residual.any():
        return float(len(residual))
    r = float((residual[1:] * residual[:-1]).sum() / (residual**2).sum())
    r = min(max(r, 0.0), 0.95)
    return len(residual) * (1 - r) / (1 + r)
