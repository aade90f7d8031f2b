"""Several trainer processes on gloo: the curve of one process, checkpoints, and an end when one of them dies."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from rltrain import config, launch, load_run
from rltrain.channel import Channel

STEP = (
    "{use: reward}, {use: entropy}, {use: perplexity}, {use: plan}, {use: formats}, {use: shortcuts}, {use: mechanism}"
)
PROBES = f"diagnostics=[{STEP}, {{use: interference, args: {{every: 1}}}}, {{use: continuous}}, {{use: phase}}]"
BASE = ("run.console=false", "run.wandb=false", "evaluation.prompts=2", "checkpoints.every=2")


def twin(directory: Path, *overrides: str, resume: bool = False, faults: tuple[str, ...] = ()) -> Path:
    settings = config.load("quickstart", [*BASE, *overrides, f"run.dir={directory}"])
    launch.train(settings, "quickstart", resume="" if resume else None, twin=True, faults=faults)
    return directory


@pytest.fixture(scope="module")
def one(ray_session, tmp_path_factory) -> Path:
    """Four steps of one process."""
    return twin(tmp_path_factory.mktemp("one") / "run", "training.steps=4", PROBES)


@pytest.fixture(scope="module")
def two(ray_session, tmp_path_factory) -> Path:
    """The same four steps of two processes, ended after two and resumed."""
    place = tmp_path_factory.mktemp("two") / "run"
    twin(place, "training.steps=2", "distributed.processes=2", PROBES)
    return twin(place, "training.steps=4", "distributed.processes=2", PROBES, resume=True)


def test_two_processes_follow_the_curve_of_one_through_a_resume(one, two):
    ours, theirs = load_run(one).metrics, load_run(two).metrics
    assert ours.step.tolist() == theirs.step.tolist() == [0, 1, 2, 3, 4]
    for name in ("loss/total", "loss/grad_norm", "entropy/mean", "reward/mean", "drift/kl_sampler_trainer"):
        np.testing.assert_allclose(theirs[name].dropna(), ours[name].dropna(), atol=1e-5, err_msg=name)
    assert ours["loss/grad_norm"].dropna().abs().min() > 1e-3


def test_both_processes_trained_every_row_once_and_the_records_hold_all(one, two):
    rows, theirs = (load_run(run).rollouts() for run in (one, two))
    assert rows.token_ids.map(list).tolist() == theirs.token_ids.map(list).tolist()
    for a, b in zip(rows.train_logprob, theirs.train_logprob, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_diagnostics_say_the_same_of_two_processes_and_through_a_resume(one, two):
    """The forwards differ in their last bits, by how a batch is cut; what is made of them must not by more."""
    ours, theirs = load_run(one).metrics, load_run(two).metrics
    kinds = ("entropy", "plan", "ppl", "format", "shortcut", "length", "phase", "reward")
    names = [name for name in ours if name.partition("/")[0] in kinds]
    assert {name.partition("/")[0] for name in names} == set(kinds) and len(names) > 60
    for name in names:
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-6, err_msg=name)


def test_what_is_lent_says_the_same_of_two_processes_and_through_a_resume(one, two):
    ours, theirs = load_run(one).metrics, load_run(two).metrics
    names = [name for name in ours if name.startswith(("interference/", "continuous/"))]
    assert {name.partition("@")[0].partition("/")[2] for name in names} >= {"cosine", "signal", "others", "prompts"}
    for name in names:
        np.testing.assert_allclose(theirs[name], ours[name], atol=2e-4, err_msg=name)
    assert (theirs["time/gradients_s"].dropna() > 0).sum() == 4
    assert theirs["time/policy_s"].dropna().size == 1  # steps 1 and 6 are looked at


def test_the_checkpoint_holds_both_processes_and_nothing_of_ray_is_left(two):
    names = {path.name for path in (two / "checkpoints" / "step_00004").iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth", "optimizer.pt", "whole.json"} <= names
    assert not (two / ".ray-train").exists()


KILLER = """
import psutil

class Killer:
    panels = ()

    def observe(self, record):
        # runs in rank 0: the other worker of this very Ray goes, a child of the same raylet
        me = psutil.Process()
        for process in me.parent().children():
            if "RayTrainWorker" in " ".join(process.cmdline()) and process.pid != me.pid:
                process.kill()
        return {}

    def events(self):
        return []

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
"""


def test_a_process_that_dies_ends_the_run_with_a_word(ray_session, tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    place = tmp_path / "run"
    begun = time.monotonic()
    with pytest.raises(launch.RunFailed, match=r"trainer process 1 of 2 died|another trainer process ended") as failure:
        twin(place, "distributed.processes=2", f"diagnostics=[{{use: '{tmp_path}/killer.py:Killer'}}]")
    assert time.monotonic() - begun < 300
    assert str(failure.value).count(f"run directory {place}") == 1  # and where the state is
    assert not (place / ".ray-train").exists()


def test_a_process_that_does_not_answer_counts_as_dead():
    # Ray Train notices a death in one of two ways: the process's call fails, or its health check does
    from ray.exceptions import ActorDiedError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    from rltrain import distributed

    failed = RuntimeError()
    failed.worker_failures = {1: WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())}
    assert "trainer process 1 of 2 died" in str(distributed._explained(failed, 2))


def test_more_processes_than_there_is_room_for(ray_session, tmp_path):
    with pytest.raises(ValueError, match=r"need 1 GPUs, Ray has 0|need 2\.5 GPUs"):
        from rltrain import distributed

        settings = config.load("quickstart", ["distributed.gpus=0.5", "distributed.processes=2", "rollouts.gpus=1.5"])
        distributed._check_room(settings)


def test_one_process_speaks_to_nobody():
    channel = Channel(1.0)
    channel.announce("save")
    channel.meet()
    assert channel.leads and channel.scatter([["row"]], 3, 1.0) == ["row"] and channel.gather("item") == ["item"]
