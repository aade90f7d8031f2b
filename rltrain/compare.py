"""`rltrain eval`: a run against its base model on the same held-out prompts with the same seeds.

One set of engines serves both, one after the other, as two versions of the weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rltrain import config as configs
from rltrain import evaluate
from rltrain.config import Config
from rltrain.types import Group, Sampling, Task

if TYPE_CHECKING:
    from rich.table import Table

ALL = "all"  # the row over all sources
SOLVED = 1.0


class Subject(NamedTuple):
    """What is evaluated, and on what."""

    config: Config
    policies: dict[str, str]  # name -> where its weights are; the first is the one compared against
    directory: Path | None  # the run's, where the result is written


def main(
    target: str, config_path: str | None, prompts: int | None, num_generations: int, overrides: Sequence[str] = ()
) -> None:
    """Evaluate a run (directory or name) or a model; print a table, write `eval.json` into the run.

    `overrides`: of the config, `section.key=value`; the engines that a run had may not be there any more.
    """
    from rich.console import Console

    if num_generations < 1:
        raise ValueError(f"--num-generations {num_generations}: expected at least 1")
    chosen = subject(target, config_path, overrides)
    tasks = held_out(chosen.config, prompts)
    console = Console(highlight=False)
    groups = sample(chosen, tasks, num_generations, console)
    result = {"policies": chosen.policies, "num_generations": num_generations} | compared(
        groups, seed=chosen.config.run.seed
    )
    console.print(table(result))
    if chosen.directory is not None:
        path = chosen.directory / "eval.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        console.print(f"written to {path}")


def subject(target: str, config_path: str | None, overrides: Sequence[str] = ()) -> Subject:
    """A run with its own config, or a model with the given one. ValueError where it is neither."""
    from rltrain import checkpoint
    from rltrain.order import RUNS
    from rltrain.records import taken

    directory = next((path for path in (Path(target), RUNS / target) if path.is_dir() and taken(path)), None)
    if directory is None:
        if config_path is None:
            raise ValueError(
                f"eval {target!r}: no run of that name or directory; for a model give its tasks and rewards by --config"
            )
        given = configs.load(config_path, overrides)
        _expect_model(target)
        model = given.model.model_copy(update={"path": target})
        return Subject(given.model_copy(update={"model": model}), {"model": target}, None)
    if config_path is not None:
        raise ValueError(f"--config {config_path}: {directory} is a run and has a config of its own; leave it out")
    given, model = configs.load(directory / "config.yaml", overrides), directory / "model"
    if not (model / "config.json").is_file():
        found = [path for _, path in checkpoint.whole(directory / "checkpoints") if (path / "config.json").is_file()]
        told = ", or give its last checkpoint as a model: rltrain eval {} --config {}"
        other = told.format(found[-1], directory / "config.yaml") if found else ""
        raise ValueError(
            f"eval {target!r}: the run has no final model in {model}; "
            f"train it to its end with rltrain train CONFIG --resume {directory}{other}"
        )
    return Subject(given, {"base": given.model.path, "run": str(model)}, directory)


def _expect_model(path: str) -> None:
    """ValueError, before any engine starts, unless there is a model with its tokenizer and weights."""
    from rltrain.models import load_tokenizer, locate, stored_shapes

    load_tokenizer(path)
    if isinstance(place := locate(path), Path):
        stored_shapes(place)


def held_out(config: Config, prompts: int | None) -> list[Task]:
    """The first held-out prompts of each source in turn. ValueError when there are none."""
    from rltrain import tasks
    from rltrain.build import spread

    count = config.evaluation.prompts if prompts is None else prompts
    sets = tasks.build(config.tasks, seed=config.run.seed, twin=config.rollouts.engine == "twin")
    if count < 1 or not len(sets.held_out):
        raise ValueError(
            f"nothing to evaluate on: {count} prompts wanted, {len(sets.held_out)} held out; "
            "give --prompts, or a source with held_out above 0"
        )
    return spread(sets.held_out, count)


def sample(chosen: Subject, tasks: Sequence[Task], num_generations: int, console: Any) -> dict[str, list[Group]]:
    """Scored groups of each policy on the tasks, in one order and with one set of seeds."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rltrain import cluster
    from rltrain.build import engine_room

    alone = chosen.config.distributed.model_copy(update={"gpus": 0})  # no trainer shares the engines' GPUs
    config = chosen.config.model_copy(update={"distributed": alone, "diagnostics": []})
    closers: list[Callable[[], None]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found = {}
    with cluster.session(config.distributed.ray_address), Progress(*columns, console=console) as progress:
        try:
            starting = progress.add_task("starting engines", total=config.rollouts.engines)
            room = engine_room(config, closers)
            for version, (name, path) in enumerate(chosen.policies.items()):
                _publish(room.pool, version, path, config.engine_dtype)
                room.pool.settle(version, lambda done, total: progress.update(starting, completed=done))
                tickets = room.office.issue(
                    tasks,
                    num_samples=num_generations,
                    sampling=sampling(config, num_generations),
                    version=version,
                    salt="eval/",
                )
                bar = progress.add_task(name, total=len(tickets))
                room.collector.request(tickets)
                found[name] = room.collector.gather(tickets, partial(_advance, progress, bar))
                room.collector.release(tickets)
        finally:
            for close in reversed(closers):
                close()
    return found


def _advance(progress: Any, bar: Any, done: int, total: int) -> None:
    progress.update(bar, completed=done)


def sampling(config: Config, num_generations: int) -> Sampling:
    """As the run's own evaluation samples. Several greedy completions would all be one, so then as in training."""
    temperature = config.evaluation.temperature
    if num_generations > 1 and temperature == 0:
        temperature = config.sampling.temperature
    return Sampling(temperature, 1.0, 0, config.sampling.max_completion_length, tuple(config.sampling.stop))


def _publish(pool: Any, version: int, path: str, dtype: str) -> None:
    """The weights of a model as a version of the pool's."""
    import torch

    from rltrain.models import load_model
    from rltrain.rollouts.weights import named_weights, pack

    packed, digest = pack(named_weights(load_model(path, "float32"), getattr(torch, dtype)))
    pool.publish(version, packed, digest)


# --- figures: groups in, numbers out -------------------------------------------------------------


def compared(groups: Mapping[str, Sequence[Group]], *, seed: int) -> dict[str, Any]:
    """Mean outcome and pass@k of each policy, in all and per source, and the paired differences.

    `groups`: policy -> its groups; with two policies, differences are the second's minus the first's.
    ValueError where no outcome reward applies.
    """
    outcomes = {name: evaluate.outcomes(of_policy) for name, of_policy in groups.items()}
    source_of = {g.task.key: g.task.source for of_policy in groups.values() for g in of_policy}
    if not all(outcomes.values()):
        raise ValueError("no outcome reward applies to the held-out tasks, so there is nothing to compare")
    keys = list(next(iter(outcomes.values())))
    parts = {ALL: keys}
    for key in keys:
        parts.setdefault(source_of[key], []).append(key)
    return {
        "prompts": len(keys),
        "failed_scores": {
            name: sum(s.error is not None for g in of_policy for s in g.scores) for name, of_policy in groups.items()
        },
        "sources": {
            part: _figures([{key: rows[key] for key in chosen} for rows in outcomes.values()], list(groups), seed)
            for part, chosen in parts.items()
        },
    }


def _figures(rows: list[dict[str, np.ndarray]], names: list[str], seed: int) -> dict[str, Any]:
    """All statistics of one part; `rows`: of each policy, key -> (n,) outcomes."""
    n = min(len(row) for row in rows[0].values())
    powers = [2**i for i in range(n.bit_length())]
    statistics: dict[str, Callable[[np.ndarray], float]] = {"outcome": np.mean}
    statistics |= {f"pass@{k}": partial(_pass_at, k=k) for k in powers}
    figures: dict[str, Any] = {"prompts": len(rows[0])}
    for what, statistic in statistics.items():
        figures[what] = {
            name: float(np.mean([statistic(row) for row in of_policy.values()]))
            for name, of_policy in zip(names, rows, strict=True)
        }
        if len(rows) == 2:
            figures[what]["difference"] = evaluate.paired_difference(*rows, seed=seed, statistic=statistic)._asdict()
    return figures


def _pass_at(outcomes_n: np.ndarray, *, k: int) -> float:
    return evaluate.pass_at_k(len(outcomes_n), int((outcomes_n >= SOLVED).sum()), k)


def table(result: Mapping[str, Any]) -> Table:
    """The figures for a terminal."""
    from rich.table import Table

    names = list(result["policies"])
    title = f"{result['prompts']} held-out prompts x {result['num_generations']} completions"
    drawn = Table(title=title, title_justify="left", box=None, header_style="bold")
    for head in ("tasks", "", *names):
        drawn.add_column(head, justify="right" if head in names else "left")
    if len(names) == 2:
        drawn.add_column("difference [95%, paired]", justify="right")
    for part, figures in result["sources"].items():
        for row, what in enumerate(what for what in figures if what != "prompts"):
            cells = [f"{part} ({figures['prompts']})" if row == 0 else "", what]
            cells += [f"{figures[what][name]:.3f}" for name in names]
            if difference := figures[what].get("difference"):
                cells.append(str(evaluate.Interval(**difference)))
            drawn.add_row(*cells)
    return drawn
