"""How every benchmark measures: contestants in turn, medians, ratios of medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rltrain.config import Config, parse

THREADS = 2  # of engines and trainer, on both sides
MODEL = "smollm2-135m"

Tick = Callable[[str], None]
"""Called with what was just done, once per contestant and repetition: one notch of the progress bar."""


class Series(NamedTuple):
    """What one contestant measured, repetition by repetition."""

    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        """The figure that ratios are made of."""
        return statistics.median(self.values)


class Result(NamedTuple):
    """What a benchmark found."""

    figures: Mapping[str, float]  # of the last line printed, by name
    series: Mapping[str, Series]
    notes: Mapping[str, Any]  # settings and side figures, kept in the JSON


def in_turn(
    contestants: Mapping[str, Callable[[], float]], repeats: int, tick: Tick, *, warmup: int = 1
) -> dict[str, list[float]]:
    """What each contestant returned in each of `repeats` rounds, in which every one has a turn.

    Who begins changes from round to round, so that no one always runs on the other's warm caches. The
    first `warmup` rounds are not counted.
    """
    names = list(contestants)
    found: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(warmup + repeats):
        shift = round_ % len(names)
        for name in names[shift:] + names[:shift]:
            value = contestants[name]()
            if round_ >= warmup:
                found[name].append(value)
            tick(name)
    return found


def seconds(action: Callable[[], Any]) -> float:
    """Wall-clock seconds of a call."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def config(**sections: Any) -> Config:
    """The setting all benchmarks share; `sections` are merged over it, key by key.

    4 prompts x 8 completions of at most 128 tokens; fp32 weights and bf16 autocast in the trainer, bf16
    in the engine; nothing evaluated, nothing saved.
    """
    base: dict[str, dict[str, Any]] = {
        "model": {"path": MODEL, "dtype": "bfloat16"},
        "sampling": {"num_generations": 8, "max_prompt_length": 256, "max_completion_length": 128},
        "rollouts": {"engine": "vllm", "slots": 64, "threads": THREADS, "parity_every": 0},
        "training": {"steps": 1000, "prompts_per_step": 4, "micro_batch_size": 8, "learning_rate": 1e-6},
        "distributed": {"threads": THREADS},
        "evaluation": {"prompts": 0},
        "checkpoints": {"every": 0},
        "run": {"wandb": False, "console": False},
    }
    lists = {
        "tasks": [
            {
                "use": "reasoning_gym",
                "name": "chain_sum",
                "args": {"generator": "chain_sum", "size": 500, "min_terms": 2, "max_terms": 2}
                | {"min_digits": 1, "max_digits": 2},
            }
        ],
        "rewards": [{"use": "reasoning_gym"}],
    }
    merged = {name: base.get(name, {}) | sections.get(name, {}) for name in {**base, **sections}}
    return parse(merged | lists, "benchmarks")
