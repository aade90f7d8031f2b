"""A start that fails leaves nothing behind, and nothing that it did not make is touched."""

import contextlib
import errno
import json
import resource
import subprocess
import sys
import types
from pathlib import Path

import pytest
from synthetic import record

from rltrain import build, checkpoint, config, launch, manifest, order
from rltrain.check.room import check_room, sizes
from rltrain.check.verdicts import errors
from rltrain.console import Console
from rltrain.records import RunDir, lock
from rltrain.records.made import absent, take_back
from tests.test_check import lines, settings

FULL = """
import resource, sys
from rltrain import cli, models
models.locate("tiny")
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
raise SystemExit(cli.main(sys.argv[1:]))
"""


def test_a_disk_that_fills_up_at_the_start_leaves_nothing(here):
    command = [sys.executable, "-c", FULL, "train", "small.yaml", "--twin", "run.dir=deep/below/mine"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=here)
    assert ran.returncode == 2, ran.stderr
    assert "run directory" in ran.stderr and "File too large" in ran.stderr and "Traceback" not in ran.stderr
    assert [path.name for path in here.iterdir()] == ["small.yaml"]


@contextlib.contextmanager
def files_of_at_most(size: int):
    """What a full disk does to a file: the bytes beyond are refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 30], ids=["the config", "the manifest"])
def test_a_run_directory_that_cannot_be_written_is_not_left_half(tmp_path, size):
    with files_of_at_most(size), pytest.raises(OSError, match=r"File too large\); give another run\.dir"):
        RunDir.create(tmp_path / "deep" / "a", "run: {}\n", {"git": "a" * 100})
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_written_is_not_left(tmp_path):
    with files_of_at_most(0), pytest.raises(OSError, match="File too large"):
        lock.held(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_what_libraries_make_of_a_full_disk_is_told_in_words(tmp_path, monkeypatch):
    free = types.SimpleNamespace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    full = r"step_00004: cannot be written \(No space left on device\); free space .* then go on with --resume"
    for error in (RuntimeError("unexpected pos 5120 vs 5012"), OSError(errno.EIO, "I/O error")):
        with pytest.raises(OSError, match=full), checkpoint.told_if_full(tmp_path / "step_00004"):
            raise error
    free.free = 10**9
    with pytest.raises(RuntimeError, match="shapes"), checkpoint.told_if_full(tmp_path / "step_00004"):
        raise RuntimeError("shapes differ")
    with pytest.raises(OSError, match="Disk quota exceeded"), checkpoint.told_if_full(tmp_path / "step_00004"):
        raise OSError(errno.EDQUOT, "quota")


def test_of_two_files_that_cannot_be_written_the_first_ends_the_run_with_the_way_on(tmp_path, monkeypatch):
    (tmp_path / "rollouts").write_text("in the way")

    def leader(placed, channel, directory, console, closers):
        directory.write_rollouts(record(1))  # in the background, where it fails too
        raise OSError("metrics.jsonl: cannot be written")

    monkeypatch.setattr(build, "leader", leader)
    RunDir.create(tmp_path, "run: {}\n", {}).close()
    placed = order.Order(settings(), tmp_path, twin=True, faults=(), resume=None)
    with pytest.raises(launch.RunFailed, match=r"(?s)metrics.jsonl: cannot.*run directory .*go on with: .*--resume"):
        launch.run_rank(placed, Console(live=False))


def test_only_what_was_made_is_taken_back(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "own.txt").write_text("")
    made = absent(mine / "runs" / "a")
    assert made == [mine / "runs", mine / "runs" / "a"]
    made[-1].mkdir(parents=True)
    (made[-1] / "config.yaml").write_text("")
    (made[0] / "another.txt").write_text("")
    take_back([*made, made[-1] / "config.yaml", made[-1] / "manifest.json"])
    assert sorted(path.name for path in mine.rglob("*")) == ["another.txt", "own.txt", "runs"]
    assert absent(mine) == []


def test_a_directory_of_another_run_is_not_taken_back(tmp_path):
    RunDir.create(tmp_path / "a", "run: {}\n", {})
    before = sorted(path.name for path in (tmp_path / "a").iterdir())
    with pytest.raises(ValueError, match="is taken"):
        RunDir.create(tmp_path / "a", "other", {})
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == before


@pytest.mark.parametrize("moment", ["rltrain.manifest.manifest", "json.dumps"], ids=["lock", "manifest"])
def test_ctrl_c_at_the_very_start_leaves_nothing(here, monkeypatch, moment):
    """While the directory is made: with its lock and nothing else in it, and with its config."""

    def ctrl_c(*args, **kwargs):
        if moment != "json.dumps" or Path("runs/mine/config.yaml").exists():
            raise KeyboardInterrupt
        return dumps(*args, **kwargs)

    dumps = json.dumps
    loaded = config.load("small.yaml", ["run.dir=runs/mine"])
    monkeypatch.setattr(moment, ctrl_c)
    with contextlib.ExitStack() as held, pytest.raises(KeyboardInterrupt):
        order.place(loaded, "small", resume=None, asked=loaded, faults=(), held=held)
    assert not Path("runs").exists()


def test_a_withdrawn_run_frees_its_name(here):
    loaded = config.load("small.yaml", ["run.dir=runs/mine"])
    with contextlib.ExitStack() as held:
        placed = order.place(loaded, "small", resume=None, asked=loaded, faults=(), held=held)
        assert (placed.directory / "config.yaml").exists()
        order.withdraw(placed)
    assert not Path("runs").exists()


# --- room on the disk ---

FACTS = {"parameters": 1000, "reason": None}


def test_the_bytes_of_a_checkpoint_and_of_the_model():
    assert sizes(settings(), FACTS) == (12_000, 4_000)
    assert sizes(settings(model={"dtype": "bfloat16"}, training={"optimizer": "sgd"}), FACTS) == (4_000, 2_000)
    assert sizes(settings(model={"lora": {"rank": 1}}), FACTS | {"trainable": 10}) == (120, 4_040)


def test_a_disk_too_small_for_a_checkpoint_is_an_error_with_both_numbers():
    [told] = errors([check_room(settings(), FACTS | {"parameters": 10**15})])
    assert "bytes free, at least 16,000,000,008,388,608 needed (12,000,000,000,000,000 of a checkpoint" in told
    assert errors([check_room(settings(), FACTS)]) == []
    assert "room for checkpoints" in lines([check_room(settings(), None)], "unchecked")


def test_a_machine_without_git_has_a_manifest_without_a_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert manifest._commit() is None


def test_the_commit_of_a_repository_around_an_installation_is_not_ours(tmp_path):
    def git(*command):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=tmp_path, check=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "theirs")
    inside = tmp_path / "site-packages"
    inside.mkdir()
    assert len(manifest._commit(tmp_path)) == 40
    assert manifest._commit(inside) is None
