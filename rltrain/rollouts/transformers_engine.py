"""Sampling with transformers' `generate`, for machines where vLLM does not install."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import torch

from rltrain.rollouts.engine import Finished, NamedWeights
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import load_into
from rltrain.types import Completion, Ticket


class TransformersEngine:
    """Generates groups in batches of up to `slots` sequences; a batch is one call and one poll."""

    def __init__(self, spec: EngineSpec) -> None:
        from transformers import GenerationConfig

        from rltrain.models import load_model, load_tokenizer
        from rltrain.tokenizers import TokenText

        torch.set_num_threads(spec.threads)
        self._model = load_model(spec.model, spec.dtype).eval()
        if spec.gpus:
            self._model.to("cuda")
        tokenizer = load_tokenizer(spec.model)
        self._tokenizer = tokenizer
        self._text = TokenText(tokenizer)
        ends = self._model.generation_config.eos_token_id
        self._ends = sorted({tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None})
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._ends[0]
        # what a model's makers sample with (a repetition penalty, min_p) would stand in for all that is not given below
        self._model.generation_config = GenerationConfig(eos_token_id=self._ends, pad_token_id=self._pad)
        self._spec = spec
        self._version, self._digest = -1, ""
        self._queue: collections.deque[Ticket] = collections.deque()

    def submit(self, ticket: Ticket) -> None:
        """Queue a group."""
        self._queue.append(ticket)

    def unfinished(self) -> int:
        """Groups not yet finished."""
        return len(self._queue)

    def poll(self) -> list[Finished]:
        """Generate the next groups that sample alike, as many as fit the slots."""
        batch, rows = [self._queue[0]], self._queue[0].num_samples
        for ticket in list(self._queue)[1:]:
            rows += ticket.num_samples
            if rows > self._spec.slots or ticket.sampling != batch[0].sampling:
                break
            batch.append(ticket)
        finished = self._generate(batch)
        for _ in batch:
            self._queue.popleft()
        return finished

    @torch.no_grad()
    def _generate(self, batch: list[Ticket]) -> list[Finished]:
        sampling = batch[0].sampling
        prompts = [ticket.prompt_ids for ticket in batch for _ in range(ticket.num_samples)]
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
            mask[row, width - len(prompt) :] = 1
        torch.manual_seed(batch[0].seed % 2**63)
        out = self._model.generate(
            input_ids=ids.to(self._model.device),
            attention_mask=mask.to(self._model.device),
            do_sample=sampling.temperature > 0,
            temperature=sampling.temperature or None,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_new_tokens=sampling.max_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._pad,
            stop_strings=list(sampling.stop) or None,
            tokenizer=self._tokenizer if sampling.stop else None,
            output_scores=True,
            return_dict_in_generate=True,
        )
        tokens = out.sequences[:, width:]
        # scores are after temperature and truncation: the distribution that was sampled from
        scores = torch.stack(out.scores, dim=1).float().log_softmax(-1)
        logprobs = scores.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        rows = [self._completion(t, lp, sampling.stop) for t, lp in zip(tokens.cpu(), logprobs.cpu(), strict=True)]
        finished, start = [], 0
        for ticket in batch:
            finished.append(Finished(ticket.id, tuple(rows[start : start + ticket.num_samples])))
            start += ticket.num_samples
        return finished

    def _completion(self, tokens: torch.Tensor, logprobs: torch.Tensor, stop: tuple[str, ...]) -> Completion:
        ids = tokens.numpy().astype(np.int32)
        ends = np.flatnonzero(np.isin(ids, self._ends))
        length, reason = (int(ends[0]) + 1, "stop") if len(ends) else (len(ids), "length")
        text, offsets = self._text(ids[:length])
        if (hit := _first_stop(text, stop)) is not None:
            # Rows that stopped early on a string are padded up to the longest, with the end token where the model has
            # no padding of its own: cut at the token that completed the string.
            length = int(np.searchsorted(offsets, hit)) + 1
            text, offsets = self._text(ids[:length])
            reason = "stop"
        return Completion(
            ids[:length],
            logprobs[:length].numpy().astype(np.float32),
            offsets,
            text,
            reason,
            self._version,
            self._digest,
            self._spec.name,
        )

    def load(self, version: int, weights: NamedWeights) -> str:
        """Copy the weights into the model; the digest of what was consumed."""
        self._digest = load_into(self._model, weights)
        self._version = version
        return self._digest

    def sleep(self) -> None:
        """Move the model off the GPU."""
        self._model.to("cpu")
        torch.cuda.empty_cache()

    def wake(self) -> None:
        """Move it back."""
        self._model.to("cuda")

    def health(self) -> dict[str, Any]:
        """Groups queued."""
        return {"running": float(len(self._queue))}


def _first_stop(text: str, stop: tuple[str, ...]) -> int | None:
    """Where the earliest stop string ends in the text."""
    ends = [text.find(s) + len(s) for s in stop if s in text]
    return min(ends, default=None)
