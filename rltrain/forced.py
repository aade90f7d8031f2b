"""Given texts under a model: log-probs of what it is made to say, by frozen weights or by those in training.

Prompt and continuation are cut into tokens apart, so that a continuation is the same tokens behind every prompt and
differences of its log-probs are about the prompts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from rltrain.batch import Row, collate
from rltrain.head import only_at, packed, score
from rltrain.types import Forced, Message, Prompt

Render = Callable[[Sequence[Message]], list[int]]


class FrozenScorer:
    """A causal language model that is never trained. Implements types.Scorer."""

    def __init__(
        self,
        path: str,
        *,
        dtype: str = "float32",
        gpus: float = 0,
        threads: int | None = None,
        batch_tokens: int = 8192,
        system: str | None = None,
        template: str | None = None,
    ) -> None:
        """ValueError when the model cannot be had."""
        from functools import partial

        from rltrain.models import load_model, load_tokenizer, render

        if threads is not None:
            torch.set_num_threads(threads)
        self._tokenizer = load_tokenizer(path)
        self._model = load_model(path, dtype).eval().requires_grad_(False).to("cuda" if gpus else "cpu")
        self._render = partial(render, self._tokenizer, system=system, template=template)
        self._longest = getattr(self._model.config, "max_position_embeddings", None)
        self._batch_tokens = batch_tokens

    @torch.inference_mode()
    def logprobs(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[np.ndarray]:
        """(T,) float32 of each continuation, at temperature 1. ValueError for a prompt without a token."""
        rows = given(self._tokenizer, self._render, prompts, continuations, self._longest)
        found = [np.zeros(0, np.float32)] * len(rows)
        for batch in batches(rows, self._batch_tokens):
            inputs = {k: v.to(self._model.device) for k, v in collate(batch, 1).items()}
            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
            mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
            T = inputs["completion_ids"].size(1)
            real = packed(ids, mask, T)
            with only_at(self._model.get_output_embeddings(), real.at_N):
                logits = self._model(input_ids=real.ids_BW, use_cache=False).logits.squeeze(0)
            logp, _ = score(logits, ids[:, -T:][real.real_BT], 1.0)
            for row, part in zip(batch, logp.split([len(row.completion_ids) for row in batch]), strict=True):
                found[row.key[0]] = part.float().cpu().numpy()
        return found


class TrainedPolicy:
    """The trainer's weights as they are, all its processes entering together. Implements types.Policy."""

    def __init__(self, trainer: Any, channel: Any, render: Render, stages: Any, *, rows: int, longest: int) -> None:
        """`rows`: of one forward pass; `longest`: tokens of prompt and continuation together."""
        self._trainer, self._channel, self._render, self._stages = trainer, channel, render, stages
        self._rows, self._longest = rows, longest

    def forced(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[Forced]:
        """At temperature 1; counted in `time/policy_s`. ValueError for a prompt without a token."""
        with self._stages("policy"):
            return self._forced(prompts, continuations)

    def _forced(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[Forced]:
        rows = given(self._trainer.processing_class, self._render, prompts, continuations, self._longest)
        found = [Forced(np.zeros(0, np.float32), np.zeros(0, bool))] * len(rows)
        scored = sorted((row for row in rows if len(row.completion_ids)), key=lambda row: -row.length)
        for start in range(0, len(scored), self._rows):
            batch = scored[start : start + self._rows]
            self._channel.announce("forced", batch)
            for row, logits in zip(batch, logits_of(self._trainer, batch), strict=True):
                found[row.key[0]] = judged(logits, row.completion_ids)
        return found


def judged(logits_TV: np.ndarray, ids_T: np.ndarray) -> Forced:
    """What logits make of these tokens."""
    top = logits_TV.max(axis=-1)
    chosen = logits_TV[np.arange(len(ids_T)), ids_T]
    normaliser = top + np.log(np.exp(logits_TV - top[:, None]).sum(axis=-1))
    return Forced((chosen - normaliser).astype(np.float32), logits_TV.argmax(axis=-1) == ids_T)


def logits_of(trainer: Any, batch: Sequence[Row]) -> list[np.ndarray]:
    """The trainer's logits without dropout: neither its noise, nor its draws from the training's random numbers."""
    trainer.model.eval()
    try:
        return trainer.logits(list(batch))
    finally:
        trainer.model.train()


def given(
    tokenizer: Any, render: Render, prompts: Sequence[Prompt], continuations: Sequence[str], longest: int | None
) -> list[Row]:
    """One row each; its key is its place. What is over `longest` tokens loses the beginning of its prompt.

    ValueError for a prompt without a token.
    """
    rows = []
    for i, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
        ids = _ids(tokenizer, continuation)
        before = prompt_ids(tokenizer, render, prompt)
        if not before:
            raise ValueError(f"scorer: prompt {i} has no token; there is nothing to condition the first token on")
        room = None if longest is None else max(1, longest - len(ids))
        before = before if room is None else before[-room:]
        none = np.zeros(len(ids), np.float32)
        rows.append(Row((i, 0), np.array(before, np.int32), np.array(ids, np.int32), none, none))
    return rows


def prompt_ids(tokenizer: Any, render: Render, prompt: Prompt) -> list[int]:
    """Tokens of a text, or of chat messages; a last message of the assistant stays open."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    if prompt and prompt[-1]["role"] == "assistant":
        return [*render(prompt[:-1]), *_ids(tokenizer, prompt[-1]["content"])]
    return list(render(prompt))


def batches(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Rows with a continuation, longest first, as many at once as fit `tokens` with padding; one at least."""
    batch: list[Row] = []
    for row in sorted((row for row in rows if len(row.completion_ids)), key=lambda row: -row.length):
        if batch and batch[0].length * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
