"""The untrained model's tries at training prompts, shown to the curriculum before the first step.

They are kept batch by batch in the run's directory: a run that is started again before its first checkpoint samples
what is missing and no more, and what the curriculum learns is the same.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rltrain import recording, steps
from rltrain.run import Run
from rltrain.types import Event, Group, Task

FOLDER, BATCH = "base_probe", 32


def look(run: Run) -> None:
    """Have the curriculum's first choices tried, as many prompts as `curriculum.base_probe` asks for; train nothing."""
    wanted, seen, outcomes = run.config.curriculum.base_probe, set[str](), list[float]()
    if not wanted:
        return
    folder = run.directory.path / FOLDER
    folder.mkdir(exist_ok=True)
    while len(seen) < wanted:
        drawn = {task.key: task for task in steps.sampled(run, min(BATCH, wanted - len(seen)))}
        tasks = [task for key, task in drawn.items() if key not in seen]
        if not tasks:  # there are no more
            break
        path = folder / f"{len(seen):07d}.pkl"
        groups = _kept(run, path, tasks)
        if groups is None:
            groups = _tried(run, tasks, partial(_told, run, len(seen), wanted))
            _keep(run, path, tasks, groups)
        steps.observe(run, groups)
        seen |= {task.key for task in tasks}
        outcomes += [outcome for group in groups for outcome in group.outcomes]
    evidence = {"prompts": len(seen), "outcome": sum(outcomes) / len(outcomes) if outcomes else None}
    run.event(Event(0, "base_probed", "info", evidence, "nothing to do: the curriculum begins with this evidence"))
    recording.account(run, 0)


def _told(run: Run, before: int, wanted: int, done: int, total: int) -> None:
    """Progress of a batch as progress of the whole."""
    run.console.stage("probe of the base model", before + done, wanted)


def _tried(run: Run, tasks: Sequence[Task], told: Callable[[int, int], None]) -> list[Group]:
    """Scored groups of the weights as they are."""
    with run.stages("probe"):
        generations = run.config.sampling.num_generations
        sampling = steps.training_sampling(run)
        tickets = run.office.issue(tasks, num_samples=generations, sampling=sampling, version=0, salt="base/")
        groups = steps.once(run, tickets, told)
    steps.check_errors(run, groups)
    return groups


def _keep(run: Run, path: Path, tasks: Sequence[Task], groups: list[Group]) -> None:
    temporary = path.with_suffix(".tmp")
    kept = {"keys": [task.key for task in tasks], "fingerprint": dict(run.fingerprint), "groups": groups}
    with open(temporary, "wb") as file:
        pickle.dump(kept, file, protocol=5)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _kept(run: Run, path: Path, tasks: Sequence[Task]) -> list[Group] | None:
    """The groups of these tasks, where an earlier start of the same config has them."""
    if not path.exists():
        return None
    with open(path, "rb") as file:
        kept = pickle.load(file)  # our own file, renamed when whole
    same = kept["keys"] == [task.key for task in tasks] and kept["fingerprint"] == dict(run.fingerprint)
    return kept["groups"] if same else None
