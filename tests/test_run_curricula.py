"""Curricula in whole runs on the twin: begun with a probe of the base model, and stopped where nothing is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from rltrain import base_probe, build, checkpoint, config, launch, load_run
from rltrain.config import CurriculumSpec
from tests.test_curricula import Columns

BASE = ["run.console=false", "evaluation.prompts=0", "checkpoints.every=0", "diagnostics=[{use: reward}]"]
PROBED = "curriculum={use: 'curricula.difficulty:Difficulty', base_probe: 40}"


def train(directory: Path, *overrides: str, resume: bool = False) -> Path:
    loaded = config.load("quickstart", [*BASE, *overrides, f"run.dir={directory}"])
    launch.train(loaded, "quickstart", resume="" if resume else None, twin=True, faults=())
    return directory


def decided(run: Path) -> pd.DataFrame:
    return load_run(run).curriculum()


def test_a_probe_of_the_base_model_comes_before_step_1_and_is_not_done_twice(ray_session, tmp_path):
    whole = train(tmp_path / "whole", "training.steps=2", PROBED)
    rows = decided(whole)
    first = rows[(rows.step == 0) & (rows.action == "explore")]
    assert first.prompt.nunique() == 40 and rows.step.max() == 2
    (event,) = [event for event in load_run(whole).events if event.name == "base_probed"]
    assert event.step == 0 and event.evidence["prompts"] == 40 and 0 < event.evidence["outcome"] < 1
    assert set(rows[(rows.step == 1) & (rows.action == "learn")].prompt) <= set(first.prompt)  # known from the probe

    again = tmp_path / "again"  # as if killed before its first checkpoint, the probe's last batch torn
    shutil.copytree(whole, again)
    for name in ("checkpoints", "model"):
        shutil.rmtree(again / name)
    *kept, torn = sorted((again / base_probe.FOLDER).glob("*.pkl"))
    torn.rename(torn.with_suffix(".tmp"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    train(again, "training.steps=2", PROBED, resume=True)
    assert kept and [path.stat().st_mtime_ns for path in kept] == stamps and torn.exists()
    pd.testing.assert_frame_equal(decided(again), rows)


def test_groups_of_another_config_are_not_taken(tmp_path):
    run = type("R", (), {"fingerprint": {"model.path": "tiny"}})
    task = Columns(1)[0]
    base_probe._keep(run, tmp_path / "0.pkl", [task], [])
    assert base_probe._kept(run, tmp_path / "0.pkl", [task]) == []
    run.fingerprint = {"model.path": "other"}
    assert base_probe._kept(run, tmp_path / "0.pkl", [task]) is None


def test_where_nothing_is_left_to_learn_the_run_ends_in_order(ray_session, tmp_path):
    spec = "use: 'curricula.difficulty:Difficulty', low: 0.9, high: 0.95, confidence: 0.5, min_visits: 1, explore: 1.0"
    few = "tasks=[{use: reasoning_gym, args: {generator: chain_sum, size: 20}}]"
    stop = f"curriculum={{{spec}, when_empty: stop}}"
    run = train(tmp_path / "run", stop, few, "rewards=[{use: numeric}]", "training.steps=12")
    files = load_run(run)
    last = int(files.metrics.step.max())
    told = {event.name: event for event in files.events}
    assert last < 12 and told["nothing_learnable"].evidence["then"] == "stop"
    assert told["action"].evidence["do"] == "stop" and told["action"].evidence["cause"] == "nothing_learnable"
    assert [found.step for found in checkpoint.whole(run / "checkpoints")] == [last]
    assert (run / "report.html").exists()


def test_an_inner_curriculum_has_no_probe_of_its_own():
    inner = {"use": "curricula.uniform:Uniform", "base_probe": 8}
    spec = CurriculumSpec.model_validate({"use": "curricula.mixture:Mixture", "inner": inner})
    with pytest.raises(ValueError, match="give it to the outermost curriculum"):
        build.build_curriculum(spec, Columns(4), 0)
