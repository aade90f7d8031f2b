"""A run directory: written whole, read tolerantly, cut back exactly, and never taken over."""

import errno
import io
import json
import os
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest
from rich.console import Console
from synthetic import completion, group, record, run

import rltrain
from rltrain import plugins
from rltrain.records import RunDir, load_run, newest, next_name, taken
from rltrain.records.table import COLUMNS, schema
from rltrain.status import render
from rltrain.types import Event, StepRecord


@pytest.fixture
def fresh(tmp_path) -> RunDir:
    made = RunDir.create(tmp_path / "runs" / "a", "run: {seed: 3}\n", {"git": "abc"})
    yield made
    made.close()


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def replaced(text: str) -> str:
    """The text as UTF-8 can carry it."""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


# --- metrics, events, manifest -------------------------------------------------------------------


def test_metrics_are_flat_strict_json(fresh):
    fresh.log_metrics(1, {"reward/mean": np.float32(0.5), "loss/total": float("nan"), "tokens/step": np.int64(7)})
    text = (fresh.path / "metrics.jsonl").read_text()
    assert text == '{"step": 1, "reward/mean": 0.5, "loss/total": null, "tokens/step": 7}\n'


def test_an_event_with_any_evidence_is_written(fresh):
    evidence = MappingProxyType({"path": Path("x"), "p": np.float64("inf"), "ids": np.arange(2), "text": "\ud800\x00"})
    fresh.log_event(Event(2, "restart", "warning", evidence, "wait"))
    (event,) = load_run(fresh.path).events
    assert event.evidence == {"path": "x", "p": None, "ids": [0, 1], "text": "\ufffd\x00"}
    assert (event.step, event.name, event.severity, event.advice) == (2, "restart", "warning", "wait")


def test_the_manifest_grows(fresh):
    fresh.update_manifest(weights="d9")
    assert load_run(fresh.path).manifest == {"git": "abc", "weights": "d9"}


def test_load_run_is_at_the_top_of_the_package(fresh):
    assert rltrain.load_run(fresh.path).config == {"run": {"seed": 3}}


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.html", "diagnosis.json", "model"])
def test_files_that_a_run_would_write_over_make_a_directory_taken(tmp_path, name):
    (tmp_path / "mine").mkdir()
    assert not taken(tmp_path / "mine")
    (tmp_path / "mine" / name).write_text("precious")
    assert taken(tmp_path / "mine")


def test_a_taken_directory_is_refused_and_untouched(fresh):
    with pytest.raises(ValueError, match="taken"):
        RunDir.create(fresh.path, "other", {})
    assert (fresh.path / "config.yaml").read_text() == "run: {seed: 3}\n"
    with pytest.raises(ValueError, match="taken"):
        RunDir.create(fresh.path / "config.yaml", "other", {})


def test_names_count_up_and_are_reserved(tmp_path):
    assert [next_name(tmp_path, "quick") for _ in range(2)] == ["quick-001", "quick-002"]
    (tmp_path / "quick-twin-009").mkdir()
    (tmp_path / "quick-1000").mkdir()
    assert next_name(tmp_path, "quick") == "quick-1001"
    assert newest(tmp_path, "quick") is None  # reserved, but no run yet
    RunDir.create(tmp_path / "quick-002", "", {})
    RunDir.create(tmp_path / "quick-001", "", {})
    assert newest(tmp_path, "quick") == tmp_path / "quick-002"
    assert taken(tmp_path / "quick-001") and not taken(tmp_path / "quick-1000")


# --- rollouts ------------------------------------------------------------------------------------


def test_the_file_has_exactly_the_schema(fresh):
    fresh.write_rollouts(record(12, group(7), group(8, admitted=False)))
    fresh.flush()
    path = fresh.path / "rollouts" / "step_00012.parquet"
    assert parquet.read_schema(path).equals(schema())
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    frame = load_run(fresh.path).rollouts()
    assert list(frame.columns) == list(COLUMNS) and len(frame) == 4
    first, rejected = frame.iloc[0], frame.iloc[2]
    assert (first["step"], first["group"], first["task_key"], first["admitted"]) == (12, 7, "sums/7", True)
    assert json.loads(first["prompt"]) == [{"role": "user", "content": "1 + 3?"}]
    assert json.loads(first["values"]) == {"exact": 0.0, "format": 0.5}
    assert first["entropy"].tolist() == [2, 2, 1, 1, 1] and first["planning"].tolist() == [True, True] + [False] * 3
    assert rejected["reject_reason"] == "zero variance" and rejected["outcome"] == 0.0
    trainer = ["advantage", "baseline", "scale", "train_logprob", "ratio", "loss_mask", "entropy", "token_advantage"]
    assert rejected[trainer].isna().all() and rejected["logprob"].tolist() == [-0.5] * 5


@pytest.mark.parametrize(
    "text",
    ["", "plain words", "naïve \U0001f600 日本", "nul \x00 and \r\n tab\t", "lone \ud83d surrogate \udfff", "|\u2028|"],
)
def test_token_text_joins_to_the_completion(fresh, text):
    odd = completion(text, pieces=4)
    empty = completion("", pieces=0)
    fresh.write_rollouts(record(1, group(completions=(empty, odd, completion("after", 2)), outcomes=(0, 1, 1))))
    fresh.flush()
    frame = load_run(fresh.path).rollouts([1])
    assert frame["completion"][1] == replaced(text)
    for row in frame.itertuples():
        assert "".join(row.token_text) == row.completion
    assert [len(t) for t in frame["token_text"]] == [0, 4, 2]
    assert frame["token_text"][1].tolist() == [replaced(piece) for piece in odd.token_text()]


def test_a_step_without_groups_or_scores_is_a_file_too(fresh):
    fresh.write_rollouts(StepRecord(1, (), {}, {}))
    fresh.write_rollouts(record(2, group(3, outcomes=(), completions=(completion(),), planning=(np.ones(5, bool),))))
    fresh.flush()
    frame = load_run(fresh.path).rollouts()
    assert len(frame) == 1 and pd.isna(frame["reward"][0]) and pd.isna(frame["advantage"][0])


def test_errors_and_missing_outcomes_stay_apart(fresh):
    failed = group(1, outcomes=(None, 1.0))
    fresh.write_rollouts(record(1, failed))
    fresh.flush()
    frame = load_run(fresh.path).rollouts()
    assert frame["error"][0] == "TimeoutError: 10 s" and pd.isna(frame["error"][1])
    assert np.isnan(frame["outcome"][0]) and frame["outcome"][1] == 1.0


def test_a_full_disk_reaches_the_caller_once_and_leaves_no_part(fresh, monkeypatch):
    def full(table, where, **_):
        Path(where).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(parquet, "write_table", full)
    fresh.write_rollouts(record(1))
    with pytest.raises(OSError, match=r"step_00001.parquet: cannot be written \(No space left.*--resume") as caught:
        fresh.flush()
    assert caught.value.errno == errno.ENOSPC
    assert not any((fresh.path / "rollouts").iterdir())
    monkeypatch.undo()
    fresh.write_rollouts(record(2))
    fresh.flush()
    assert load_run(fresh.path).rollouts()["step"].unique().tolist() == [2]


def test_a_fault_in_the_writer_is_raised_at_the_next_line(fresh):
    wrong = completion("abc", 1)
    wrong.offsets[-1] = 2
    fresh.write_rollouts(record(1, group(completions=(wrong, wrong))))
    fresh._writer._jobs.join()
    with pytest.raises(AssertionError, match="end at 2, the text has 3"):
        fresh.log_metrics(1, {})


def test_decisions_of_any_shape_are_a_table(fresh):
    rows = [{"task": "a", "p": 1, "why": {"x": 1}}, {"task": "\ud800", "p": 0.5, "mixed": 1}, {"mixed": "b"}]
    fresh.write_curriculum(3, rows)
    fresh.write_curriculum(4, [])
    fresh.flush()
    frame = load_run(fresh.path).curriculum()
    assert frame["p"].tolist()[:2] == [1.0, 0.5] and frame["why"][0] == '{"x": 1}'
    assert frame["mixed"].tolist()[1:] == ["1", '"b"']
    assert [p.name for p in (fresh.path / "curriculum").iterdir()] == ["step_00003.parquet"]


# --- crash and resume ----------------------------------------------------------------------------


def test_cut_drops_what_came_after_and_torn_lines(fresh):
    for step in range(4):
        fresh.log_metrics(step, {"reward/mean": step})
        fresh.log_event(Event(step, "tick", "info", {}, ""))
        fresh.write_rollouts(record(step))
        fresh.write_curriculum(step, [{"task": "a"}])
    fresh.flush()
    with open(fresh.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 1, "reward/mean": 0.\xff')
    (fresh.path / "rollouts" / ".step_00009.parquet.tmp").write_bytes(b"half")
    again = RunDir.open(fresh.path)
    again.cut(2)
    assert [row["step"] for row in lines(fresh.path / "metrics.jsonl")] == [0, 1, 2]
    assert [row["step"] for row in lines(fresh.path / "events.jsonl")] == [0, 1, 2]
    for folder in ("rollouts", "curriculum"):
        assert sorted(p.name for p in (fresh.path / folder).iterdir()) == [f"step_0000{i}.parquet" for i in range(3)]
    again.cut(2)
    again.log_metrics(3, {"reward/mean": 9})
    assert load_run(fresh.path).metrics["reward/mean"].tolist() == [0, 1, 2, 9]


def test_a_line_after_a_torn_one_stands_alone(fresh):
    (fresh.path / "metrics.jsonl").write_bytes(b'{"step": 1, "rew')
    fresh.log_metrics(2, {"reward/mean": 1.0})
    assert load_run(fresh.path).metrics["step"].tolist() == [2]


def test_lines_of_one_step_complete_each_other(fresh):
    fresh.log_metrics(0, {"eval/outcome": 0.1})
    fresh.log_metrics(5, {"reward/mean": 0.5, "loss/total": None})
    fresh.log_metrics(5, {"eval/outcome": 0.6})
    frame = load_run(fresh.path).metrics
    assert frame["step"].tolist() == [0, 5] and frame["eval/outcome"].tolist() == [0.1, 0.6]
    assert pd.isna(frame["loss/total"]).all() and frame["loss/total"].dtype == float


def test_a_half_written_run_reads(tmp_path):
    made = run(tmp_path / "r")
    (made.path / "events.jsonl").unlink()
    (made.path / "manifest.json").unlink()
    (made.path / "rollouts").mkdir()
    (made.path / "rollouts" / "step_00001.parquet").write_bytes(b"PAR1")
    files = load_run(made.path)
    assert files.events == [] and files.manifest == {} and len(files.metrics) == 13
    with pytest.warns(UserWarning, match="left out"):
        assert list(files.rollouts().columns) == list(COLUMNS)


@pytest.mark.parametrize("damage", [b"training: {steps: 5", b"\xff\xfe", b"trai", b"- 1\n"])
def test_a_damaged_config_is_a_note_and_the_rest_reads(tmp_path, damage):
    made = run(tmp_path / "r")
    (made.path / "config.yaml").write_bytes(damage)
    files = load_run(made.path)
    (note,) = files.notes
    assert "config.yaml cannot be read" in note and "\n" not in note
    assert (files.config, files.planned_steps, files.diagnostics, len(files.metrics)) == ({}, None, [], 13)
    screen = Console(width=200, file=io.StringIO())
    screen.print(render(files))
    assert "cannot be read" in screen.file.getvalue() and "step 12" in screen.file.getvalue()


@pytest.mark.parametrize("damage", [b'{"git": "a', b"\xff\xfe", b"[1]", b""])
def test_a_damaged_manifest_is_a_note_and_the_rest_reads(tmp_path, damage):
    made = run(tmp_path / "r")
    (made.path / "manifest.json").write_bytes(damage)
    files = load_run(made.path)
    (note,) = files.notes
    assert "manifest.json cannot be read" in note and "\n" not in note
    assert files.manifest == {} and files.config == {"run": {"seed": 0}}
    screen = Console(width=200, file=io.StringIO())
    screen.print(render(files))
    assert "manifest.json cannot be read" in screen.file.getvalue()
    report = plugins.resolve("html", "rltrain.reports")([made.path], tmp_path / "report.html")
    assert "manifest.json cannot be read" in report.read_text(encoding="utf-8")
    made.update_manifest(improvement=1)  # a run that ends writes it again
    assert load_run(made.path).manifest == {"improvement": 1}


def test_a_torn_config_that_is_still_yaml_reads_as_far_as_it_goes(tmp_path):
    made = run(tmp_path / "r", 1, config="diagnostics:\n- use: reward\n- us\ntraining: ste\n")
    files = load_run(made.path)
    assert (files.notes, files.planned_steps, files.diagnostics) == ([], None, ["reward"])


def test_no_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such directory"):
        load_run(tmp_path / "none")
    run(tmp_path / "mine", 1)
    with pytest.raises(ValueError, match=r"none of config\.yaml.*runs in it: mine"):
        load_run(tmp_path)
