"""What a run's files have lost, in words for a person. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from statistics import multimode

MOST = 4  # stretches or files that are named
ABSENT = {
    "config.yaml": "No config.yaml: the planned steps, the tasks and the settings are not known",
    "manifest.json": "No manifest.json: the versions, the commit and the machine are not known",
}
"""What is not known without a file that every run has from its start."""


def gaps(steps: Iterable[int]) -> list[tuple[int, int]]:
    """First and last step of each stretch that is not there, of steps that are as far apart as most of them are.

    The first one expected is the first of such a row: 1 where every step is there. Step 0 is no step of training.
    """
    trained = sorted({step for step in steps if step > 0})
    if len(trained) < 2:
        return []
    apart = [b - a for a, b in itertools.pairwise(trained)]
    usual = min(multimode(apart))
    from_start = [(0, trained[0])] if usual == 1 else []  # a row of every tenth step may begin at any of them
    pairs = [*from_start, *itertools.pairwise(trained)]
    return [(a + usual, b - usual) for a, b in pairs if b - a > usual and a + usual <= b - usual]


def no_lines(lines: Sequence[int], completions: Sequence[int]) -> list[str]:
    """Which steps metrics.jsonl says nothing of, from the steps of its lines and of the completions."""
    if not lines and completions:
        return [f"metrics.jsonl holds no step, but there are completions up to step {completions[-1]}: it was lost"]
    told = []
    if found := gaps(lines):
        told.append(f"metrics.jsonl has no line of {_stretches(found)}: curves and sums are without them")
    if lines and completions and completions[-1] > lines[-1] + 1:  # a step's completions may be there before its line
        told.append(f"metrics.jsonl ends at step {lines[-1]}, the completions at step {completions[-1]}")
    return told


def no_completions(completions: Sequence[int]) -> list[str]:
    """Of which steps there are no completions, though there are of those before and after."""
    found = gaps(completions)
    return [f"There are no completions of {_stretches(found)}"] if found else []


def unread(files: Mapping[str, str]) -> list[str]:
    """Tables that are left out: name -> why."""
    named = [f"{name} ({why})" for name, why in list(files.items())[:MOST]]
    more = f" and {len(files) - MOST:,} more" if len(files) > MOST else ""
    return [f"Left out, since they cannot be read: {', '.join(named)}{more}"] if files else []


def _stretches(found: Sequence[tuple[int, int]]) -> str:
    """step 7; steps 41 to 60 and 75; steps 3, 5, 7, 9 and 12 more stretches."""
    parts = [str(a) if a == b else f"{a} to {b}" for a, b in found]
    kept = parts[:MOST] + ([f"{len(parts) - MOST:,} more stretches"] if len(parts) > MOST else [])
    word = "step" if len(found) == 1 and found[0][0] == found[0][1] else "steps"
    return f"{word} {', '.join(kept[:-1])} and {kept[-1]}" if len(kept) > 1 else f"{word} {kept[0]}"
