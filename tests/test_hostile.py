"""Completions that are made to do harm: wherever a person looks at them they are text, cut to a length."""

import io
import json
import re
import subprocess
import sys
import unicodedata

import pytest
from rich.console import Console as Terminal
from synthetic import completion, group, record

from rltrain import cli, rollout_table
from rltrain.console import Console
from rltrain.records import RunDir, load_run
from rltrain.status import render
from rltrain.tracking import Tracker
from rltrain.types import Event

MEGABYTE = "x" * 2**20
HOSTILE = {
    "script": "<script>alert(1)</script></div></td>",
    "image": '"><img src=x onerror="alert(1)">',
    "terminal escapes": "\x1b[2J\x1b]0;mine\x07\x1b[31mred\x9b1m\r\nback\b\b",
    "right to left": "\u202eabc\u2066\u200f\u061c is 42",
    "a megabyte": MEGABYTE,
    "half pairs": "a\ud800b\udfff",
}
TEXTS = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\x1b\[2K|\r")  # what rich itself draws with


def harmless(shown: str, most: int = 50_000) -> None:
    """Nothing in it steers a terminal or reorders its neighbours, and it can be written."""
    rest = COLOUR.sub("", shown)
    steering = {c for c in rest if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs")}
    assert not steering, f"{steering!a}"
    assert len(rest) < most
    shown.encode()


def written(tmp_path, text: str) -> RunDir:
    """A run whose step 1 has the text as a completion, an event that quotes it, and a curve."""
    made = RunDir.create(tmp_path / "r", "training: {steps: 4}\n", {})
    odd = completion(text, pieces=3)
    whole = group(1, (0.0, 0.5, 1.0), completions=(completion(), odd, completion("so: 4", 2)))
    made.write_rollouts(record(1, whole))
    made.log_metrics(1, {"reward/mean": 0.5, "time/step_s": 1.0, "time/train_s": 1.0})
    made.log_event(Event(1, f"odd {text}", "warning", {"completion": text, "engine": text}, f"look at {text}"))
    made.flush()
    return made


@TEXTS
def test_the_files_have_it_as_it_was_or_say_what_was_replaced(tmp_path, text):
    frame = load_run(written(tmp_path, text).path).rollouts()
    read = frame["completion"][1]
    lost = sum("\ud800" <= letter <= "\udfff" for letter in text)
    assert frame.attrs["replaced"] == lost and read.count("\ufffd") == lost
    assert "".join(frame["token_text"][1]) == read and len(read) == len(text)
    assert all(a == b for a, b in zip(read, text, strict=True) if not "\ud800" <= b <= "\udfff")
    assert load_run(tmp_path / "r").event_table()["advice"][0].startswith("look at ")


@TEXTS
@pytest.mark.parametrize("live", [True, False])
def test_the_console_and_status_show_text(tmp_path, text, live, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return live

    out = Screen()
    console = Console(out=out)
    console.start(f"run {text[:200]}", 4, text)
    console.stage(text[:200], 0, 2)
    console.step(1, {"reward/mean": 0.5, f"engine/idle_s@{text}": 1.0})
    for event in load_run(written(tmp_path, text).path).events:
        console.event(event)
    console.note(text[:1000])
    console.finish()
    harmless(out.getvalue())
    screen = io.StringIO()
    Terminal(file=screen, width=80, height=24, force_terminal=live).print(render(load_run(tmp_path / "r")))
    harmless(screen.getvalue(), 5_000)


@TEXTS
def test_try_and_tag_show_text(tmp_path, text, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": text, "completion": text, "answer": text[:1000]}) + "\n")
    assert cli.main(["tag", str(rows)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert all(0 <= start < end <= len(text) for start, end in said["spans"]) and said["format"]
    assert cli.main(["try", "exact", "--file", str(rows)]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] in (0, 1)
    if len(text) < 1000:
        quoting = tmp_path / "quoting.py"
        quoting.write_text("def quoting(task, completion):\n    raise ValueError(completion.text + task.answer)\n")
        given = ["--completion", text, "--answer", text, "--task", text]
        assert cli.main(["try", f"{quoting}:quoting", *given]) == 1
        harmless(capsys.readouterr().out)
        assert cli.main(["try", f"nowhere {text}", "--completion", text]) == 2
        harmless(capsys.readouterr().err)


def test_bytes_that_are_no_utf_8_on_the_command_line(tmp_path):
    command = [sys.executable, "-m", "rltrain", "try", "exact", "--answer", "4", "--completion", b"\xff\xfe4\x1b[2J"]
    ran = subprocess.run(command, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    harmless(ran.stdout.decode())


@TEXTS
def test_the_table_of_completions_is_small_and_has_text_only(tmp_path, text):
    for row in rollout_table.rows(load_run(written(tmp_path, text).path).rollouts()):
        found = row["completion"]
        assert len(found) < 100_000
        assert set(re.findall(r"<(\w+)", found)) <= {"div", "span", "i"}
        assert not re.search(r"<[^>]*\s(on\w+|src|href)=", found)
        for cell in row.values():
            harmless(str(cell), 100_000)


def test_wandb_takes_all_of_it(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    made = RunDir.create(tmp_path / "r", "", {})
    texts = tuple(completion(text, pieces=3) for text in HOSTILE.values())
    made.write_rollouts(record(1, group(1, tuple(i / 9 for i in range(len(texts))), completions=texts)))
    made.log_metrics(1, {"reward/mean": 0.5})
    made.flush()
    notes = []
    tracker = Tracker.open(True, made.path, "r", {}, notes.append)
    tracker.log(1, {"reward/mean": 0.5})
    tracker.checkpoint(1, made.path, last=True)
    tracker.close()
    assert notes == []
    (page,) = {path.resolve() for path in made.path.rglob("*.html")}
    text = page.read_text(encoding="utf-8")
    assert text.count("<tr>") == 1 + 3 * rollout_table.EACH and len(text) < 300_000
    wanted = {"meta", "style", "table", "thead", "tbody", "tr", "th", "td", "div", "span", "i"}
    assert set(re.findall(r"<(\w+)", text)) <= wanted
    harmless(text, 300_000)
