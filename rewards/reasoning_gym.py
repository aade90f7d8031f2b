"""The scorer that belongs to a reasoning-gym generator."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from rewards.extraction import Extract, extract_answer, undressed
from rltrain.types import Completion, Task

# completions that score 1, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "State the final answer to the following arithmetic problem: 17 + 25 =",
        "answer": "42",
        "meta": {"generator": "chain_sum", "entry": {"question": "17 + 25 =", "answer": "42", "metadata": {}}},
        "completion": "I add the tens first.\nAnswer: 42",
    },
)


def reasoning_gym(task: Task, completion: Completion, *, extract: Extract = "answer") -> float | None:
    """What the generator's own `score_answer` gives the extracted answer, in [0, 1]; many give part marks.

    `extract` as in `exact`: with `answer` (ask for it by the source's `suffix`) "... Answer: 42" is judged by
    "42", with and without Markdown around it; a completion with nothing to extract gets 0.0. Grids need
    `after_answer` or `tags`. None for tasks of other sources.
    """
    if "entry" not in task.meta or "generator" not in task.meta:
        return None
    answer = extract_answer(completion.text, extract)
    if answer is None:
        return 0.0
    dataset = _dataset(task.meta["generator"], json.dumps(task.meta.get("parameters", {}), sort_keys=True))
    return max(_score(dataset, form, task.meta["entry"]) for form in {answer, undressed(answer)})


def _score(dataset: Any, answer: str, entry: Any) -> float:
    try:
        return float(dataset.score_answer(answer, entry))
    except Exception:  # some scorers raise on an answer they cannot parse: it is wrong
        dataset.score_answer(entry["answer"], entry)  # raises again where the scorer fails on the gold answer too
        return 0.0


@cache
def _dataset(generator: str, parameters: str) -> Any:
    """A generator made once a process; its scorer may depend on its parameters."""
    from reasoning_gym.factory import create_dataset

    return create_dataset(generator, size=1, seed=0, **json.loads(parameters))
