"""How long the trained completions are, in all and by source."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from rltrain.types import Completion, Panel, StepRecord

PANEL = Panel(
    "Length",
    ("length/mean", "length/max", "length/truncated_frac", "length/completions"),
    "line",
    "Short and shorter beside a rising reward is a collapse to bare answers. A growing share of cut-off "
    "completions means that max_completion_length is too small for what is being learned.",
)


def lengths(record: StepRecord) -> dict[str, float]:
    """`length/*` of a step, in tokens; empty when nothing was trained."""
    by_source: dict[str, list[Completion]] = defaultdict(list)
    for group, _, completion, tokens in record.completions():
        if tokens is not None:
            by_source[group.task.source].append(completion)
    trained = [completion for of_source in by_source.values() for completion in of_source]
    if not trained:
        return {}
    metrics = {
        "length/completions": float(len(trained)),
        "length/mean": _mean(trained),
        "length/max": float(max(len(completion.token_ids) for completion in trained)),
        "length/truncated_frac": float(np.mean([completion.finish_reason == "length" for completion in trained])),
    }
    for source, of_source in sorted(by_source.items()):
        metrics[f"length/mean@{source}"] = _mean(of_source)
        metrics[f"length/completions@{source}"] = float(len(of_source))
    return metrics


def _mean(completions: list[Completion]) -> float:
    return float(np.mean([len(completion.token_ids) for completion in completions]))
