"""What it costs to take a step's gradient apart by task.

    python -m benchmarks.probe_cost [--steps N] [--prompts N]

SmolLM2-135M, 8 rows a prompt of three sources in micro-batches of 4, fp32 weights and bf16 autocast. Steps that are
looked at and steps that are not take turns inside one `train()`. Medians of the seconds of forward and backward go to
benchmarks/results/probe_cost.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import MODEL, config
from benchmarks.tell import keep
from benchmarks.trainer import MICRO_BATCH, TimedTrainer, ragged_rows
from rltrain import batch
from rltrain.channel import Channel
from rltrain.gradients import StepGradients
from rltrain.models import load_model, load_tokenizer

WATCHED = {"not looked at": None, "first MLP": ("*.layers.0.mlp.*",), "every MLP": ("*.mlp.*",)}
SOURCES = ("a", "b", "c")


def main() -> None:
    """Print and keep the medians for each choice of layers."""
    parser = argparse.ArgumentParser(description="What taking gradients apart by task costs.")
    parser.add_argument("--steps", type=int, default=4, help="steps of each kind that count (default 4)")
    parser.add_argument("--prompts", type=int, default=4, help="prompts of a step, 8 rows each (default 4)")
    parser.add_argument("--neurons", type=int, default=512, help="outputs of each layer (default 512)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default 1)")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found = measured(asked.steps, asked.prompts, asked.neurons)
    plain = statistics.median(seconds for seconds, _ in found["not looked at"])
    kept = {}
    for name, values in found.items():
        step, probe = (statistics.median(column) for column in zip(*values, strict=True))
        kept[name] = {"step_s": step, "beside_plain": step / plain, "hooks_s": probe, "hooks_share": probe / step}
        print(
            f"{name:14} forward and backward {step:6.2f} s, {step / plain - 1:+6.1%}; of it in the hooks {probe:.3f} s"
        )
    keep("probe_cost", {"asked": vars(asked), "layers": kept})


def measured(steps: int, prompts: int, neurons: int) -> dict[str, list[tuple[float, float]]]:
    """(seconds of forward and backward, seconds in the hooks) of each step, the first round left out."""
    rounds = 1 + steps
    total = rounds * len(WATCHED)
    settings = config(training={"steps": total, "prompts_per_step": prompts, "micro_batch_size": MICRO_BATCH})
    rows = [row._replace(source=SOURCES[i % 3]) for i, row in enumerate(ragged_rows(8 * prompts))]
    items = sum(len(row.completion_ids) for row in rows)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WATCHED}

    def stream() -> Iterator[dict[str, Any]]:
        for round_ in range(rounds):
            for name, layers in WATCHED.items():
                probe = StepGradients(trainer, Channel(1.0))
                if layers:
                    probe.watch(layers, every=1, neurons=neurons)
                probe.begin(1)
                trainer.seconds = 0.0
                for [part] in batch.cut(rows, settings.micro_batches, settings.training.micro_batch_size):
                    yield trainer.prepared(part, items)
                trainer.take_step()
                probe.by_source()
                if round_:
                    found[name].append((trainer.seconds, probe.cost().get("time/gradients_s", 0.0)))

    with tempfile.TemporaryDirectory() as folder:
        trainer = TimedTrainer(settings, load_model(MODEL, "float32"), load_tokenizer(MODEL), Path(folder))
        trainer.run(stream())
    return found


if __name__ == "__main__":
    main()
