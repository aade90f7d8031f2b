"""A transformer of 0.1 million parameters and its policy gradient, for benchmarks that need real interference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

WIDTH = 64


class Policy(nn.Module):
    """Two layers, 64 wide; sequences of `length` tokens out of `vocabulary`."""

    def __init__(self, vocabulary: int, length: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)
        self.places = nn.Embedding(length, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, vocabulary)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) ids -> (B, T, vocabulary) log-probs of the next token."""
        length = ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.tokens(ids) + self.places(torch.arange(length))
        return functional.log_softmax(self.head(self.layers(hidden, mask=mask, is_causal=True)), -1)


def taught(policy: Policy, batches: Iterator[np.ndarray], steps: int, prompt: int) -> Policy:
    """The policy after so many steps of SFT on batches (B, T) of ids, of which the first `prompt` are given."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        ids = torch.tensor(next(batches))
        loss = functional.nll_loss(policy(ids[:, :-1])[:, prompt - 1 :].flatten(0, 1), ids[:, prompt:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return policy


@torch.no_grad()
def sampled(policy: Policy, ids: torch.Tensor, length: int) -> torch.Tensor:
    """(B, P + length): prompts (B, P) with completions sampled at temperature 1; beginnings alike are read once."""
    for _ in range(length):
        rows, place = torch.unique(ids, dim=0, return_inverse=True)
        ids = torch.cat([ids, torch.multinomial(policy(rows)[:, -1].exp()[place], 1)], 1)
    return ids


def logprobs(policy: Policy, ids: torch.Tensor, prompt: int) -> torch.Tensor:
    """(B, T - prompt) log-probs of the tokens behind the prompt; rows alike but for their last token are read once."""
    rows, place = torch.unique(ids[:, :-1], dim=0, return_inverse=True)
    return policy(rows)[:, prompt - 1 :][place].gather(-1, ids[:, prompt:, None]).squeeze(-1)
