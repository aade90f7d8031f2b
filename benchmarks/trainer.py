"""Forward and backward of the trainer against a bare transformers loop on the same tokens, unpadded.

The trainer runs as it does in a run, inside TRL's `train()`; the bare loops run between its steps, on a
copy of the model in the same precision. The reference is the fastest of them:

- `row by row`: every completion in a pass of its own, so that nothing is padded;
- `equal lengths, N rows`: as many tokens in all, in rows of one length, N at a time, so that nothing is
  padded either, and nothing is lost by passes of one row.

The trainer's micro-batch is as small as the fastest reference's: on a CPU few rows at a time stay in its caches.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import MODEL, THREADS, Result, Series, Tick, config, in_turn
from rltrain import batch
from rltrain.batch import Row
from rltrain.models import load_model, load_tokenizer
from rltrain.trainer import RLTrainer

REPEATS = 5
ROWS, PROMPT, COMPLETION = 32, (40, 110), (5, 128)  # lengths from and to, both included
MICRO_BATCH = 4
EQUAL = (4, 8)  # rows of a pass, where they have one length
WARMUP = 1


def ticks(repeats: int) -> int:
    """Notches of the progress bar."""
    return (WARMUP + repeats) * (2 + len(EQUAL))


def measure(repeats: int, tick: Tick) -> Result:
    """Seconds for forward and backward of one optimizer step's tokens."""
    torch.set_num_threads(THREADS)
    settings = config(training={"steps": WARMUP + repeats, "prompts_per_step": 4, "micro_batch_size": MICRO_BATCH})
    rows = ragged_rows(ROWS)
    bare = load_model(MODEL, "float32").train()
    passes = {"row by row": [bare_pass([row]) for row in rows]}
    passes |= {f"equal lengths, {n} rows": equal_passes(rows, n) for n in EQUAL}
    found: dict[str, list[float]] = {name: [] for name in ["rltrain", *passes]}

    def stream() -> Iterator[dict[str, Any]]:
        for step in range(WARMUP + repeats):
            taken = in_turn({name: lambda p=p: bare_seconds(bare, p) for name, p in passes.items()}, 1, tick, warmup=0)
            trainer.seconds = 0.0
            for [part] in batch.cut(rows, settings.micro_batches, settings.training.micro_batch_size):
                yield trainer.prepared(part, sum(len(row.completion_ids) for row in rows))
            trainer.take_step()
            tick("rltrain")
            if step >= WARMUP:
                for name, values in (taken | {"rltrain": [trainer.seconds]}).items():
                    found[name] += values

    with tempfile.TemporaryDirectory() as folder:
        trainer = TimedTrainer(settings, load_model(MODEL, "float32"), load_tokenizer(MODEL), Path(folder))
        trainer.run(stream())
    series = {name: Series("s", values) for name, values in found.items()}
    reference = min(passes, key=lambda name: series[name].median)
    tokens = sum(row.length for row in rows)
    return Result(
        {"trainer_ratio": series[reference].median / series["rltrain"].median},
        series,
        {"reference": reference, "tokens": tokens, "completion_tokens": sum(len(r.completion_ids) for r in rows)},
    )


class TimedTrainer(RLTrainer):
    """Sums the seconds of forward and backward; the optimizer's are not in them."""

    seconds = 0.0

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As TRL's, timed."""
        begun = time.perf_counter()
        loss = super().training_step(*args, **kwargs)
        self.seconds += time.perf_counter() - begun
        return loss


def ragged_rows(count: int, vocabulary: int = 49152) -> list[Row]:
    """Rows of random tokens with lengths as a run has them; the same at every call."""
    chance = np.random.default_rng(0)
    rows = []
    for i in range(count):
        p, t = chance.integers(*PROMPT, endpoint=True), chance.integers(*COMPLETION, endpoint=True)
        prompt, completion = (chance.integers(0, vocabulary, n).astype(np.int32) for n in (p, t))
        advantages = np.full(t, chance.normal(), dtype=np.float32)
        rows.append(Row((i, 0), prompt, completion, np.full(t, -10.0, dtype=np.float32), advantages))
    return rows


Pass = tuple[torch.Tensor, torch.Tensor]
"""Token ids (B, P + T), and the weight of each completion token in the loss (B, T)."""


def bare_pass(rows: list[Row]) -> Pass:
    """Rows of one length as tensors."""
    ids = np.stack([np.concatenate([row.prompt_ids, row.completion_ids]) for row in rows]).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(np.stack([row.advantages for row in rows]))


def equal_passes(rows: list[Row], size: int) -> list[Pass]:
    """The same tokens, dealt out over rows of one prompt and one completion length, `size` rows a pass.

    What does not divide evenly is left out, so the reference has a few tokens less.
    """
    prompts, completions, advantages = (
        np.concatenate([getattr(row, name) for row in rows]) for name in ("prompt_ids", "completion_ids", "advantages")
    )
    p, t = len(prompts) // len(rows), len(completions) // len(rows)
    even = [
        Row((i, 0), prompts[i * p :][:p], completions[i * t :][:t], completions[:0], advantages[i * t :][:t])
        for i in range(len(rows))
    ]
    return [bare_pass(even[i : i + size]) for i in range(0, len(rows), size)]


def bare_seconds(model: torch.nn.Module, passes: list[Pass]) -> float:
    """Forward, log-probs of the completion tokens, a policy-gradient loss, backward."""
    model.zero_grad(set_to_none=True)  # as the trainer does after each step
    total = sum(weights.numel() for _, weights in passes)
    begun = time.perf_counter()
    for ids, weights in passes:
        T = weights.size(1)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids, logits_to_keep=T + 1, use_cache=False).logits[:, :-1]
        logp = logits.float().log_softmax(-1).gather(-1, ids[:, -T:].unsqueeze(-1)).squeeze(-1)
        (-(weights * logp).sum() / total).backward()
    return time.perf_counter() - begun
