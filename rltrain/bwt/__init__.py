"""`rltrain bwt`: what training on each source alone does to all of them, and the order of sources that follows.

Omni-Thinker (arXiv 2507.14783, section 3) orders tasks by measured backward transfer. One short run a source gives the
matrix; `transfer.py` says what it makes of it, and `curriculum: {use: staged, order: bwt}` follows the order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltrain import plugins
from rltrain.config import Config
from rltrain.order import RUNS

if TYPE_CHECKING:
    from rltrain.bwt.cells import Cell
    from rltrain.bwt.transfer import Measured

FILE, PICTURE = "bwt.json", "bwt.html"


def main(config: Config, stem: str, *, twin: bool, out: Path | None, steps: int | None, parallel: int | None) -> None:
    """Measure what is not measured yet, print matrix and order, write `bwt.json` and `bwt.html` to `out`.

    `steps`: of each single-task run; by default the config's, shared among the sources. `parallel`: runs at once.
    ValueError for one source only, sources without held-out prompts, and a directory of another config.
    """
    from rich.console import Console

    from rltrain import cluster
    from rltrain.bwt import cells as single
    from rltrain.bwt import transfer
    from rltrain.twin import twin as twin_of

    cluster.end_in_order()
    names = sources(config, twin=twin)
    root = out or RUNS / (f"{stem}-twin-bwt" if twin else f"{stem}-bwt")
    each = steps if steps is not None else max(1, config.training.steps // len(names))
    cells = single.cells(config, names, root, each, twin_of if twin else lambda asked: asked)
    todo = [cell for cell in cells if single.outcomes(cell) is None]
    if todo:
        at_once = min(len(todo), parallel or single.room(todo[0].resolved))
        _watched(todo, partial(single.run, todo, twin=twin, parallel=at_once))
    found = transfer.propose(measured(cells), seed=config.run.seed)
    found["steps"] = cells[0].resolved.training.steps
    root.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plugins.resolve("bwt", "rltrain.reports")(found, root / PICTURE)
    terminal = Console()
    terminal.print(table(found))
    for line in sentences(found, root):
        terminal.print(line, soft_wrap=True, highlight=False, markup=False)


def sources(config: Config, *, twin: bool) -> list[str]:
    """Names of the config's sources. ValueError where there is nothing to order or to evaluate on."""
    from rltrain import tasks

    sets = tasks.build(config.tasks, seed=config.run.seed, twin=twin)
    names = list(sets.kinds)
    if len(names) < 2:
        raise ValueError(f"bwt: the config has one source, {names[0]!r}: there is nothing to order; add another")
    if config.evaluation.prompts < len(names):
        raise ValueError(
            f"bwt: evaluation.prompts: {config.evaluation.prompts} for {len(names)} sources; transfer is measured on "
            "held-out prompts of each: give 32 a source or more"
        )
    held_out = set(sets.held_out.sources.tolist())
    if without := [name for name in names if name not in held_out]:
        raise ValueError(f"bwt: source {without[0]!r} has no held-out prompts; give it a larger held_out")
    return names


def measured(cells: Sequence[Cell]) -> Measured:
    """The outcomes of all cells on the prompts that all of them have. RuntimeError where one is not finished."""
    import numpy as np

    from rltrain.bwt.cells import outcomes
    from rltrain.bwt.transfer import Measured

    found = []
    for cell in cells:
        pair = outcomes(cell)
        if pair is None:
            raise RuntimeError(f"{cell.directory} ended before its last step; its events say why")
        found.append(pair)
    names = tuple(cell.source for cell in cells)
    keys = [key for key in found[0][0] if all(key in part for pair in found for part in pair)]
    of = np.array([_source(key, names) for key in keys], int)
    if len(set(of.tolist())) < len(names):
        missing = next(name for k, name in enumerate(names) if k not in of)
        raise ValueError(f"bwt: no held-out prompt of {missing!r} has an outcome; give it a reward with role: outcome")
    before, after = (np.array([[np.mean(pair[side][key]) for key in keys] for pair in found]) for side in (0, 1))
    return Measured(names, of, before, after)


def table(found: Mapping[str, Any]) -> Any:
    """One row for each source trained on, one column for each source it was tried on."""
    from rich.table import Table

    title = f"held-out outcome before -> after {found['steps']} steps on one source alone (share lost or mended)"
    drawn = Table("trained on", *(f"on {name}" for name in found["sources"]), title=title, title_justify="left")
    for i in found["sources"]:
        cells = [
            f"{found['before'][i][j]:.3f} -> {found['after'][i][j]:.3f} ({found['transfer'][i][j]:+.2f})"
            for j in found["sources"]
        ]
        drawn.add_row(i, *cells)
    return drawn


def sentences(found: Mapping[str, Any], root: Path) -> list[str]:
    """The order, what it promises, and how sure that is."""
    best, worst = found["orders"][0], found["orders"][-1]
    ends = ", ".join(
        f"{name} {found['forecast'][name]:.2f} [{found['low'][name]:.2f}, {found['high'][name]:.2f}]"
        for name in found["order"]
    )
    return [
        f"order: {', '.join(found['order'])}: best in {found['sure']:.0%} of the resamples of held-out prompts",
        f"forecast: mean {best['mean']:.3f} [{best['low']:.3f}, {best['high']:.3f}]; of each {ends}",
        f"the other end: {', '.join(worst['order'])}: mean {worst['mean']:.3f}",
        f"picture {root / PICTURE}; to follow it: curriculum: {{use: staged, order: bwt, matrix_file: {root / FILE}}}",
    ]


def _watched(todo: Sequence[Cell], run: Any) -> None:
    """Run with a bar for each cell."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars = {
            cell.source: progress.add_task(f"trained on {cell.source}", total=cell.resolved.training.steps)
            for cell in todo
        }
        run(told=lambda cell, step: progress.update(bars[cell.source], completed=step))


def _source(key: str, names: Sequence[str]) -> int:
    """The source of a task key; the longest name that fits, since a name may hold a slash."""
    return max((k for k, name in enumerate(names) if key.startswith(f"{name}/")), key=lambda k: len(names[k]))
