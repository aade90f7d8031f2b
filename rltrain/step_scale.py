"""How far an optimizer step goes, where some of its push was withheld.

Adam and its kin divide by the size of the gradients, so a batch of which nine tenths were withheld would move the
weights nearly as far as a whole one, along the few groups that are left. What is taken from the advantages is taken
from the learning rate of that step as well.
"""

from __future__ import annotations

from typing import Any

from transformers.trainer_callback import TrainerCallback


class StepScale(TrainerCallback):
    """Multiplies the learning rate of the coming optimizer step by `share`, and puts it back afterwards."""

    def __init__(self) -> None:
        self.share = 1.0
        self._rates: list[Any] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Between the clipping of gradients and the step."""
        groups = kwargs["optimizer"].param_groups
        self._rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate * self.share

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the step and before the schedule's."""
        for group, rate in zip(kwargs["optimizer"].param_groups, self._rates, strict=True):
            group["lr"] = rate
