"""What a sampled token costs the driver, with engines that answer at once.

CPU seconds of the driver process, all its threads (the pool's, Ray's) but the writer's, from the request
of a step's groups to handing the record of that step to the writer: unpacking what Ray brings, version
checks, tagging, format classification, scoring by a real scoring pool, advantages, rows for the trainer.
Engines and scoring workers are processes of their own and not in it. The writer's thread is timed
beside it, and so is a part that does the same whatever the number of engines: reading the texts, tagging and
format classification. What slows that down is the machine with its many processes, not the driver.
One number of engines after the other: an idle engine's questions cost the driver time too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.fake_engine import DIGEST
from benchmarks.measure import Result, Series, Tick, config
from rltrain import advantages, batch, cluster, tasks
from rltrain.build import spread
from rltrain.collect import Collector, planning_spans
from rltrain.config.root import TAGGER
from rltrain.plugins import resolve
from rltrain.records import RunDir
from rltrain.rollouts.pool import RolloutPool
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import Packed
from rltrain.scoring_pool import ScoringPool
from rltrain.types import FormatClassifier, Group, Sampling, StepRecord, Tagger, Task, Ticket, TokenArrays

REPEATS = 10
ENGINES = (1, 8, 64)
GROUPS, SAMPLES, TOKENS = 128, 8, 256  # of one step
WARMUP = 2
START_S = 600.0  # 64 processes on a small machine


def ticks(repeats: int) -> int:
    """Notches of the progress bar."""
    return len(ENGINES) * (WARMUP + repeats)


def measure(repeats: int, tick: Tick) -> Result:
    """Tokens per CPU second for each number of engines."""
    series: dict[str, Series] = {}
    settings = config()
    prompts = spread(tasks.build(settings.tasks, seed=0, twin=False).train, GROUPS)
    for count in ENGINES:
        with tempfile.TemporaryDirectory() as folder, cluster.session(), driver(count, Path(folder)) as one:
            found = []
            for step in range(WARMUP + repeats):
                found.append(one.step(step, prompts))
                tick(f"{count} engines")
        plural = "engine" if count == 1 else "engines"
        for name, values in zip(("driver", "writer", "reading"), zip(*found[WARMUP:], strict=True), strict=True):
            series[f"{name}, {count} {plural}"] = Series(
                "tokens/CPU s", [GROUPS * SAMPLES * TOKENS / s for s in values]
            )
    few, many = series["driver, 8 engines"].median, series["driver, 64 engines"].median
    figures = {"driver_tokens_per_s": min(few, many), "driver_scaling_8_to_64": many / few}
    machine = series["reading, 64 engines"].median / series["reading, 8 engines"].median
    notes = {"groups": GROUPS, "samples": SAMPLES, "tokens": TOKENS, "reading_scaling_8_to_64": machine}
    return Result(figures, series, notes)


@contextmanager
def driver(engines: int, folder: Path) -> Iterator[Driver]:
    """The driver's parts around so many fake engines, ready to work."""
    settings = config()
    specs = [
        EngineSpec(
            "benchmarks.fake_engine:FakeEngine", "", "float32", 1024, name=f"engine-{i}", args={"tokens": TOKENS}
        )
        for i in range(engines)
    ]
    pool = RolloutPool(specs, deadline_s=START_S)
    scoring = ScoringPool(settings.rewards, workers=1)
    directory = RunDir.create(folder, "", {})
    try:
        pool.publish(0, Packed((), ()), DIGEST)
        pool.settle(0)
        yield Driver(pool, scoring, directory)
    finally:
        pool.close()
        scoring.close()
        directory.close()


class Reader:
    """A tagger and a format classifier whose CPU seconds are counted."""

    def __init__(self, tagger: Tagger, formats: FormatClassifier) -> None:
        self._tagger, self._formats = tagger, formats
        self.seconds = 0.0

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """What the tagger marks."""
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """What the tagger marks in each text."""
        with self._counted():
            return planning_spans(texts, self._tagger)

    def format(self, text: str) -> str:
        """What the classifier says."""
        with self._counted():
            return self._formats.format(text)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        begun = time.thread_time()
        yield
        self.seconds += time.thread_time() - begun


class Driver:
    """Makes steps of a run without a trainer."""

    def __init__(self, pool: RolloutPool, scoring: ScoringPool, directory: RunDir) -> None:
        tagger, formats = resolve(TAGGER, "rltrain.taggers")(), resolve("rules", "rltrain.formats")()
        self._reader = Reader(tagger, formats)
        self._collector = Collector(pool, scoring, self._reader, self._reader)
        self._directory = directory

    def step(self, number: int, prompts: Sequence[Task]) -> tuple[float, float, float]:
        """CPU seconds of the driver, of its writer and of its reading for one step."""
        tickets = [
            Ticket(number * GROUPS + i, task, np.arange(64, dtype=np.int32), SAMPLES, Sampling(max_tokens=TOKENS), 0, 0)
            for i, task in enumerate(prompts)
        ]
        self._reader.seconds, begun = 0.0, time.process_time()
        self._collector.request(tickets)
        groups = self._collector.gather(tickets)
        self._collector.release(tickets)
        groups = advantages.assign(groups, {}, scale="none", combine="sum_then_normalize")
        rows = batch.rows(groups)
        spent = time.process_time() - begun
        assert len(rows) == GROUPS * SAMPLES, len(rows)
        record = StepRecord(number, tuple(groups), trained(groups), {})
        begun = time.process_time()
        self._directory.write_rollouts(record)
        handed = time.process_time()
        self._directory.flush()
        return spent + handed - begun, time.process_time() - handed, self._reader.seconds


def trained(groups: Sequence[Group]) -> dict[tuple[int, int], TokenArrays]:
    """What the trainer would have added to the record."""
    ones, yes = np.ones(TOKENS, dtype=np.float32), np.ones(TOKENS, dtype=bool)
    return {
        (g.ticket, i): TokenArrays(c.logprobs, ones, ones, yes, ones)
        for g in groups
        for i, c in enumerate(g.completions)
    }
