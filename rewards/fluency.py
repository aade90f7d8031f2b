"""How natural a frozen language model finds the completion."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

from rltrain.types import Completion, Scorer, Task

# tasks it is for, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "Write one sentence about a river.",
        "completion": "The river ran low that summer, and the boys walked across it on the stones.",
    },
)


def fluency(
    task: Task,
    completions: Sequence[Completion],
    *,
    scorer: Scorer,
    low: float = 2.0,
    high: float = 30.0,
    worst: float = 1000.0,
) -> list[dict[str, float]]:
    """1.0 where a frozen model's perplexity of the completion, behind the task's prompt, lies in [`low`, `high`].

    With p = exp(-mean log-probability of a token) the value is log(p) / log(low) below `low`, 1 between, and
    1 - log(p / high) / log(worst / high) above `high`, not below 0: it falls off on a logarithmic scale to 0 at p = 1,
    where a text repeats itself, and to 0 at `worst`, where it is noise. A text without tokens gets 0. The parts are
    `logprob`, the mean, and `perplexity`, p. Natural is not good: use it as `role: shaping`.
    """
    if not 1.0 < low < high < worst:
        raise ValueError(f"fluency: expected 1 < low < high < worst, got {low:g}, {high:g}, {worst:g}")
    found = scorer.logprobs([task.prompt] * len(completions), [completion.text for completion in completions])
    values = []
    for logprob_T in found:
        if not len(logprob_T):
            values.append({"value": 0.0})
            continue
        mean = float(logprob_T.mean())
        values.append(
            {"value": naturalness(-mean, low, high, worst), "logprob": mean, "perplexity": exp(min(-mean, 50.0))}
        )
    return values


def naturalness(nats: float, low: float, high: float, worst: float) -> float:
    """The value of a text with so many nats a token, the logarithm of its perplexity."""
    if nats < log(low):
        return max(0.0, nats / log(low))
    if nats <= log(high):
        return 1.0
    return max(0.0, 1.0 - (nats - log(high)) / (log(worst) - log(high)))
