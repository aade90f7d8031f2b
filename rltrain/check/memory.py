"""Memory, estimated from sizes alone: what each process or GPU has to hold.

Rules of thumb, on the safe side: activations of a transformer layer are about 34 bytes a token and hidden
unit in 16 bits (Korthikanti et al. 2022, arXiv 2205.05198, without attention scores).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from rltrain.check.verdicts import Section
from rltrain.config import Config

GIB = 2**30
OPTIMIZER_BYTES = {"adafactor": 0, "sgd": 0, "adamw_8bit": 2, "adamw_bnb_8bit": 2, "lion_32bit": 4}  # else Adam's 8
ADAPTER_SHARE = 0.01  # of the parameters, where the model is not here to count
ACTIVATIONS = 34
LOGIT_BYTES = 12  # logits, log-probs and their gradient, in float32


class Trainer(NamedTuple):
    """Bytes of one trainer process."""

    weights: float
    gradients: float
    optimizer: float
    copies: float  # autocast's bf16 weights; the reference model
    activations: float | None
    logits: float | None

    @property
    def resting(self) -> float:
        """What stays between two optimizer steps."""
        return self.weights + self.optimizer

    @property
    def peak(self) -> float:
        """What the forward and backward pass of one micro-batch need."""
        return sum(part or 0.0 for part in self)


def memory(config: Config, facts: dict[str, Any]) -> Section:
    """`facts`: `models.memory_facts`, with `trainable` where an adapter is trained."""
    section = Section("memory, estimated")
    parameters = facts["parameters"] or _from_name(config.model.path)
    if parameters is None:
        section.unchecked("memory", facts["reason"] or "the model's size is not known")
        return section
    if facts["parameters"] is None:
        section.unchecked("the model's shape", f"{facts['reason']}; {parameters / 1e9:g}B parameters, from its name")
    trainer = trainer_bytes(config, facts | {"parameters": parameters})
    _tell_trainer(section, config, trainer)
    _tell_engine(section, config, facts, parameters, trainer)
    return section


def trainer_bytes(config: Config, facts: dict[str, Any]) -> Trainer:
    """Bytes of one trainer process; None where the model's shape is not known."""
    shards = config.distributed.processes if config.distributed.strategy in ("fsdp2", "deepspeed") else 1
    parameters = facts["parameters"] / shards
    trained = facts.get("trainable") or (parameters if config.model.lora is None else ADAPTER_SHARE * parameters)
    autocast = 2 * parameters if config.model.dtype == "bfloat16" else 0.0
    reference = 4 * parameters if config.training.beta and config.model.lora is None else 0.0
    rows, s = config.training.micro_batch_size, config.sampling
    tokens = rows * (s.max_prompt_length + s.max_completion_length)
    activations = logits = None
    if facts["hidden"] and facts["layers"] and facts["vocab"]:
        width = 1 if config.model.dtype == "bfloat16" else 2
        layer = tokens * facts["hidden"] * ACTIVATIONS * width
        kept = facts["layers"] * tokens * facts["hidden"] * 2 * width
        activations = layer + kept if config.model.gradient_checkpointing else layer * facts["layers"]
        logits = rows * s.max_completion_length * facts["vocab"] * LOGIT_BYTES
    return Trainer(
        weights=4 * parameters,
        gradients=4 * trained,
        optimizer=OPTIMIZER_BYTES.get(config.training.optimizer, 8) * trained,
        copies=autocast + reference,
        activations=activations,
        logits=logits,
    )


def _tell_trainer(section: Section, config: Config, t: Trainer) -> None:
    each = f"trainer, each of {config.distributed.processes}" if config.distributed.processes > 1 else "trainer"
    parts = [
        f"weights {_gib(t.weights)} (float32)",
        f"gradients {_gib(t.gradients)}",
        f"{config.training.optimizer} {_gib(t.optimizer)}",
    ]
    if t.copies:
        kinds = [("bf16 copies by autocast", config.model.dtype == "bfloat16")]
        kinds.append(("reference model", bool(config.training.beta) and config.model.lora is None))
        parts.append(f"{' and '.join(name for name, there in kinds if there)} {_gib(t.copies)}")
    if t.activations is None:
        section.fact(f"{each}: {', '.join(parts)} = {_gib(t.peak)}, without activations and logits")
        return
    parts += [f"activations of one micro-batch {_gib(t.activations)}", f"its logits {_gib(t.logits or 0)} at most"]
    section.fact(f"{each}: {', '.join(parts)} = {_gib(t.peak)} at the longest prompts and completions")


def _tell_engine(section: Section, config: Config, facts: dict[str, Any], parameters: int, trainer: Trainer) -> None:
    r = config.rollouts
    size = 2 if config.engine_dtype == "bfloat16" else 4
    weights = parameters * size / r.tensor_parallel
    section.fact(f"a version of the weights on its way to the engines: {_gib(parameters * size)} in Ray's object store")
    if r.engine != "vllm":
        section.fact(f"engine: weights {_gib(weights)}")
        return
    longest = config.sampling.max_prompt_length + config.sampling.max_completion_length
    a_token = None
    if facts["kv_width"] and facts["layers"]:
        a_token = 2 * facts["layers"] * facts["kv_width"] * size / r.tensor_parallel
    wanted = (
        "" if a_token is None else f"; {r.slots} full slots need {_gib(a_token * longest * r.slots)} of keys and values"
    )
    if r.gpus:
        _tell_gpu(section, config, weights, trainer, wanted)
        return
    cache = (r.memory or 1.0) * GIB
    section.fact(f"engine: weights {_gib(weights)}, key-value cache {_gib(cache)} (rollouts.memory){wanted}")
    if a_token is not None and a_token * longest > cache:
        section.error(
            f"rollouts.memory: one sequence of {longest} tokens needs {_gib(a_token * longest)} of keys and values, "
            f"the cache has {_gib(cache)}; raise it"
        )
    elif a_token is not None and a_token * longest * r.slots > cache:
        section.warn(f"the cache holds {cache / (a_token * longest):.0f} sequences of full length, slots are {r.slots}")
    _tell_machine(section, config, trainer, weights + cache)


def _tell_gpu(section: Section, config: Config, weights: float, trainer: Trainer, wanted: str) -> None:
    share = config.rollouts.memory or (0.4 if config.shared_gpu else 0.9)
    if share > 1 or (share == 1 and config.shared_gpu):
        return  # an error of the placement
    if not config.shared_gpu:
        section.fact(f"engine, each GPU: {share:.0%} of its memory, weights {_gib(weights)} of it{wanted}")
        section.fact(f"a trainer GPU needs {_gib(trainer.peak)}, an engine GPU at least {_gib(weights / share)}")
        return
    section.fact(
        f"shared GPU: while sampling, the engine has {share:.0%} of it (weights {_gib(weights)}, the rest keys and "
        f"values{wanted}), the trainer keeps {_gib(trainer.resting)}"
    )
    section.fact(
        f"shared GPU: in the optimizer step the engine sleeps, its weights ({_gib(weights)}) wait in host memory, and "
        f"the trainer has {_gib(trainer.peak)}"
    )
    least = max(trainer.resting / (1 - share), weights / share, trainer.peak)
    section.fact(
        f"so the GPU needs at least {_gib(least)}" + ("" if trainer.logits else ", activations and logits besides")
    )


def _tell_machine(section: Section, config: Config, trainer: Trainer, engine: float) -> None:
    """The sum on a machine without GPUs, against what this one has."""
    import psutil

    if config.distributed.gpus or config.distributed.ray_address is not None:
        return
    total = config.distributed.processes * trainer.peak + config.rollouts.engines * engine
    there = psutil.virtual_memory().total
    told = f"{_gib(total)} in all, this machine has {_gib(there)}"
    section.warn(f"{told}: too little") if total > there else section.ok(told)


def _from_name(path: str) -> int | None:
    """Parameters that a model's name gives: `Qwen/Qwen3-0.6B`, `SmolLM2-135M`."""
    found = re.search(
        r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", path.split("/")[-1].replace("-", " "), re.IGNORECASE
    )
    return round(float(found[1]) * {"b": 1e9, "m": 1e6}[found[2].lower()]) if found else None


def _gib(size: float) -> str:
    return f"{size / GIB:.2g} GiB" if size >= 0.1 * GIB else f"{size / 2**20:.2g} MiB"
