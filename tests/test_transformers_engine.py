"""The engine of machines without vLLM samples what the trainer trains, whatever a model's makers left beside it."""

import json
import shutil

import numpy as np
import pytest
import torch

from rltrain import models
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.transformers_engine import TransformersEngine
from rltrain.types import Sampling, Task, Ticket

STOP = tuple("abcdefghijklmnop")  # a byte is a token, and the model is random


@pytest.fixture
def opinionated(tmp_path):
    """A model that penalises repetition by its own generation config, and has no padding but its end token."""
    directory = tmp_path / "model"
    shutil.copytree(models.locate("tiny"), directory)
    settings = directory / "generation_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"repetition_penalty": 3.0, "min_p": 0.01}))
    tokenizer = directory / "tokenizer_config.json"
    told = json.loads(tokenizer.read_text())
    tokenizer.write_text(json.dumps(told | {"pad_token": told["eos_token"]}))
    return str(directory)


def completions(model: str, sampling: Sampling):
    engine = TransformersEngine(EngineSpec("transformers", model, "float32", max_model_len=256, threads=1))
    task = Task("t/0", "t", "structured", ({"role": "user", "content": "x"},))
    prompt = np.frombuffer(b"repeat repeat repeat", np.uint8).astype(np.int32)
    engine.submit(Ticket(0, task, prompt, 16, sampling, 0, 0))
    (finished,) = engine.poll()
    return prompt, finished.completions


def test_log_probs_are_those_of_the_policy(opinionated):
    prompt, sampled = completions(opinionated, Sampling(max_tokens=24))
    policy = models.load_model(opinionated)
    for one in sampled:
        ids = torch.from_numpy(np.concatenate([prompt, one.token_ids]).astype(np.int64))[None]
        with torch.no_grad():
            logp = policy(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        wanted = logp.gather(-1, ids[0, len(prompt) :, None])[:, 0].numpy()
        np.testing.assert_allclose(one.logprobs, wanted, atol=1e-4)


def test_nothing_stands_behind_a_stop_string(opinionated):
    _, sampled = completions(opinionated, Sampling(max_tokens=64, stop=STOP))
    stopped = [one for one in sampled if set(STOP) & set(one.text)]
    assert len({len(one.token_ids) for one in stopped}) > 1  # the shorter ones were padded
    for one in stopped:
        assert not set(STOP) & set(one.text[:-1]) and one.text[-1] in STOP and one.finish_reason == "stop"
        assert len(one.token_ids) == len(one.logprobs) == len(one.offsets)
        assert chr(one.token_ids[-1]) == one.text[-1]
