"""`rltrain grams mine PATH`: from the completions of a run to a lexicon file and a word on how much to trust it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostics.grams import mine as miner
from diagnostics.grams import robust, solutions
from diagnostics.grams.solutions import Solution
from rltrain.records.rows import tables

if TYPE_CHECKING:
    from rich.progress import Progress


def mine(path: Path, out: Path | None, seed: int) -> None:
    """Write the lexicon to `out`, or print it; what it rests on goes to stderr. ValueError where PATH is no use."""
    if out is not None and not out.parent.is_dir():
        raise ValueError(f"--out {out}: no such directory {out.parent}")
    if out is not None and out.is_dir():
        raise ValueError(f"--out {out}: is a directory; give the file to write, as {out / 'lexicon.txt'}")
    files = tables(path, solutions.SINGLE)
    steps: set[int] = set()
    with _progress() as progress:
        drawn = miner.draw(progress.track(_watched(solutions.read(files), steps), description="completions"), seed)
        progress.add_task("correct completions: their phrases", completed=len(drawn), total=None)
        clusters = miner.mine(drawn, seed)
        grams = sorted({gram for cluster in clusters for gram in cluster.grams})
        again = progress.track(solutions.read(files), description="completions: is the curve robust")
        found = robust.check(again, sorted(steps), grams, seed) if len(steps) > 1 else None
    text = lexicon(clusters, f"mined from {len(drawn)} correct completions with seed {seed}")
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")
    problems = len({solution.problem for solution in drawn})
    said = [
        f"{len(grams)} grams in {len(clusters)} clusters, from {len(drawn)} correct completions of {problems} problems",
        robustness(found),
    ]
    if out is not None:
        said.append(f"{out}: use it as tagger: {{use: lexicon, args: {{path: {out}}}}}")
    print("\n".join(said), file=sys.stderr)


def lexicon(clusters: Sequence[miner.Cluster], version: str) -> str:
    """A lexicon file: the most frequent clusters first, each gram once."""
    lines = [f"# version: {version}"]
    for cluster in clusters:
        lines += [f"# in {cluster.frequency:.0%} of the problems", *cluster.grams]
    return "\n".join(lines) + "\n"


def robustness(found: robust.Robustness | None) -> str:
    """The check in words."""
    if found is None:
        return (
            f"robustness not checked: fewer than {robust.FEWEST_STEPS} steps with {robust.FEWEST_GRAMS} grams; "
            "mine a longer run to see whether the curve hangs on single grams"
        )
    return (
        f"without {robust.DROPPED:.0%} of the grams the curve of the semantic entropy correlates {found.mean:.2f} "
        f"with the whole one (worst of {robust.DRAWS} draws {found.worst:.2f}; {found.steps} steps, "
        f"rise {found.rise:+.2f} nats)"
    )


def _progress() -> Progress:
    """What is being done and how much of it, on stderr, as long as it lasts."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} {task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _watched(every: Iterable[Solution], steps: set[int]) -> Iterator[Solution]:
    """The same completions; their steps are noted on the way."""
    for solution in every:
        steps.add(solution.step)
        yield solution
