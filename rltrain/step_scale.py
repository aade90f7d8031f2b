"""How far an optimizer step goes, where some of its push was withheld.

Adam and its kin divide by the size of the gradients, so a batch of which nine tenths were withheld would move the
weights nearly as far as a whole one, along the few groups that are left. What is taken from the advantages is taken
from the learning rate of that step as well.
"""

from __future__ import annotations

from typing import Any

from transformers.trainer_callback import TrainerCallback


class StepScale(TrainerCallback):
    """Multiplies the learning rate of the coming optimizer step by a share, and puts it back afterwards."""

    def __init__(self) -> None:
        self._changed: list[tuple[dict[str, Any], Any, Any]] = []  # parameter group, its rate, the one it has meanwhile

    def coming(self, optimizer: Any, share: float) -> None:
        """Before the last backward pass of a step at the latest: DeepSpeed's optimizers step inside it."""
        if not self._changed and share != 1.0:
            self._changed = [(group, group["lr"], group["lr"] * share) for group in optimizer.param_groups]
            for group, _, less in self._changed:
                group["lr"] = less

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the step. Where a schedule has set the next rate already, inside DeepSpeed, that one stays."""
        for group, rate, less in self._changed:
            if group["lr"] is less:
                group["lr"] = rate
        self._changed = []
