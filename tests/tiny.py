"""A tiny trainer and rows for it, for the tests of losses, batches and weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from rltrain.batch import Row
from rltrain.config import Config

VOCABULARY = 256  # the byte tokenizer's plain tokens


def config(
    *, model: dict | None = None, training: dict | None = None, sampling: dict | None = None, **sections
) -> Config:
    """Two prompts x four completions, micro-batches of two, fp32, everything extra off."""
    given = {
        "model": {"path": "tiny", "dtype": "float32"} | (model or {}),
        "tasks": [{"use": "reasoning_gym", "args": {"generator": "chain_sum"}}],
        "rewards": [{"use": "exact"}],
        "sampling": {"num_generations": 4, "max_completion_length": 16} | (sampling or {}),
        "training": {"steps": 1, "prompts_per_step": 2, "micro_batch_size": 2, "correction": "none"}
        | {"optimizer": "adamw_torch", "learning_rate": 1e-3}
        | (training or {}),
    }
    return Config.model_validate(given | sections)


def rows(count: int = 8, *, seed: int = 0, shift: float = 0.3) -> list[Row]:
    """Rows of different lengths; the sampler's log-probs are made up, `shift` apart from a uniform policy's."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        prompt = rng.integers(VOCABULARY, size=rng.integers(3, 9)).astype(np.int32)
        completion = rng.integers(VOCABULARY, size=rng.integers(2, 15)).astype(np.int32)
        logprobs = -np.log(VOCABULARY) + shift * rng.standard_normal(len(completion))
        advantages = np.full(len(completion), rng.standard_normal()) + 0.1 * rng.standard_normal(len(completion))
        made.append(Row((i, 0), prompt, completion, logprobs.astype(np.float32), advantages.astype(np.float32)))
    return made


def trainer(settings: Config, directory: Path):
    """An RLTrainer of this config on the tiny model."""
    from rltrain.models import load_model, load_tokenizer
    from rltrain.trainer import RLTrainer

    name = settings.model.path
    return RLTrainer(settings, load_model(name, "float32"), load_tokenizer(name), directory)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What backward left behind, by plain parameter name; cleared afterwards."""
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Maximum absolute difference over all entries of both."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
