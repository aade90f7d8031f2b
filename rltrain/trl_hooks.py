"""The hooks of TRL that rltrain stands on, by name: what each must take, and what we do there.

One table with three readers: the contract test fails by name when TRL moves a hook, `RLTrainer` overrides some, and
`PhaseCallback` taps some and goes without the measures of one that is not as expected.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

HOOKS: Mapping[str, str] = {
    "get_train_dataloader": "self",
    "_prepare_inputs": "self generation_batch",
    "_compute_loss": "self model inputs",
    "_get_per_token_logps_and_entropies": (
        "self model input_ids attention_mask logits_to_keep batch_size compute_entropy *"
    ),
    "_get_grad_norm": "self model grad_norm",
    "log": "self logs start_time",
    "_save_checkpoint": "self model trial",
    "create_model_card": "self *",
    "get_batch_samples": "self epoch_iterator num_batches device",
    "compute_loss": "self model inputs return_outputs num_items_in_batch",
    "train": "self resume_from_checkpoint *",
    "remove_callback": "self callback",
    "_generate_and_score_completions": "self inputs",
    "_calculate_rewards": "self inputs prompts completions completion_ids_list",
}
"""Hook -> the parameters it must take, in order. A `*` at the end means: further ones may follow."""

OVERRIDDEN: Mapping[str, str] = {
    "get_train_dataloader": "the stream in place of TRL's sampler",
    "_prepare_inputs": "ready micro-batches in place of generation",
    "_compute_loss": "the reference log-probs, and reading along",
    "_get_per_token_logps_and_entropies": "the plain head on CPUs, and reading along",
    "_get_grad_norm": "stopping on NaN before the optimizer step",
    "log": "TRL's numbers for the loop",
}
"""What `RLTrainer` overrides, and what for."""

CALLED: Mapping[str, str] = {
    "_save_checkpoint": "RLTrainer.save",
    "create_model_card": "RLTrainer.save removes the card that _save_checkpoint writes",
    "get_batch_samples": "the stream is pulled one step at a time",
    "compute_loss": "training_step calls it",
    "train": "RLTrainer.run",
    "remove_callback": "RLTrainer.__init__",
}
"""What `RLTrainer` calls or counts on, and what for."""

PER_TOKEN = "entropy of planning and execution, perplexity, the entropy mechanism, drift"
REWARDS = "rewards, outcomes and all that compares them (accuracy of formats, lucky hits, the reward ceiling)"
TAPPED: Mapping[str, str] = {
    "_compute_loss": PER_TOKEN,
    "_get_per_token_logps_and_entropies": PER_TOKEN,
    "_generate_and_score_completions": REWARDS,
    "_calculate_rewards": REWARDS,
    "log": "the metrics in the trainer's own logs; they are in metrics.jsonl and diagnosis.json all the same",
}
"""What `PhaseCallback` taps, and what is off without it."""


def parameters(function: Callable[..., Any]) -> list[str]:
    """Names of a function's parameters, behind whatever wraps it."""
    return list(inspect.signature(inspect.unwrap(function)).parameters)


def moved(trainer: type, name: str) -> str | None:
    """What is not as expected with a hook of this class of trainers, in words; None if it is."""
    hook = getattr(trainer, name, None)
    if hook is None:
        return f"{trainer.__name__}.{name} is not there"
    found, wanted = parameters(hook), HOOKS[name].split()
    if wanted[-1] == "*":
        found, wanted = found[: len(wanted) - 1], wanted[:-1]
    return None if found == wanted else f"{trainer.__name__}.{name} takes {found}, expected {wanted}"
