"""What trackers get: the curves' own names in the table's order, pictures, completions with coloured tokens."""

import contextvars
import json
import re
import struct
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import completion, group, record, run
from tiny import config

from rltrain import rollout_table, tracking
from rltrain.check.writable import check_trackers
from rltrain.metrics import METRICS
from rltrain.records import load_run
from rltrain.tracking import Guarded, Several, Tracker


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Nobody is logged in anywhere."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def records(path: Path) -> list:
    """What wandb wrote offline: LevelDB's log format behind seven bytes, a message a record."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, found, part = path.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:  # no header is cut by the end of a block
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + length > len(data):
            break  # wandb's process is still writing it
        part, at = part + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last piece
            found.append(Record.FromString(part))
            part = b""
    return found


def test_wandb_has_the_curves_in_our_order_with_pictures_and_completions(offline, tmp_path):
    made = run(tmp_path / "quick-001", 6)
    made.write_rollouts(record(6, *(group(i, (i / 9, i / 9 + 0.05)) for i in range(5))))
    made.flush()
    notes = []
    tracker = Tracker.open(True, made.path, "quick-001", {"run": {"seed": 0}}, notes.append)
    for step in (5, 6):
        tracker.log(step, {"reward/mean": step / 10, "reward/mean@sums": 0.5, "engine/idle_s@engine-0": 1.0})
    tracker.checkpoint(6, made.path, last=False)
    tracker.checkpoint(7, made.path, last=False)
    (told,) = tracker.told()
    tracker.close()
    assert notes == []
    place = Path(re.fullmatch(r"wandb +offline in (\S+); send it with: \S*wandb sync \1", told)[1])
    assert place == made.path / "wandb"  # and not a part of it: wandb takes the parts of a resumed run in their order
    (file,) = place.glob("offline-run-*/*.wandb")
    while "exit" not in [one.WhichOneof("record_type") for one in records(file)]:
        time.sleep(0.05)  # wandb's own process writes the rest
    found = records(file)
    defined = [one.metric.name or one.metric.glob_name for one in found if one.WhichOneof("record_type") == "metric"]
    assert [name for name in defined if name in METRICS] == list(METRICS)
    assert {"step", "*", "reward/mean@*"} <= set(defined)
    lines = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in one.history.item}
        for one in found
        if one.WhichOneof("record_type") == "history"
    ]
    assert [line["reward/mean"] for line in lines if "reward/mean" in line] == [0.5, 0.6]
    pictures = next(line for line in lines if "rollouts/picked/path" in line)
    assert pictures["step"] == 6 and any(name.startswith("views/") for name in pictures)
    page = next(place.rglob(Path(pictures["rollouts/picked/path"]).name)).read_text(encoding="utf-8")
    assert page.count("<tr>") == 1 + 3 * rollout_table.EACH and "sums/4" in page
    assert sum(any(name.startswith("views/") for name in line) for line in lines) == 1, "not again until step 12"


def test_the_table_has_the_worst_the_best_and_some_by_chance():
    frame = _rollouts([0.5, 0.1, 0.9, None, 0.3, 0.7, 0.2])
    rows = rollout_table.rows(frame)
    assert [(row["pick"], row["reward"]) for row in rows[:4]] == [
        ("worst", 0.1),
        ("worst", 0.2),
        ("best", 0.9),
        ("best", 0.7),
    ]
    assert [row["pick"] for row in rows[4:]] == ["random"] * 2
    assert len({row["task_key"] for row in rows}) == 6, "no completion twice"
    assert rows == rollout_table.rows(frame), "the same ones again"
    assert list(rows[0]) != [] and set(rollout_table.COLUMNS) == set(rows[0])


def test_the_worst_is_judged_and_has_the_lowest_outcome():
    frame = _rollouts([0.5, None, 0.9, 0.1]).assign(reward=[0.2, 0.0, 0.9, 0.6])  # as a failed judgement is written
    picks = {row["task_key"]: row["pick"] for row in rollout_table.rows(frame)}
    assert picks == {"sums/3": "worst", "sums/0": "worst", "sums/2": "best", "sums/1": "random"}


@pytest.mark.parametrize("rewards", [[], [0.5], [0.5, 0.5, 0.5], [None, None]])
def test_a_step_with_few_completions(rewards):
    assert len(rollout_table.rows(_rollouts(rewards))) == len(rewards)


def test_a_token_s_colour_is_its_entropy_and_its_numbers_are_said():
    row = {
        "token_text": np.array(["So ", "we\n", "4"]),
        "entropy": np.array([3.0, 0.0, np.nan]),
        "logprob": np.array([-0.5, -0.25, -1.0]),
        "train_logprob": None,
        "ratio": np.array([1.0, 1.0]),  # of another length: not this completion's
        "token_advantage": np.array([0.5, -0.5, 0.0]),
        "planning": np.array([True, False, False]),
    }
    first, second, third = re.findall(r"<span.*?</span>", rollout_table.tokens(row), re.DOTALL)
    assert "0.75)" in first and "underline" in first and "So " in first
    assert 'title="entropy 3.00 nats, log p -0.50, advantage +0.500, planning"' in first
    assert "0.00)" in second and "we\u21b5\n" in second and "underline" not in second
    assert "0.00)" in third and "nan" in third
    without = rollout_table.tokens(row | {"entropy": None, "planning": None})
    assert "0.12)" in without, "surprise where there is no entropy"
    assert rollout_table.tokens({**dict.fromkeys(row), "token_text": None}).endswith("<i></i></div>")


def test_a_tracker_that_fails_is_off_and_the_others_go_on():
    class Fails(Tracker):
        def log(self, step, metrics):
            raise OSError("disk")

        def checkpoint(self, step, run_dir, *, last):
            raise ValueError("no picture")

    class Keeps(Tracker):
        def __init__(self):
            self.steps = []

        def log(self, step, metrics):
            self.steps.append(step)

    notes, keeps = [], Keeps()
    trackers = Several([Guarded("one", Fails(), notes.append), Guarded("two", keeps, notes.append)])
    for step in (1, 2):
        trackers.checkpoint(step, Path(), last=False)
        trackers.log(step, {})
    trackers.close()
    assert keeps.steps == [1, 2] and trackers.told() == []
    assert notes == [
        "pictures and completions for one are off from step 1 on: ValueError: no picture",
        "one is off from step 1 on: OSError: disk",
    ]


def test_a_tracker_finishes_in_the_context_it_was_begun_in():
    """As trackio does, which finds its run in a context variable and nowhere else."""
    begun = contextvars.ContextVar("begun")
    notes, closed = [], []

    class Contextual(Tracker):
        def close(self):
            closed.append(begun.get())

    begun.set("here")
    Guarded("trackio", Contextual(), notes.append).close()
    assert closed == ["here"] and notes == []


def test_a_tracker_that_does_not_finish_is_left_behind(monkeypatch):
    import threading

    class Hangs(Tracker):
        def close(self):
            threading.Event().wait()

    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.05)
    notes = []
    Guarded("wandb", Hangs(), notes.append).close()
    assert notes == ["wandb did not finish in 0.05 s; what it has not sent is still on disk"]


def test_a_tracker_that_is_not_installed_is_refused_before_a_run(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"run.report_to: trackio is not installed; pip install trackio, or leave"):
        check_trackers(config(run={"report_to": ["trackio"]}))


def _rollouts(rewards) -> pd.DataFrame:
    """Rollouts as they are read, one completion a reward."""
    from rltrain.records.table import rollout_table as table
    from rltrain.types import StepRecord

    groups = [group(i, (reward,), completions=(completion(),)) for i, reward in enumerate(rewards)]
    made = record(3, *groups) if groups else StepRecord(3, (), {}, {})
    frame = table(made).to_pandas()
    frame["reward"] = np.array([np.nan if reward is None else reward for reward in rewards], float)
    return frame


def test_the_views_a_tracker_draws_are_those_of_the_run(tmp_path):
    files = load_run(run(tmp_path / "r").path)
    assert set(files.figures()) and all(figures for figures in files.figures().values())
