"""`rltrain try`: what a reward says of one completion, or of each in a file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltrain import reward_trial
from rltrain.check.verdicts import where
from rltrain.judging import BoundReward
from rltrain.kit import rows
from rltrain.kit.lent import borrowed
from rltrain.terminal import printable
from rltrain.types import Score

WIDTH = 2000  # most characters of a line: an error may quote the completion


def one(reward: BoundReward, row: Mapping[str, Any]) -> int:
    """Print the score of one completion, with its parts and how it was reached. 0, or 1 where the reward failed."""
    some = rows.task(rows.checked(row, "--task"), 1)
    [(score,)] = reward_trial.scores([reward], [rows.group(some, [row["completion"]])], borrowed(reward))
    spec = reward.spec
    print(f"reward   {spec.label}: {where(reward.call)}, form {reward.form}, role {spec.role}")
    for name, value in reward.arguments.items():
        print(f"         {name} = {value!r}")
    print(f"answer   {some.answer!r:.500}" + (f"; meta {printable(', '.join(some.meta))}" if some.meta else ""))
    for name, value in told(score).items():
        for line_number, line in enumerate(_lines(value)):
            print(f"{name if not line_number else '':8} {printable(line, WIDTH)}")
    if score.values.get(spec.label) is None and score.error is None:
        print(f"         {spec.label} does not apply to this task (it returned None)")
    return 1 if score.error else 0


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name} = {number:g}" for name, number in value.items()] or ["none"]
    if isinstance(value, str):
        return value.splitlines()
    return ["none" if value is None else f"{value:g}"]


def file(reward: BoundReward, path: Path) -> int:
    """Print one JSON line a row: outcome, total, parts, error. Rows the reward fails on have an `error`; 0."""
    asked = rows.read(path)
    groups = [rows.group(rows.task(row, number), [row["completion"]], number) for number, row in enumerate(asked, 1)]
    try:
        for (score,) in reward_trial.scores([reward], groups, borrowed(reward)):
            print(json.dumps(told(score) | {"error": score.error and score.error.split("\n")[0]}))
    except BrokenPipeError:  # `| head` has seen enough; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def told(score: Score) -> dict[str, Any]:
    """A score as plain data; parts without the reward's name before them."""
    parts = {name.partition("/")[2]: value for name, value in score.parts.items()}
    return {"outcome": score.outcome, "total": score.total, "parts": parts, "error": score.error}
