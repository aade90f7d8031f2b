"""How surprising planning and execution tokens are to the policy, relative to where it started."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rltrain.types import Event, Panel, StepRecord, Tagger

CLASSES = ("planning", "execution")
ALL = ""  # the baseline over every source


class PerplexityDiagnostic:
    """Computes `ppl/*`: PPL_class(t) / PPL_class(0), PPL = exp(mean negative log-probability).

    Source: "Emergent Hierarchical Reasoning in LLMs through RL" (HICRA), arXiv 2509.03646, section 3. The start
    is the first step, or the first few together until a class has `min_planning_tokens` tokens; each source has
    a start of its own. It is kept in the checkpoint, and begins anew when the tagger's phrases have changed.
    A class with fewer tokens in a step has no value there. Tokens without a finite log-probability do not count.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Perplexity relative to the start",
            ("ppl/execution_rel", "ppl/planning_rel"),
            "line",
            "1 is the untrained policy. Execution falls first and then stays flat: that is the consolidation of "
            "procedures. Missing where a step has too few tokens of the class. A jump of the total beside quiet "
            "sources is a change of the mixture and not of the policy.",
        ),
        Panel(
            "Log-probability of planning and execution",
            ("ppl/planning_logprob", "ppl/execution_logprob"),
            "line",
            "The same before it is related to the start: mean log-probability of a sampled token. Near 0 the "
            "policy writes what it is sure of. Planning lies below execution where plans are a choice.",
        ),
        Panel(
            "What the perplexities rest on",
            ("ppl/planning_tokens", "ppl/execution_tokens"),
            "line",
            "Tokens behind the curves. A ratio to the start cannot be steadier than the start: look at the "
            "first steps of this panel too.",
        ),
    )

    def __init__(self, *, min_planning_tokens: int = 32, tagger: Tagger | None = None):
        if min_planning_tokens < 1:
            raise ValueError(f"perplexity diagnostic: min_planning_tokens {min_planning_tokens}; expected at least 1")
        self.min_planning_tokens = min_planning_tokens
        self._tagger = getattr(tagger, "hash", None)
        self._start: dict[str, dict[str, list[float]]] = {}  # source -> class -> [sum of log p, tokens]
        self._restarted: dict[str, Any] | None = None  # why the start begins anew; told with the next step
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; empty when nothing was trained."""
        if self._restarted:
            self._events.append(_restart_event(record.step, self._restarted))
            self._restarted = None
        by_source = logprob_sums(record)
        if not by_source:
            return {}
        metrics = self._relative(ALL, sum(by_source.values()))
        for source, sums in sorted(by_source.items()):
            metrics |= {f"{name}@{source}": value for name, value in self._relative(source, sums).items()}
        return metrics

    def _relative(self, source: str, sums: np.ndarray) -> dict[str, float]:
        """Metrics of a source from (2, 2) sums; its start grows until it has tokens enough."""
        start = self._start.setdefault(source, {name: [0.0, 0.0] for name in CLASSES})
        metrics: dict[str, float] = {}
        for name, (logprob, tokens) in zip(CLASSES, sums.tolist(), strict=True):
            if start[name][1] < self.min_planning_tokens:
                start[name] = [start[name][0] + logprob, start[name][1] + tokens]
            metrics[f"ppl/{name}_tokens"] = tokens
            if tokens:
                metrics[f"ppl/{name}_logprob"] = logprob / tokens
            if tokens >= self.min_planning_tokens:
                metrics[f"ppl/{name}_rel"] = _exp(start[name][0] / start[name][1] - logprob / tokens)
        return metrics

    def events(self) -> list[Event]:
        """One when the start began anew."""
        told, self._events = self._events, []
        return told

    def state_dict(self) -> dict[str, Any]:
        """The start of every source, and which phrases it was measured with."""
        start = {source: {name: list(pair) for name, pair in of.items()} for source, of in self._start.items()}
        return {"tagger_hash": self._tagger, "start": start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint. A start measured with other phrases is of other tokens and is dropped."""
        if state["tagger_hash"] == self._tagger:
            self._start = {
                source: {name: list(pair) for name, pair in of.items()} for source, of in state["start"].items()
            }
        else:
            self._restarted = {"hash_before": state["tagger_hash"], "hash_now": self._tagger}


def logprob_sums(record: StepRecord) -> dict[str, np.ndarray]:
    """Per source (2, 2) float64: rows planning and execution, columns sum of log p and number of tokens.

    Sums of parts of a step add up to the sums of the step, so ranks and files may be read one by one.
    """
    sums: dict[str, np.ndarray] = {}
    for group, i, _, tokens in record.completions():
        if tokens is None:
            continue
        logprob = tokens.train_logprob.astype(np.float64)
        valid = tokens.loss_mask & np.isfinite(logprob)
        planning = group.planning[i] & valid if group.planning else np.zeros_like(valid)
        of_source = sums.setdefault(group.task.source, np.zeros((2, 2)))
        for row, mask in zip(of_source, (planning, valid & ~planning), strict=True):
            row += logprob[mask].sum(), mask.sum()
    return sums


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))  # log-probs of a foreign file can be anything; a float ends at e^709


def _restart_event(step: int, evidence: Mapping[str, Any]) -> Event:
    return Event(
        step,
        "perplexity_restarted",
        "warning",
        evidence,
        "the tagger's phrases are not those of the checkpoint: ppl/*_rel is relative to this step from here on; "
        "for one unbroken curve go on with the old lexicon, or have the whole run marked by one: `rltrain diagnose RUN "
        "--tagger NAME` (or `--lexicon FILE`)",
    )
