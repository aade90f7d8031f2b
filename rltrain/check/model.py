"""The model: here or not, its tokenizer, and whether the prompts fit."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from rltrain import models, plugins
from rltrain.check.sources import Tasks
from rltrain.check.verdicts import Section
from rltrain.config import Config

RENDERED = 2000  # prompts written out, at most; of more, evenly chosen ones


def check_model(config: Config, tasks: Tasks) -> tuple[Section, dict[str, Any] | None]:
    """Returns the model's sizes too (`models.memory_facts`); None where the model cannot be had."""
    section = Section("model")
    path = config.model.path
    facts = section.attempt(f"model {path!r}", lambda: models.memory_facts(path))
    if facts is None:
        return section, None
    place = section.attempt(f"model {path!r}", lambda: models.on_disk(path))
    if place is None:
        section.unchecked(
            f"{path}, its tokenizer and the length of prompts", facts["reason"] or "it is built at first use"
        )
        return section, facts
    tokenizer = section.attempt(f"model {path!r}", lambda: models.load_tokenizer(path))
    if tokenizer is None:
        return section, facts
    if section.attempt(f"model {path!r}", lambda: _weights(section, config, place)) is None:
        return section, facts
    size = f", {facts['parameters']:,} parameters" if facts["parameters"] else ""
    section.ok(f"{path} in {place}{size}")
    section.attempt("training.trl.router_aux_loss_coef", lambda: _check_experts(config, place))
    _lengths(section, config, facts)
    if config.model.lora is not None:
        trainable = section.attempt("model.lora", lambda: _trainable(config, place))
        if trainable is not None:
            facts = facts | {"trainable": trainable}
            section.ok(f"adapter of rank {config.model.lora.rank}: {trainable:,} parameters are trained")
    _prompts(section, config, tasks, tokenizer)
    return section, facts


def _weights(section: Section, config: Config, place: Path) -> bool:
    """Weights on disk against the model that its config describes. ValueError where a run could not load them.

    A hub id's may be yet to come. What the files lack transformers fills with random numbers, and says so to nobody.
    """
    plain = config.model_copy(update={"model": config.model.model_copy(update={"lora": None})})
    built = {name: list(tensor.shape) for name, tensor in skeleton(plain, place).state_dict().items()}
    if not isinstance(models.locate(config.model.path), Path):
        return False
    stored = models.stored_shapes(place)
    for name in stored.keys() & built.keys():
        if stored[name] != built[name]:
            raise ValueError(
                f"{name} has shape {stored[name]} in the weights, and config.json asks for {built[name]}; the two are "
                "not of one model"
            )
    absent = [name for name in built if name not in stored and name != "lm_head.weight"]
    if stored and absent and stored.keys() <= built.keys():  # else they are stored under other names
        section.warn(f"{len(absent)} tensors are not in the weights and begin at random, {absent[0]} among them")
    return True


def _check_experts(config: Config, place: Path) -> None:
    """As TRL looks at it when the trainer is built."""
    from transformers import AutoConfig

    asked = config.training.trl.get("router_aux_loss_coef")
    if asked and not hasattr(AutoConfig.from_pretrained(place).get_text_config(), "output_router_logits"):
        raise ValueError(f"{asked} asks to balance experts, and {config.model.path} has none; leave it out")


def _lengths(section: Section, config: Config, facts: dict[str, Any]) -> None:
    """The longest sequence against the model's positions; vLLM refuses more, the others go on."""
    s = config.sampling
    longest = s.max_prompt_length + s.max_completion_length
    if facts["positions"] and longest > facts["positions"]:
        tell = section.error if config.rollouts.engine == "vllm" else section.warn
        tell(
            f"sampling: max_prompt_length {s.max_prompt_length} + max_completion_length {s.max_completion_length} = "
            f"{longest} tokens, the model has {facts['positions']} positions"
        )


def _trainable(config: Config, place: Path) -> int:
    """Parameters of the adapter."""
    return sum(p.numel() for p in skeleton(config, place).parameters() if p.requires_grad)


def skeleton(config: Config, place: Path) -> Any:
    """The model as it is trained, without memory. ValueError where no module matches one of the adapter's targets."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(place))
        if config.model.lora is None:
            return model
        from peft import get_peft_model

        from rltrain.trainer import lora_config

        _check_targets(model, config.model.lora.targets, config.model.path)
        return get_peft_model(model, lora_config(config))


def _check_targets(model: Any, targets: str | list[str], path: str) -> None:
    """As PEFT matches them: a text is a pattern for the whole name, of a list each is the end of one."""
    if targets == "all-linear":
        return
    names = [name for name, _ in model.named_modules() if name]
    linear = {n.rpartition(".")[2] for n, m in model.named_modules() if type(m).__name__ in ("Linear", "Conv1D")}
    if isinstance(targets, str):
        try:
            found = any(re.fullmatch(targets, name) for name in names)
        except re.error as error:
            raise ValueError(f"model.lora.targets: {targets!r} is no regular expression ({error})") from error
        if not found:
            raise ValueError(
                f"model.lora.targets: {targets!r} is a pattern that fits no whole name of a module of {path}, such as "
                f"{names[-1]!r}; give a list of ends of names, for example [{', '.join(sorted(linear))}], or all-linear"
            )
        return
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in names):
            valid = plugins.suggest(target, linear, "besides all-linear there are")
            raise ValueError(f"model.lora.targets: no module of {path} is called {target!r}{valid}")
    if not targets:
        raise ValueError("model.lora.targets: expected names of modules or all-linear, got []")


def _prompts(section: Section, config: Config, tasks: Tasks, tokenizer: Any) -> None:
    """Prompts written out as the trainer will; those over the length are dropped, or an error."""
    chosen = list(tasks.samples.values())
    if tasks.sets is not None and tasks.whole:
        total = len(tasks.sets.train)
        chosen = [tasks.sets.train[i] for i in range(0, total, max(1, math.ceil(total / RENDERED)))]
    lengths = section.attempt(
        "prompts",
        lambda: [
            len(
                models.render(tokenizer, task.prompt, system=config.model.system, template=config.model.prompt_template)
            )
            for task in chosen
        ],
    )
    if not lengths:
        return
    limit = config.sampling.max_prompt_length
    over = sum(length > limit for length in lengths)
    told = f"{len(lengths)} prompts have up to {max(lengths)} tokens (sampling.max_prompt_length {limit})"
    if not over:
        section.ok(told)
    elif over == len(lengths) or config.sampling.long_prompts == "error":
        section.error(f"{told}: {over} are too long; raise it" + ("" if over == len(lengths) else ", or drop them"))
    else:
        section.warn(f"{told}: {over} are too long and will be dropped")
    total = len(tasks.sets.train) if tasks.sets is not None else 0
    if tasks.whole and len(chosen) < total:
        section.unchecked(f"the other {total - len(chosen):,} prompts", "writing them out takes too long")


def check_replaced(config: Config, tasks: Tasks) -> Section:
    """The policy that a twin stands in for, as far as it is here: its twin would not show what is wrong with it."""
    path = config.model.path
    try:
        models.memory_facts(path)
    except ValueError as error:
        section = Section("model")
        if "/" in path or path in models.SHORT_NAMES:  # it may be on the machine that the run is for
            section.unchecked(path, f"the twin has a model of its own ({error})")
        else:
            section.error(str(error))
        return section
    return check_model(config, tasks)[0]
