"""The parity gate: do engine and trainer mean the same distribution?

The engine's log-probs of its own samples are compared with the trainer's on the same tokens. The bound
comes from the arithmetic: how far the trainer's own log-probs move between float32 and bfloat16 on
these very tokens, where either side computes in bfloat16. Above it the gap is fitted again under each
hypothesis, and the one that explains it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rltrain.batch import Row
from rltrain.types import Group

FLOOR = 1e-4  # mean |gap| in nats that float32 kernels of two libraries may differ by
SLACK = 4.0  # the bound, in units of the rounding gap
EXPLAINS = 0.5  # a hypothesis must bring the gap below this share of itself
TEMPERATURES = np.round(np.geomspace(0.5, 2.0, 29), 3)
NUCLEI = np.array([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99])


class ParityError(RuntimeError):
    """Engine and trainer disagree by more than rounding; the message names the cause."""


class Parity(NamedTuple):
    """One measurement."""

    gap: float  # mean |engine - trainer| over tokens, nats
    bound: float
    tokens: int


class Views(NamedTuple):
    """The trainer's side, each on demand. `logits` are raw, (T, V) per row; the rest is (T,) per row."""

    logprobs: Callable[[Sequence[Row]], list[np.ndarray]]
    logprobs_bf16: Callable[[Sequence[Row]], list[np.ndarray]]
    logprobs_fp32: Callable[[Sequence[Row]], list[np.ndarray]]
    logits: Callable[[Sequence[Row]], list[np.ndarray]]


def rows(groups: Sequence[Group]) -> list[Row]:
    """The probes' completions as the trainer reads them; nothing is learned from them."""
    return [
        Row((g.ticket, i), g.prompt_ids, c.token_ids, c.logprobs, np.zeros(len(c.token_ids), dtype=np.float32))
        for g in groups
        for i, c in enumerate(g.completions)
    ]


def mean_gap(engine: Sequence[np.ndarray], trainer: Sequence[np.ndarray]) -> float:
    """Mean |difference| over all tokens of all rows; tokens the engine could not score are left out."""
    gaps = np.abs(np.concatenate([e - t for e, t in zip(engine, trainer, strict=True)]))
    return float(gaps[np.isfinite(gaps)].mean())


def measure_bound(rows: Sequence[Row], views: Views, rounded: bool) -> float:
    """The gap that arithmetic alone may cause for this model on these tokens."""
    if not rounded:
        return FLOOR
    return FLOOR + SLACK * mean_gap(views.logprobs_bf16(rows), views.logprobs_fp32(rows))


def check(
    rows: Sequence[Row], views: Views, bound: float, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> Parity:
    """Compare; raises ParityError naming the cause when the gap is above the bound."""
    engine = [row.logprobs for row in rows]
    whole = top_p == 1.0 and not top_k
    trainer = views.logprobs(rows) if whole else under(views.logits(rows), rows, temperature, top_p, top_k)
    gap = mean_gap(engine, trainer)
    result = Parity(gap, bound, sum(map(len, engine)))
    if not gap <= bound:
        cause = explain(rows, views, gap, temperature, top_p, top_k)
        raise ParityError(
            f"engine and trainer log-probs differ by {gap:.2g} nats in the mean over {result.tokens} tokens; "
            f"rounding explains {bound:.2g}. Cause: {cause}"
        )
    return result


def explain(rows: Sequence[Row], views: Views, gap: float, temperature: float, top_p: float, top_k: int = 0) -> str:
    """The hypothesis under which the gap is smallest, in words."""
    engine = [row.logprobs for row in rows]
    logits = views.logits(rows)
    fits: dict[str, float] = {}
    for t in TEMPERATURES:
        fits[f"the engine samples at another temperature: {t:.3g} fits, the run's is {temperature:.3g}"] = mean_gap(
            engine, under(logits, rows, t, top_p, top_k)
        )
    for p in NUCLEI[top_p > NUCLEI]:
        fits[f"the engine truncates its support: top-p {p:.3g} fits, the run's is {top_p:.3g}"] = mean_gap(
            engine, under(logits, rows, temperature, p, top_k)
        )
    best = min(fits, key=fits.__getitem__)
    if fits[best] < EXPLAINS * gap:
        return f"{best} (the gap is then {fits[best]:.2g})"
    # Two libraries round bfloat16 differently, so the dtype is known by the size of its gap, not by a better fit.
    rounding = measure_bound(rows, views, rounded=True)
    if gap <= rounding:
        return f"the engine computes in another dtype: bfloat16 rounding makes a gap of up to {rounding:.2g} here"
    return (
        "the engine serves other weights than the trainer's; no temperature, top-p or dtype explains the gap "
        f"(the best fit leaves {fits[best]:.2g}, rounding {rounding:.2g})"
    )


def prompts_agree(groups: Sequence[Group], render: Callable[..., list[int]]) -> None:
    """ParityError when the prompts that were sampled are not what the trainer's tokenizer renders."""
    for group in groups:
        expected = list(render(group.task.prompt))
        given = group.prompt_ids.tolist()
        if expected != given:
            at = next((i for i, (a, b) in enumerate(zip(expected, given, strict=False)) if a != b), None)
            at = min(len(expected), len(given)) if at is None else at
            raise ParityError(
                f"the prompt of {group.task.key} has other token ids than the trainer's rendering: {len(given)} "
                f"against {len(expected)} tokens, first difference at {at}. Cause: another chat template or tokenizer"
            )


def under(
    logits: Sequence[np.ndarray], rows: Sequence[Row], temperature: float, top_p: float, top_k: int = 0
) -> list[np.ndarray]:
    """(T,) log-probs of the sampled tokens under these sampling parameters, renormalised over what they keep.

    A token that they cut off gets what it had before, over the same sum.
    """
    return [_chosen(z, row.completion_ids, temperature, top_p, top_k) for z, row in zip(logits, rows, strict=True)]


def _chosen(logits_TV: np.ndarray, ids_T: np.ndarray, temperature: float, top_p: float, top_k: int) -> np.ndarray:
    z = logits_TV.astype(np.float64) / temperature
    z -= z.max(-1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    chosen = np.take_along_axis(logp, ids_T[:, None].astype(np.int64), axis=-1)[:, 0]
    if top_p < 1.0 or top_k:
        p = -np.sort(-np.exp(logp), axis=-1)
        if top_k:  # first the k likeliest, then the nucleus among them, as vLLM and transformers have it
            p[:, top_k:] = 0.0
            p /= (most := p.sum(-1, keepdims=True))
            chosen = chosen - np.log(most[:, 0])
        kept = np.cumsum(p, axis=-1) - p < top_p  # the smallest set that reaches top_p
        chosen = chosen - np.log((p * kept).sum(-1))
    return chosen.astype(np.float32)
