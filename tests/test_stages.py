"""Where the time goes, and what is said when nothing moves."""

from __future__ import annotations

import time
from functools import partial

import pytest

from rltrain.build import stuck
from rltrain.console import Console
from rltrain.records import RunDir, load_run
from rltrain.stages import Stages


@pytest.mark.parametrize(("recorded", "under_way"), [([], 0), ([0, 1, 2], 3)], ids=["at the start", "after step 2"])
def test_a_stage_in_which_nothing_moves_is_told_once_with_its_step(tmp_path, recorded, under_way):
    directory = RunDir.create(tmp_path / "run", "", {})
    for step in recorded:
        directory.log_metrics(step, {"reward/mean": 0.5})
    stages = Stages(0.05, partial(stuck, directory, Console(live=False)))
    with stages("rollout"):
        deadline = time.monotonic() + 30
        while not load_run(directory.path).events and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
    stages.close()
    (event,) = load_run(directory.path).events
    assert (event.step, event.name, event.evidence["stage"]) == (under_way, "stuck", "rollout")
    assert "test_stages.py" in event.evidence["stacks"]


def test_seconds_of_a_stage_inside_another_are_counted_once():
    stages, begun = Stages(60.0, print), time.monotonic()
    with stages("rollout"), stages("score"):
        time.sleep(0.05)
    elapsed = time.monotonic() - begun
    stages.close()
    taken = stages.take()
    assert taken["time/score_s"] >= 0.05 and sum(taken.values()) <= elapsed
    assert not stages.take()
