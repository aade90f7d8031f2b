"""Faults on demand: `--fault kind@step`, to see that a run survives what it claims to survive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rltrain.batch import Row
    from rltrain.rollouts.pool import RolloutPool

KINDS = {
    "kill": "an engine's process is killed",
    "hang": "an engine stops answering for good",
    "slow": "an engine takes longer for every step",
    "stale": "an engine acknowledges new weights and serves the old ones",
    "nan": "an advantage is NaN",
}


class Faults:
    """The faults of this run, by step."""

    def __init__(self, specs: Sequence[str] = (), steps: range | None = None) -> None:
        """`specs`: "kind@step", and of `steps` where these are given; ValueError otherwise."""
        self._at: dict[int, list[str]] = {}
        for spec in specs:
            kind, at, step = spec.partition("@")
            if kind not in KINDS or not at or not step.isdigit() or int(step) < 1:
                known = "; ".join(f"{name}: {what}" for name, what in KINDS.items())
                raise ValueError(f"--fault {spec!r}: expected kind@step with a step from 1 on. Kinds: {known}")
            if steps is not None and int(step) not in steps:
                left = f"steps {steps.start} to {steps.stop - 1}" if steps else "no step left to do"
                raise ValueError(f"--fault {spec!r}: would never happen, this run has {left}; give one of them")
            self._at.setdefault(int(step), []).append(kind)

    def strike(self, steps: range, pool: RolloutPool) -> None:
        """Break an engine while it samples for these steps."""
        for kind in (kind for step in steps for kind in self._at.get(step, [])):
            if kind != "nan":
                pool.inject(kind)

    def corrupt(self, step: int, rows: list[Row]) -> list[Row]:
        """The step's rows, one of them with a NaN advantage if so ordered."""
        if "nan" in self._at.get(step, []):
            rows[0] = rows[0]._replace(advantages=np.full_like(rows[0].advantages, np.nan))
        return rows
