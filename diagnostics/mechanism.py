"""How much entropy is left to pay with: reward against entropy, and the tokens through which entropy goes.

Over the course of a run reward follows R = b - a exp(H) with H the policy's entropy (Cui et al. 2025,
arXiv 2505.22617). What is left when all entropy is spent (H = 0) is the ceiling b - a (`law.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diagnostics.law import FEWEST, MIN_STEPS, fit
from rltrain.types import Event, Panel, StepRecord, TokenArrays

SPENT = 0.9  # share of the entropy after which a run has little left to buy reward with
REGAINED = 0.8  # share below which entropy has come back, so that spending it again is news
TOP = 0.002  # share of the tokens with the largest covariance: the paper's 0.2 %


class EntropyMechanism:
    """Computes `entropy/ceiling`, `entropy/spent` and `entropy/covariance` of a step.

    The fit takes all steps so far, `min_steps` at least, and is left out while entropy has not moved enough
    to tell a slope from noise, where the interval of `a` holds 0, and where the law cannot hold: where the whole
    interval of the ceiling lies above the largest outcome there is. Entropy is that of the trained tokens, the outcome
    that of all sampled completions: of groups that filters let in, it would stay away from 0 and 1 by construction.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Reward ceiling",
            ("entropy/ceiling", "entropy/ceiling_low", "entropy/ceiling_high", "entropy/ceiling_steps"),
            "line",
            "The outcome over all samples that this run would reach with all its entropy spent, if it goes on "
            "following b - a exp(H). It is an extrapolation: believe it when the band is narrow and the curve flat. A "
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

    def __init__(self, *, min_steps: int = MIN_STEPS, reference_steps: int = 3):
        if min_steps < FEWEST or reference_steps < 1:
            raise ValueError(
                f"mechanism diagnostic: min_steps {min_steps} and reference_steps {reference_steps}; "
                f"expected at least {FEWEST} and 1"
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
        outcomes = [value for group in record.groups for value in group.outcomes]
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
        self._told = spent >= (REGAINED if self._told else SPENT)

    def events(self) -> list[Event]:
        """`entropy_spent`, when nine tenths of the first steps' entropy are gone; anew only after a fifth was there."""
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
