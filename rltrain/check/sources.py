"""The tasks: sources bound, one row of each looked at, the real table built where it is here."""

from __future__ import annotations

from typing import NamedTuple

from rltrain import plugins, tasks
from rltrain.check.verdicts import Section, where
from rltrain.config import Config, TaskSource
from rltrain.rare import visits_needed
from rltrain.tables import Missing, Unreachable
from rltrain.tasks import TaskSets
from rltrain.types import Task

READ_WHOLE = 20_000  # rows; more take longer than a check may


class Tasks(NamedTuple):
    """What the other sections try things on."""

    samples: dict[str, Task]  # source -> its first task
    sets: TaskSets | None  # None when a source is faulty
    whole: bool  # the tables hold all rows, not the first of each source or rows made of declared columns


def check_tasks(config: Config, *, twin: bool = False) -> tuple[Section, Tasks]:
    """Sources resolved, bound and opened; ids, columns and the split checked on all rows that are here."""
    section = Section("tasks")
    seed = config.run.seed
    rows: list[int | None] = []
    samples = {}
    for spec in config.tasks:
        task = section.attempt(f"source {spec.use!r}", lambda spec=spec: _first(spec, seed, twin))
        if task is not None:
            samples[task.source] = task
            rows.append(_rows(spec, seed))
            factory = plugins.resolve(spec.use, "rltrain.tasks")
            answer = "no answer" if task.answer is None else f"answer {_short(task.answer)}"
            prompt = _short(task.prompt[-1]["content"])
            section.ok(f"{task.source} ({spec.kind}): {spec.use} in {where(factory)}; {prompt} -> {answer}")
            if rows[-1] is None:
                section.unchecked(f"{task.source}: its rows", "the data set is not on this machine; one is declared")
    if len(rows) < len(config.tasks):
        return section, Tasks(samples, None, False)
    whole = None not in rows and sum(rows) <= READ_WHOLE
    sets = section.attempt("tasks", lambda: tasks.build(config.tasks, seed=seed, twin=twin or not whole))
    if sets is not None:
        _tell(section, config, sets, whole)
        if not whole and None not in rows:
            section.unchecked("rows beyond the first of each source", f"{sum(rows):,} take too long to read")
    return section, Tasks(samples, sets, whole)


def _first(spec: TaskSource, seed: int, twin: bool) -> Task:
    """A task of the source; a twin replaces a file that is missing, so it may be."""
    try:
        return tasks.sample(spec, seed=seed)
    except Missing:
        if not twin:
            raise
        return tasks.build([spec], seed=seed, twin=True).train[0]


def _rows(spec: TaskSource, seed: int) -> int | None:
    """How many rows a source has; None where they would have to be fetched."""
    try:
        return len(tasks.open_source(spec, seed=seed, offline=True)[1])
    except Unreachable:
        return None


def _tell(section: Section, config: Config, sets: TaskSets, whole: bool) -> None:
    """Sizes of the split, and what the sources noted."""
    if whole:
        section.ok(f"{len(sets.train):,} prompts to train on, {len(sets.held_out):,} held out")
        for note in sets.notes:
            section.warn(note)
        wanted = config.evaluation.prompts
        if wanted > len(sets.held_out):
            section.warn(
                f"evaluation.prompts: {wanted}, but {len(sets.held_out)} prompts are held out and will be used; "
                "raise held_out of a source for more"
            )
        _guarded(section, config, len(sets.train))


def _guarded(section: Section, config: Config, prompts: int) -> None:
    """A guard that would have nothing to go by."""
    if (guard := config.advantages.guard) is None:
        return
    visits = config.training.steps * config.training.prompts_per_step / prompts
    needed = visits_needed(guard, config.advantages.scale)
    if visits < needed:
        section.warn(
            f"advantages.guard: drawn alike, each of {prompts:,} prompts is seen {visits:.1f} times in this run, and "
            f"none is guarded before it was seen {needed} times; more steps, fewer prompts or a lower guard.min_visits"
        )


def _short(text: str, width: int = 60) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= width else text[: width - 3] + "...")
