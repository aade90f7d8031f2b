"""Whether a run can write where it will: its directory, and the trackers it reports to."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from rltrain.config import Config


def check_writable(config: Config) -> None:
    """ValueError where the run directory could not be made: a file is in its way, or a directory that is not ours."""
    place, there = _directory(config), nearest(config)
    if not there.is_dir():
        raise ValueError(f"run directory {str(place)!r}: {there} is no directory; give another run.dir or run.name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"run directory {str(place)!r}: {there} cannot be written to; give another run.dir")


def nearest(config: Config) -> Path:
    """The run directory, or what there is of the way to it."""
    place = _directory(config)
    return next(path for path in (place, *place.parents) if os.path.lexists(path))


def _directory(config: Config) -> Path:
    return (config.run.dir or Path("runs") / (config.run.name or "")).absolute()


def check_trackers(config: Config) -> None:
    """ValueError where the library of a tracker in `run.report_to` is not there."""
    for name in config.run.report_to:
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"run.report_to: {name} is not installed; pip install {name}, or leave it out")
