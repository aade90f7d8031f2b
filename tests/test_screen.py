"""The screen of `train` and `status`: it fits the terminal, whatever it is, and shows what matters first."""

import contextlib
import fcntl
import io
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from itertools import pairwise

import pytest
from rich.console import Console as Terminal
from synthetic import run

from benchmarks import planted_run
from diagnostics.phase.verdict import STATES
from diagnostics.report.verdicts import verdict
from rltrain import cli, screen
from rltrain.console import Console
from rltrain.metrics import METRICS
from rltrain.records import load_run, phases, pulse
from rltrain.screen import SHOWN, Screen, View, phase_lines
from rltrain.status import view, watch
from rltrain.terminal import engine_seconds
from rltrain.types import Event

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def rows(steps: int, engines: int = 2) -> list[dict[str, float]]:
    """Metrics of steps with every curve, every stage and some engines."""
    found = []
    for step in range(1, steps + 1):
        row = {name: math.sin(step / 9) + i for i, name in enumerate(SHOWN)}
        row |= {f"time/{stage}_s": 1.0 for stage in ("rollout", "score", "train", "publish", "eval", "diagnostics")}
        row |= {"time/step_s": 6.5, "phase/state": 1.0 if step < 30 else 2.0, "phase/confidence": 0.93}
        if step >= 30:
            row |= {"phase/onset": 26.0, "phase/onset_low": 20.0, "phase/onset_high": 31.0}
        for i in range(engines):
            seconds = {"generating": 3.0, "loading": 0.5, "idle": 3.0, "starting": 0.0}
            row |= {f"engine/{doing}_s@engine-{i}": spent for doing, spent in seconds.items()}
            row[f"engine/tokens_per_s@engine-{i}"] = 400.0 + i
        found.append(row)
    return found


def made(steps: int = 60, engines: int = 2, events: int = 12) -> View:
    """A view of a run in which there is much to see."""
    table = rows(steps, engines)
    lost = Event(4, "engine_restarted", "warning", {"engine": "engine-1"}, "nothing is lost")
    return View(
        "quickstart-001",
        "smollm2-135m, 2 vllm engine(s), 8 x 8 completions a step, loss dapo" * 3,
        400,
        steps=list(range(1, steps + 1)),
        curves={name: [row.get(name) for row in table] for name in (*SHOWN, *screen.PHASE)},
        recent=table[-20:],
        events=[*(Event(i, f"event_{i}", "info", {}, "words " * 40) for i in range(events)), lost],
        silent_s=3.0,
    )


def drawn(shown: View, width: int = 80, height: int = 24, *, terminal: bool = True, **options) -> list[str]:
    """Its lines as text."""
    out = options.pop("file", io.StringIO())
    console = Terminal(file=out, width=width, height=height, force_terminal=terminal, _environ={}, **options)
    console.print(Screen(shown))
    return ESCAPE.sub("", out.getvalue()).splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (100, 30), (40, 24), (80, 14), (80, 10)])
@pytest.mark.parametrize("engines", [0, 1, 2, 64])
def test_it_fits_the_terminal(width, height, engines):
    told = drawn(made(engines=engines), width, height)
    assert len(told) < height, "the prompt has a line of its own"
    assert max(map(len, told)) <= width
    text = "\n".join(told)
    assert "step 60/400" in text and "phase planning since step 26" in text and "reward/mean" in text
    assert "event_11" in text or "engine_restarted" in text
    assert not engines or "engine-0" in text or f"{engines} more" in text


def test_eighty_columns_show_everything_that_matters():
    told = drawn(made())
    for name in SHOWN:
        (row,) = [line for line in told if line.startswith(name)]
        assert METRICS[name].unit in row and len(set(row) & set("▁▂▃▄▅▆▇█")) > 4, "a curve with its course"
    text = "\n".join(told)
    for part in (
        "36 min 50 s left",
        "written 3 s ago",
        "since step 26 (90% interval 20 to 31, detected at step 30), 93%",
        "rollout 1 s",
        "generating 46%",
        "idle 46%",
    ):
        assert part in text, part
    assert re.search(r"engine-1 .*401 tokens/s  1 restart\b", text)


def test_a_wide_terminal_has_longer_curves():
    def course(width: int) -> str:
        (line,) = [line for line in drawn(made(300), width) if line.startswith("reward/mean")]
        return re.search("[▁▂▃▄▅▆▇█]+", line)[0]

    assert 20 < len(course(80)) < len(course(200))


def test_a_run_that_says_nothing_any_more_is_told_from_one_that_is_done():
    quiet = "\n".join(drawn(View("a", "", 400, steps=[3], recent=rows(3)[-3:], silent_s=7200.0)))
    assert "nothing written for 2 h 00 min: it has ended, or it hangs" in quiet
    done = "\n".join(drawn(View("a", "", 3, steps=[3], recent=rows(3)[-3:], silent_s=7200.0)))
    assert "done, written 2 h 00 min ago" in done
    slow = View("a", "", 400, steps=[3], recent=[{"time/step_s": 900.0}], silent_s=3600.0)
    assert "hangs" not in "\n".join(drawn(slow))


@pytest.mark.parametrize(
    ("felt", "said"),
    [
        ("beating", "nothing written for 10 min 00 s, its process is at work"),
        ("lost", "its process is gone, written 10 min"),
        ("ended", "it has ended, written 10 min"),
        (None, "it has ended, or it hangs"),
    ],
)
def test_a_long_first_step_is_told_from_an_end_by_the_pulse(felt, said):
    assert said in "\n".join(drawn(View("a", "", 400, silent_s=600.0, pulse=felt)))


def test_the_report_and_the_screen_name_the_phase_alike(tmp_path):
    truth = planted_run.write(tmp_path / "planted", 60, groups=3, samples=4)
    files = load_run(tmp_path / "planted")
    (line,) = phase_lines(view(files))
    assert str(line).startswith(f"phase planning since step {truth.phase} (90% interval")
    assert verdict(files)["phase"].lower().startswith(str(line).removeprefix("phase "))


# --- terminals -----------------------------------------------------------------------------------


def test_without_colour_the_parts_of_a_bar_are_patterns():
    plain = drawn(made(), no_color=True)
    (bar,) = [line for line in plain if line.startswith("██")]
    assert {"█", "▓", "▒", "░"} <= set(bar)
    assert any("▓ score" in line for line in plain)
    coloured = drawn(made(), color_system="truecolor")
    assert not set("".join(coloured)) & set("▓▒░")


def test_a_terminal_without_utf_8_gets_characters_it_has():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    Terminal(file=out, width=80, height=24, force_terminal=True, _environ={}).print(Screen(made(events=0)))
    out.seek(0)
    text = ESCAPE.sub("", out.read())
    assert "?" not in text.replace("?\n", "\n"), "only where a line is cut"
    assert "####" in text and re.search(r"reward/mean .*[.:*#@-]{10}", text)


def test_a_dumb_terminal_and_a_pipe_get_lines(monkeypatch):
    class Screenlike(io.StringIO):
        def isatty(self):
            return True

    for out, term in ((Screenlike(), "dumb"), (io.StringIO(), "xterm")):
        monkeypatch.setenv("TERM", term)
        console = Console(out=out)
        console.start("a", 400)
        console.step(1, rows(1)[0])
        console.finish()
        assert "\x1b" not in out.getvalue()
        assert out.getvalue().splitlines()[1].startswith("step 1/400  reward ")


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50)])
def test_a_real_terminal_is_filled_and_not_overrun(tmp_path, columns, lines):
    """`rltrain status` in a terminal of its own, of this size."""
    path = run(tmp_path / "r", 60, config="training: {steps: 400}\n").path
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    command = [sys.executable, "-m", "rltrain", "status", str(path)]
    ran = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=plain | {"TERM": "xterm-256color"})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux tells that the other side is closed
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert ran.wait() == 0 and b"\x1b[" in shown, shown
    told = ESCAPE.sub("", shown.decode()).split("\r\n")
    assert max(map(len, told)) <= columns and len(told) <= lines
    assert any("step 60/400" in line for line in told) and any("engine_restarted" in line for line in told)


def test_no_color_is_honoured(tmp_path, monkeypatch, capsys):
    path = run(tmp_path / "r").path
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were a terminal
    assert cli.main(["status", str(path)]) == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", capsys.readouterr().out)


def test_a_pipe_is_not_cut_to_a_height(tmp_path):
    told = drawn(made(engines=6), height=10, terminal=False)
    assert sum(line.startswith(SHOWN) for line in told) == len(SHOWN)
    assert sum(line.startswith("engine-") for line in told) == 6


# --- what it says --------------------------------------------------------------------------------


def test_the_states_are_the_detector_s():
    assert phases.STATES == STATES


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([0, 0, 1, 1], "phase consolidating since step 3, 50% sure"),
        ([1, 2, 0, 0, math.nan], "phase undecided since step 3: no move is certain, the likeliest state is 50% sure"),
        ([2, 2, 3, 2], "phase planning since step 4"),
        ([math.nan], None),
        ([9.0], None),
    ],
)
def test_the_phase_and_since_when(states, said):
    steps = list(range(1, len(states) + 1))
    curves = {"phase/state": states, "phase/confidence": [0.5] * len(states)}
    found = phase_lines(View("a", steps=steps, curves=curves))
    assert found == [] if said is None else str(found[0]).startswith(said)


def test_engines_are_summed_over_the_steps():
    found = engine_seconds(
        [
            {"engine/generating_s@a": 1.0, "engine/idle_s@a": 2.0, "engine/tokens_per_s@a": 100.0},
            {"engine/generating_s@a": 3.0, "engine/idle_s@a": math.nan, "engine/tokens_per_s@a": 200.0},
            {"engine/starting_s@b": 4.0, "reward/mean": 1.0},
        ]
    )
    assert found == {"a": {"generating": 4.0, "idle": 2.0, "tokens_per_s": 175.0}, "b": {"starting": 4.0}}
    assert engine_seconds([]) == {}


def test_files_and_console_have_the_same_picture(tmp_path):
    files = load_run(run(tmp_path / "r", 12, config="training: {steps: 40}\n").path)
    console = Console(out=io.StringIO())
    console.start(files.name, 40)
    for row in files.metrics.to_dict("records"):
        console.recall(int(row["step"]), row)
    mine, theirs = console.view(), view(files)
    assert (mine.name, mine.total, mine.steps) == (theirs.name, theirs.total, theirs.steps)
    assert mine.left_s == theirs.left_s == 28 * 4.0
    one, other = (drawn(View(v.name, "", v.total, v.steps, v.curves, v.recent)) for v in (mine, theirs))
    assert one == other


# --- following a run -----------------------------------------------------------------------------


def test_watching_shows_each_step_as_it_is_written_and_ends_with_the_run(tmp_path):
    begun = run(tmp_path / "r", 3, config="training: {steps: 6}\n")
    out = io.StringIO()
    watcher = threading.Thread(target=watch, args=(begun.path, Console(out=out), 0.02))
    watcher.start()
    while "step 3/6" not in out.getvalue():
        time.sleep(0.01)
    for step in (4, 5, 6):
        begun.log_event(Event(step, f"news_{step}", "warning", {}, ""))
        begun.log_metrics(step, {"reward/mean": step / 10, "time/step_s": 1.0})
    watcher.join(10)
    assert not watcher.is_alive()
    said = out.getvalue().splitlines()
    steps = [int(m[1]) for line in said if (m := re.match(r"step (\d)/6", line))]
    assert steps == [3, 4, 5, 6], "earlier steps are in the picture and are not told again"
    assert [name for name in ("news_4", "news_5", "news_6") if name in out.getvalue()] == ["news_4", "news_5", "news_6"]
    assert all(a <= b for a, b in pairwise(steps))


def test_watching_goes_on_with_a_run_that_was_resumed(tmp_path):
    begun = run(tmp_path / "r", 5, config="training: {steps: 6}\n")
    out = io.StringIO()
    watcher = threading.Thread(target=watch, args=(begun.path, Console(out=out), 0.02))
    watcher.start()
    while "step 5/6" not in out.getvalue():
        time.sleep(0.01)
    begun.cut(3)
    time.sleep(0.1)
    for step in (4, 5, 6):
        begun.log_metrics(step, {"reward/mean": 0.5})
    watcher.join(10)
    assert re.findall(r"step (\d)/6", out.getvalue()) == ["5", "4", "5", "6"]


def test_watching_ends_with_the_process(tmp_path):
    begun = run(tmp_path / "r", 3, config="training: {steps: 6}\n")
    with pulse.beating(begun.path):
        pass
    out = io.StringIO()
    watch(begun.path, Console(out=out), 0.01)
    assert "r has ended at step 3; `rltrain train --resume` goes on" in out.getvalue()


def test_a_run_that_is_over_is_shown_once(tmp_path, capsys):
    path = run(tmp_path / "r", 4, config="training: {steps: 4}\n").path
    assert cli.main(["status", "--watch", str(path)]) == 0
    assert "step 4/4" in capsys.readouterr().out
    assert cli.main(["status", "--watch", str(tmp_path)]) == 2
