"""What `check` lends to plugins that ask for a model or gradients: the same forms, without a model's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rltrain import lending, models
from rltrain.check.model import skeleton
from rltrain.check.verdicts import Section
from rltrain.config import Config
from rltrain.types import Forced, Prompt


class TrialScorer:
    """A token a character, each with log-probability -1."""

    def logprobs(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[np.ndarray]:
        """See types.Scorer."""
        return [np.full(len(text), -1.0, np.float32) for text in continuations]


class TrialPolicy:
    """The same; no token is the likeliest."""

    def forced(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[Forced]:
        """See types.Policy."""
        return [Forced(np.full(len(text), -1.0, np.float32), np.zeros(len(text), bool)) for text in continuations]


class TrialGradients:
    """Names of layers are looked up in the model without weights; no step is looked at."""

    def __init__(self, config: Config, place: Path | None) -> None:
        self._config, self._place = config, place

    def watch(self, layers: Sequence[str], *, every: int, neurons: int | None) -> None:
        """See types.GradientProbe."""
        if self._place is not None:
            from rltrain.gradients import chosen

            chosen(skeleton(self._config, self._place), layers)

    def by_source(self) -> Mapping[str, np.ndarray]:
        """See types.GradientProbe."""
        return {}


def lent(section: Section, config: Config) -> dict[str, Any]:
    """What diagnostics may ask for, with verdicts on whether a run could lend it."""
    trial = {"scorer": TrialScorer(), "policy": TrialPolicy()}
    try:
        gradients, scored = lending.askers(config, "gradients"), lending.askers(config, "scorer")
    except ValueError:  # a plugin that is not there: told where it is bound
        return trial | {"gradients": TrialGradients(config, None)}
    if gradients and config.distributed.strategy != "ddp":
        section.error(
            f"{gradients[0]} asks for gradients, which are taken apart layer by layer in each process: with "
            f"distributed.strategy {config.distributed.strategy} that was never tried; use ddp, or leave it out"
        )
    place = section.attempt("model", lambda: models.on_disk(config.model.path)) if gradients else None
    if gradients and place is None:
        section.unchecked("names of layers", f"model {config.model.path} is not here yet")
    if scored:
        path = config.scorer.path or config.model.path
        if section.attempt("scorer.path", lambda: models.locate(path)):
            section.ok(f"scorer {path}, {config.scorer.dtype}, in a process of its own, for {', '.join(scored)}")
    return trial | {"gradients": TrialGradients(config, place)}
