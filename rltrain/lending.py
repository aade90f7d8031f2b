"""What plugins ask for by parameter name: who asks for what; scorer and judge in processes of their own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rltrain import plugins
from rltrain.config import Config, GeneratorSpec
from rltrain.types import Prompt, Scorer, Unanswered

RESTARTS = 3  # of a scorer or judge that died; it has no state to lose
CALLERS = 16  # that may wait for a judge at once


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


def lent_gpus(config: Config) -> float:
    """GPUs that scorer and judge hold; 0 where nobody asks for one. ValueError where a plugin is not found."""
    wanted = {"scorer": config.scorer.gpus, "judge": 0.0 if config.judge.url else config.judge.gpus}
    return sum(gpus for name, gpus in wanted.items() if gpus and askers(config, name))


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


class RemoteGenerator:
    """A generator in a Ray actor, as it travels to those who ask. Implements types.Generator."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def ready(self) -> None:
        """Wait until the model is loaded. ValueError when it cannot be had."""
        import ray
        from ray.exceptions import RayActorError

        try:
            ray.get(self._actor.__ray_ready__.remote())
        except RayActorError as error:
            raise ValueError(f"the engine of a judge or generator does not start: {error}") from error

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[str | Unanswered]:
        """See generators.Served."""
        import ray

        return ray.get(self._actor.generate.remote(list(prompts), max_tokens=max_tokens, temperature=temperature))

    def metrics(self) -> dict[str, float]:
        """`judge/*` since the last call; nothing without answers, or where it died for good (the scores say so)."""
        import ray
        from ray.exceptions import RayActorError

        try:
            counts = ray.get(self._actor.take.remote())
        except RayActorError:
            return {}
        return {f"judge/{name}": count for name, count in counts.items()} if counts["answers"] else {}


def judge(config: Config, closers: list[Callable[[], None]]) -> RemoteGenerator | None:
    """The judge, starting up, where a reward asks for one; `closers` gets what ends it. Ray must be running."""
    if not askers(config, "judge"):
        return None
    return generator(config.judge, closers, first_core=config.rollouts.engines * config.rollouts.threads)


def generator(spec: GeneratorSpec, closers: list[Callable[[], None]], first_core: int = 0) -> RemoteGenerator:
    """What a spec describes, in an actor that is shared by all who ask; `closers` gets what ends it.

    The key is read here, so that neither the config nor a process on another machine needs to know it.
    """
    import ray

    options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": CALLERS, "max_restarts": RESTARTS}
    if spec.url is None and spec.engine != "twin":
        options |= {"num_gpus": spec.gpus, "runtime_env": {"env_vars": engine_spec(spec, first_core).environment()}}
    remote = ray.remote(**options, max_task_retries=RESTARTS)(_Generator)
    actor = remote.remote(spec, os.environ.get(spec.key) if spec.key else None, first_core)
    closers.append(lambda: ray.kill(actor))
    return RemoteGenerator(actor)


def engine_spec(spec: GeneratorSpec, first_core: int = 0) -> Any:
    """The engine of a spec without an address. ValueError where its model is none."""
    from rltrain.models import locate
    from rltrain.rollouts.spec import EngineSpec

    if spec.model is None:
        raise ValueError("judge.model: missing; give a model, or judge.url with the model's name there")
    return EngineSpec(
        use=spec.engine,
        model=str(locate(spec.model)),
        dtype=spec.dtype,
        max_model_len=spec.max_length,
        threads=spec.threads,
        first_core=first_core,
        gpus=spec.gpus,
        memory=0.9 if spec.gpus else 1.0,
        name="judge",
    )


class _Generator:
    """What runs in the actor: Served around what the spec describes, built here."""

    def __init__(self, spec: GeneratorSpec, key: str | None, first_core: int) -> None:
        from rltrain import generators

        if spec.url is not None:
            inner: Any = generators.address(spec, key)
        elif spec.engine == "twin":
            inner = generators.Scripted()
        else:
            inner = generators.LocalEngine(engine_spec(spec, first_core))
        self._served = generators.Served(inner, spec.cache)

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[str | Unanswered]:
        return self._served.generate(prompts, max_tokens=max_tokens, temperature=temperature)

    def take(self) -> dict[str, float]:
        return self._served.take()
