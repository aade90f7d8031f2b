"""Console, status and tracker: what a person sees, and that nothing shown can hurt a run."""

import io
import math
import shlex
import sys

import pytest
from rich.console import Console as Terminal
from synthetic import run

from rltrain import screen
from rltrain.console import Console
from rltrain.records import RunDir, load_run
from rltrain.status import render
from rltrain.terminal import duration, number, printable, shares, sparkline, stage_seconds, typed
from rltrain.tracking import Tracker, logged_in, run_id
from rltrain.types import Event

STEP = {"reward/mean": 0.5, "throughput/tokens_per_s": 512.0, "time/step_s": 4.0, "time/train_s": 3.0}


class Screen(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """An output whose reader went away."""

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


# --- terminal ------------------------------------------------------------------------------------


def test_small_pictures():
    assert sparkline([0, 1, 2, 3]) == "▁▃▆█" and sparkline([1, 1]) == "▄▄"
    assert sparkline([0, None, math.nan, 1]) == "▁  █" and sparkline([None]) == "" == sparkline([])
    assert len(sparkline(range(1000), 30)) == 30
    assert [number(v) for v in (0.12345, 7890.4, 12.0, math.nan, None)] == ["0.123", "7,890", "12", "-", "-"]
    assert [duration(s) for s in (42, 185, 7800, None)] == ["42 s", "3 min 05 s", "2 h 10 min", "-"]
    assert shares({"a": 1.0, "b": 1.0, "c": 1.0}, 10) == {"a": 4, "b": 3, "c": 3} and shares({}, 10) == {}


def test_time_adds_up():
    rows = [
        {"time/step_s": 10.0, "time/train_s": 6.0, "time/eval_s": math.nan},
        {"time/step_s": 10.0, "time/train_s": 6.0},
    ]
    assert stage_seconds(rows) == {"train": 12.0, "other": 8.0}


def test_text_cannot_steer_a_terminal():
    assert printable("a\x1b[31m\u202eb\nc\ud800") == "a\ufffd[31m\ufffdb c\ufffd"
    assert printable("abcdef", 4) == "abc\u2026"


# --- console -------------------------------------------------------------------------------------


def test_one_plain_line_a_step_where_there_is_no_terminal():
    out = io.StringIO()
    console = Console(out=out)
    console.start("quick-001", 10, "GRPO")
    console.stage("loading", 0, 3)
    console.stage("loading", 1, 3)
    console.step(0, {"eval/outcome": 0.1})
    console.step(1, STEP)
    console.event(Event(1, "[red]x[/red]", "warning", {"engine": "e\x1b[2J0"}, "look"))
    console.note("two\nlines")
    console.finish(["bye"])
    assert out.getvalue().splitlines() == [
        "quick-001: 10 steps. GRPO",
        "loading ...",
        "step 0/10  held-out 0.1",
        "step 1/10  reward 0.5  tokens/s 512  36 s left",
        "step 1 warning [red]x[/red] (engine e\ufffd[2J0): look",
        "two",
        "lines",
        "bye",
    ]


def test_the_screen_shows_where_the_run_stands():
    console = Console(out=Screen())
    console.start("quick-001", 10, "GRPO [b]x[/b]")
    console.step(3, STEP)
    console.stage("evaluating", 3, 64)
    shown = io.StringIO()
    Terminal(file=shown, width=100).print(screen.Screen(console.view()))
    console.finish()
    text = shown.getvalue()
    for part in (
        "quick-001",
        "GRPO [b]x[/b]",
        "step 3/10",
        "28 s left",
        "reward",
        "0.5",
        "█ train 3 s",
        "evaluating 3/64",
    ):
        assert part in text, part
    assert "\x1b[?25h" in console._terminal.file.getvalue()  # the cursor is back


def test_a_step_with_nothing_or_nonsense_is_shown():
    for out in (Screen(), io.StringIO()):
        console = Console(out=out)
        console.start("a", 0)
        console.step(1, {"reward/mean": math.nan, "time/step_s": math.nan, "time/train_s": math.inf})
        console.step(2, {})
        console.finish()
        console.close()


@pytest.mark.parametrize("base", [Gone, type("GoneScreen", (Gone, Screen), {})])
def test_a_closed_window_does_not_end_a_run(base):
    console = Console(out=base())
    console.start("a", 2)
    console.step(1, STEP)
    console.note("x")
    console.finish(["bye"])


# --- status --------------------------------------------------------------------------------------


def shown(run_files) -> str:
    out = io.StringIO()
    Terminal(file=out, width=120).print(render(run_files))
    return out.getvalue()


def test_status_of_a_run(tmp_path):
    made = run(tmp_path / "quick-001", 12, config="training: {steps: 40}\n")
    text = shown(load_run(made.path))
    for part in ("quick-001", "step 12/40", "reward/outcome", "nats", "train 1.8 s", "engine_restarted", "<b>"):
        assert part in text, part


def test_status_of_a_run_that_has_just_begun(tmp_path):
    made = RunDir.create(tmp_path / "r", "", {})
    assert "no step has been written yet" in shown(load_run(made.path))
    made.log_metrics(0, {"eval/outcome": 0.5})
    assert "eval/outcome" in shown(load_run(made.path))


# --- wandb ---------------------------------------------------------------------------------------


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """No login anywhere."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_a_login_is_a_key_or_a_netrc_entry(nobody, monkeypatch):
    assert not logged_in()
    nobody.write_text("machine api.wandb.ai login user password x\n")
    assert logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert logged_in()


def test_without_a_login_it_writes_inside_the_run(nobody, tmp_path):
    notes = []
    tracker = Tracker.open(True, tmp_path, "quick-001", {"run": {"seed": 0}}, notes.append)
    tracker.log(1, {"reward/mean": 0.5, "loss/total": math.nan})
    tracker.close()
    tracker.close()
    tracker.log(2, {})
    assert list((tmp_path / "wandb").glob("offline-run-*")) and notes == []
    assert run_id(tmp_path) == run_id(tmp_path)


def test_a_failure_turns_it_off_with_one_note(nobody, tmp_path, monkeypatch):
    import wandb

    notes = []
    monkeypatch.setattr(wandb, "init", lambda **_: (_ for _ in ()).throw(RuntimeError("no")))
    tracker = Tracker.open(True, tmp_path, "a", {}, notes.append)
    tracker.log(1, {})
    tracker.close()
    assert notes == ["wandb is off: RuntimeError: no"]


def test_what_fails_under_way_fails_once(nobody, tmp_path, monkeypatch):
    import wandb

    class Broken:
        def define_metric(self, *_, **__): ...
        def log(self, _):
            raise OSError("disk")

    notes = []
    monkeypatch.setattr(wandb, "init", lambda **_: Broken())
    tracker = Tracker.open(True, tmp_path, "a", {}, notes.append)
    tracker.log(1, {})
    tracker.log(2, {})
    tracker.close()
    assert notes == ["wandb is off from step 1 on: OSError: disk"]


def test_online_that_cannot_be_reached_goes_offline(nobody, tmp_path, monkeypatch):
    import wandb

    modes, notes = [], []

    def init(mode, **_):
        modes.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("timed out")
        return type("Run", (), {"define_metric": lambda *_, **__: None, "finish": lambda _: None})()

    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setattr(wandb, "init", init)
    Tracker.open(True, tmp_path, "a", {}, notes.append).close()
    assert modes == ["online", "offline"] and len(notes) == 1


def test_off_is_off(tmp_path):
    tracker = Tracker.open(False, tmp_path, "a", {})
    tracker.log(1, {"reward/mean": 1})
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_printed_can_be_typed_as_it_stands(tmp_path, monkeypatch):
    program = tmp_path / "our house" / ".venv" / "bin" / "rltrain"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.chdir(tmp_path / "our house")
    monkeypatch.setenv("PATH", "/usr/bin")
    assert typed("rltrain") == ".venv/bin/rltrain"  # as `make quickstart` leaves a shell
    monkeypatch.chdir(program.parent)
    assert shlex.split(typed("rltrain")) == [str(program)]  # a bare name would be looked for elsewhere
    monkeypatch.setenv("PATH", str(program.parent))  # the environment is active
    assert typed("rltrain") == "rltrain"
    assert typed("trackio") == "trackio"  # not installed here
