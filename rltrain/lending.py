"""What plugins ask for by parameter name: who asks for what, and the scorer in a process of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rltrain import plugins
from rltrain.config import Config
from rltrain.types import Prompt, Scorer

RESTARTS = 3  # of a scorer that died; it has no state to lose


def askers(config: Config, name: str) -> list[str]:
    """The diagnostics and rewards that have a parameter of this name and no argument for it, by what they are called.

    ValueError where a plugin is not found.
    """
    found = []
    for kind, specs in (("diagnostic", config.diagnostics), ("reward", config.rewards)):
        group = {"diagnostic": "rltrain.diagnostics", "reward": "rltrain.rewards"}[kind]
        for spec in specs:
            target = plugins.resolve(spec.use, group)
            if callable(target) and name in inspect.signature(target).parameters and name not in spec.args:
                found.append(f"{kind} {spec.use}")
    return found


def scorer_gpus(config: Config) -> float:
    """GPUs that the scorer holds; 0 where nobody asks for one. ValueError where a plugin is not found."""
    return config.scorer.gpus if config.scorer.gpus and askers(config, "scorer") else 0.0


class RemoteScorer:
    """A FrozenScorer in a Ray actor, as it travels to those who ask. Implements types.Scorer."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def ready(self) -> None:
        """Wait until the model is loaded, so that no reward's deadline pays for it."""
        import ray

        ray.get(self._actor.__ray_ready__.remote())

    def logprobs(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[np.ndarray]:
        """See FrozenScorer."""
        import ray

        return ray.get(self._actor.logprobs.remote(list(prompts), list(continuations)))


class Priced:
    """A scorer whose seconds are a stage of the run's, for those who call it in the run's own process."""

    def __init__(self, scorer: Scorer, stages: Any) -> None:
        self._scorer, self._stages = scorer, stages

    def logprobs(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[np.ndarray]:
        """See FrozenScorer; counted in `time/scorer_s`."""
        with self._stages("scorer"):
            return self._scorer.logprobs(prompts, continuations)


def scorer(config: Config, closers: list[Callable[[], None]]) -> RemoteScorer | None:
    """The scorer, starting up, where a diagnostic or a reward asks for one; `closers` gets what ends it.

    Ray must be running.
    """
    import ray

    from rltrain.forced import FrozenScorer

    if not askers(config, "scorer"):
        return None
    wanted = config.scorer
    remote = ray.remote(num_cpus=0, num_gpus=wanted.gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS)
    actor = remote(FrozenScorer).remote(
        wanted.path or config.model.path,
        dtype=wanted.dtype,
        gpus=wanted.gpus,
        threads=wanted.threads,
        batch_tokens=wanted.batch_tokens,
        system=config.model.system,
        template=config.model.prompt_template,
    )
    closers.append(lambda: ray.kill(actor))
    return RemoteScorer(actor)
