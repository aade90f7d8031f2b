"""`rltrain new reward NAME`: a reward and its test, working as written."""

from __future__ import annotations

import keyword
from pathlib import Path

from rltrain import plugins

REWARD = '''"""What {name} judges, in one line."""

from __future__ import annotations

import re

from rltrain.types import Completion, Task

# What `rltrain plugin check` tries: completions that must score 1.
EXAMPLES = (
    {{"prompt": "What is 17 + 25?", "answer": "42", "completion": "I add both.\\nAnswer: 42"}},
    {{"prompt": "Which colour is the sky?", "answer": "blue", "completion": "Answer: Blue."}},
)
_ANSWER = re.compile(r"^Answer:[ \\t]*(.+?)[ \\t.]*$", re.MULTILINE)


def {name}(task: Task, completion: Completion, *, ignore_case: bool = True) -> float | None:
    """1.0 if the last "Answer: ..." is the task's answer, else 0.0; None for a task without an answer."""
    if task.answer is None:
        return None
    found = _ANSWER.findall(completion.text)
    if not found:
        return 0.0
    given, wanted = found[-1], task.answer
    return float(given.casefold() == wanted.casefold() if ignore_case else given == wanted)
'''

TEST = '''"""What {name} gives for what."""

import numpy as np
import pytest
from {name} import EXAMPLES, {name}

from rltrain.types import Completion, Task


def judged(text, answer="42", **arguments):
    nothing = np.zeros(0, np.int32)
    completion = Completion(nothing, nothing.astype(np.float32), nothing, text, "stop", 0, "", "")
    task = Task("mine/1", "mine", "structured", ({{"role": "user", "content": "?"}},), answer)
    return {name}(task, completion, **arguments)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_score_1(example):
    assert judged(example["completion"], example["answer"]) == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("Answer: 42", 1.0), ("Answer: 41", 0.0), ("Answer: 42\\nAnswer: 41", 0.0), ("42", 0.0), ("", 0.0)],
)
def test_{name}(text, value):
    assert judged(text) == value


def test_arguments():
    assert judged("Answer: Blue", "blue") == 1.0
    assert judged("Answer: Blue", "blue", ignore_case=False) == 0.0
    assert judged("Answer: 42", None) is None
'''


def new_reward(name: str, directory: Path) -> list[Path]:
    """Write NAME.py and test_NAME.py, or nothing. ValueError for a name that is none, or files that are there."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"new reward {name!r}: expected a Python name, such as my_reward")
    if name in {found.name for found in plugins.installed("rltrain.rewards")}:
        raise ValueError(f"new reward {name!r}: a reward of this name is installed; choose another")
    files = {directory / f"{name}.py": REWARD, directory / f"test_{name}.py": TEST}
    if there := [path for path in files if path.exists()]:
        raise ValueError(f"new reward {name!r}: {there[0]} is there already; choose another name or move it away")
    for path, text in files.items():
        path.write_text(text.format(name=name), encoding="utf-8")
    return list(files)
