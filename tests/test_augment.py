"""Task files with reasoning traces: kept where they end right, gone on with after a kill, told against difficulty."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import judge_server
import pytest
import yaml

from rltrain import cli
from rltrain.augment import report
from rltrain.augment.report import Entry
from rltrain.config import TaskSource
from rltrain.records import jsonl
from rltrain.tasks import build

CONFIG = {
    "model": {"path": "tiny", "dtype": "float32"},
    "tasks": [{"use": "reasoning_gym", "args": {"generator": "chain_sum"}}],
    "rewards": [{"use": "numeric", "args": {"extract": "answer"}}, {"use": "format", "role": "shaping"}],
    "training": {"steps": 1},
}


@pytest.fixture(scope="module")
def server():
    running = judge_server.Server()
    yield running
    running.shutdown()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A file of 40 sums, two of them twice, and a config with an outcome reward."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{i} + {i + 1}?", "answer": str(2 * i + 1), "level": i // 10, "from": "me"} for i in range(40)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *rows[:2]]))
    Path("small.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def augment(server, *more):
    return cli.main(["augment", "sums.jsonl", f"url={server.url}", "model=writer", "retries=0", *more])


def test_traces_are_kept_where_they_end_right(ray_session, server, here, capfd):
    before = server.asked["writer"]
    assert augment(server, "--config", "small.yaml") == 0
    out = capfd.readouterr().out
    kept, left = list(jsonl.read(Path("sums.augmented.jsonl"))), list(jsonl.read(Path("sums.augmented.left_out.jsonl")))
    assert server.asked["writer"] - before == 40  # a prompt that repeats is asked once
    wrong = {str(2 * i + 1) for i in range(40) if (2 * i + 1) % 5 == 0}
    assert {row["reason"] for row in left} == {"wrong"} and len(left) == len(wrong) == 8
    assert {row["answer"] for row in kept} == {str(2 * i + 1) for i in range(40)} - wrong
    row = next(row for row in kept if row["answer"] == "3")
    assert row["prompt"] == [{"role": "user", "content": "1 + 2?"}] and row["from"] == "me" and row["level"] == 0
    assert row["completion"] == [{"role": "assistant", "content": "step step step\nAnswer: 3"}]
    assert "Think aloud" in server.prompts[-1]
    assert "32 of 40 traces kept" in out and "8 wrong" in out and "(Spearman): 0.9" in out
    assert Path("sums.augmented.html").stat().st_size > 100_000
    [again] = [build([TaskSource(use="file", args={"path": "sums.augmented.jsonl", "id": "id"})], seed=0)]
    assert len(again.train) + len(again.held_out) == 32
    assert augment(server, "--config", "small.yaml") == 0  # nothing is left to do
    assert server.asked["writer"] - before == 40


def test_without_rewards_all_are_kept_and_the_same_text_once(ray_session, server, here, capfd):
    assert augment(server, "--samples", "2", "--out", "all.jsonl") == 0
    assert "40 of 80 traces kept" in capfd.readouterr().out
    assert {row["reason"] for row in jsonl.read(Path("all.left_out.jsonl"))} == {"repeated"}


def test_a_killed_one_goes_on(server, here):
    """kill -9 in the middle, a torn line at the end: the same command does the rest, and nothing twice."""
    command = ["augment", "sums.jsonl", f"url={server.url}", "model=author", "--out", "out.jsonl"]
    before = server.asked["author"]
    process = subprocess.Popen([sys.executable, "-m", "rltrain", *command], stdout=subprocess.DEVNULL)
    while not (Path("out.jsonl").exists() and Path("out.jsonl").read_text().count("\n") >= 16):
        assert process.poll() is None or Path("out.jsonl").exists()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {row["id"] for row in jsonl.read(Path("out.jsonl"))}
    assert len(done) >= 16
    with open("out.jsonl", "ab") as file:
        file.write(b'{"prompt": [{"ro')
    assert subprocess.run([sys.executable, "-m", "rltrain", *command], capture_output=True).returncode == 0
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert len(rows) == len({row["id"] for row in rows}) == 40
    assert server.asked["author"] - before <= 40 + 16  # at most what was under way is asked again


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sums.jsonl"], "which model writes?"),
        (["none.jsonl", "model=m"], "no such file"),
        (["sums.jsonl", "model=m", "urll=x"], "urll: unknown key; did you mean 'url'"),
        (["sums.jsonl", "model=m", "url=x"], "begins with http"),
        (["sums.jsonl", "model=m", "--samples", "0"], "--samples and --max-tokens of 1"),
        (["sums.jsonl", "model=m", "--samples", "2", "--temperature", "0"], "are all the same"),
        (["sums.jsonl", "model=m", "--out", "sums.jsonl"], "expected another file"),
        (["sums.jsonl", "model=m", "--out", "mine.jsonl"], "was not written by augment"),
    ],
)
def test_wrong_input_is_one_message(here, capfd, arguments, told):
    Path("mine.jsonl").write_text("{}\n")
    assert cli.main(["augment", *arguments]) == 2
    assert told in capfd.readouterr().err and Path("mine.jsonl").read_text() == "{}\n"


def test_an_address_that_is_down_and_other_settings(ray_session, server, here, capfd):
    assert (
        cli.main(["augment", "sums.jsonl", f"url={server.url}", "model=broken", "retries=0", "--out", "o.jsonl"]) == 1
    )
    assert "no answer: " in capfd.readouterr().err
    assert cli.main(["augment", "sums.jsonl", f"url={server.url}", "model=writer", "--out", "o.jsonl"]) == 2
    assert "begun with another model" in capfd.readouterr().err


def test_a_model_of_ours_writes_too(ray_session, here, capfd):
    Path("two.jsonl").write_text('{"prompt": "1 + 1?"}\n{"prompt": "1 + 2?"}\n')
    engine = ["model=tiny", "engine=transformers", "dtype=float32", "max_length=2048"]
    assert cli.main(["augment", "two.jsonl", *engine, "--max-tokens", "8"]) == 0
    assert "2 of 2 traces kept" in capfd.readouterr().out


# --- length against difficulty -------------------------------------------------------------------


def test_ranks_and_rows():
    found = [Entry(f"t/{i}", float(i), None, 10 * i, None) for i in range(30)]
    what, hardness = report.difficulty(found)
    rows = report.by_difficulty(found, hardness)
    assert what == "level" and len(rows) == 6 and sum(row.traces for row in rows) == 30
    assert report.correlation([(1, 1), (2, 4), (3, 9)]) == pytest.approx(1.0)
    assert report.correlation([(1, 2), (1, 1), (2, 0), (2, 0)]) == pytest.approx(-0.9428, abs=1e-4)
    assert report.correlation([(1, 2), (1, 3)]) is None
    assert report.by_difficulty([], {}) == []


def test_without_levels_the_share_of_wrong_ones_is_the_difficulty():
    found = [Entry("a", None, 1.0, 5, None), Entry("a", None, 0.0, 9, "wrong"), Entry("b", None, 1.0, 3, None)]
    what, hardness = report.difficulty(found)
    assert (what, hardness) == ("share wrong", {"a": 0.5, "b": 0.0})
    assert [(row.label, row.kept) for row in report.by_difficulty(found, hardness)] == [("0", [3]), ("0.5", [5])]
