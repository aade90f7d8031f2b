"""Entropy where the policy plans against entropy where it executes, and the length of what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rltrain.types import Event, Panel, StepRecord


class EntropyDiagnostic:
    """Computes `entropy/*`, `plan/ratio` and `length/*` from the trained tokens.

    The gap comes with a 95% interval from a bootstrap over completions, seeded by `seed` and the step, and is
    left out where it would rest on fewer than `min_planning_tokens` planning tokens.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Planning and execution entropy",
            ("entropy/planning", "entropy/execution", "entropy/mean"),
            "line",
            "How undecided the policy is when it chooses what to do, and when it carries it out. Execution falls "
            "first, as procedures become routine; planning entropy that stays up means that plans are still "
            "being explored. Both near 0 is a collapse.",
        ),
        Panel(
            "Entropy gap",
            ("entropy/gap", "entropy/gap_low", "entropy/gap_high"),
            "line",
            "Planning minus execution, with its 95% interval. Trust a move only where the interval leaves the old "
            "level; where the curve is missing there were too few planning tokens to say anything.",
        ),
        Panel(
            "What the entropies rest on",
            ("entropy/planning_tokens", "entropy/execution_tokens"),
            "line",
            "Token counts behind the two curves. A planning entropy over a few dozen tokens is mostly noise.",
        ),
        Panel(
            "Length",
            ("length/mean", "length/max", "length/truncated_frac"),
            "line",
            "Short and shorter beside a rising reward is a collapse to bare answers. A growing share of cut-off "
            "completions means that max_completion_length is too small for what is being learned.",
        ),
    )

    def __init__(self, *, min_planning_tokens: int = 32, resamples: int = 200, seed: int = 0):
        if min_planning_tokens < 1 or resamples < 20:
            raise ValueError(
                f"entropy diagnostic: min_planning_tokens {min_planning_tokens} and resamples {resamples}; "
                "expected at least 1 and 20"
            )
        self.min_planning_tokens = min_planning_tokens
        self.resamples = resamples
        self.seed = seed

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; empty when nothing was trained."""
        rows = _rows(record)
        if not len(rows.sums):
            return {}
        metrics = self._entropies(rows.sums) | _lengths(rows)
        if "entropy/gap" in metrics:
            metrics |= self._interval(rows.sums, record.step)
        for source in sorted(set(rows.sources)):
            of_source = rows.sums[np.array([s == source for s in rows.sources])]
            metrics |= {f"{name}@{source}": value for name, value in self._entropies(of_source).items()}
        return metrics

    def _entropies(self, sums: np.ndarray) -> dict[str, float]:
        """Entropies of completions with the given sums; what rests on no token is absent."""
        h_planning, n_planning, h_execution, n_execution = map(float, sums.sum(axis=0))
        metrics = {"entropy/planning_tokens": n_planning, "entropy/execution_tokens": n_execution}
        if n_planning + n_execution:
            metrics["entropy/mean"] = (h_planning + h_execution) / (n_planning + n_execution)
            metrics["plan/ratio"] = n_planning / (n_planning + n_execution)
        if n_execution:
            metrics["entropy/execution"] = h_execution / n_execution
        if n_planning:
            metrics["entropy/planning"] = h_planning / n_planning
        if n_planning >= self.min_planning_tokens and n_execution:
            metrics["entropy/gap"] = metrics["entropy/planning"] - metrics["entropy/execution"]
            if h_execution:
                metrics["entropy/ratio"] = metrics["entropy/planning"] / metrics["entropy/execution"]
        return metrics

    def _interval(self, sums: np.ndarray, step: int) -> dict[str, float]:
        """95% interval of the gap: completions drawn with replacement, all resamples in one product."""
        rng = np.random.default_rng([self.seed, step])
        draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), self.resamples)  # (R, N)
        h_planning, n_planning, h_execution, n_execution = (draws @ sums).T
        known = (n_planning > 0) & (n_execution > 0)
        if not known.any():
            return {}
        gaps = h_planning[known] / n_planning[known] - h_execution[known] / n_execution[known]
        low, high = np.percentile(gaps, [2.5, 97.5])
        return {"entropy/gap_low": float(low), "entropy/gap_high": float(high)}

    def events(self) -> list[Event]:
        """None: phases are another diagnostic's to name."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Empty: every step stands alone."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


class _Rows(NamedTuple):
    """The trained completions of a step."""

    sums: np.ndarray  # (N, 4) float64: entropy sum and count of planning tokens, the same of execution tokens
    lengths: np.ndarray  # (N,) tokens
    truncated: np.ndarray  # (N,) bool
    sources: list[str]  # N


def _rows(record: StepRecord) -> _Rows:
    sums, lengths, truncated, sources = [], [], [], []
    for group, i, completion, tokens in record.completions():
        if tokens is None:
            continue
        mask = tokens.loss_mask
        planning = group.planning[i] & mask if group.planning else np.zeros_like(mask)
        execution = mask & ~planning
        entropy = tokens.entropy.astype(np.float64)
        sums.append((entropy[planning].sum(), planning.sum(), entropy[execution].sum(), execution.sum()))
        lengths.append(len(completion.token_ids))
        truncated.append(completion.finish_reason == "length")
        sources.append(group.task.source)
    return _Rows(np.array(sums, np.float64), np.array(lengths), np.array(truncated, bool), sources)


def _lengths(rows: _Rows) -> dict[str, float]:
    metrics = {
        "length/mean": float(rows.lengths.mean()),
        "length/max": float(rows.lengths.max()),
        "length/truncated_frac": float(rows.truncated.mean()),
    }
    for source in sorted(set(rows.sources)):
        of_source = np.array([s == source for s in rows.sources])
        metrics[f"length/mean@{source}"] = float(rows.lengths[of_source].mean())
    return metrics
