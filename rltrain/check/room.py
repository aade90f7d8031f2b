"""Room on the disk for what a run leaves behind."""

from __future__ import annotations

import shutil
from typing import Any

from rltrain.check.memory import ADAPTER_SHARE, OPTIMIZER_BYTES
from rltrain.check.verdicts import Section
from rltrain.check.writable import nearest
from rltrain.config import Config

RECORDS = 8 * 2**20  # bytes for config, metrics and the first steps' rollouts; of the whole run they are more


def check_room(config: Config, facts: dict[str, Any] | None) -> Section:
    """Free bytes against those of checkpoints and the final model. `facts`: sizes of the model, None if not known.

    Too few for one checkpoint and the final model, without which no run ends, are an error.
    """
    section = Section("disk")
    place = nearest(config)
    checkpoint, model = sizes(config, facts) if facts is not None and facts["parameters"] else (0, 0)
    free = shutil.disk_usage(place).free
    least = checkpoint + model + RECORDS
    most = (config.checkpoints.keep + 2) * checkpoint + model + RECORDS  # the best, and the one that is being written
    parts = f"{checkpoint:,} of a checkpoint, {model:,} of the final model, {RECORDS:,} of records"
    if free < least:
        section.error(
            f"disk of {place}: {free:,} bytes free, at least {least:,} needed ({parts}); free "
            f"{least - free:,} bytes, or set run.dir to another disk"
        )
    elif free < most:
        section.warn(
            f"disk of {place}: {free:,} bytes free; with checkpoints.keep {config.checkpoints.keep}, the best and the "
            f"one that is being written up to {most:,} are needed ({parts})"
        )
    else:
        section.ok(f"{free:,} bytes free at {place}, up to {most:,} needed ({parts}), rollouts besides")
    if not checkpoint:
        section.unchecked("room for checkpoints", "the model's size is not known")
    return section


def sizes(config: Config, facts: dict[str, Any]) -> tuple[int, int]:
    """Bytes of a checkpoint (trained weights in float32, optimizer) and of the final model with its adapter."""
    parameters, adapter = facts["parameters"], config.model.lora is not None
    trained = (facts.get("trainable") or ADAPTER_SHARE * parameters) if adapter else parameters
    model = parameters * (2 if config.model.dtype == "bfloat16" else 4) + adapter * 4 * trained
    return round(trained * (4 + OPTIMIZER_BYTES.get(config.training.optimizer, 8))), round(model)
