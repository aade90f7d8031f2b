"""Listens in on a plain `GRPOTrainer` of TRL while it trains, and never changes what it computes.

Per-token log-probs and entropies are those of the loss's own forward; rewards are those its reward functions gave.
The two meet by a column of row numbers that travels with TRL's batch through its shuffling and splitting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from rltrain.trl_hooks import TAPPED, moved
from rltrain.types import TokenArrays

PLACE = "rltrain_place"  # the column: (generation, row over all processes), (B, 2)
COLUMNS = ("source", "kind", "answer")  # of the data set, kept where they are text


class Judged(NamedTuple):
    """A completion as the reward functions saw it."""

    prompt: Any  # text or chat messages
    columns: Mapping[str, str]
    token_ids: np.ndarray  # (T,)
    values: Mapping[str, float | None]  # of each reward function; None = does not apply
    total: float | None  # weighted sum; None = no reward function applied


class Row(NamedTuple):
    """A completion of one optimizer step. Arrays are (T,) unless said."""

    group: tuple[int, int] | bytes  # the same for the completions of one prompt in one generation
    judged: Judged | None
    prompt_ids: np.ndarray  # (P,)
    token_ids: np.ndarray
    truncated: bool
    sampler: np.ndarray | None  # the sampler's log-probs, where TRL keeps them
    advantage: float | None
    tokens: TokenArrays | None  # None where the loss was not tapped


class Taps:
    """Hangs on to the hooks of one trainer and keeps what passes while `listening`; `off`: what is missing and why.

    ValueError for a trainer that has neither a loss nor rewards to listen to.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.listening = False
        self.off = {name: why for name in TAPPED if (why := moved(type(trainer), name))}
        if {"_compute_loss", "_calculate_rewards"} <= self.off.keys():
            raise ValueError(
                f"PhaseCallback: {type(trainer).__name__} has none of the hooks it needs "
                f"({self.off['_compute_loss']}); expected TRL's GRPOTrainer or a subclass of it"
            )
        self._rows: list[Row] = []
        self._fresh: list[Row] = []  # generated since the last step: what there is where the loss cannot be tapped
        self._judging: list[Judged] = []
        self._judged: dict[tuple[int, int], Judged] = {}  # of the latest generation, by place
        self._generation = 0
        self._in_loss = False
        self._scored: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._tap("_compute_loss", self._loss)
        self._tap("_get_per_token_logps_and_entropies", self._logprobs)
        self._tap("_generate_and_score_completions", self._generate)
        self._tap("_calculate_rewards", self._rewards)

    def take(self) -> list[Row]:
        """The rows of this process since the last call."""
        rows = self._rows or self._fresh
        self._rows, self._fresh = [], []
        return rows

    def _tap(self, name: str, tap: Callable[..., Any]) -> None:
        if name not in self.off:
            setattr(self._trainer, name, functools.partial(tap, getattr(self._trainer, name)))

    def _learning(self) -> bool:
        """Whether what passes now is to be kept: an evaluation is not."""
        return self.listening and self._trainer.model.training

    def _rewards(self, original, inputs, prompts, completions, completion_ids_list):
        rewards = original(inputs, prompts, completions, completion_ids_list)
        if self._learning():
            count, names = len(prompts), self._trainer.reward_func_names
            weights = self._trainer.reward_weights.tolist()
            start = self._trainer.accelerator.process_index * count  # `rewards` (N, R) are those of all processes
            self._judging = [
                _judged(inputs[i], prompts[i], completion_ids_list[i], dict(zip(names, row, strict=True)), weights)
                for i, row in enumerate(rewards[start : start + count].tolist())
            ]
        return rewards

    def _generate(self, original, inputs):
        self._judging = []
        output = original(inputs)
        if self._judging:
            count = len(self._judging)
            self._generation += 1
            first = self._trainer.accelerator.process_index * count
            places = [(self._generation, first + i) for i in range(count)]
            self._judged = dict(zip(places, self._judging, strict=True))
            output[PLACE] = torch.tensor(places)
            self._fresh += [self._untrained(place) for place in places]
        return output

    def _loss(self, original, model, inputs):
        if not self._learning():
            return original(model, inputs)
        self._in_loss, self._scored = True, None
        try:
            loss = original(model, inputs)
        finally:
            self._in_loss = False
        if self._scored is not None:
            self._keep(inputs, *self._scored)
        return loss

    def _logprobs(self, original, *args, **kwargs):
        found = original(*args, **kwargs)
        if self._in_loss and self._scored is None:
            logps, entropies = found[0], found[1]
            self._scored = logps.detach(), None if entropies is None else entropies.detach()
        return found

    def _keep(self, inputs: Mapping[str, Any], logps: torch.Tensor, entropies: torch.Tensor | None) -> None:
        """The rows of a micro-batch, out of the tensors (B, T) that went through its loss."""
        ids, real = (_array(inputs[name]) for name in ("completion_ids", "completion_mask"))
        prompts, prompt_real = (_array(inputs[name]) for name in ("prompt_ids", "prompt_mask"))
        trained = real * _array(inputs["tool_mask"]) if "tool_mask" in inputs else real
        logps = _array(logps)
        entropies = np.full_like(logps, np.nan) if entropies is None else _array(entropies)
        sampler, old = (_array(inputs.get(f"{name}_per_token_logps")) for name in ("sampling", "old"))
        before = next((known for known in (sampler, old) if known is not None), logps)
        ratio = np.exp(np.nan_to_num(logps - before))  # 1 where the sampler gave no number
        advantages = np.broadcast_to(_array(inputs["advantages"]).reshape(len(ids), -1), ids.shape)
        places = inputs[PLACE].tolist() if PLACE in inputs else [None] * len(ids)
        for i, place in enumerate(places):
            judged = self._judged.get(tuple(place)) if place else None
            prompt_ids = prompts[i][prompt_real[i] > 0]
            token_ids = ids[i][real[i] > 0] if judged is None else judged.token_ids
            T = len(token_ids)
            mask = trained[i, :T] > 0
            tokens = TokenArrays(logps[i, :T], entropies[i, :T], ratio[i, :T], mask, advantages[i, :T])
            self._rows.append(
                Row(
                    group=self._group(place) if place else prompt_ids.tobytes(),
                    judged=judged,
                    prompt_ids=prompt_ids,
                    token_ids=token_ids,
                    truncated=self._truncated(token_ids),
                    sampler=None if sampler is None else sampler[i, :T],
                    advantage=float(advantages[i, :T][mask].mean()) if mask.any() else 0.0,
                    tokens=tokens,
                )
            )

    def _untrained(self, place: tuple[int, int]) -> Row:
        judged = self._judged[place]
        nothing = np.zeros(0, np.int32)
        truncated = self._truncated(judged.token_ids)
        return Row(self._group(place), judged, nothing, judged.token_ids, truncated, None, None, None)

    def _group(self, place: Sequence[int]) -> tuple[int, int]:
        return place[0], place[1] // self._trainer.num_generations

    def _truncated(self, token_ids: np.ndarray) -> bool:
        """Whether sampling ran into its limit: TRL keeps the token that ends a completion."""
        return not len(token_ids) or int(token_ids[-1]) not in self._trainer.eos_token_ids


def _judged(
    example: Mapping[str, Any], prompt: Any, token_ids: Sequence[int], row: Mapping[str, float], weights: list[float]
) -> Judged:
    known = [weight * value for weight, value in zip(weights, row.values(), strict=True) if not np.isnan(value)]
    return Judged(
        prompt=prompt,
        columns={name: example[name] for name in COLUMNS if isinstance(example.get(name), str)},
        token_ids=np.asarray(token_ids, np.int32),
        values={name: value if np.isfinite(value) else None for name, value in row.items()},
        total=sum(known) if known else None,
    )


def _array(tensor: torch.Tensor | None) -> np.ndarray | None:
    if tensor is None:
        return None
    return (tensor.detach().float() if tensor.is_floating_point() else tensor).cpu().numpy()
