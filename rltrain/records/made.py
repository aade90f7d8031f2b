"""What a start has made, so that it can take back that and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path


def absent(directory: Path) -> list[Path]:
    """The directories that making this one will make, outermost first."""
    return [path for path in reversed([directory, *directory.parents]) if not path.exists()]


def take_back(made: Sequence[Path]) -> None:
    """Remove these files, and of these directories those in which nothing else is, the last made first."""
    for path in reversed(made):
        with contextlib.suppress(OSError):  # gone already, or somebody else's file is in it
            path.rmdir() if path.is_dir() else path.unlink()
