"""Single-task runs: the config with one source to train on, evaluated on all, each in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rltrain import checkpoint, cluster
from rltrain import config as configs
from rltrain.config import Config, CurriculumSpec
from rltrain.order import fingerprint
from rltrain.records import jsonl
from rltrain.records.run_dir import taken

STAGED = ("staged", "curricula.staged:Staged")
OUTCOMES = "outcomes.json"  # of a finished cell: {"before": {key: [outcome, ...]}, "after": ...}
PATIENCE_S = 60.0  # for a run that was asked to end
Outcomes = Mapping[str, Sequence[float]]


class Cell(NamedTuple):
    """A run that trains on one source."""

    source: str
    config: Config  # as the person would write it: the twin makes its own of it
    resolved: Config  # as the run has it
    directory: Path


def cells(
    config: Config, sources: Sequence[str], root: Path, steps: int, resolve: Callable[[Config], Config]
) -> list[Cell]:
    """One for each source, in this order; `steps` optimizer steps each. `resolve`: what a run makes of its config."""
    found = []
    for place, source in enumerate(sources):
        directory = root / f"{place:02d}-{''.join(c if c.isalnum() or c in '-_' else '_' for c in source)}"
        single = alone(config, source, sources, steps, directory)
        found.append(Cell(source, single, resolve(single), directory))
    return found


def alone(config: Config, source: str, sources: Sequence[str], steps: int, directory: Path) -> Config:
    """The config restricted to one source: the others weigh nothing, and no action or stage changes its course."""
    spec = config.curriculum
    while spec.use in STAGED:
        spec = spec.inner or CurriculumSpec()
    weights = {name: float(name == source) for name in sources}
    inner = _going_on(spec.model_dump(exclude={"gates", "base_probe"}))
    outer = {"use": "mixture", "weights": weights, "inner": inner, "gates": config.curriculum.gates}
    outer["base_probe"] = config.curriculum.base_probe // len(sources)
    updates = config.training.updates_per_rollout
    changed = config.model_copy(
        update={
            "curriculum": CurriculumSpec.model_validate(outer),
            "training": config.training.model_copy(update={"steps": max(updates, steps - steps % updates)}),
            "evaluation": config.evaluation.model_copy(update={"every": 0}),
            "checkpoints": config.checkpoints.model_copy(update={"keep": 1}),
            "actions": [],
            "run": config.run.model_copy(update={"name": None, "dir": directory, "wandb": False, "console": False}),
        }
    )
    return Config.model_validate(changed.model_dump())


def _going_on(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The curriculum, probing where it would stop the run when nothing is learnable: transfer needs all steps."""
    inner = {"inner": _going_on(spec["inner"])} if spec.get("inner") else {}
    return {**spec, **inner, **({"when_empty": "probe"} if spec.get("when_empty") == "stop" else {})}


def outcomes(cell: Cell) -> tuple[Outcomes, Outcomes] | None:
    """Held-out outcomes before and after by task key; None while the run is not finished.

    Of a run that has just finished they are kept, and its weights are not. ValueError where the directory holds a
    run of another config.
    """
    if not taken(cell.directory):
        return None
    ours, theirs = fingerprint(cell.resolved), fingerprint(configs.load(cell.directory / "config.yaml"))
    if changed := [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]:
        key = changed[0]
        raise ValueError(
            f"{cell.directory} was measured with another config: {key} was {theirs.get(key)!r}, is {ours.get(key)!r}; "
            "give another directory by --out"
        )
    kept = cell.directory / OUTCOMES
    if kept.exists():
        found = json.loads(kept.read_text(encoding="utf-8"))
        return found["before"], found["after"]
    last = next(reversed(checkpoint.whole(cell.directory / "checkpoints")), None)
    steps = cell.resolved.training.steps
    if last is None or last.step < steps or not (cell.directory / "report.html").exists():
        return None
    evaluations = checkpoint.load(last, ours)["progress"].evaluations
    before, after = ({key: row.tolist() for key, row in evaluations[step].items()} for step in (0, steps))
    jsonl.replace(kept, json.dumps({"before": before, "after": after}))
    for heavy in ("checkpoints", "model"):
        shutil.rmtree(cell.directory / heavy, ignore_errors=True)
    return before, after


def room(config: Config) -> int:
    """Runs that this machine holds at once: by its cores, but one where GPUs, a cluster or vLLM are used.

    Runs do not know of each other: each would take the first GPU, and pin vLLM's threads to the first cores.
    """
    rollouts, trainers = config.rollouts, config.distributed
    if rollouts.gpus or trainers.gpus or trainers.ray_address or rollouts.engine == "vllm":
        return 1
    sampling, training = rollouts.engines * rollouts.threads, trainers.processes * trainers.threads
    cores = sampling + training if rollouts.max_lag else max(sampling, training)  # in turn, without a lag
    return max(1, (os.cpu_count() or 1) // cores)


def run(todo: Sequence[Cell], *, twin: bool, parallel: int, told: Callable[[Cell, int], None]) -> None:
    """Run or resume these, so many at once; `told` hears the step each is at.

    ValueError with the first message of a run that says its input is wrong; RuntimeError of one that failed, after
    the others have ended. What is finished stays.
    """
    waiting, failed = list(todo), []
    going: list[tuple[Cell, subprocess.Popen[bytes]]] = []
    with cluster.reaped(), _ended(going):
        while waiting or going:
            while waiting and len(going) < parallel:
                cell = waiting.pop(0)
                going.append((cell, _started(cell, twin)))
            time.sleep(0.2)
            for cell, process in tuple(going):
                status = process.poll()
                told(cell, _steps(cell))
                if status is not None:
                    going.remove((cell, process))
                    failed += [(cell, status)] if status else []
    for cell, status in failed:
        said = f"training on {cell.source!r} alone: {_last_words(cell)}"
        if status == 2:
            raise ValueError(said)
        raise RuntimeError(f"{said}; all it said is in {_log(cell)}, and what is finished is kept: run the same again")


def _started(cell: Cell, twin: bool) -> subprocess.Popen[bytes]:
    """`rltrain train` of a cell in a process of its own, resumed where it was begun."""
    file = cell.directory.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(configs.dump(cell.config), encoding="utf-8")
    resume = ["--resume", str(cell.directory)] if taken(cell.directory) else []
    command = [sys.executable, "-m", "rltrain", "train", str(file), *resume, *(["--twin"] if twin else [])]
    with open(_log(cell), "wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


@contextmanager
def _ended(going: Sequence[tuple[Cell, subprocess.Popen[bytes]]]) -> Iterator[None]:
    """Whatever is still going at the end is ended in order, then by force."""
    try:
        yield
    finally:
        for _, process in going:
            process.terminate()
        for _, process in going:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _steps(cell: Cell) -> int:
    """The last step that a run has written down."""
    rows: list[dict[str, Any]] = list(jsonl.read(cell.directory / "metrics.jsonl"))
    return int(rows[-1]["step"]) if rows else 0


def _log(cell: Cell) -> Path:
    return cell.directory.with_suffix(".log")


def _last_words(cell: Cell) -> str:
    lines = _log(cell).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = [line.removeprefix("rltrain: ") for line in lines if line.startswith("rltrain: ")]
    return (said or lines or ["it ended without a word"])[-1].removeprefix("error: ").removeprefix("failed: ")
