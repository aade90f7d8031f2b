"""A step of the quickstart with all that the diagnostics need, against the same step without.

One run, whose steps are in turn on and off. On: the tagger, the classifier of formats and all diagnostics, as the
config has them. Off: none is called, so that completions are untagged; all else goes on, files included. Two figures
come out of it, with the same target of 2%: `diagnostics_ratio`, the median step that is on over the median one that is
off, which has the noise of whole steps in it, and `diagnostics_share`, the median share of the seconds spent inside the
three in the steps that are on, which has not.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import THREADS, Result, Series, Tick, in_turn
from benchmarks.step_time import Paced, our_trainer
from rltrain import cluster
from rltrain.collect import planning_spans
from rltrain.config import Config, load
from rltrain.config.root import DIAGNOSTICS, TAGGER
from rltrain.plugins import built
from rltrain.types import Event, StepRecord, Tagger

REPEATS = 10
WARMUP = 1
LONGEST = 1000  # steps the run could take; it is ended long before


class Switch:
    """Whether the parts below work, and the seconds they took since the last reset."""

    def __init__(self) -> None:
        self.on, self.seconds = True, 0.0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Add the seconds of what is done within."""
        begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begun


SWITCH = Switch()  # of this process: plugins are built from their names, and this is how they are reached


class Spans:
    """The config's tagger, or nothing."""

    def __init__(self) -> None:
        self.hash = (part := built(TAGGER, "rltrain.taggers", {})).hash
        self._part: Tagger = part

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Planning spans."""
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Planning spans of a group's texts."""
        if not SWITCH.on:
            return [[] for _ in texts]
        with SWITCH.timed():
            return planning_spans(texts, self._part)


class Forms:
    """The config's classifier of formats, or one name for all."""

    def __init__(self) -> None:
        self._part = built("rules", "rltrain.formats", {})

    def format(self, text: str) -> str:
        """Name of the format."""
        if not SWITCH.on:
            return "other"
        with SWITCH.timed():
            return self._part.format(text)


class Measures:
    """A diagnostic, or nothing."""

    panels = ()

    def __init__(self, name: str, *, tagger: Tagger | None = None) -> None:
        self._part = built(name, "rltrain.diagnostics", {}, tagger=tagger)

    def observe(self, record: StepRecord) -> dict[str, float]:
        """Its metrics."""
        if not SWITCH.on:
            return {}
        with SWITCH.timed():
            return self._part.observe(record)

    def events(self) -> list[Event]:
        """Its events."""
        return self._part.events() if SWITCH.on else []

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        return self._part.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up its state."""
        self._part.load_state_dict(state)


def ticks(repeats: int) -> int:
    """Notches of the progress bar."""
    return 2 * (WARMUP + repeats)


def settings() -> Config:
    """The quickstart with the switch in it, nothing evaluated and nothing saved."""
    here = "benchmarks.diagnostics_cost"
    listed = ", ".join(f"{{use: '{here}:Measures', args: {{name: {name}}}}}" for name in DIAGNOSTICS)
    return load(
        "quickstart",
        [
            f"training.steps={LONGEST}", "evaluation.prompts=0", "checkpoints.every=0", "rollouts.parity_every=0",
            "run.wandb=false", "run.console=false", f"rollouts.threads={THREADS}", f"distributed.threads={THREADS}",
            f"tagger.use={here}:Spans", f"formats.use={here}:Forms", f"diagnostics=[{listed}]",
        ],
    )  # fmt: skip


def measure(repeats: int, tick: Tick) -> Result:
    """Seconds of an optimizer step with the diagnostics on and off."""
    torch.set_num_threads(THREADS)
    inside: list[float] = []
    with tempfile.TemporaryDirectory() as folder, cluster.session(), contextlib.ExitStack() as stack:
        ours = stack.enter_context(our_trainer(Path(folder) / "run", settings()))
        pace = Paced(ours.trainer, ours.train)
        stack.callback(pace.stop)

        def step(on: bool) -> float:
            SWITCH.on, SWITCH.seconds = on, 0.0
            taken = pace.step()
            if on:
                inside.append(SWITCH.seconds)
            return taken

        found = in_turn({"on": lambda: step(True), "off": lambda: step(False)}, repeats, tick, warmup=WARMUP)
        lengths = ours.lengths()
    return result(found["on"], found["off"], inside[-repeats:], lengths)


def result(on: Sequence[float], off: Sequence[float], inside: Sequence[float], lengths: Sequence[float]) -> Result:
    """Figures from seconds a step, and from those inside the diagnostics in the steps that are on."""
    shares = [part / whole for part, whole in zip(inside, on, strict=True)]
    return Result(
        {
            "diagnostics_share": statistics.median(shares),
            "diagnostics_ratio": statistics.median(on) / statistics.median(off),
        },
        {"on": Series("s", on), "off": Series("s", off), "inside": Series("s", inside)},
        {"mean completion tokens": list(lengths), "diagnostics": list(DIAGNOSTICS), "tagger": TAGGER},
    )
