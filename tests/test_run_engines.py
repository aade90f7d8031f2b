"""Whole runs with engines that really sample: vLLM and transformers in Ray actors, on the tiny model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rltrain import config, launch, load_run
from rltrain.rollouts.pool import RolloutPool
from rltrain.rollouts.slot import PoolError
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import pack
from rltrain.types import Sampling, Task, Ticket

SMALL = [
    "model.path=tiny",
    "model.dtype=float32",
    "run.console=false",
    "run.wandb=false",
    "rollouts.threads=1",
    "rollouts.slots=16",
    "distributed.threads=1",
    "sampling.num_generations=4",
    "sampling.max_prompt_length=400",
    "sampling.max_completion_length=16",
    "training.prompts_per_step=2",
    "training.micro_batch_size=4",
    "training.learning_rate=1e-3",
    "evaluation.prompts=2",
]


@pytest.mark.parametrize("engine, steps, faults", [("vllm", 4, ("kill@2",)), ("transformers", 2, ())])
def test_a_run_with_a_real_engine(ray_session, tmp_path, engine, steps, faults, monkeypatch, capsys):
    directory, mirrored = tmp_path / engine, engine == "transformers"
    monkeypatch.setenv("WANDB_MODE", "offline")
    overrides = [*SMALL, f"run.dir={directory}", f"training.steps={steps}", f"rollouts.engine={engine}"]
    overrides.append(f"run.wandb={str(mirrored).lower()}")
    launch.train(config.load("quickstart", overrides), "quickstart", resume=None, twin=False, faults=faults)
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(steps + 1))
    rows = load_run(directory).rollouts()
    assert len(rows) == steps * 8
    assert not rows.duplicated(["group", "completion", "task_key", "step"]).any()
    gaps = [np.abs(np.array(a) - np.array(b)).max() for a, b in zip(rows.logprob, rows.train_logprob, strict=True)]
    assert max(gaps) < 1e-4  # at every version: the engine serves what the trainer trains
    restarts = [event for event in load_run(directory).events if event.name == "engine_restarted"]
    assert [event.evidence["cause"] for event in restarts] == ["died"] * len(faults)
    assert (directory / "report.html").stat().st_size > 10_000
    mirrors = list((directory / "wandb").glob("offline-run-*"))
    assert len(mirrors) == mirrored
    if mirrored:
        assert f"wandb sync {directory / 'wandb'}" in capsys.readouterr().out
        assert list(mirrors[0].rglob("media/html/**/*.html")) and list(mirrors[0].rglob("media/plotly/**/*.json"))


def test_an_engine_that_always_fails_ends_the_run_with_its_cause(ray_session):
    spec = EngineSpec("rltrain.rollouts.no_such_engine:Engine", "tiny", "float32", max_model_len=64)
    pool = RolloutPool([spec], deadline_s=5)
    try:
        import torch

        packed, digest = pack([("weight", torch.zeros(2))])
        pool.publish(0, packed, digest)
        task = Task("t/0", "t", "structured", ({"role": "user", "content": "x"},))
        pool.submit([Ticket(0, task, np.array([1], dtype=np.int32), 2, Sampling(), 0, 0)])
        with pytest.raises(PoolError, match=r"(?s)lost 3 times in a row.*no_such_engine"):
            for _ in range(600):
                pool.wait(0.5)
    finally:
        pool.close()
