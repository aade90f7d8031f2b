"""Fluency under a frozen model: the formula, and what it makes of texts."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch

from rewards.fluency import fluency, naturalness
from rltrain.types import Completion, Task

TASK = Task("p/1", "p", "creative", ({"role": "user", "content": "Write one sentence about a river."},))


class Fixed:
    """Says the same of every token."""

    def __init__(self, nats):
        self.nats = nats

    def logprobs(self, prompts, continuations):
        assert list(prompts) == [TASK.prompt] * len(continuations)
        return [np.full(len(text), -self.nats, np.float32) for text in continuations]


def completion(text):
    nothing = np.zeros(0, np.int32)
    return Completion(nothing, nothing.astype(np.float32), nothing, text, "stop", 0, "", "")


@pytest.mark.parametrize(
    ("perplexity", "value"),
    [(1.0, 0.0), (2**0.5, 0.5), (2.0, 1.0), (8.0, 1.0), (32.0, 1.0), (64.0, 0.8), (1024.0, 0.0), (1e9, 0.0)],
)
def test_the_value_of_a_perplexity(perplexity, value):
    assert naturalness(log(perplexity), 2.0, 32.0, 1024.0) == pytest.approx(value, abs=1e-9)


def test_a_group_is_one_question_and_has_its_parts():
    told = fluency(TASK, [completion("abc"), completion("")], scorer=Fixed(log(2.0)))
    assert told[0] == pytest.approx({"value": 1.0, "logprob": -log(2.0), "perplexity": 2.0}, abs=1e-6)
    assert told[1] == {"value": 0.0}
    assert fluency(TASK, [completion("a")], scorer=Fixed(1000.0))[0]["value"] == 0.0
    with pytest.raises(ValueError, match="1 < low < high < worst"):
        fluency(TASK, [completion("a")], scorer=Fixed(1.0), low=0.5)


def test_a_language_model_finds_prose_more_natural_than_noise_and_loops():
    from rltrain.forced import FrozenScorer

    torch.set_num_threads(1)
    texts = [
        "The river ran low that summer, and the boys walked across it on the stones.",
        "summer stones it across, boys the walked low on and river that the The ran the.",
        "xq#9 zzkv }{ ppo 4411 wmq ~~ tjj",
        "the river the river " * 30,
    ]
    scorer = FrozenScorer("smollm2-135m", dtype="bfloat16")
    prose, shuffled, noise, loop = (
        told["value"] for told in fluency(TASK, list(map(completion, texts)), scorer=scorer)
    )
    assert prose > 0.7 > 0.6 > loop and max(shuffled, noise) < 0.1, (prose, shuffled, noise, loop)
