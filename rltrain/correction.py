"""Importance correction between sampler and trainer, and how far the two are apart. Pure functions.

All tensors are (B, T); `mask` marks completion tokens. `diff` = old - sampler log-probability.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from rltrain.types import StepRecord


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
    """Sums over tokens and completions, to be added over micro-batches and ranks before any division.

    r is trainer / sampler: of a token, or (`sequence_*`) the product over a completion, before the cap
    unless `capped_*` says otherwise.
    """

    tokens: float
    kl: float  # sum of r - 1 - log r: the k3 estimate of KL(sampler || trainer)
    kl_reverse: float  # sum of r log r - r + 1: the same of KL(trainer || sampler), reweighted to the trainer's samples
    ratio: float
    ratio_squared: float
    outside: float  # tokens whose weight the cap changes
    capped: float  # sum of the weights after the cap
    capped_squared: float
    low: float
    high: float
    sequences: float
    sequence_ratio: float
    sequence_high: float
    sequence_log_high: float  # log of the largest, which is the unit of the two below
    sequence_weight: float
    sequence_weight_squared: float


SUMMED = tuple(name for name in Drift._fields if not name.endswith(("low", "high")) and "weight" not in name)
LARGEST_LOG = 30.0  # mean and maximum of completions' ratios are cut here: e^30 says "absurd" as well as infinity
FARTHEST_LOG = 1e9  # beyond any ratio that is one; keeps infinity out of differences


def drift(trainer: torch.Tensor, sampler: torch.Tensor, mask: torch.Tensor, mode: str, cap: float) -> Drift:
    """Drift of one micro-batch by the log-probabilities of both sides.

    A token that one of them has not scored (NaN) has no known ratio and does not count. `mode`, `cap`: the run's
    correction, `none` changes no weight.
    """
    real = mask.bool() & trainer.isfinite() & sampler.isfinite()
    diff = torch.where(real, trainer - sampler, 0.0).double()
    x = diff[real]
    if not len(x):
        return Drift(**dict.fromkeys(Drift._fields, 0.0))
    r = x.exp()
    logs = diff.sum(-1)[real.any(-1)].clamp(-FARTHEST_LOG, FARTHEST_LOG)
    of_sequence, weight = logs.clamp(max=LARGEST_LOG).exp(), (logs - logs.max()).exp()
    weights = r if mode == "none" else importance_ratio(diff, mode, cap).expand_as(diff)[real]
    before = r if mode.startswith("token") or mode == "none" else _spread(diff, real)
    return Drift(
        tokens=float(len(x)),
        kl=float((r - 1 - x).sum()),
        kl_reverse=float((r * x - r + 1).sum()),
        ratio=float(r.sum()),
        ratio_squared=float((r * r).sum()),
        outside=float((weights != before).sum()),
        capped=float(weights.sum()),
        capped_squared=float((weights * weights).sum()),
        low=float(r.min()),
        high=float(r.max()),
        sequences=float(len(of_sequence)),
        sequence_ratio=float(of_sequence.sum()),
        sequence_high=float(of_sequence.max()),
        sequence_log_high=float(logs.max()),
        sequence_weight=float(weight.sum()),
        sequence_weight_squared=float((weight * weight).sum()),
    )


def step_drift(record: StepRecord, mode: str, cap: float) -> dict[str, float]:
    """drift/* metrics of the completions whose log-probs are known of both sides; empty without any."""
    parts: list[Drift] = []
    for group in record.groups:
        rows = []
        for i, completion in enumerate(group.completions):
            tokens = record.tokens.get((group.ticket, i))
            if tokens is not None and np.isfinite(completion.logprobs).any():
                rows.append((tokens.train_logprob, completion.logprobs, tokens.loss_mask))
        if rows:
            parts.append(drift(*(_padded(list(columns)) for columns in zip(*rows, strict=True)), mode, cap))
    return drift_metrics(parts)


def _padded(rows: list[np.ndarray]) -> torch.Tensor:
    """(B, T) float32, zero behind each row's end."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(np.array(row, np.float32)) for row in rows], True)


def _spread(diff: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Each token's completion-level ratio, for the tokens of `real`."""
    return diff.sum(-1, keepdim=True).exp().expand_as(diff)[real]


def drift_metrics(parts: list[Drift]) -> dict[str, float]:
    """The step's drift/* metrics from all micro-batches of all ranks."""
    parts = [part for part in parts if part.tokens]
    if not parts:
        return {}
    unit = max(p.sequence_log_high for p in parts)
    total = Drift(
        **{name: sum(getattr(p, name) for p in parts) for name in SUMMED},
        low=min(p.low for p in parts),
        high=max(p.high for p in parts),
        sequence_high=max(p.sequence_high for p in parts),
        sequence_log_high=unit,
        sequence_weight=sum(p.sequence_weight * math.exp(p.sequence_log_high - unit) for p in parts),
        sequence_weight_squared=sum(
            p.sequence_weight_squared * math.exp(2 * (p.sequence_log_high - unit)) for p in parts
        ),
    )
    return {
        "drift/tokens": total.tokens,
        "drift/sequences": total.sequences,
        "drift/kl_sampler_trainer": total.kl / total.tokens,
        "drift/kl_trainer_sampler": total.kl_reverse / total.tokens,
        "drift/ratio_mean": total.ratio / total.tokens,
        "drift/ratio_std": _std(total.ratio, total.ratio_squared, total.tokens),
        "drift/ratio_min": total.low,
        "drift/ratio_max": total.high,
        "drift/ess": _effective(total.ratio, total.ratio_squared, total.tokens),
        "drift/truncated_frac": total.outside / total.tokens,
        "drift/capped_mean": total.capped / total.tokens,
        "drift/capped_ess": _effective(total.capped, total.capped_squared, total.tokens),
        "drift/sequence_ratio_mean": total.sequence_ratio / total.sequences,
        "drift/sequence_ratio_max": total.sequence_high,
        "drift/sequence_ess": _effective(total.sequence_weight, total.sequence_weight_squared, total.sequences),
    }


def _effective(weights: float, squared: float, count: float) -> float:
    """Kish's effective sample size as a share of the samples; 0 where no sample has any weight."""
    return weights * weights / (squared * count) if squared else 0.0


def _std(values: float, squared: float, count: float) -> float:
    mean = values / count
    return max(0.0, squared / count - mean * mean) ** 0.5  # a power of a float raises where a product is infinite
