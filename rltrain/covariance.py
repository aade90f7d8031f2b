"""The tokens through which entropy is lost, and two ways to spare it (Cui et al. 2025, arXiv 2505.22617).

For a softmax policy one gradient step changes the entropy by -step x Cov(log p, A), so a token's share in
it is (A_t - mean A)(log p_t - mean log p). Few tokens have a large one. KL-Cov holds those back with a
penalty, Clip-Cov takes the gradient from some of them.

The tokens are chosen among those of a micro-batch and rank: the choice has to be made in the one forward
pass there is. Shapes (B, T); `mask` marks completion tokens.
"""

from __future__ import annotations

import torch


def token_covariance(advantages: torch.Tensor, logp: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(A - mean A)(log p - mean log p), the means over the masked tokens; 0 elsewhere. No gradient."""
    real = mask.bool()
    if not real.any():
        return torch.zeros_like(logp)
    logp = logp.detach()
    return (advantages - advantages[real].mean()) * (logp - logp[real].mean()) * mask


def largest(covariance: torch.Tensor, mask: torch.Tensor, share: float) -> torch.Tensor:
    """The `share` of the masked tokens with the largest covariance, at least one where there is any, as a mask."""
    real = mask.bool()
    chosen = torch.zeros_like(real)
    if count := int(real.sum()):
        ranked = covariance.masked_fill(~real, float("-inf")).flatten()
        chosen.view(-1)[ranked.topk(max(1, int(count * share))).indices] = True
    return chosen


def kl_penalty(logp: torch.Tensor, old: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Sum of |log p - log p_old| over the chosen tokens; its gradient reaches `logp`. 0 where none was chosen."""
    return ((logp - old.detach()).abs() * chosen).sum()


def drawn(covariance: torch.Tensor, mask: torch.Tensor, share: float, bounds: tuple[float, float]) -> torch.Tensor:
    """At random, `share` of the masked tokens (at least one) out of those with a covariance within the bounds."""
    real = mask.bool()
    candidates = (real & (covariance > bounds[0]) & (covariance < bounds[1])).flatten().nonzero().squeeze(-1)
    chosen = torch.zeros_like(real)
    if len(candidates):
        count = min(len(candidates), max(1, int(int(real.sum()) * share)))
        order = torch.randperm(len(candidates), device=candidates.device)[:count]
        chosen.view(-1)[candidates[order]] = True
    return chosen
