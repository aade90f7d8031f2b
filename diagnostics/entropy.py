"""Entropy where the policy plans against entropy where it executes; lengths and creative variety beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diagnostics import creative, length
from diagnostics.token_sums import TokenSums, entropies, intervals, token_sums
from rltrain.types import Event, Panel, StepRecord

BY_KIND = ("entropy/mean", "entropy/planning_tokens", "entropy/execution_tokens")


class EntropyDiagnostic:
    """Computes `entropy/*`, `plan/ratio` and `length/*` from the trained tokens, in all, by source and by kind.

    Gap and ratio come with a 95% interval from a bootstrap over completions, those of a prompt together, seeded by
    `seed`, step and source; without one where fewer than four prompts plan. They and the entropy of planning are left
    out where they would rest on fewer than `min_planning_tokens` planning tokens; an event says so the first time.
    Tokens whose entropy is not finite count in nothing but `entropy/nonfinite_tokens`. Event `creative_diversity_lost`
    where creative tasks lose more than `drop` of their entropy or variety (creative.py).
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
        creative.PANEL,
        Panel(
            "Entropy gap",
            ("entropy/gap", "entropy/gap_low", "entropy/gap_high"),
            "line",
            "Planning minus execution, with its 95% interval. Trust a move only where the interval leaves the old "
            "level; where it is missing fewer than four prompts had planning tokens, and where the curve is missing as "
            "well there were too few planning tokens to say anything.",
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
        length.PANEL,
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
        metrics = creative.metrics(said) | length.lengths(record)
        rows = token_sums(record)
        if not len(rows.sums):
            return metrics
        metrics |= self._compared(rows, record.step)
        if "entropy/mean" in metrics:
            self._tell_of_few(record.step, metrics["entropy/planning_tokens"])
        for source in sorted(set(rows.sources)):
            found = self._compared(rows.where(rows.sources, source), record.step, source)
            metrics |= {f"{name}@{source}": value for name, value in found.items()}
        for kind in sorted(set(rows.kinds) - set(rows.sources)):
            of_kind = entropies(rows.where(rows.kinds, kind).sums.sum(axis=0), self.min_planning_tokens)
            metrics |= {f"{name}@{kind}": of_kind[name] for name in BY_KIND if name in of_kind}
        if any(rows.nonfinite):
            metrics["entropy/nonfinite_tokens"] = float(sum(rows.nonfinite))
        return metrics

    def _compared(self, rows: TokenSums, step: int, source: str = "") -> dict[str, float]:
        """The entropies of some rows, and the intervals of what compares them."""
        found = entropies(rows.sums.sum(axis=0), self.min_planning_tokens)
        if "entropy/gap" in found:
            rng = np.random.default_rng([self.seed, step, *source.encode()])
            found |= intervals(rows.sums, rows.prompts, self.resamples, rng)
        return found

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


def _too_few(step: int, tokens: float, needed: int) -> Event:
    return Event(
        step,
        "too_few_planning_tokens",
        "info",
        {"planning_tokens": int(tokens), "min_planning_tokens": needed},
        "entropy/planning and what compares it with execution is left out of such steps; sample more, lower "
        "min_planning_tokens, or see by `rltrain tag` whether the tagger fits these texts",
    )
