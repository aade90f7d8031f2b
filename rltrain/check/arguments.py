"""TRL's own arguments: known, of the right type, accepted by TRL; and which of its defaults are overridden."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from rltrain.check.verdicts import Section
from rltrain.config import Config
from rltrain.trl_arguments import OWNED, trl_arguments

WHY = {
    "output_dir": "inside the run directory",
    "lr_scheduler_type": "with a constant rate a run may be lengthened without changing what was done",
    "disable_dropout": "dropout would part the trainer's log-probs from the sampler's",
    "use_cpu": "distributed.gpus is 0",
    "ignore_data_skip": "the stream starts where it stopped; pulling old micro-batches would sample them again",
    "logging_steps": "every step is recorded",
    "logging_nan_inf_filter": "a NaN must be seen",
    "save_strategy": "the loop saves, together with its own state",
    "report_to": "the loop writes the metrics, to wandb and to run.report_to too",
    "disable_tqdm": "the console shows progress",
    "dataloader_pin_memory": "there is no GPU to pin for",
    "fsdp_config": "FSDP2, from distributed.strategy",
}


def check_arguments(config: Config) -> tuple[Section, dict[str, Any] | None]:
    """TRL's arguments made and handed to TRL. Returns all values, None where they are refused."""
    from rltrain.trainer import GRPOConfig

    section = Section("arguments of TRL")
    known = {f.name: f for f in fields(GRPOConfig)}
    arguments = section.attempt("training.trl", lambda: trl_arguments(config, Path("checkpoints"), known))
    if arguments is None:
        return section, None
    for name in config.training.trl:
        section.attempt(f"training.trl.{name}", lambda name=name: _typed(name, config.training.trl[name], GRPOConfig))
    _deepspeed(section, config)
    if any(line.verdict == "error" for line in section.lines):
        return section, None
    # TRL looks for a GPU where use_cpu is off, and for DeepSpeed where it is named: neither need be here.
    elsewhere = {"deepspeed", "tf32"} if config.distributed.gpus else {"deepspeed"}
    here = {k: v for k, v in arguments.items() if k not in elsewhere} | {"use_cpu": True}
    made = section.attempt("TRL", lambda: _made(GRPOConfig, here, config.training.trl))
    if made is None:
        return section, None
    section.ok(f"{len(arguments)} arguments accepted by TRL's GRPOConfig")
    section.attempt("training.optimizer", lambda: _optimizer(made))
    section.attempt("training.trl.lr_scheduler_type", lambda: _schedule(made))
    for name, value in arguments.items():
        default = _default(known[name])
        if value != default:
            reason = "training.trl" if name in config.training.trl else WHY.get(name) or f"from {OWNED[name]}"
            section.fact(f"{name}: {_told(value)}, TRL has {_told(default)}: {reason}")
    section.fact("use_vllm: set after construction, so that TRL multiplies our correction in and starts no engine")
    return section, {name: getattr(made, name) for name in known}


def _typed(name: str, value: Any, owner: type) -> None:
    """ValueError where a value is not of the type its field declares; TRL itself would take any."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    hint = get_type_hints(owner)[name]
    try:
        TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value, strict=True)
    except ValidationError:
        expected = getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint)
        raise ValueError(f"training.trl.{name}: expected {expected}, got {value!r}") from None


def _made(factory: type, arguments: dict[str, Any], given: Collection[str]) -> Any:
    """GRPOConfig of these arguments. ValueError names the `given` one that it is refused for, where it is one."""
    try:
        return factory(**arguments)
    except (TypeError, ValueError, ImportError) as error:  # TypeErrors of comparisons inside it are the person's too
        for name in given:
            if _accepted(factory, {k: v for k, v in arguments.items() if k != name}):
                raise ValueError(
                    f"training.trl.{name}: got {arguments[name]!r}, and TRL says: {error}; change it, or leave it out "
                    "for TRL's default"
                ) from error
        raise ValueError(f"TRL refuses the arguments: {error}") from error


def _accepted(factory: type, arguments: dict[str, Any]) -> bool:
    try:
        factory(**arguments)
    except (TypeError, ValueError, ImportError):  # of the arguments as they are it was told already
        return False
    return True


def _optimizer(arguments: Any) -> None:
    """Made for one number, as the trainer makes it for its weights.

    ValueError where it refuses its arguments, or its library is not installed.
    """
    import torch
    from transformers import Trainer

    try:
        kind, constants = Trainer.get_optimizer_cls_and_kwargs(arguments)
        if kind.__module__.startswith("torch."):  # of other libraries some want a GPU, or the names of layers
            kind([torch.nn.Parameter(torch.zeros(1))], **constants)
    except ImportError as error:
        raise ValueError(f"training.optimizer: {arguments.optim.value} is not installed here: {error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{arguments.optim.value} refuses its arguments in training.trl: {error}") from error


def _schedule(arguments: Any) -> None:
    """The course of the rate, made as the trainer makes it. ValueError where it refuses its arguments."""
    import torch
    from transformers import get_scheduler

    try:
        get_scheduler(
            arguments.lr_scheduler_type,
            torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]),
            num_warmup_steps=arguments.get_warmup_steps(arguments.max_steps),
            num_training_steps=arguments.max_steps,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs or {},
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"training.trl.lr_scheduler_type: {arguments.lr_scheduler_type.value} with lr_scheduler_kwargs "
            f"{arguments.lr_scheduler_kwargs!r}: {error}"
        ) from error


def _deepspeed(section: Section, config: Config) -> None:
    path = config.distributed.deepspeed
    if path is not None and not path.is_file():
        section.error(f"distributed.deepspeed: no file {path}; expected DeepSpeed's JSON config")
    if config.distributed.strategy == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        if config.distributed.gpus:
            section.unchecked("strategy deepspeed", "deepspeed is not installed on this machine")
        else:
            section.error("distributed.strategy: deepspeed is not installed; install it, or use ddp")


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return getattr(field.default, "value", field.default)


def _told(value: Any) -> str:
    return repr(getattr(value, "value", value))
