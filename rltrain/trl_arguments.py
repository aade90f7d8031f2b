"""TRL's arguments, made from our sections: one table of who sets what."""

from __future__ import annotations

import difflib
import importlib.util
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rltrain.config import Config

# GRPOConfig arguments that are set from our sections (or mean nothing here), and where to set them.
OWNED = {
    "per_device_train_batch_size": "training.micro_batch_size",
    "gradient_accumulation_steps": "training.prompts_per_step and micro_batch_size",
    "steps_per_generation": "training.updates_per_rollout",
    "generation_batch_size": "training.prompts_per_step",
    "num_iterations": "training.updates_per_rollout",
    "num_generations": "sampling.num_generations",
    "max_completion_length": "sampling.max_completion_length",
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "learning_rate": "training.learning_rate",
    "loss_type": "training.loss",
    "beta": "training.beta",
    "max_steps": "training.steps",
    "optim": "training.optimizer",
    "seed": "run.seed",
    "output_dir": "run.dir",
    "scale_rewards": "advantages.scale",
    "multi_objective_aggregation": "advantages.combine",
    "reward_weights": "rewards",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "gradient_checkpointing": "model.gradient_checkpointing",
    "use_vllm": "rollouts.engine",
    "vllm_importance_sampling_correction": "training.correction",
    "vllm_importance_sampling_mode": "training.correction",
    "vllm_importance_sampling_clip_max": "training.correction_cap",
    "save_strategy": "checkpoints.every",
    "save_steps": "checkpoints.every",
    "eval_strategy": "evaluation.every",
    "report_to": "run.wandb and run.report_to",
    "mask_truncated_completions": "a shaping reward",
    "deepspeed": "distributed.deepspeed",
    "fsdp": "distributed.strategy",
    "save_total_limit": "checkpoints.keep",
    "num_train_epochs": "training.steps",
    "shuffle_dataset": "curriculum",
    "auto_find_batch_size": "training.micro_batch_size",
    "vllm_importance_sampling_cap": "training.correction_cap",
    "use_cpu": "distributed.gpus",
    "ddp_backend": "distributed.gpus",
    "local_rank": "distributed.processes",
}
LOOP = "the loop, which depends on it"
OWNED |= dict.fromkeys(("ignore_data_skip", "save_only_model", "remove_unused_columns"), LOOP)
OWNED |= dict.fromkeys(("logging_strategy", "logging_steps", "logging_nan_inf_filter", "disable_tqdm"), LOOP)
UPLOAD = "no run uploads anything; upload its model/ directory"
REPORT = "the loop reports, not TRL; see run.name, run.wandb and run.report_to"
ROLLOUTS = "completions are kept in the run's rollouts/ directory"
EVALUATE = "the loop evaluates, not TRL; see the section evaluation"
STREAM = "micro-batches come from the loop and tasks from the curriculum; nothing is loaded or sorted by TRL"
RENDER = "prompts are written and models loaded by rltrain; see the section model"
SAMPLE = "our engines sample, not TRL; see the sections sampling and rollouts"
# Arguments that a run here does not act on, or all that begin so, and what to do instead.
IDLE = {
    "resume_from_checkpoint": "a run goes on by `rltrain train CONFIG --resume`",
    "push_to_hub": UPLOAD,
    "hub_": UPLOAD,
    "log_completions": ROLLOUTS,
    "log_multimodal": ROLLOUTS,
    "log_unique_prompts": ROLLOUTS,
    "num_completions_to_print": ROLLOUTS,
    "run_name": REPORT,
    "project": REPORT,
    "trackio_": REPORT,
    "vllm_": SAMPLE,
    "min_p": SAMPLE,
    "repetition_penalty": SAMPLE,
    "generation_kwargs": SAMPLE,
    "cache_implementation": SAMPLE,
    "use_transformers_": SAMPLE,
    "transformers_continuous_batching_config": SAMPLE,
    "max_tool_calling_iterations": SAMPLE,
    "model_init_kwargs": RENDER,
    "trust_remote_code": RENDER,
    "chat_template_kwargs": RENDER,
    "eval_": EVALUATE,
    "num_generations_eval": EVALUATE,
    "metric_for_best_model": EVALUATE,
    "greater_is_better": EVALUATE,
    "batch_eval_metrics": EVALUATE,
    "include_for_metrics": EVALUATE,
    "prediction_loss_only": EVALUATE,
    "bf16_full_eval": EVALUATE,
    "fp16_full_eval": EVALUATE,
    "dataloader_": STREAM,
    "accelerator_config": STREAM,
    "train_sampling_strategy": STREAM,
    "pad_to_multiple_of": STREAM,
    "length_column_name": STREAM,
    "enable_jit_checkpoint": "SIGTERM ends a run in order as it is; see the section checkpoints",
    "label_smoothing_factor": "there are no labels; see training.loss",
    "label_names": "there are no labels; see training.loss",
    "do_": "a run trains, and the section evaluation says when it evaluates",
    "load_best_model_at_end": "the best checkpoint is kept besides; see the section checkpoints",
}
NOT_NEGATIVE = ("epsilon", "epsilon_high", "delta", "max_grad_norm", "weight_decay", "adam_epsilon", "warmup_steps")
BELOW_ONE = ("adam_beta1", "adam_beta2")
SHARES = ("top_entropy_quantile", "ref_model_mixup_alpha")
POSITIVE = ("ref_model_sync_steps", "sapo_temperature_neg", "sapo_temperature_pos", "ddp_timeout")
# What TRL or transformers look at under way and no earlier.
LEVELS = ("debug", "detail", "info", "warning", "error", "critical", "passive")
COMPILERS = ("eager", "aot_eager", "inductor", "cudagraphs", "tensorrt", "onnxrt", "tvm")
CHOICES = {
    "importance_sampling_level": ("token", "sequence"),
    "log_level": LEVELS,
    "log_level_replica": LEVELS,
    "torch_compile_backend": COMPILERS,
    "torch_compile_mode": ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
}


def trl_arguments(config: Config, output_dir: Path, known: Collection[str]) -> dict[str, Any]:
    """GRPOConfig arguments; `known`: its fields. ValueError on a `trl:` key that is unknown or set elsewhere."""
    extra = dict(config.training.trl)
    for key in extra:
        if key in OWNED:
            raise ValueError(f"training.trl.{key}: is set by {OWNED[key]}")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ValueError(
                f"training.trl.{key}: no argument of TRL's GRPOConfig"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        _honoured(key, extra[key])
    training, cpu = config.training, not config.distributed.gpus
    arguments: dict[str, Any] = {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": training.micro_batch_size,
        "gradient_accumulation_steps": config.micro_batches,
        "steps_per_generation": config.micro_batches,
        "num_generations": config.sampling.num_generations,
        "max_completion_length": config.sampling.max_completion_length,
        "temperature": config.sampling.temperature,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "constant",
        "loss_type": training.loss,
        "beta": max([training.beta, *(a.value or 0.0 for a in config.actions if a.do == "beta")]),
        "max_steps": training.steps,
        "optim": training.optimizer,
        "seed": config.run.seed,
        "bf16": config.model.dtype == "bfloat16",
        "use_cpu": cpu,
        "gradient_checkpointing": config.model.gradient_checkpointing,
        "disable_dropout": config.model.lora is None or config.model.lora.dropout == 0,
        "ignore_data_skip": True,  # our stream starts where it stopped
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # the loop saves, on a line of its own
        "report_to": [],  # the integrations of run.report_to are callbacks of ours, see reporting.py
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": not cpu,
    }
    if config.distributed.strategy == "fsdp2":
        sharding = extra.pop("fsdp_config", None) or {}
        if not isinstance(sharding, dict) or sharding.get("version", 2) != 2:
            raise ValueError(f"training.trl.fsdp_config: expected FSDP2's settings as a mapping, got {sharding!r}")
        arguments |= {"fsdp": "full_shard auto_wrap", "fsdp_config": {"version": 2} | sharding}
    elif extra.get("fsdp_config"):
        raise ValueError("training.trl.fsdp_config: has no effect without distributed.strategy: fsdp2")
    if config.distributed.deepspeed:
        arguments["deepspeed"] = str(config.distributed.deepspeed)
    if extra.get("sync_ref_model"):
        _reference_of_its_own(config, arguments["beta"])
    return {**arguments, **extra}


def _reference_of_its_own(config: Config, beta: float) -> None:
    """ValueError where there is no whole reference model that could be synced and saved."""
    name, strategy = "training.trl.sync_ref_model", config.distributed.strategy
    if not beta:
        raise ValueError(f"{name}: there is no reference model to sync; give training.beta above 0")
    if config.model.lora is not None:
        raise ValueError(
            f"{name}: with model.lora the reference is the model without its adapter, which stays as it is; leave one "
            "of the two out"
        )
    if strategy != "ddp":
        raise ValueError(
            f"{name}: with distributed.strategy {strategy} the reference is in shards, and no checkpoint would hold "
            "it; use ddp, or leave it out"
        )


def _honoured(key: str, value: Any) -> None:
    """ValueError where a run could not do what is asked of TRL; off and nothing ask for nothing."""
    if value is None or value is False:
        return
    for name, why in IDLE.items():
        if key == name or (name.endswith("_") and key.startswith(name)):
            raise ValueError(f"training.trl.{key}: has no effect here: {why}")
    if key in CHOICES and value not in CHOICES[key]:
        raise ValueError(f"training.trl.{key}: expected one of {', '.join(CHOICES[key])}, got {value!r}")
    if isinstance(value, int | float) and (expected := _out_of_range(key, value)):
        raise ValueError(f"training.trl.{key}: expected {expected}, got {value!r}")
    if key == "use_liger_kernel" and importlib.util.find_spec("liger_kernel") is None:
        raise ValueError("training.trl.use_liger_kernel: liger-kernel is not installed; install it or leave this out")


def _out_of_range(key: str, value: float) -> str | None:
    """What the argument should be, where it is not that."""
    if key in BELOW_ONE:
        return None if 0 <= value < 1 else "a number from 0 to below 1"
    if key in NOT_NEGATIVE:
        return None if math.isfinite(value) and value >= 0 else "0 or more"
    if key in SHARES:
        return None if 0 <= value <= 1 else "a share from 0 to 1"
    if key in POSITIVE:
        return None if math.isfinite(value) and value > 0 else "a number above 0"
    return None if math.isfinite(value) else "a finite number"
