"""What was asked for, resolved: a new run directory, or a checkpoint to go on from."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from rltrain import checkpoint
from rltrain.config import Config, dump, load
from rltrain.records import RunDir, pulse
from rltrain.types import Event

RUNS = Path("runs")
# What may change on resume.
FREE = (
    *("run.name", "run.dir", "run.wandb", "run.report_to", "run.console"),
    *("checkpoints", "evaluation.every", "training.steps", "rollouts.deadline_s"),
    *(f"judge.{name}" for name in ("url", "key", "timeout_s", "retries", "concurrency", "cache", "threads")),
)


@dataclasses.dataclass(frozen=True)
class Order:
    """What the person asked for, resolved: enough to build the run in any process."""

    config: Config
    directory: Path
    twin: bool
    faults: tuple[str, ...]
    resume: checkpoint.Checkpoint | None


def place(config: Config, stem: str, *, resume: str | None, twin: bool, faults: tuple[str, ...]) -> Order:
    """Make the run's directory, or find the checkpoint to go on from. ValueError before anything is written."""
    from rltrain.check import preflight
    from rltrain.manifest import manifest
    from rltrain.records import next_name

    directory = named_directory(config) if resume is None else _resumed_directory(config, stem, resume)
    _check_model(config)
    preflight(config, twin=twin)
    if resume is None:
        directory = directory or RUNS / next_name(RUNS, stem)
        try:
            RunDir.create(directory, dump(config), manifest()).close()
        except OSError as error:
            raise ValueError(f"run directory {str(directory)!r}: {error}") from error
        return Order(config, Path(directory), twin, faults, None)
    assert directory is not None
    found = next(reversed(checkpoint.whole(directory / "checkpoints")), None)
    if found:
        checkpoint.load(found, fingerprint(config))
        if found.step > config.training.steps:
            raise ValueError(
                f"training.steps: {config.training.steps}, but {directory} has done {found.step}; give more to go on"
            )
    elif (directory / "metrics.jsonl").exists():  # it begins anew, and its config.yaml is written again
        checkpoint.same(fingerprint(load(directory / "config.yaml", [])), fingerprint(config), str(directory))
    _cut_back(directory, found.step if found else -1, config)
    return Order(config, directory, twin, faults, found)


def _cut_back(directory: Path, step: int, config: Config) -> None:
    """The run's files as they were after this step; what is torn is removed and told."""
    run = RunDir.open(directory)
    run.cut(step)
    if torn := checkpoint.clear(run.checkpoints):
        run.log_event(Event(max(0, step), "checkpoint_torn", "warning", {"removed": torn}, "its steps are done again"))
    run.rewrite_config(dump(config))
    run.close()


def withdraw(order: Order) -> None:
    """Take back the files of a run that never began, so that its name is free for the next try."""
    if order.resume is None and not (order.directory / "metrics.jsonl").exists():
        for name in ("config.yaml", "manifest.json", pulse.FILE):
            (order.directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the person's own files are in it
            order.directory.rmdir()


def named_directory(config: Config) -> Path | None:
    """The directory that `run.dir` or `run.name` ask for, if they do. ValueError when a run is in it."""
    from rltrain.records import taken

    named = config.run.dir or (RUNS / config.run.name if config.run.name else None)
    if named is not None and taken(named):
        raise ValueError(
            f"run directory {str(named)!r} is taken; give another run.name or run.dir, "
            "or go on with that run by --resume"
        )
    return named


def _resumed_directory(config: Config, stem: str, resume: str) -> Path:
    """The run to go on with: the one given, that of `run.dir` or `run.name`, or the newest of this config."""
    from rltrain.records import newest

    named = config.run.dir or (RUNS / config.run.name if config.run.name else None)
    given = (Path(resume) if Path(resume).is_dir() else RUNS / resume) if resume else None
    if named and given and named.resolve() != given.resolve():
        raise ValueError(f"--resume {resume}: but run.dir or run.name say {str(named)!r}; give one of the two")
    directory = given or named or newest(RUNS, stem)
    if directory is None:
        raise ValueError(f"--resume: no run of {stem!r} under {RUNS}/; start one without --resume")
    return RunDir.open(directory).path


def _check_model(config: Config) -> None:
    """ValueError before a directory is made when the model cannot be had."""
    from rltrain.models import load_tokenizer

    load_tokenizer(config.model.path)


def fingerprint(config: Config) -> dict[str, Any]:
    """What must be the same for a checkpoint to go on, as dotted keys."""

    def flat(value: Any, at: str) -> dict[str, Any]:
        if any(at == free or at.startswith(free + ".") for free in FREE):
            return {}
        if isinstance(value, dict) and value:
            return {k: v for key, item in value.items() for k, v in flat(item, f"{at}.{key}" if at else key).items()}
        return {at: value}

    return flat(config.model_dump(mode="json"), "")
