"""The same prompt over training: in which steps it was sampled and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diagnostics.report.viewer.picks import SUCCESS
from diagnostics.report.viewer.reading import keys
from rltrain.records.read import step_files

Mark = tuple[int, int, int]  # inode, time of change and size of a file: what was read of it is still true


class History:
    """The visits of every prompt in the rollout files of a run; a file is read once, and again when it changes."""

    def __init__(self, run: Path):
        self._folder = run / "rollouts"
        self._files: dict[int, tuple[Mark, dict[str, list[dict[str, Any]]]]] = {}  # step -> visits by prompt

    def look(self, seconds: float | None = None, steps: Iterable[int] | None = None) -> tuple[int, int]:
        """Read files (of these steps, or all) that are new or changed, for so long at most: (files known, files)."""
        end = None if seconds is None else time.monotonic() + seconds
        wanted = None if steps is None else set(steps)
        files = [(step, path) for step, path in step_files(self._folder) if wanted is None or step in wanted]
        for gone in self._files.keys() - {step for step, _ in files}:
            del self._files[gone]
        known = 0
        for step, path in files:
            if end is None or time.monotonic() < end:
                self._read(step, path)
            known += step in self._files
        return known, len(files)

    def _read(self, step: int, path: Path) -> None:
        try:
            stat = path.stat()
            mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if self._files.get(step, (None,))[0] != mark:
                self._files[step] = (mark, _visits(step, keys(path)))
        except FileNotFoundError:  # cut away by a resume in this moment
            self._files.pop(step, None)
        except ValueError:  # a torn file has no visits, and is looked at again when it changes
            self._files[step] = (mark, {})

    def visits(self, key: str) -> list[dict[str, Any]]:
        """The visits of a prompt that are known so far, by step: group, number of completions, successes, means."""
        return [visit for step in sorted(self._files) for visit in self._files[step][1].get(key, ())]


def _visits(step: int, rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task_key"], row["group"]), []).append(row)
    found: dict[str, list[dict[str, Any]]] = {}
    for (key, group), members in groups.items():
        outcomes = [row["outcome"] for row in members if row["outcome"] is not None]
        rewards = [row["reward"] for row in members if row["reward"] is not None and row["error"] is None]
        found.setdefault(str(key), []).append(
            {
                "step": step,
                "group": group,
                "completions": len(members),
                "successes": sum(outcome >= SUCCESS for outcome in outcomes) if outcomes else None,
                "outcome": _mean(outcomes),
                "reward": _mean(rewards),
            }
        )
    return found


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
