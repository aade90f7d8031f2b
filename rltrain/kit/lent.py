"""The judge and the scorer that a reward asks for, where there is no run to lend them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rltrain import generators, lending
from rltrain.check.lent import TrialScorer
from rltrain.config import parse_generator
from rltrain.judging import BoundReward
from rltrain.rollouts.spec import EngineSpec
from rltrain.types import Generator, Prompt, Scorer, Unanswered

TRIAL: Mapping[str, object] = {"judge": generators.Scripted(), "scorer": TrialScorer()}
"""Of the right form, without a model: what they say is no judgement."""


def lent(url: str | None, model: str | None, key: str | None, scorer: str | None) -> dict[str, object]:
    """What the command line names: a judge at an address, or a model that judges here. ValueError without its name."""
    found: dict[str, object] = {} if scorer is None else {"scorer": LazyScorer(scorer)}
    if url is None and model is None:
        return found
    if model is None:
        raise ValueError("--judge URL: give --judge-model NAME too, the model's name there")
    if url is None:
        spec = parse_generator({"model": model, "engine": "transformers"})
        return found | {"judge": LazyJudge(lending.engine_spec(spec), spec.cache)}
    spec = parse_generator({"url": url, "model": model, "key": key})
    if spec.key and not os.environ.get(spec.key):
        raise ValueError(f"--judge-key {spec.key}: this environment variable is not set")
    return found | {"judge": generators.address(spec, os.environ.get(spec.key) if spec.key else None)}


def borrowed(reward: BoundReward) -> dict[str, object]:
    """What a bound reward was lent, by parameter name; what the person gave as an argument is none of it."""
    return {name: reward.arguments[name] for name in TRIAL if name in reward.arguments.keys() - reward.spec.args.keys()}


def on_trial(reward: BoundReward) -> list[str]:
    """What a reward was lent only for form's sake, by parameter name."""
    return [name for name, one in TRIAL.items() if type(reward.arguments.get(name)) is type(one)]


@dataclass(frozen=True)
class LazyScorer:
    """A frozen model that is loaded in the process that first asks it. Implements types.Scorer."""

    path: str

    def logprobs(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[np.ndarray]:
        """See forced.FrozenScorer."""
        return self._scorer.logprobs(prompts, continuations)

    @cached_property
    def _scorer(self) -> Scorer:
        from rltrain.forced import FrozenScorer

        return FrozenScorer(self.path)


@dataclass(frozen=True)
class LazyJudge:
    """A model that judges in the process that first asks it. Implements types.Generator."""

    engine: EngineSpec
    remembered: int

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[str | Unanswered]:
        """See generators.Served."""
        return self._judge.generate(prompts, max_tokens=max_tokens, temperature=temperature)

    @cached_property
    def _judge(self) -> Generator:
        return generators.Served(generators.LocalEngine(self.engine), self.remembered)
