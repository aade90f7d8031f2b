"""Importance correction between sampler and trainer, and how far the two are apart. Pure functions.

All tensors are (B, T); `mask` marks completion tokens. `diff` = old - sampler log-probability.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


def log_ratio(old: torch.Tensor, sampler: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """old - sampler on completion tokens, 0 elsewhere and where the sampler gave no number."""
    return torch.nan_to_num((old - sampler) * mask, nan=0.0)


def importance_ratio(diff: torch.Tensor, mode: str, cap: float) -> torch.Tensor:
    """The factor the loss is multiplied with, (B, T) or (B, 1).

    `token_*` weighs each token by exp(diff), `sequence_*` each sequence by exp(sum of diff);
    `*_truncate` caps at `cap` (TIS, https://fengyao.notion.site/off-policy-rl), `*_mask` drops what
    lies outside [1/cap, cap] (masked importance sampling, IcePop).
    """
    level, _, how = mode.partition("_")
    ratio = diff.exp() if level == "token" else diff.sum(-1, keepdim=True).exp()
    if how == "truncate":
        return ratio.clamp(max=cap)
    assert how == "mask", mode
    return ratio.masked_fill((ratio > cap) | (ratio < 1 / cap), 0.0)


class Drift(NamedTuple):
    """Sums over tokens and sequences, to be added over micro-batches and ranks before any division."""

    tokens: float
    kl: float  # sum of the k3 estimate of KL(sampler || trainer)
    ratio: float
    ratio_squared: float
    outside: float  # tokens whose ratio lies beyond the cap
    low: float
    high: float


def drift(diff: torch.Tensor, mask: torch.Tensor, cap: float) -> Drift:
    """Drift of one micro-batch, before truncation."""
    x = diff[mask.bool()].double()
    if not len(x):
        return Drift(0, 0, 0, 0, 0, float("inf"), float("-inf"))
    r = x.exp()
    return Drift(
        tokens=float(len(x)),
        kl=float((r - 1 - x).sum()),
        ratio=float(r.sum()),
        ratio_squared=float((r * r).sum()),
        outside=float((r > cap).sum()),
        low=float(r.min()),
        high=float(r.max()),
    )


def drift_metrics(parts: list[Drift]) -> dict[str, float]:
    """The step's drift/* metrics from all micro-batches of all ranks."""
    total = sum(p.tokens for p in parts)
    if not total:
        return {}
    ratio, squared = sum(p.ratio for p in parts), sum(p.ratio_squared for p in parts)
    return {
        "drift/kl_sampler_trainer": sum(p.kl for p in parts) / total,
        "drift/ratio_mean": ratio / total,
        "drift/ratio_min": min(p.low for p in parts),
        "drift/ratio_max": max(p.high for p in parts),
        "drift/ess": ratio * ratio / (squared * total),
        "drift/truncated_frac": sum(p.outside for p in parts) / total,
    }
