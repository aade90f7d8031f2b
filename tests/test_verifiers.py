"""Environments of the package `verifiers` as tasks and reward."""

from __future__ import annotations

import asyncio
import importlib.util
import sys

import numpy as np
import pytest

from rewards.verifiers import verifiers
from rltrain.environments import Verifiers
from rltrain.types import Completion, Task

HERE = importlib.util.find_spec("verifiers") is not None
NEEDED = "needs the package verifiers 0.4.0, whose openai<3 is not the locked one: test it in an environment of its own"
REVERSE = '''
"""Words to be written backwards."""

import verifiers.v1 as vf

__all__ = ["Reverse"]


class Data(vf.TaskData):
    answer: str


class Backwards(vf.Task[Data]):
    @vf.reward(weight=0.75)
    async def right(self, trace: vf.Trace) -> float:
        return float(self.data.answer in trace.last_reply)

    @vf.reward(weight=0.25)
    async def short(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply) < 40)

    @vf.metric
    async def letters(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply))


class Config(vf.TasksetConfig):
    words: list[str] = ["lamp", "river"]


class Reverse(vf.Taskset[Backwards, Config]):
    def load(self):
        for word in self.config.words:
            data = Data(prompt=f"Reverse {word}.", system_prompt="Be brief.", answer=word[::-1])
            yield Backwards(data, self.config.task)
'''


def completion(text):
    nothing = np.zeros(0, np.int32)
    return Completion(nothing, nothing.astype(np.float32), nothing, text, "stop", 0, "", "")


def judged(task, text):
    return asyncio.run(verifiers(task, completion(text)))


@pytest.fixture
def reverse(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "reverse_words.py").write_text(REVERSE)
    yield "reverse_words"
    sys.modules.pop("reverse_words", None)


@pytest.mark.skipif(not HERE, reason=NEEDED)
def test_tasks_and_rewards_are_the_environment_s(reverse):
    source = Verifiers(reverse, words=["lamp", "river", "sea"], size=2)
    assert len(source) == 2 and source.name == "reverse_words"
    row = source[1]
    assert row["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Reverse river."},
    ]
    assert row["answer"] == "revir" and source[0]["id"] != row["id"]
    task = Task("r/1", "r", "structured", tuple(row["prompt"]), row["answer"], meta={"verifiers": row["verifiers"]})
    assert judged(task, "It is revir.") == {"value": 1.0, "right": 1.0, "short": 1.0, "letters": 12.0}
    assert judged(task, "river " * 20)["value"] == 0.0
    assert judged(task, "river")["value"] == 0.25


@pytest.mark.skipif(not HERE, reason=NEEDED)
def test_what_is_no_taskset_is_told(reverse):
    with pytest.raises(ValueError, match="no_such_taskset"):
        Verifiers("no_such_taskset")
    with pytest.raises(ValueError, match="wordz"):
        Verifiers(reverse, wordz=["lamp"])


@pytest.mark.skipif(HERE, reason="the package verifiers is here")
def test_without_the_package_it_says_what_to_install():
    with pytest.raises(ValueError, match=r"verifiers is not installed; pip install verifiers==0\.4\.0"):
        Verifiers("reverse_text")


def test_it_does_not_apply_to_other_tasks():
    assert judged(Task("r/1", "r", "structured", ()), "x") is None
