"""Checkpoints: written beside, renamed when whole, recognised when torn.

A checkpoint of step k means: step k is done and recorded, the weights of version k are not yet
published. Resuming publishes them first and goes on as if nothing had happened.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

WHOLE = "whole.json"  # written last: the files and their sizes
STATE = "loop.pkl"  # our own state: numpy arrays, tickets, counters


class Checkpoint(NamedTuple):
    """A whole checkpoint on disk."""

    step: int
    path: Path


def path_of(root: Path, step: int) -> Path:
    """Where the checkpoint of a step lives."""
    return root / f"step_{step:05d}"


def seal(path: Path, state: Mapping[str, Any], *, step: int, fingerprint: Mapping[str, Any]) -> None:
    """Add the loop's state to the trainer's files at `path` and declare the directory whole.

    `fingerprint` is what a resume must agree with. OSError when the disk is full; the directory then
    lacks its seal and is skipped.
    """
    with open(path / STATE, "wb") as file:
        pickle.dump(dict(state), file, protocol=5)
    files = {str(p.relative_to(path)): p.stat().st_size for p in sorted(path.rglob("*")) if p.is_file()}
    temporary = path / f".{WHOLE}"
    temporary.write_text(json.dumps({"step": step, "fingerprint": dict(fingerprint), "files": files}, indent=1))
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    temporary.rename(path / WHOLE)


def whole(root: Path) -> list[Checkpoint]:
    """The whole checkpoints under `root`, oldest first; torn ones are left out."""
    found = []
    for path in sorted(root.glob("step_*")) if root.is_dir() else []:
        seal_file = _read(path)
        if seal_file is not None and all(
            (path / name).is_file() and (path / name).stat().st_size == size
            for name, size in seal_file["files"].items()
        ):
            found.append(Checkpoint(seal_file["step"], path))
    return sorted(found)


def load(checkpoint: Checkpoint, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The loop's state. ValueError when the checkpoint belongs to a run of another config."""
    saved = _read(checkpoint.path)["fingerprint"]
    wanted = json.loads(json.dumps(dict(fingerprint)))
    if changed := [key for key in wanted if saved.get(key) != wanted[key]]:
        key = changed[0]
        raise ValueError(
            f"{checkpoint.path.name} is of another config: {key} was {saved.get(key)!r}, is {wanted[key]!r}. "
            f"Resume with the run's own config.yaml, or start a new run"
        )
    with open(checkpoint.path / STATE, "rb") as file:
        return pickle.load(file)  # our own file, sealed by us


def prune(root: Path, *, keep: int, best: int | None) -> None:
    """Keep the newest `keep` and the best; remove older ones and what is torn."""
    good = whole(root)
    kept = {c.path for c in good[-keep:]} | {path_of(root, best) for _ in [0] if best is not None}
    newest = good[-1].step if good else -1
    for path in root.glob("step_*"):
        step = int(path.name.removeprefix("step_")) if path.name.removeprefix("step_").isdigit() else None
        if path not in kept and step is not None and step <= newest:
            shutil.rmtree(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads((path / WHOLE).read_text())
    except (OSError, json.JSONDecodeError):  # no seal, or half of one: torn
        return None
