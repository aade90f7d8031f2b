"""Following a run that is being written: only what is new is read, and a run that is cut back is read anew."""

import json
import os

from rltrain.records import FollowedRun, RunDir, load_run
from rltrain.records.lines import Tail
from rltrain.types import Event


def read(tail: Tail) -> tuple[list[dict], bool]:
    found, anew = tail.read()
    return list(found), anew


def test_a_followed_run_holds_what_a_loaded_one_holds(tmp_path):
    run = RunDir.create(tmp_path / "a", "training: {steps: 3}\n", {})
    followed = FollowedRun(run.path)
    assert followed.refresh() and not followed.refresh() and followed.metrics.empty
    for step in (1, 2, 3):
        run.log_metrics(step, {"reward/mean": step / 10, **({"eval/outcome": 0.5} if step == 3 else {})})
        run.log_event(Event(step, "tick", "warning", {"step": step}, "look"))
        assert followed.changed() and followed.refresh()
        assert followed.metrics.equals(load_run(run.path).metrics)
        assert followed.events == load_run(run.path).events
    assert followed.planned_steps == 3


def test_only_what_is_new_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n')
    tail = Tail(path)
    assert read(tail) == ([{"step": 1}, {"step": 2}], False)
    with open(path, "r+b") as file:  # what was read may be overwritten: it is not looked at again
        file.write(b"X" * 12)
    with open(path, "a") as file:
        file.write('{"step": 3}\n')
    assert read(tail) == ([{"step": 3}], False)
    assert read(tail) == ([], False)


def test_a_line_in_the_making_waits_and_a_torn_one_is_passed_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert read(tail) == ([], False)
    path.write_bytes(b'{"step": 1}\n{"st')
    assert read(tail) == ([{"step": 1}], False)
    with open(path, "ab") as file:
        file.write(b'ep": 2}\n{"torn\n\xff\xfe\n{"step": 3}')
    assert read(tail) == ([{"step": 2}, {"step": 3}], False)
    with open(path, "ab") as file:
        file.write(b'\n{"step": 4}\n')
    assert read(tail) == ([{"step": 4}], False)


def test_a_run_that_is_cut_back_is_read_anew(tmp_path):
    run = RunDir.create(tmp_path / "a", "", {})
    for step in range(1, 6):
        run.log_metrics(step, {"reward/mean": float(step)})
        run.log_event(Event(step, "tick", "info", {}, ""))
    followed = FollowedRun(run.path)
    followed.refresh()
    run.cut(2)
    run.log_metrics(3, {"reward/mean": 30.0})
    followed.refresh()
    assert followed.metrics["reward/mean"].tolist() == [1.0, 2.0, 30.0]
    assert [event.step for event in followed.events] == [1, 2]


def test_lines_of_one_step_complete_each_other_over_looks(tmp_path):
    run = RunDir.create(tmp_path / "a", "", {})
    followed = FollowedRun(run.path)
    run.log_metrics(1, {"reward/mean": 0.5})
    followed.refresh()
    run.log_metrics(1, {"eval/outcome": 0.25})
    followed.refresh()
    assert json.loads(followed.metrics.to_json(orient="records")) == [
        {"step": 1, "reward/mean": 0.5, "eval/outcome": 0.25}
    ]


def test_other_files_are_read_again_when_they_change(tmp_path):
    run = RunDir.create(tmp_path / "a", "training: {steps: 3}\n", {})
    followed = FollowedRun(run.path)
    followed.refresh()
    before = followed.version
    assert followed.planned_steps == 3
    run.rewrite_config("training: {steps: 9}\n")
    assert followed.refresh() and followed.planned_steps == 9 and followed.version != before
    os.remove(run.path / "config.yaml")
    assert followed.refresh() and followed.planned_steps is None
    again = FollowedRun(run.path)
    again.refresh()
    assert again.version == followed.version
