"""Single-turn environments of the package `verifiers` as a task source; its rewards are the reward `verifiers`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from rltrain.tables import Row

MANY = 10_000  # tasks that are taken of a taskset without an end


class Verifiers(Sequence):
    """Tasks of an installed taskset (`verifiers` 0.4, its `verifiers.v1`); what it is configured by are arguments.

    `taskset` is its package's name, `size` the number of tasks that are taken, all by default. A task that needs tools,
    a container or a user to speak to is refused: a completion is one turn.
    """

    def __init__(self, taskset: str, size: int | None = None, **config: Any):
        """ValueError where `verifiers` or the taskset is not installed, or an argument is not the taskset's."""
        try:
            from pydantic import ValidationError
            from verifiers.v1.utils import loaders
        except ModuleNotFoundError as error:
            raise ValueError(f"verifiers: {error.name} is not installed; pip install verifiers==0.4.0") from error
        try:
            settings = loaders.taskset_config_type(taskset)(id=taskset, **config)
        except (ModuleNotFoundError, AttributeError, TypeError) as error:  # how it refuses a module that is no taskset
            raise ValueError(f"verifiers: {error}") from error
        except ValidationError as error:
            raise ValueError(f"verifiers: taskset {taskset!r}: {error}") from None
        found = loaders.load_taskset(settings)
        count = size if size is not None or found.bounded else MANY
        self.name = taskset.rpartition("/")[2]
        about = {"taskset": taskset, "config": config}
        self._rows = [_row(task, about) for task in itertools.islice(found, count)]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]


def _row(task: Any, about: dict[str, Any]) -> Row:
    """A task as a row; what its rewards read travels as JSON."""
    data = task.data.model_dump(mode="json")
    if task.NEEDS_CONTAINER or task.toolsets(task.config) or data.get("prompt") is None:
        raise ValueError(f"task {task.key}: needs tools, a container or a user; rltrain's completions are one turn")
    return {
        "prompt": _messages(data),
        "answer": data["answer"] if isinstance(data.get("answer"), str) else None,
        "id": task.key,
        "verifiers": json.dumps({**about, "data": data}),
    }


def _messages(data: dict[str, Any]) -> list[dict[str, str]]:
    """System prompt and prompt as chat messages."""
    system, prompt = data.get("system_prompt"), data["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    plain = [{"role": message["role"], "content": _text(message["content"])} for message in messages]
    return ([{"role": "system", "content": system}] if system else []) + plain


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if any(part["type"] != "text" for part in content):
        raise ValueError("a prompt with images; rltrain's prompts are text")
    return "\n".join(part["text"] for part in content)
