"""The viewer inside a page that cannot ask for more: a bounded selection of a run's rollouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostics.report.viewer.history import History
from diagnostics.report.viewer.payload import group_payload, settings, step_payload
from diagnostics.report.viewer.picks import groups, orders
from diagnostics.report.viewer.reading import outline
from rltrain.records import RunFiles
from rltrain.records.read import step_files

BUDGET = 3_500_000  # characters of JSON in all
STEPS = 10  # of one run
GROUPS = 3  # of a step
COMPLETIONS = 8  # of a group
CHARACTERS = 12_000  # of a completion's text
LOOKED = 200  # steps in which the same prompts are looked for


def embed(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """What `Rollouts.embedded` of the viewer's script shows of these runs, as plain values; none of one without."""
    most = max(2, STEPS // max(1, len(runs)))
    return [found for run in runs if (found := _selected(run, BUDGET // len(runs), most))]


def chosen_steps(run: RunFiles, there: Sequence[int], most: int) -> list[int]:
    """Steps worth showing: the last, the first, those of warnings and errors or a new phase, then evenly between."""
    if not there:
        return []
    grave = [e.step for e in run.events if e.severity != "info" or e.name.startswith("phase")]
    eventful = [step for step in dict.fromkeys(reversed(grave)) if step in set(there)][: most // 2]
    even = [there[round(i * (len(there) - 1) / max(1, most - 1))] for i in range(most)]
    return sorted(list(dict.fromkeys([there[-1], there[0], *eventful, *even]))[:most])


def _selected(run: RunFiles, budget: int, most: int) -> dict[str, Any] | None:
    files = dict(step_files(run.path / "rollouts"))
    there = sorted(files)
    steps, found, notes = [], {}, []
    for step in sorted(chosen_steps(run, there, most), key=lambda step: step != there[-1]):  # the last step first
        try:
            shown, cost = _step(files[step], step, budget)
        except (ValueError, FileNotFoundError) as error:
            notes.append(f"step {step}: {error}")
            continue
        budget -= cost
        if shown["groups"]:
            steps.append(shown["outline"])
            found |= {f"{step}/{group['group']}": group for group in shown["groups"]}
    if not steps:
        return None
    every = max(1, len(there) // LOOKED)
    return {
        "run": run.name,
        "settings": settings(run.config),
        "steps": sorted(steps, key=lambda step: step["step"]),
        "groups": found,
        "histories": _histories(run.path, {group["task"]["task_key"] for group in found.values()}, there[::every]),
        "looked": len(there[::every]),
        "of": len(there),
        "notes": notes,
    }


def _step(path: Path, step: int, budget: int) -> tuple[dict[str, Any], int]:
    """The groups of a step that fit the budget, the step's light rows of them, and what they cost."""
    rows = outline(path)
    kept, cost = [], 0
    for group in groups(rows, GROUPS, step):
        members = [row for row in rows if row["group"] == group]
        made = group_payload(path, step, members, _shown(members, step), CHARACTERS)
        size = len(json.dumps(made, separators=(",", ":")))
        if cost + size <= budget:
            kept.append(made)
            cost += size
    inside = {completion["row"] for made in kept for completion in made["completions"]}
    shown = step_payload(step, [row for row in rows if row["row"] in inside], len(rows))
    return {"groups": kept, "outline": shown}, cost + len(json.dumps(shown))


def _shown(members: Sequence[dict[str, Any]], step: int) -> list[int]:
    """At most `COMPLETIONS` of a group: the best and the worst of it first."""
    if len(members) <= COMPLETIONS:
        return [row["row"] for row in members]
    found = orders(members, step)
    lead = [found["worst"][0], found["best"][0], *found["lucky"][:1]]
    return sorted(members[i]["row"] for i in list(dict.fromkeys([*lead, *found["random"]]))[:COMPLETIONS])


def _histories(run: Path, keys: set[Any], steps: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    history = History(run)
    history.look(steps=steps)
    return {str(key): history.visits(str(key)) for key in keys}
