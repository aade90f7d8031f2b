"""Checkpoints: written beside, renamed when whole, recognised when torn.

A checkpoint of step k means: step k is done and recorded, the weights of version k are not yet
published. Resuming publishes them first and goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rltrain.records.writer import failed

WHOLE = "whole.json"  # written last: the files and their sizes
EDGE = 2**20  # bytes
FULL = 2**20  # bytes free; a write that did not fit leaves less
STATE = "loop.pkl"  # our own state: numpy arrays, tickets, counters
# What of a config may change when a run goes on: a scheduler's next job has another Ray, an engine less memory.
FREE = (
    *("run.name", "run.dir", "run.wandb", "run.report_to", "run.console", "checkpoints", "evaluation.every"),
    *("training.steps", "rollouts.deadline_s", "rollouts.memory", "rollouts.slots"),
    *("distributed.ray_address", "distributed.nodes", "admission.max_errors"),
    *(f"judge.{name}" for name in ("url", "key", "timeout_s", "retries", "concurrency", "cache", "threads")),
)


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
    files = {str(p.relative_to(path)): _print(p) for p in sorted(path.rglob("*")) if p.is_file()}
    temporary = path / f".{WHOLE}"
    temporary.write_text(json.dumps({"step": step, "fingerprint": dict(fingerprint), "files": files}, indent=1))
    for name in (*files, temporary.name):  # on the disk before the seal says so, also after a power cut
        with open(path / name, "rb") as file:
            os.fsync(file.fileno())
    temporary.rename(path / WHOLE)


@contextlib.contextmanager
def told_if_full(path: Path) -> Iterator[None]:
    """OSError in words for what libraries make of a full disk while they write below `path`.

    Torch speaks of an `unexpected pos` then, safetensors of an I/O error without a number.
    """
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and shutil.disk_usage(path.parent).free >= FULL:
            raise
        raise failed(path, error if full else OSError(errno.ENOSPC, "")) from error


def _print(path: Path) -> str:
    """Size, and a checksum of the first and last MiB: a file that is cut, blank or another has another one.

    Not of all bytes: reading them all back takes time with the size of the model, and what is between was synced.
    """
    size, digest = path.stat().st_size, hashlib.blake2b(digest_size=8)
    with open(path, "rb") as file:
        digest.update(file.read(EDGE))
        file.seek(max(EDGE, size - EDGE))
        digest.update(file.read(EDGE))
    return f"{size} bytes, {digest.hexdigest()}"


def whole(root: Path) -> list[Checkpoint]:
    """The whole checkpoints under `root`, oldest first; torn ones are left out."""
    found = []
    for path in _called(root, "step_"):
        seal_file = _read(path)
        if seal_file is not None and all(
            (path / name).is_file() and _print(path / name) == kept for name, kept in seal_file["files"].items()
        ):
            found.append(Checkpoint(seal_file["step"], path))
    return sorted(found)


def clear(root: Path) -> list[str]:
    """Remove what is no whole checkpoint, so that its step can be saved again; the names of what was removed."""
    kept = {found.path for found in whole(root)}
    torn = [path for path in [*_called(root, "step_"), *_called(root, "checkpoint-")] if path not in kept]
    for path in torn:
        _remove(path)
    return sorted(path.name for path in torn)


def load(checkpoint: Checkpoint, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The loop's state. ValueError when the checkpoint belongs to a run of another config."""
    same(_read(checkpoint.path)["fingerprint"], fingerprint, checkpoint.path.name)
    with open(checkpoint.path / STATE, "rb") as file:
        return pickle.load(file)  # our own file, sealed by us


def free(key: str) -> bool:
    """Whether a dotted key of the config may be another one when a run goes on."""
    return any(key == name or key.startswith(name + ".") for name in FREE)


def same(saved: Mapping[str, Any], fingerprint: Mapping[str, Any], what: str) -> None:
    """ValueError when `what`, which was made with the `saved` fingerprint, is of another config."""
    wanted = json.loads(json.dumps(dict(fingerprint)))
    changed = [key for key in sorted({*wanted, *saved}) if saved.get(key) != wanted.get(key) and not free(key)]
    if changed:
        key = changed[0]
        raise ValueError(
            f"{what} is of another config: {key} was {saved.get(key)!r}, is {wanted.get(key)!r}. "
            f"Resume with the run's own config.yaml, or start a new run"
        )


def prune(root: Path, *, keep: int, best: int | None) -> None:
    """Keep the newest `keep` and the best; remove older ones and what is torn."""
    good = whole(root)
    kept = {c.path for c in good[-keep:]} | {path_of(root, best) for _ in [0] if best is not None}
    newest = good[-1].step if good else -1
    for path in _called(root, "step_"):
        if path not in kept and int(path.name.removeprefix("step_")) <= newest:
            _remove(path)


def _called(root: Path, lead: str) -> list[Path]:
    """What is called `<lead><number>` under `root`; what a person moved aside has another name and stays."""
    return sorted(path for path in root.glob(f"{lead}*") if path.name.removeprefix(lead).isdecimal())


def _remove(path: Path) -> None:
    """A directory and what is in it; of a link (a checkpoint on another disk) the link alone."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        seal_file = json.loads((path / WHOLE).read_text())
    except (OSError, ValueError):  # no seal, or half of one: torn
        return None
    kinds = {"step": int, "fingerprint": dict, "files": dict}
    known = isinstance(seal_file, dict) and all(isinstance(seal_file.get(key), kind) for key, kind in kinds.items())
    return seal_file if known else None
