"""What was asked for, resolved: a new run directory, or a checkpoint to go on from."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from rltrain import checkpoint
from rltrain.config import Config, dump, load
from rltrain.faults import Faults
from rltrain.records import RunDir, load_run, lock, pulse
from rltrain.records.made import absent, take_back
from rltrain.types import Event

RUNS = Path("runs")


@dataclasses.dataclass(frozen=True)
class Order:
    """What the person asked for, resolved: enough to build the run in any process."""

    config: Config
    directory: Path
    twin: bool
    faults: tuple[str, ...]
    resume: checkpoint.Checkpoint | None
    made: tuple[Path, ...] = ()  # what this start has made, in order
    notes: tuple[str, ...] = ()  # what the person should know before the run begins


def place(
    config: Config,
    stem: str,
    *,
    resume: str | None,
    asked: Config | None,
    faults: tuple[str, ...],
    held: contextlib.ExitStack,
) -> Order:
    """Make the run's directory, or find the checkpoint to go on from. ValueError before anything is written.

    `asked`: the config that this one is the twin of. `held` keeps the directory locked until it is closed.
    """
    twin, steps = asked is not None, config.training.steps
    if resume is None:
        Faults(faults, range(1, steps + 1))
        named = named_directory(config)
        _look(config, asked)
        directory, made, note = _begin(config, named, stem, held)
        return Order(config, directory, twin, faults, None, made, (note,) if note else ())
    directory = _resumed_directory(config, stem, resume)
    note = _hold(directory, held)
    _look(config, asked)
    found = next(reversed(checkpoint.whole(directory / "checkpoints")), None)
    _same_run(config, directory, found)
    if found and found.step > steps:
        raise ValueError(f"training.steps: {steps}, but {directory} has done {found.step}; give more to go on")
    Faults(faults, range(found.step + 1 if found else 1, steps + 1))
    notes = _cut_back(directory, found.step if found else -1, config)
    return Order(config, directory, twin, faults, found, notes=(*((note,) if note else ()), *notes))


def _begin(
    config: Config, named: Path | None, stem: str, held: contextlib.ExitStack
) -> tuple[Path, tuple[Path, ...], str | None]:
    """A new run directory, what was made for it, a note on its lock. ValueError where it cannot be; nothing is left."""
    from rltrain.manifest import manifest
    from rltrain.records import next_name

    made = absent(named or RUNS)
    try:
        directory = named or RUNS / next_name(RUNS, stem)
        made += [directory] if named is None else []
        directory.mkdir(parents=True, exist_ok=True)
        note = _hold(directory, held)
        made.append(directory / lock.NAME)
        RunDir.create(directory, dump(config), manifest()).close()
    except (OSError, ValueError, KeyboardInterrupt) as error:
        take_back(made)
        if not isinstance(error, OSError):
            raise
        raise ValueError(f"run directory {str(named or RUNS)!r}: {error}") from error
    return directory, (*made, directory / "config.yaml", directory / "manifest.json"), note


def _hold(directory: Path, held: contextlib.ExitStack) -> str | None:
    """Lock the directory until `held` is closed. ValueError where another process holds it, or no file can be made."""
    try:
        return held.enter_context(lock.held(directory))
    except OSError as error:
        raise ValueError(
            f"run directory {str(directory)!r}: {lock.NAME} cannot be written in it ({error.strerror}); free space "
            "there or make it writable, or give another run.dir"
        ) from error


def _same_run(config: Config, directory: Path, found: checkpoint.Checkpoint | None) -> None:
    """ValueError where the directory holds a run of another config, or a twin's where none is asked for."""
    kept = load_run(directory).config.get("rollouts")
    engine = kept.get("engine") if isinstance(kept, dict) else None  # its config may be damaged
    if engine is not None and (engine == "twin") != (config.rollouts.engine == "twin"):
        raise ValueError(
            f"{directory} is the run of a twin; go on with it by --twin, or give another run"
            if engine == "twin"
            else f"{directory} is no twin's run; leave out --twin to go on with it, or give another run"
        )
    if found:
        checkpoint.load(found, fingerprint(config))
    else:  # it begins anew, and its config.yaml is written again
        checkpoint.same(fingerprint(load(directory / "config.yaml", [])), fingerprint(config), str(directory))


def _cut_back(directory: Path, step: int, config: Config) -> list[str]:
    """The run's files as they were after this step (-1: before any); what is torn is removed. What to tell of it."""
    run = RunDir.open(directory)
    run.cut(step)
    notes = []
    if torn := checkpoint.clear(run.checkpoints):
        run.log_event(Event(max(0, step), "checkpoint_torn", "warning", {"removed": torn}, "its steps are done again"))
        notes.append(f"not whole and removed: {', '.join(torn)}; its steps are done again")
    if step < 0:
        notes.append(f"{directory} has no whole checkpoint: it begins anew, at step 1")
    run.rewrite_config(dump(config))
    run.close()
    return notes


def withdraw(order: Order) -> None:
    """Take back what was made for a run that never began, so that its name is free for the next try."""
    if not (order.directory / "metrics.jsonl").exists():
        take_back([*order.made, order.directory / pulse.FILE])


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
        raise ValueError(
            f"--resume {resume}: but run.dir or run.name say {str(named)!r}; give one of the two "
            "(run.dir=null run.name=null where that run was moved)"
        )
    directory = given or named or newest(RUNS, stem)
    if directory is None:
        raise ValueError(f"--resume: no run of {stem!r} under {RUNS}/; start one without --resume")
    run = RunDir.open(directory)
    if run.checkpoints.exists() and not run.checkpoints.is_dir():
        raise ValueError(f"{run.checkpoints} is a file, where the run keeps its checkpoints; move it away")
    return run.path


def _look(config: Config, asked: Config | None) -> None:
    """ValueError before a directory is made when model or data cannot be had, or `rltrain check` finds an error."""
    from rltrain import tasks
    from rltrain.check import preflight
    from rltrain.models import load_tokenizer

    load_tokenizer(config.model.path)
    preflight(config, asked=asked)
    if asked is None:  # a twin goes on with rows of the declared columns
        tasks.reach(config.tasks, seed=config.run.seed)


def fingerprint(config: Config) -> dict[str, Any]:
    """What must be the same for a checkpoint to go on, as dotted keys."""

    def flat(value: Any, at: str) -> dict[str, Any]:
        if checkpoint.free(at):
            return {}
        if isinstance(value, dict) and value:
            return {k: v for key, item in value.items() for k, v in flat(item, f"{at}.{key}" if at else key).items()}
        return {at: value}

    return flat(config.model_dump(mode="json"), "")
