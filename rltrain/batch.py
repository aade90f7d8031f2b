"""Groups to padded tensors: micro-batches cut from the length-sorted batch.

The same number of rows in every micro-batch and the same number of micro-batches in every step: some
of TRL's losses weigh micro-batches equally, and all ranks must enter every collective.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from rltrain.advantages import token_advantages
from rltrain.types import Group

PAD = 0  # any id: padded positions are masked everywhere


class Row(NamedTuple):
    """One completion on its way into the trainer."""

    key: tuple[int, int]  # (ticket, sample); (-1, -1) for a filler that keeps the shape
    prompt_ids: np.ndarray  # (P,)
    completion_ids: np.ndarray  # (T,)
    logprobs: np.ndarray  # (T,) the sampler's
    advantages: np.ndarray  # (T,)
    old: np.ndarray | None = None  # (T,) old log-probs, where a forward of their own was made
    value: float = 0.0  # the advantage without token-level credit
    entropy_bonus: float = 0.0  # credit on tokens of high entropy
    source: str = ""  # of the task

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt_ids) + len(self.completion_ids)


def rows(groups: Sequence[Group], old: Mapping[tuple[int, int], np.ndarray] | None = None) -> list[Row]:
    """The admitted groups' completions; `old`: their old log-probs by key, where they were recomputed."""
    old = old or {}
    return [
        Row(
            (group.ticket, i),
            group.prompt_ids,
            c.token_ids,
            c.logprobs,
            token_advantages(group, i),
            old.get((group.ticket, i)),
            group.advantages[i].value,
            group.entropy_bonus[i] if group.entropy_bonus else 0.0,
            group.task.source,
        )
        for group in groups
        if group.admitted
        for i, c in enumerate(group.completions)
    ]


def cut(batch: Sequence[Row], micro_batches: int, size: int, processes: int = 1) -> list[list[list[Row]]]:
    """[micro-batch][process][row]: sorted by length, so that neighbours pad each other little.

    A batch that is short of `micro_batches x processes x size` rows (fewer groups were admitted) is filled
    with rows that have no completion token. They weigh nothing where a loss divides by tokens (dapo,
    cispo, vespo); where it divides by rows (grpo, dr_grpo, sapo, luspo) every row keeps the weight it has
    in a full batch. Longest first: what does not fit in memory fails at once, not after minutes.
    """
    want = micro_batches * size * processes
    assert 0 < len(batch) <= want, f"{len(batch)} rows for {micro_batches} x {processes} x {size}"
    shortest = min(batch, key=lambda row: row.length)
    filler = Row((-1, -1), shortest.prompt_ids, shortest.completion_ids[:1], shortest.logprobs[:1], np.zeros(1, "f4"))
    ordered = sorted(batch, key=lambda row: (-row.length, row.key)) + [filler] * (want - len(batch))
    micro = [ordered[i : i + size * processes] for i in range(0, want, size * processes)]
    # neighbours in length go to different ranks, so that no rank waits for a longer one
    return [[chunk[rank::processes] for rank in range(processes)] for chunk in micro]


def collate(batch: Sequence[Row], num_items: int) -> dict[str, torch.Tensor]:
    """A micro-batch as TRL's loss reads it.

    Prompts are padded on the left, completions on the right, each only to this micro-batch's longest.
    Returns prompt_ids, prompt_mask (B, P); completion_ids, completion_mask, advantages,
    sampling_per_token_logps (B, T), old_per_token_logps (B, T) where rows carry some, values and entropy_bonus
    (B,) where rows carry credit for entropy; num_items_in_batch: completion tokens of the whole step, all ranks.
    """
    width_p = max(len(row.prompt_ids) for row in batch)
    width_t = max(1, max(len(row.completion_ids) for row in batch))
    B = len(batch)
    prompt = np.full((B, width_p), PAD, dtype=np.int64)
    prompt_mask = np.zeros((B, width_p), dtype=np.int64)
    ids = np.full((B, width_t), PAD, dtype=np.int64)
    mask = np.zeros((B, width_t), dtype=np.int64)
    advantages = np.zeros((B, width_t), dtype=np.float32)
    logprobs = np.zeros((B, width_t), dtype=np.float32)
    old = np.zeros((B, width_t), dtype=np.float32)
    for i, row in enumerate(batch):
        p, t = len(row.prompt_ids), len(row.completion_ids)
        prompt[i, width_p - p :] = row.prompt_ids
        prompt_mask[i, width_p - p :] = 1
        ids[i, :t] = row.completion_ids
        mask[i, :t] = row.key[0] >= 0
        advantages[i, :t] = row.advantages
        logprobs[i, :t] = row.logprobs
        old[i, :t] = 0.0 if row.old is None else row.old
    inputs = {
        "prompt_ids": torch.from_numpy(prompt),
        "prompt_mask": torch.from_numpy(prompt_mask),
        "completion_ids": torch.from_numpy(ids),
        "completion_mask": torch.from_numpy(mask),
        "advantages": torch.from_numpy(advantages),
        "sampling_per_token_logps": torch.from_numpy(logprobs),
        "num_items_in_batch": torch.tensor(num_items),
    }
    if any(row.old is not None for row in batch):
        inputs["old_per_token_logps"] = torch.from_numpy(old)
    if any(row.entropy_bonus for row in batch):
        inputs["values"] = torch.tensor([row.value for row in batch], dtype=torch.float32)
        inputs["entropy_bonus"] = torch.tensor([row.entropy_bonus for row in batch], dtype=torch.float32)
    return inputs
