"""The twin of a config: the same run, end to end on a CPU, in under a minute."""

from __future__ import annotations

from rltrain.config import Config, Lora

STEPS = 12
PROMPTS = 4
GENERATIONS = 4
TOKENS = 128
PROMPT_TOKENS = 4096  # bytes are more tokens than words


def twin(config: Config) -> Config:
    """The config with a tiny random model, the twin's engine, and sizes cut to what a minute holds.

    What decides the course of a run stays: tasks, rewards, curriculum, loss, lag, updates per rollout,
    number of engines and processes.
    """
    training, sampling = config.training, config.sampling
    updates = training.updates_per_rollout
    prompts = min(PROMPTS, training.prompts_per_step)
    guard = config.advantages.guard
    generations = min(max(GENERATIONS, guard.min_successes + 1 if guard else 0), sampling.num_generations)
    processes = min(2, config.distributed.processes)
    rows = prompts * generations
    size = next(m for m in range(min(8, rows), 0, -1) if rows % (m * processes) == 0)
    steps = min(training.steps, STEPS)
    steps = max(updates, steps - steps % updates)
    engines = min(2, config.rollouts.engines)
    section = {
        "model": config.model.model_copy(
            update={"path": "tiny", "dtype": "float32", "prompt_template": None, "lora": _lora(config)}
        ),
        "sampling": sampling.model_copy(
            update={
                "num_generations": generations,
                "max_completion_length": min(TOKENS, sampling.max_completion_length),
                "max_prompt_length": PROMPT_TOKENS,
                "top_p": 1.0,  # the twin's engine does not truncate
                "top_k": 0,
            }
        ),
        "rollouts": config.rollouts.model_copy(
            update={"engine": "twin", "engines": engines, "tensor_parallel": 1, "gpus": 0, "threads": 1, "dtype": None}
            | {"args": {}, "memory": None}
        ),
        "training": training.model_copy(
            update={"steps": steps, "prompts_per_step": prompts}
            | {"micro_batch_size": size, "optimizer": "adamw_torch", "learning_rate": max(training.learning_rate, 1e-3)}
        ),
        "distributed": config.distributed.model_copy(
            update={"processes": processes, "gpus": 0, "strategy": "ddp", "threads": 1, "nodes": 1, "ray_address": None}
            | {"deepspeed": None}
        ),
        "evaluation": config.evaluation.model_copy(update={"prompts": min(8, config.evaluation.prompts)}),
        "checkpoints": config.checkpoints.model_copy(
            update={"every": min(config.checkpoints.every, 4) if config.checkpoints.every else 0}
        ),
        "scorer": config.scorer.model_copy(update={"path": None, "dtype": "float32", "gpus": 0, "threads": 1}),
        "judge": config.judge.model_copy(update={"engine": "twin", "url": None, "key": None, "gpus": 0}),
        "run": config.run.model_copy(update={"wandb": False}),
        "actions": [a.model_copy(update={"at": min(a.at, steps)}) if a.at else a for a in config.actions],
    }
    return Config.model_validate(config.model_copy(update=section).model_dump())


def _lora(config: Config) -> Lora | None:
    """The adapter, on all modules: the names in the config are those of another model."""
    lora = config.model.lora
    return lora and lora.model_copy(update={"targets": "all-linear"})
