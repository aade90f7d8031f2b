"""From hidden states to log-probs: only at the tokens that are trained, and never twice through memory.

The logits are the largest tensor of a step (49,152 to 150,000 floats a token). They are made for real
completion tokens alone, and read in slices that stay in the processor's cache.

Shapes: B rows, P and T the padded widths of prompts and completions, W the longest row without padding
before it, N the completion tokens of all rows, V the vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch

SLICE = 16  # rows of logits worked on at once: 3 MB in float32 at 49,152 classes


class Packed(NamedTuple):
    """Rows moved to the left edge, where a causal model needs no mask and no positions to leave out padding."""

    ids_BW: torch.Tensor
    at_N: torch.Tensor  # where the hidden state that predicts each completion token is, in (B x W)
    real_BT: torch.Tensor  # which completion positions hold a token; N of them, in this order


def packed(ids: torch.Tensor, mask: torch.Tensor, T: int) -> Packed:
    """Ids and mask (B, P + T), prompts padded on the left and completions on the right, without that padding.

    What is left of padding stands behind a row's end, where no token of it can look.
    """
    real = mask[:, -T:].bool()
    starts_B = mask.argmax(dim=1, keepdim=True)  # prompts are never empty: the first real token is one of theirs
    prompts_B = mask[:, :-T].sum(dim=1, keepdim=True)
    W = int(mask.sum(dim=1).max())
    columns_BW = (starts_B + torch.arange(W, device=ids.device)).clamp(max=ids.size(1) - 1)
    rows_B = torch.arange(len(ids), device=ids.device).unsqueeze(1)
    at_BT = rows_B * W + prompts_B - 1 + torch.arange(T, device=ids.device)
    return Packed(ids.gather(1, columns_BW), at_BT[real], real)


@contextlib.contextmanager
def only_at(head: torch.nn.Module, at_N: torch.Tensor) -> Iterator[None]:
    """Within, the model's output head sees the hidden states (B, W, H) at these places alone, as (1, N, H).

    A hook on the head and not a head of our own: wrappers (autocast, DDP, FSDP, PEFT) and what a model
    does to its logits stay as they are.
    """
    hook = head.register_forward_pre_hook(lambda _, given: (given[0].flatten(0, 1)[at_N].unsqueeze(0), *given[1:]))
    try:
        yield
    finally:
        hook.remove()


def score(logits_NV: torch.Tensor, ids_N: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) log-probs of the ids and (N,) Shannon entropies in nats, float32, both differentiable."""
    return _Score.apply(logits_NV, ids_N, temperature)


class _Score(torch.autograd.Function):
    """Keeps nothing but the logits: the backward pass makes the probabilities again."""

    @staticmethod
    def forward(ctx, logits_NV, ids_N, temperature):
        chosen, entropy = (torch.empty(len(ids_N), device=logits_NV.device) for _ in range(2))
        for part in _slices(len(ids_N)):
            logp = _log_softmax(logits_NV[part], temperature)
            chosen[part] = logp.gather(-1, ids_N[part].unsqueeze(-1)).squeeze(-1)
            entropy[part] = -(logp.exp() * logp).sum(-1)
        ctx.save_for_backward(logits_NV, ids_N, entropy)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)
        return chosen, entropy

    @staticmethod
    def backward(ctx, of_chosen, of_entropy):
        logits_NV, ids_N, entropy = ctx.saved_tensors
        gradient = torch.empty_like(logits_NV)
        for part in _slices(len(ids_N)):
            logp = _log_softmax(logits_NV[part], ctx.temperature)
            p = logp.exp()
            total = torch.zeros_like(p) if of_chosen is None else p * -of_chosen[part].unsqueeze(-1)
            if of_chosen is not None:  # d log p(id) / dz = [id] - p
                total.scatter_add_(-1, ids_N[part].unsqueeze(-1), of_chosen[part].unsqueeze(-1))
            if of_entropy is not None:  # dH / dz = -p (log p + H)
                total -= of_entropy[part].unsqueeze(-1) * p * (logp + entropy[part].unsqueeze(-1))
            gradient[part] = total / ctx.temperature
        return gradient, None, None


def _log_softmax(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    return (logits.float() / temperature).log_softmax(-1)


def _slices(n: int) -> Iterator[slice]:
    return (slice(i, min(i + SLICE, n)) for i in range(0, n, SLICE))
