"""RL post-training for language models that can tell which phase of learning a run is in."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`rltrain.load_run` and `rltrain.PhaseCallback`, imported when asked for: the command line must start without."""
    if name == "load_run":
        from rltrain.records import load_run

        return load_run
    if name == "PhaseCallback":
        from rltrain.phase_callback import PhaseCallback

        return PhaseCallback
    raise AttributeError(f"module 'rltrain' has no attribute {name!r}")
