"""`kill -9` of a whole run: nothing stays behind, and it goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from rltrain import config, launch
from rltrain.cluster import MARK

ORDER = ["checkpoints.every=2", "evaluation.prompts=2", "run.console=false"]


def start(directory: Path, *options: str) -> subprocess.Popen:
    arguments = ["train", "quickstart", "--twin", *options, f"run.dir={directory}", *ORDER]
    on_a_node = os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}  # of a cluster, which the config does not ask for
    return subprocess.Popen(
        [sys.executable, "-m", "rltrain", *arguments],
        env=on_a_node,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def marks(processes) -> dict[int, str]:
    """Process id -> mark; a run's processes carry its mark in their environment."""
    found = {}
    for process in processes:
        try:
            if mark := process.environ().get(MARK):
                found[process.pid] = mark
        except psutil.Error:  # ended meanwhile, or somebody else's
            continue
    return found


def test_a_killed_run_leaves_nothing_and_goes_on(ray_session, tmp_path):
    directory = tmp_path / "killed"
    run = start(directory)
    deadline = time.monotonic() + 240
    while lines(directory / "metrics.jsonl") < 6:
        assert run.poll() is None, run.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (mine,) = set(marks(psutil.Process(run.pid).children(recursive=True)).values())
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    limit = time.monotonic() + 30
    while (mine in marks(psutil.process_iter()).values() or Path(mine).exists()) and time.monotonic() < limit:
        time.sleep(0.5)
    assert mine not in marks(psutil.process_iter()).values()
    assert not Path(mine).exists()
    assert not (directory / "model").exists()

    again = start(directory, "--resume")
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    whole = tmp_path / "whole"
    loaded = config.load("quickstart", [*ORDER, f"run.dir={whole}"])
    launch.train(loaded, "quickstart", resume=None, twin=True, faults=())
    a, b = (load_file(path / "model" / "model.safetensors") for path in (directory, whole))
    assert all((a[name] == b[name]).all() for name in b)
    assert lines(directory / "metrics.jsonl") == 13


@pytest.mark.parametrize(
    ("sent", "under_way"),
    [(signal.SIGTERM, True), (signal.SIGINT, True), (signal.SIGHUP, False), (signal.SIGINT, False)],
    ids=["terminated", "interrupted", "hung up at its start", "interrupted at its start"],
)
def test_a_stopped_run_says_how_to_go_on(tmp_path, sent, under_way):
    directory = tmp_path / "stopped"
    run = start(directory)
    while (lines(directory / "metrics.jsonl") < 4) if under_way else not (directory / "manifest.json").exists():
        assert run.poll() is None, run.stdout.read()
        time.sleep(0.02)
    run.send_signal(sent)
    if under_way and sent == signal.SIGINT:
        time.sleep(0.5)
        run.send_signal(sent)  # as one who will not wait
    output, _ = run.communicate(timeout=60)
    assert run.returncode in (1, 130)
    assert f"--resume {directory}" in output
    assert "Traceback" not in output
    assert "SIGTERM handler is not set" not in output  # Ray started a second time, by a thread of the first


def test_an_interrupt_that_a_finalizer_swallowed_still_ends_the_run():
    said = """if True:
        import os, signal
        from rltrain import cluster

        class Finalized:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)
                signal.sigtimedwait((), 0.01)

        cluster.end_in_order()
        Finalized()
        print("went on", flush=True)
        cluster.heed()
        print("trained")
    """
    ran = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True)
    assert ran.stdout == "went on\n" and "Exception ignored in" in ran.stderr
    assert ran.returncode != 0 and "KeyboardInterrupt" in ran.stderr


@pytest.mark.parametrize(("told", "said"), [("", "a run goes on with --resume"), ("done", "")])
def test_what_a_killed_run_could_not_say_is_said_for_it(tmp_path, told, said):
    folder = tmp_path / "of_the_run"
    folder.mkdir()
    command = [sys.executable, "-m", "rltrain.reaper", str(folder), MARK]
    ran = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
    assert said in ran.stderr and bool(said) == bool(ran.stderr)
    assert folder.exists() == (told == "done")  # after an orderly end the run itself removes it
