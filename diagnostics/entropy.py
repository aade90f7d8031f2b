"""Entropy where the policy plans against entropy where it executes, and the length of what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diagnostics import creative
from rltrain.types import Event, Panel, StepRecord

BY_KIND = ("entropy/mean", "entropy/planning_tokens", "entropy/execution_tokens")


class EntropyDiagnostic:
    """Computes `entropy/*`, `plan/ratio` and `length/*` from the trained tokens, in all, by source and by kind.

    Gap and ratio come with a 95% interval from a bootstrap over completions, seeded by `seed`, step and source. They
    and the entropy of planning are left out where they would rest on fewer than `min_planning_tokens` planning
    tokens; an event says so the first time. Tokens whose entropy is not finite count in nothing but
    `entropy/nonfinite_tokens`. Event `creative_diversity_lost` where creative tasks lose more than `drop` of their
    entropy or variety (creative.py).
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
            "Variety of creative completions",
            ("entropy/variety",),
            "line",
            "How much the completions of one creative prompt differ. Structured tasks lower entropy/mean@structured; "
            "where entropy/mean@creative or this falls with it, the run is losing on the creative side what it wins "
            "on the other.",
        ),
        Panel(
            "Entropy gap",
            ("entropy/gap", "entropy/gap_low", "entropy/gap_high"),
            "line",
            "Planning minus execution, with its 95% interval. Trust a move only where the interval leaves the old "
            "level; where the curve is missing there were too few planning tokens to say anything.",
        ),
        Panel(
            "Entropy ratio",
            ("entropy/ratio", "entropy/ratio_low", "entropy/ratio_high"),
            "line",
            "Planning over execution, with its 95% interval: the comparison that survives when both fall together. "
            "It grows without bound as execution goes to 0; read it beside the gap.",
        ),
        Panel(
            "What the entropies rest on",
            (
                "entropy/planning_tokens",
                "entropy/execution_tokens",
                "entropy/nonfinite_tokens",
                "entropy/variety_groups",
            ),
            "line",
            "Token counts behind the two curves. A planning entropy over a few dozen tokens is mostly noise. "
            "Tokens without a finite entropy are left out and should not be there at all.",
        ),
        Panel(
            "Length",
            ("length/mean", "length/max", "length/truncated_frac", "length/completions"),
            "line",
            "Short and shorter beside a rising reward is a collapse to bare answers. A growing share of cut-off "
            "completions means that max_completion_length is too small for what is being learned.",
        ),
    )

    def __init__(self, *, min_planning_tokens: int = 32, resamples: int = 200, seed: int = 0, drop: float = 0.3):
        if min_planning_tokens < 1 or resamples < 20:
            raise ValueError(
                f"entropy diagnostic: min_planning_tokens {min_planning_tokens} and resamples {resamples}; "
                "expected at least 1 and 20"
            )
        if not 0 < drop < 1:
            raise ValueError(f"entropy diagnostic: drop {drop}; expected above 0 and below 1")
        self.min_planning_tokens = min_planning_tokens
        self.resamples = resamples
        self.seed = seed
        self._told = False  # that there are too few planning tokens
        self._watch = creative.DiversityWatch(drop=drop)
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; empty when nothing was trained."""
        said = creative.values(record)
        self._events += self._watch.observe(record.step, said)
        metrics = {}
        if said.variety:
            metrics = {
                "entropy/variety": float(np.mean(said.variety)),
                "entropy/variety_groups": float(len(said.variety)),
            }
        rows = token_sums(record)
        if not len(rows.sums):
            return metrics
        metrics |= entropies(rows.sums.sum(axis=0), self.min_planning_tokens) | _lengths(rows)
        if "entropy/gap" in metrics:
            metrics |= self._intervals(rows.sums, record.step)
        if "entropy/mean" in metrics:
            self._tell_of_few(record.step, metrics["entropy/planning_tokens"])
        for source in sorted(set(rows.sources)):
            of_source = rows.sums[np.array([s == source for s in rows.sources])]
            found = entropies(of_source.sum(axis=0), self.min_planning_tokens)
            if "entropy/gap" in found:
                found |= self._intervals(of_source, record.step, source)
            metrics |= {f"{name}@{source}": value for name, value in found.items()}
        for kind in sorted(set(rows.kinds) - set(rows.sources)):
            of_kind = entropies(rows.sums[np.array([k == kind for k in rows.kinds])].sum(0), self.min_planning_tokens)
            metrics |= {f"{name}@{kind}": of_kind[name] for name in BY_KIND if name in of_kind}
        if rows.nonfinite:
            metrics["entropy/nonfinite_tokens"] = float(rows.nonfinite)
        return metrics

    def _intervals(self, sums: np.ndarray, step: int, source: str = "") -> dict[str, float]:
        """95% intervals of gap and ratio: completions drawn with replacement, all resamples in one product."""
        rng = np.random.default_rng([self.seed, step, *source.encode()])
        draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), self.resamples)  # (R, N)
        drawn = draws @ sums
        h_planning, n_planning, h_execution, n_execution = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)].T
        if not len(n_planning):
            return {}
        planning, execution = h_planning / n_planning, h_execution / n_execution
        metrics = _interval("entropy/gap", planning - execution)
        if execution.min() > 0:
            metrics |= _interval("entropy/ratio", planning / execution)
        return metrics

    def _tell_of_few(self, step: int, planning_tokens: float) -> None:
        if planning_tokens < self.min_planning_tokens and not self._told:
            self._told = True
            self._events.append(_too_few(step, planning_tokens, self.min_planning_tokens))

    def events(self) -> list[Event]:
        """The first step whose planning tokens are too few, and lost diversity. Phases are another's to name."""
        told, self._events = self._events, []
        return told

    def state_dict(self) -> dict[str, Any]:
        """Whether the event was told, and what creative groups are held against."""
        return {"told": self._told, "creative": self._watch.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._told = bool(state["told"])
        self._watch.load_state_dict(state["creative"])


def entropies(sums: np.ndarray, min_planning_tokens: int) -> dict[str, float]:
    """Metrics from (4,) sums as in `TokenSums`; what rests on no token is absent, and so is the entropy of planning,
    with all that compares it, where too few tokens plan."""
    h_planning, n_planning, h_execution, n_execution = map(float, sums)
    metrics = {"entropy/planning_tokens": n_planning, "entropy/execution_tokens": n_execution}
    if n_planning + n_execution:
        metrics["entropy/mean"] = (h_planning + h_execution) / (n_planning + n_execution)
        metrics["plan/ratio"] = n_planning / (n_planning + n_execution)
    if n_execution:
        metrics["entropy/execution"] = h_execution / n_execution
    if n_planning < min_planning_tokens:
        return metrics
    metrics["entropy/planning"] = h_planning / n_planning
    if n_execution:
        metrics["entropy/gap"] = metrics["entropy/planning"] - metrics["entropy/execution"]
        if h_execution:
            metrics["entropy/ratio"] = metrics["entropy/planning"] / metrics["entropy/execution"]
    return metrics


class TokenSums(NamedTuple):
    """The trained completions of a step. Rows of parts of a step, one after another, are those of the step."""

    sums: np.ndarray  # (N, 4) float64: entropy sum and count of planning tokens, the same of execution tokens
    lengths: np.ndarray  # (N,) tokens
    truncated: np.ndarray  # (N,) bool
    sources: list[str]  # N
    kinds: list[str]  # N
    nonfinite: int  # tokens left out


def token_sums(record: StepRecord) -> TokenSums:
    """Entropy sums and token counts of every trained completion."""
    sums, lengths, truncated, sources, kinds, nonfinite = [], [], [], [], [], 0
    for group, i, completion, tokens in record.completions():
        if tokens is None:
            continue
        entropy = tokens.entropy.astype(np.float64)
        mask = tokens.loss_mask & np.isfinite(entropy)
        planning = group.planning[i] & mask if group.planning else np.zeros_like(mask)
        execution = mask & ~planning
        sums.append((entropy[planning].sum(), planning.sum(), entropy[execution].sum(), execution.sum()))
        lengths.append(len(completion.token_ids))
        truncated.append(completion.finish_reason == "length")
        sources.append(group.task.source)
        kinds.append(group.task.kind)
        nonfinite += int(tokens.loss_mask.sum() - mask.sum())
    arrays = np.array(sums, np.float64), np.array(lengths), np.array(truncated, bool)
    return TokenSums(*arrays, sources, kinds, nonfinite)


def _interval(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _too_few(step: int, tokens: float, needed: int) -> Event:
    return Event(
        step,
        "too_few_planning_tokens",
        "info",
        {"planning_tokens": int(tokens), "min_planning_tokens": needed},
        "entropy/planning and what compares it with execution is left out of such steps; sample more, lower "
        "min_planning_tokens, or see by `rltrain tag` whether the tagger fits these texts",
    )


def _lengths(rows: TokenSums) -> dict[str, float]:
    metrics = {
        "length/completions": float(len(rows.lengths)),
        "length/mean": float(rows.lengths.mean()),
        "length/max": float(rows.lengths.max()),
        "length/truncated_frac": float(rows.truncated.mean()),
    }
    for source in sorted(set(rows.sources)):
        of_source = np.array([s == source for s in rows.sources])
        metrics[f"length/mean@{source}"] = float(rows.lengths[of_source].mean())
        metrics[f"length/completions@{source}"] = float(of_source.sum())
    return metrics
