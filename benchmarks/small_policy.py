"""SFT on the state-machine task: from the random model `tiny` to a policy that knows the task by half.

What comes out is a checkpoint like any other, for `model.path`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.state_machine import MOVES, careless, machine

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

BATCH, RATE = 64, 4e-3
IGNORED = -100  # a label that is none


def teach(directory: Path, seed: int, steps: int, shown: Callable[[Iterable[int]], Iterable[int]]) -> None:
    """SFT on careless texts of the seed's machine; written to `directory` with the tokenizer.

    `shown` hands the numbers of the steps through, to show how far it is.
    """
    import torch

    from rltrain.models import load_model, load_tokenizer

    model, tokenizer = load_model("tiny"), load_tokenizer("tiny")
    rng = np.random.default_rng([seed, 3])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in shown(range(steps)):
        ids, labels = batch(rng, seed, tokenizer)
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def batch(rng: np.random.Generator, seed: int, tokenizer: PreTrainedTokenizerBase) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) ids of texts of one length, and their labels: what follows the prompt."""
    import torch

    drawn = careless(machine(seed), rng, BATCH, int(rng.choice(MOVES)))
    texts = [prompt + solution + tokenizer.eos_token for prompt, solution in zip(*drawn, strict=True)]
    ids = torch.tensor(tokenizer(texts)["input_ids"])
    labels = ids.clone()
    labels[:, : len(drawn[0][0])] = IGNORED
    return ids, labels
