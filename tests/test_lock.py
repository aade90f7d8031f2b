"""A run that is alive is nobody else's."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from rltrain import cli
from rltrain.records import lock
from tests import synthetic
from tests.test_cli import contents, refused

HOLDS = """
import os, sys, time
from pathlib import Path
from rltrain.records import lock
with lock.held(Path(sys.argv[1])):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_who_holds_it(tmp_path):
    with lock.held(tmp_path) as note, pytest.raises(ValueError) as caught:
        assert note is None
        lock.held(tmp_path).__enter__()
    for part in (str(tmp_path), "is in use", f"process {os.getpid()} on {os.uname().nodename}", "since 20", "--resume"):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []  # an orderly end leaves nothing
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()


def test_a_run_that_is_alive_is_not_cut_back(here, capfd):
    made = synthetic.run(here / "runs" / "small-001", steps=3).path
    with lock.held(made):
        before = contents(here)
        said = refused(here, capfd, "train", "small.yaml", "--resume", "small-001")
        assert f"process {os.getpid()} on" in said and "wait until it ends" in said
        assert contents(here) == before


def test_a_new_run_in_a_directory_that_another_start_has_just_taken(here, capfd):
    (here / "mine").mkdir()
    with lock.held(here / "mine"):
        assert "is in use" in refused(here, capfd, "train", "small.yaml", "run.dir=mine", "--twin")


def test_kill_9_frees_it_though_a_child_lives_on(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(ValueError, match=f"process {holder.pid} on"):
                lock.held(tmp_path).__enter__()
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # it is there still
            with lock.held(tmp_path) as note:
                assert note is None
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_costs_a_warning(tmp_path, monkeypatch):
    def unsupported(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with lock.held(tmp_path) as note:
        assert "cannot be locked" in note and "no second process" in note


def test_a_lock_that_was_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    taken, flock = [], fcntl.flock

    def removed_first(file, how):
        if not taken:  # the holder before ends between our opening and our locking
            taken.append(file)
            (tmp_path / lock.NAME).unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with lock.held(tmp_path), pytest.raises(ValueError, match="is in use"):
        lock.held(tmp_path).__enter__()


def test_reports_want_no_lock(tmp_path, capfd):
    made = synthetic.run(tmp_path / "run", steps=3).path
    with lock.held(made):
        assert cli.main(["report", str(made)]) == 0
    assert (made / "report.html").exists()
