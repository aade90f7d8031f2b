"""What a million prompts cost the difficulty curriculum: a batch, the state, a checkpoint (a minute, one core).

    python -m benchmarks.curriculum_scale [--prompts 1000000]

A tenth easy, a fifth learnable, the rest near-impossible; 100 batches of 8, by the clock and by the processor's time,
which others on the machine do not change. The state is pickled as a checkpoint does.
Memory is what the process gains by building the curriculum, the keys themselves not counted.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.learners import Columns, tried
from benchmarks.measure import seconds
from benchmarks.tell import bar, keep
from curricula.difficulty import Difficulty

BATCHES, BATCH = 100, 8


def resident() -> int:
    """Bytes of memory this process holds."""
    return psutil.Process().memory_info().rss


def save(curriculum: Difficulty, path: Path) -> None:
    """Write the state as a checkpoint does."""
    with open(path, "wb") as file:
        pickle.dump(curriculum.state_dict(), file, protocol=5)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.curriculum_scale", description="The cost of many prompts.")
    parser.add_argument("--prompts", type=int, default=1_000_000)
    count = parser.parse_args(arguments).prompts
    rng = np.random.default_rng(0)
    table, rates = Columns(["all"] * count), rng.choice([0.97, 0.4, 0.002], count, p=[0.1, 0.2, 0.7])
    before, begun = resident(), time.perf_counter()
    curriculum = Difficulty(table, seed=0)
    built, memory = time.perf_counter() - begun, resident() - before
    drawn, worked, learned = [], [], []
    for step in bar(range(BATCHES), "batches", BATCHES):
        begun, work = time.perf_counter(), time.process_time()
        tasks = curriculum.sample(BATCH)
        drawn.append(time.perf_counter() - begun)
        worked.append(time.process_time() - work)
        groups = tried(tasks, rates.__getitem__, rng, step)
        learned.append(seconds(lambda groups=groups: curriculum.observe(groups)))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "state.pkl"
        saved, size = seconds(lambda: save(curriculum, path)), path.stat().st_size
        fresh, state = Difficulty(table, seed=1), pickle.loads(path.read_bytes())
        loaded = seconds(lambda: fresh.load_state_dict(state))
    same = [t.key for t in fresh.sample(BATCH)] == [t.key for t in curriculum.sample(BATCH)]
    figures = {
        "prompts": count,
        "batch_ms": {"median": 1e3 * float(np.median(drawn)), "p95": 1e3 * float(np.percentile(drawn, 95))},
        "batch_cpu_ms": {"median": 1e3 * float(np.median(worked)), "p95": 1e3 * float(np.percentile(worked, 95))},
        "observe_ms": 1e3 * float(np.median(learned)),
        "build_s": built,
        "memory_mb": memory / 1e6,
        "state_mb": size / 1e6,
        "save_s": saved,
        "load_s": loaded,
        "same_after_restart": same,
    }
    print(figures)
    keep("curriculum_scale", figures)


if __name__ == "__main__":
    main()
