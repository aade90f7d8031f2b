"""The rewards that belong to an environment of the package `verifiers`."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from rltrain.types import Completion, Task


async def verifiers(task: Task, completion: Completion) -> dict[str, float] | None:
    """The sum of weight x score over the rewards of the task's own environment; its rewards and metrics are parts.

    For tasks of the source `verifiers`, None for others. The environment's rewards see a trace of one turn and no
    runtime; ValueError where all of them need one. Give `range` where the weights do not sum to 1.
    """
    if "verifiers" not in task.meta:
        return None
    trace, own = _trace(task.meta["verifiers"], completion.text)
    await own.score(trace)
    scored = {name: reward for name, reward in trace.rewards.items() if reward is not None}
    if not scored:
        raise ValueError(f"task {task.key!r}: none of its environment's rewards can be had without a runtime")
    measured = {name: value for name, value in trace.metrics.items() if value is not None}
    return {"value": trace.reward, **{name: reward.score for name, reward in scored.items()}, **measured}


def _trace(entry: str, text: str) -> tuple[Any, Any]:
    """A conversation of one turn as the package records it, and the task that judges it."""
    from verifiers.v1 import trace as traces
    from verifiers.v1.configs.agent import AgentConfig
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.types import AssistantMessage, UserMessage

    known = json.loads(entry)
    kind, config = _taskset(known["taskset"], json.dumps(known["config"], sort_keys=True))
    own = kind(kind.data_type().model_validate(known["data"]), config.task)
    asked = MessageNode(message=UserMessage(content=own.data.prompt_text))
    said = MessageNode(parent=0, message=AssistantMessage(content=text), sampled=True)
    about = traces.TraceTask(type=kind.__name__, data=own.data, key=own.key)
    return traces.Trace(task=about, agent=traces.AgentInfo(config=AgentConfig()), nodes=[asked, said]), own


@lru_cache(maxsize=64)
def _taskset(name: str, config: str) -> tuple[Any, Any]:
    """The class of a taskset's tasks, and its configuration; looked up once a process."""
    from verifiers.v1.utils import loaders

    return loaders.task_type(name), loaders.taskset_config_type(name)(id=name, **json.loads(config))
