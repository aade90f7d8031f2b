"""Checkpoints in a directory that a person has touched, and what of a config may change when a run goes on."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rltrain import checkpoint, config, order, steps
from rltrain.records import load_run
from tests import synthetic


def saved(root: Path, step: int, **fingerprint) -> Path:
    """A whole checkpoint with a file of the trainer's."""
    path = checkpoint.path_of(root, step)
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights" * step)
    checkpoint.seal(path, {"step": step}, step=step, fingerprint=fingerprint)
    return path


def steps_of(root: Path) -> list[int]:
    return [found.step for found in checkpoint.whole(root)]


def test_what_a_person_moved_aside_is_no_checkpoint_and_stays(tmp_path):
    first, last = saved(tmp_path, 4), saved(tmp_path, 8)
    last.rename(tmp_path / "step_00008.bad")
    shutil.copytree(first, tmp_path / "step_copy")
    (tmp_path / "checkpoint-notes").mkdir()
    assert steps_of(tmp_path) == [4]
    assert checkpoint.clear(tmp_path) == []
    checkpoint.prune(tmp_path, keep=1, best=None)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_or_a_link_in_a_checkpoint_s_place_is_removed_and_what_it_leads_to_is_not(tmp_path):
    root, elsewhere = tmp_path / "checkpoints", tmp_path / "other_disk"
    shutil.move(saved(root, 4), elsewhere)
    (root / "step_00004").symlink_to(elsewhere)
    (root / "step_00008").write_text("")
    (root / "step_00009").symlink_to(tmp_path / "nowhere")
    assert steps_of(root) == [4]
    assert checkpoint.clear(root) == ["step_00008", "step_00009"]
    saved(root, 12)
    checkpoint.prune(root, keep=1, best=None)
    assert steps_of(root) == [12]
    assert not (root / "step_00004").is_symlink() and (elsewhere / "whole.json").is_file()


@pytest.mark.parametrize("part, value", [("files", None), ("files", []), ("step", "8"), ("fingerprint", None)])
def test_a_seal_of_another_shape_is_none(tmp_path, part, value):
    seal = saved(tmp_path, 8) / "whole.json"
    seal.write_text(json.dumps(json.loads(seal.read_text()) | {part: value}))
    assert steps_of(tmp_path) == []


def test_the_best_is_one_that_was_saved():
    rows = {"a": np.array([1.0, 0.0]), "b": np.array([1.0, 1.0])}
    worse = {"a": np.array([0.0, 0.0]), "b": np.array([1.0, 1.0])}
    assert steps.better(None, 4, {}) is None  # not evaluated at this step, or without an outcome
    best = steps.better(None, 4, rows)
    assert best == (0.75, 4)
    assert steps.better(best, 8, worse) == steps.better(best, 8, rows) == (0.75, 4)
    assert steps.better(steps.better(None, 4, worse), 8, rows) == (0.75, 8)


@pytest.mark.parametrize(
    "section, value, same",
    [
        ("distributed", {"ray_address": "10.0.0.2:6379", "nodes": 4}, True),
        ("rollouts", {"memory": 0.5, "slots": 8}, True),
        ("admission", {"max_errors": 1.0}, True),
        ("rollouts", {"max_lag": 1}, False),
        ("distributed", {"processes": 2}, False),
    ],
)
def test_a_scheduler_s_next_job_goes_on_with_the_run(here, section, value, same):
    was = config.load("small.yaml", ["distributed.ray_address='10.0.0.1:6379'"])
    now = was.model_copy(update={section: getattr(was, section).model_copy(update=value)})
    made = synthetic.run(here / "run", steps=8, config=config.dump(was)).path
    saved(made / "checkpoints", 8, **order.fingerprint(was))
    (found,) = checkpoint.whole(made / "checkpoints")
    if same:
        assert checkpoint.load(found, order.fingerprint(now)) == {"step": 8}
    else:
        with pytest.raises(ValueError, match=f"{section}.{next(iter(value))} was"):
            checkpoint.load(found, order.fingerprint(now))


def test_a_checkpoint_of_before_a_key_was_free_is_still_the_run_s(tmp_path):
    saved(tmp_path, 4, **{"rollouts.slots": 64, "run.seed": 0})
    (found,) = checkpoint.whole(tmp_path)
    assert checkpoint.load(found, {"run.seed": 0}) == {"step": 4}


def test_a_file_where_checkpoints_belong_is_refused_before_anything_is_cut_back(here):
    loaded = config.load("small.yaml")
    made = synthetic.run(here / "run", steps=8, config=config.dump(loaded)).path
    (made / "checkpoints").write_text("")
    with pytest.raises(ValueError, match=r"checkpoints is a file.*move it away"):
        order.place(loaded, "small", resume=str(made), asked=None, faults=(), held=contextlib.ExitStack())
    assert load_run(made).metrics["step"].max() == 8


def test_a_moved_run_is_gone_on_with_where_it_is(here):
    loaded = config.load("small.yaml", ["run.dir=before"])
    made = synthetic.run(here / "run", steps=8, config=config.dump(loaded)).path
    with pytest.raises(ValueError, match=r"run.dir=null run.name=null where that run was moved"):
        order.place(loaded, "small", resume=str(made), asked=None, faults=(), held=contextlib.ExitStack())


def test_what_was_torn_and_a_start_over_are_told(here):
    loaded = config.load("small.yaml")
    made = synthetic.run(here / "run", steps=8, config=config.dump(loaded)).path
    saved(made / "checkpoints", 4)
    (saved(made / "checkpoints", 8) / "whole.json").unlink()
    (note,) = order._cut_back(made, 4, loaded)
    assert note == "not whole and removed: step_00008; its steps are done again"
    assert order._cut_back(made, 4, loaded) == []
    shutil.rmtree(made / "checkpoints")
    (note,) = order._cut_back(made, -1, loaded)
    assert note.endswith("run has no whole checkpoint: it begins anew, at step 1")
    assert len(load_run(made).metrics) == 0
