"""A run with lost lines, torn ends, folders in place of files: shown as far as it goes, and what is missing is said."""

import io
import json
import math
import os
import subprocess
import sys
import time

import pytest
from rich.console import Console
from rollouts import rollout_run
from synthetic import run

from diagnostics.report.html import write_report
from diagnostics.report.verdicts import verdict
from rltrain import cli
from rltrain.records import FollowedRun, RunDir, load_run, pulse
from rltrain.records.damage import gaps, no_completions, no_lines, unread
from rltrain.status import render
from rltrain.types import Event


def screen(files) -> str:
    out = Console(width=200, file=io.StringIO())
    out.print(render(files))
    return out.file.getvalue()


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], []),
        ([7], []),
        (range(13), []),
        ([0, 1, 2, 5, 6, 7, 11], [(3, 4), (8, 10)]),
        ([4, 5, 6, 7], [(1, 3)]),
        ([10, 20, 30, 60, 70], [(40, 50)]),
        ([3, 3, 4, 5], [(1, 2)]),
    ],
)
def test_gaps_are_steps_that_a_row_lacks(steps, found):
    assert gaps(steps) == found


def test_what_is_missing_is_named_and_counted():
    assert no_lines([*range(1, 41), *range(61, 75), *range(76, 80)], []) == [
        "metrics.jsonl has no line of steps 41 to 60 and 75: curves and sums are without them"
    ]
    assert no_lines([1, 3, 4, 5], [])[0].startswith("metrics.jsonl has no line of step 2:")
    assert no_lines([*range(1, 20, 2), *range(19, 99)], [])[0].count("and 5 more stretches") == 1
    assert no_lines([], [1, 2]) == ["metrics.jsonl holds no step, but there are completions up to step 2: it was lost"]
    assert no_lines([1, 2, 3], [1, 2, 9]) == ["metrics.jsonl ends at step 3, the completions at step 9"]
    assert no_lines([1, 2, 3], [1, 2, 3, 4]) == [] == no_completions([1, 2, 3])
    assert no_completions([1, 2, 5]) == ["There are no completions of steps 3 to 4"]
    assert unread({f"f{i}": "torn" for i in range(6)})[0].endswith("f3 (torn) and 2 more")


# --- files ---------------------------------------------------------------------------------------


def test_a_whole_run_lacks_nothing(tmp_path):
    assert load_run(run(tmp_path / "a").path).notes == []
    assert load_run(RunDir.create(tmp_path / "b", "", {}).path).notes == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl", "config.yaml", "manifest.json", "diagnosis.json"])
def test_a_file_that_cannot_be_opened_stops_neither_report_nor_status(tmp_path, name, capsys):
    made = run(tmp_path / "a")
    (made.path / name).unlink(missing_ok=True)
    (made.path / name).mkdir()  # for root too no file to read
    said = f"{name} cannot be read (Is a directory); this is what the other files say"
    assert said in load_run(made.path).notes
    assert said in write_report([made.path], tmp_path / "r.html").read_text()
    assert cli.main(["status", str(made.path)]) == 0
    assert f"{name} cannot be read" in capsys.readouterr().out
    followed = FollowedRun(made.path)
    assert followed.refresh() and said in followed.notes


def test_lost_and_torn_lines_are_told(tmp_path):
    made = run(tmp_path / "a", 12)
    lines = (made.path / "metrics.jsonl").read_text().splitlines()
    kept = [*lines[:4], lines[4][: len(lines[4]) // 2], *lines[7:], lines[-1].replace('"step": 12', '"step": 13')[:40]]
    (made.path / "metrics.jsonl").write_text("\n".join(kept))
    (made.path / "manifest.json").unlink()
    files = load_run(made.path)
    assert files.notes == [
        "No manifest.json: the versions, the commit and the machine are not known",
        "Damaged lines of metrics.jsonl, which are left out: 1",
        "The last line of metrics.jsonl is cut off: it is being written, or the run ended while it wrote",
        "metrics.jsonl has no line of steps 4 to 6: curves and sums are without them",
    ]
    told = verdict(files)
    assert told["missing"][-1] == "metrics.jsonl has no line of steps 4 to 6: curves and sums are without them."
    text = write_report([made.path], tmp_path / "r.html").read_text()
    assert "What is missing" in text and all(note in text for note in files.notes)
    assert "no line of steps 4 to 6" in screen(files)


def test_a_torn_table_is_told_where_it_was_left_out(tmp_path):
    made = rollout_run(tmp_path / "a", 4)
    (made.path / "rollouts" / "step_00002.parquet").write_bytes(b"PAR1 torn")
    (made.path / "rollouts" / "step_00003.parquet").unlink()
    with pytest.warns(UserWarning, match="left out"):
        text = write_report([made.path], tmp_path / "r.html").read_text()
    assert "rollouts/step_00002.parquet" in text and "There are no completions of step 3" in text


def test_numbers_no_run_writes_are_left_out(tmp_path):
    made = run(tmp_path / "a", 3)
    with open(made.path / "metrics.jsonl", "a") as file:
        file.write('{"step": -1, "reward/mean": 1}\n{"step": ' + "9" * 30 + "}\n" + "[" * 100_000 + "\n")
        file.write('{"step": 3, "loss/total": ' + "9" * 400 + "}\n")
    (made.path / "diagnosis.json").write_text('{"phase": {"segments": 3, "onset_step": NaN, "interval": [1, NaN]}}')
    made.log_event(Event(3, "engine_restarted", "warning", {"engine": ["a"], "cause": {"b": 1}}, ""))
    made.log_event(Event(3, "order_forecast", "info", {"forecast": {"a": "x"}, "came": {"a": "y"}}, ""))
    files = load_run(made.path)
    assert files.metrics["step"].tolist() == [0, 1, 2, 3] and "Damaged lines" in files.notes[0]
    assert "step 3" in screen(files) and write_report([made.path], tmp_path / "r.html").is_file()


def test_numbers_that_another_program_wrote_are_read_or_named(tmp_path):
    """A table that went through a spreadsheet: steps as 4.0, values as text, a line without its step."""
    made = run(tmp_path / "a", 3)
    with open(made.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4.0, "reward/mean": 0.5}\n{"step": 5, "reward/mean": "0.6"}\n{"reward/mean": 0.7}\n')
    files = load_run(made.path)
    rewards = files.metrics.set_index("step")["reward/mean"]
    assert rewards[4] == 0.5 and math.isnan(rewards[5]) and files.metrics["step"].max() == 5
    assert files.notes[-2:] == [
        "Lines of metrics.jsonl without a step, which are left out: 1",
        "metrics.jsonl holds values that are no numbers, which are left out: reward/mean",
    ]


# --- events of one name --------------------------------------------------------------------------


def findings(tmp_path, *events) -> list[str]:
    made = RunDir.create(tmp_path / "a", "", {})
    for event in events:
        made.log_event(event)
    return verdict(load_run(made.path))["wrong"]


def lost(step: int, cause: str) -> Event:
    return Event(step, "engine_restarted", "warning", {"engine": "engine-0", "cause": cause}, "")


def test_causes_are_counted_each(tmp_path):
    told = findings(tmp_path, lost(3, "EngineDied"), lost(5, "stale"), lost(7, "stale"))
    assert told == [
        "An engine was replaced (engine-0: stale, 2 times; engine-0: EngineDied), 3 times, from step 3 to 7."
    ]


def test_one_cause_is_told_once(tmp_path):
    assert findings(tmp_path, lost(3, "stale"), lost(9, "stale")) == [
        "An engine was replaced (engine-0: stale), twice, from step 3 to 9."
    ]


def test_an_event_with_null_as_advice_advises_nothing(tmp_path):
    (RunDir.create(tmp_path / "a", "", {}).path / "events.jsonl").write_text(
        '{"step": 4, "name": "odd", "severity": "warning", "evidence": {}, "advice": null}\n'
    )
    assert load_run(tmp_path / "a").events[0].advice == ""


def test_an_event_of_step_0_is_before_the_first(tmp_path):
    stuck = Event(0, "stuck", "warning", {"stage": "rollout", "seconds": 1200, "stacks": "..."}, "see the stacks")
    told = findings(tmp_path, stuck, stuck)
    assert told[-1] == "A part of a step took very long (rollout, over 1,200 s), twice, before the first step."


# --- the pulse -----------------------------------------------------------------------------------


def test_a_run_beats_until_it_ends(tmp_path):
    assert pulse.look(tmp_path) is None
    with pulse.beating(tmp_path, every_s=0.01):
        before = (tmp_path / pulse.FILE).stat().st_mtime_ns
        os.utime(tmp_path / pulse.FILE, ns=(0, 0))
        deadline = time.monotonic() + 10
        while (tmp_path / pulse.FILE).stat().st_mtime_ns < before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / pulse.FILE).stat().st_mtime_ns >= before
        assert pulse.look(tmp_path, time.time() + 1e6) == "beating", "its process is seen on this machine"
    assert pulse.look(tmp_path) == "ended"


def test_a_killed_run_is_lost_once_its_last_beat_is_old(tmp_path):
    code = (
        "import os, sys, pathlib; from rltrain.records import pulse\n"
        "with pulse.beating(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert pulse.look(tmp_path, time.time() + pulse.LAST_S + 1) == "lost"
    assert json.loads((tmp_path / pulse.FILE).read_text())["pid"] != os.getpid()
    said = {"host": "elsewhere", "pid": os.getpid(), "began": 0}
    (tmp_path / pulse.FILE).write_text(json.dumps(said))
    assert pulse.look(tmp_path) == "beating" and pulse.look(tmp_path, time.time() + 1000) == "lost"
    (tmp_path / pulse.FILE).write_text("torn")
    assert pulse.look(tmp_path) is None
