"""Diagnostics after the fact: the same numbers as in the run, other people's files, and files that lack things."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from datasets import Dataset

from rltrain import cli, config, diagnose, launch
from rltrain.records import rebuild, rows
from rltrain.records.rebuild import step_records
from rltrain.records.rows import tables

ORDER = ["run.console=false", "evaluation.prompts=0", "checkpoints.every=4"]


@pytest.fixture(scope="module")
def run(ray_session, tmp_path_factory) -> Path:
    """A twin with every diagnostic on."""
    directory = tmp_path_factory.mktemp("diagnose") / "run"
    loaded = config.load("quickstart", [*ORDER, f"run.dir={directory}"])
    launch.train(loaded, "quickstart", resume=None, twin=True, faults=())
    return directory


def verdicts(folder: Path) -> dict:
    return json.loads((folder / diagnose.FILE).read_text())


def diagnosed(path: Path, out: Path) -> dict:
    assert cli.main(["diagnose", str(path), "--out", str(out)]) == 0
    assert (out / "report.html").stat().st_size > 100_000
    return verdicts(out)


def test_after_the_fact_the_numbers_are_those_of_the_run(run, tmp_path):
    online, later = verdicts(run), diagnosed(run, tmp_path / "out")
    assert len(later["series"]) > 100
    for name, pairs in later["series"].items():
        assert [step for step, _ in pairs] == [step for step, _ in online["series"][name]], name
        assert [value for _, value in pairs] == pytest.approx([v for _, v in online["series"][name]], abs=1e-6), name
    assert later["notes"] == []


def test_the_phase_is_in_the_run_and_after_the_fact(run, tmp_path):
    online, later = verdicts(run)["phase"], diagnosed(run, tmp_path / "out")["phase"]
    assert set(online) == {"state", "onset_step", "interval", "confidence", "segments"}
    assert online["segments"][-1]["end"] == 12
    assert [later[name] for name in ("state", "onset_step", "interval")] == [online["state"], None, None]
    assert later["confidence"] == pytest.approx(online["confidence"], abs=1e-3)


def test_the_run_rewrites_its_diagnosis_at_each_checkpoint(run):
    steps = {step for pairs in verdicts(run)["series"].values() for step, _ in pairs}
    assert max(steps) == 12
    assert {"phase", "format", "shortcuts"} <= verdicts(run).keys()


def test_trls_own_files_are_read(tmp_path):
    """Two steps of TRL's trainer with log_completions, not a file made by hand."""
    from rltrain.models import load_model, load_tokenizer
    from rltrain.trainer import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    arguments = GRPOConfig(
        output_dir=str(tmp_path / "trl"), per_device_train_batch_size=4, num_generations=4, max_completion_length=12,
        max_steps=2, log_completions=True, report_to=[], use_cpu=True, bf16=False, save_strategy="no", logging_steps=1,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=load_model("tiny", "float32"),
        reward_funcs=lambda completions, **_: [float(len(str(text)) % 2) for text in completions],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": ["one", "two", "three", "four"]}),
        processing_class=load_tokenizer("tiny"),
    )
    trainer.train()
    found = diagnosed(tmp_path / "trl", tmp_path / "out")
    assert [step for step, _ in found["series"]["reward/mean"]] == [1, 2]
    assert any("words stand for" in note for note in found["notes"])
    assert any("no per-token arrays" in note for note in found["notes"])
    assert "entropy/gap" not in found["series"] and "format/effective" in found["series"]


def changed(run: Path, folder: Path, change) -> Path:
    """The run's rollouts with every table changed."""
    folder.mkdir()
    for path in tables(run):
        change(parquet.read_table(path).to_pandas()).to_parquet(folder / path.name)
    return folder


def spoilt(frame: pd.DataFrame) -> pd.DataFrame:
    frame["entropy"] = [[float("nan"), *values[1:]] for values in frame.entropy]
    frame["outcome"] = [float("inf") if i == 0 else value for i, value in enumerate(frame.outcome)]
    return frame


def emptied(frame: pd.DataFrame) -> pd.DataFrame:
    lists = [name for name in frame if name.endswith(("ids", "text", "logprob", "mask")) or name in LISTS]
    for name in lists:
        frame[name] = [[] if name != "prompt_ids" else value for value in frame[name]]
    frame["completion"] = ""
    return frame


LISTS = ("ratio", "entropy", "planning", "planning_bonus", "token_advantage")
TOKENS = ["token_ids", "token_text", "logprob", "train_logprob", "ratio", "loss_mask", "planning", *LISTS[:2]]
CASES = {
    "without log-probs": (lambda f: f.drop(columns=["logprob", "train_logprob"]), "no log-probs of the sampler"),
    "without tokens": (lambda f: f.drop(columns=list(dict.fromkeys(TOKENS))), "words stand for them"),
    "NaN and infinite values": (spoilt, "NaN or infinite per-token values"),
    "one completion a group": (lambda f: f.drop_duplicates(["step", "group"]), "groups of one completion"),
    "empty completions": (emptied, None),
    "foreign columns": (lambda f: f.assign(colour="red"), "columns that mean nothing here: colour"),
    "nothing but text": (lambda f: f[["completion"]], "no per-token arrays"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_can_be_computed_is_and_what_cannot_says_why(run, tmp_path, case):
    change, said = CASES[case]
    found = diagnosed(changed(run, tmp_path / "in", change), tmp_path / "out")
    assert "format/effective" in found["series"]
    assert said is None or any(said in note for note in found["notes"]), found["notes"]


def test_a_torn_file_is_left_out_and_named(run, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(run / "rollouts", folder)
    torn = sorted(folder.glob("*.parquet"))[3]
    torn.write_bytes(torn.read_bytes()[:500])
    found = diagnosed(folder, tmp_path / "out")
    assert any(torn.name in note for note in found["notes"])
    assert 4 not in {step for step, _ in found["series"]["reward/mean"]}


def test_bad_input_is_refused(tmp_path, capfd):
    def refused(*arguments):
        assert cli.main(["diagnose", *map(str, arguments)]) == 2
        return capfd.readouterr().err

    assert "no completions there" in refused(tmp_path)
    assert "no completions there" in refused(tmp_path / "nowhere")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    assert "no column `completion`; it has a" in refused(tmp_path / "other.parquet", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "metrics.jsonl").write_text("")
    pd.DataFrame({"completion": ["a"]}).to_parquet(tmp_path / "fine.parquet")
    assert "is taken" in refused(tmp_path / "fine.parquet", "--out", tmp_path / "taken")


def test_chat_messages_of_trl_are_read_as_their_text(tmp_path):
    asked, said = [{"role": "user", "content": "2 + 2?"}], [{"role": "assistant", "content": "first, we add: 4"}]
    frame = pd.DataFrame({"step": 1, "prompt": [asked] * 2, "completion": [said] * 2, "right": 1.0, "advantage": 0.0})
    frame.to_parquet(tmp_path / "a.parquet")
    (record,) = step_records([tmp_path / "a.parquet"], nothing, {})
    (group,) = record.groups
    assert group.task.prompt[0]["content"] == "2 + 2?" and group.outcomes == [1.0, 1.0]
    assert [completion.text for completion in group.completions] == ["first, we add: 4"] * 2


def test_the_same_prompt_has_the_same_key_at_every_step(tmp_path):
    for step in (1, 2):
        frame = pd.DataFrame({"step": step, "prompt": ["a", "b"][::step], "completion": "x", "advantage": 0.0})
        frame.to_parquet(tmp_path / f"{step}.parquet")
    first, second = (
        {group.task.prompt[0]["content"]: group.task.key for group in record.groups}
        for record in step_records(sorted(tmp_path.iterdir()), nothing, {})
    )
    assert len(set(first.values())) == 2 and first["a"] == second["a"]


def test_a_group_is_read_at_once_and_only_for_what_its_table_lacks(tmp_path):
    calls = []

    def read(completions):
        calls.append(len(completions))
        return nothing(completions)

    frame = pd.DataFrame({"step": 1, "group": 0, "completion": ["a b", "c d", "e f"], "outcome": 1.0})
    frame["planning"] = [[True, False], [True], None]
    frame.assign(format="code").to_parquet(tmp_path / "a.parquet")
    (record,) = step_records([tmp_path / "a.parquet"], read, {})
    (group,) = record.groups
    assert calls == [3] and group.formats == ("code",) * 3
    assert [mask.tolist() for mask in group.planning] == [[True, False], [False, False], [False, False]]
    frame.assign(planning=[[True, False]] * 3, format="code").to_parquet(tmp_path / "a.parquet")
    list(step_records([tmp_path / "a.parquet"], read, {}))
    assert calls == [3]


def nothing(completions):
    return [np.zeros(len(completion.token_ids), bool) for completion in completions], ["prose"] * len(completions)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_step_without_an_end_is_cut(tmp_path, numbered, monkeypatch):
    monkeypatch.setattr(rows, "MOST", 300)
    monkeypatch.setattr(rebuild, "MOST", 300)
    columns = {"completion": ["x"] * 1000} | ({"step": [7] * 1000} if numbered else {})
    pd.DataFrame(columns).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame(columns)[:10].assign(**{"step": 8} if numbered else {}).to_parquet(tmp_path / "b.parquet")
    notes: dict[str, int] = {}
    found = [(record.step, len(record.groups)) for record in step_records(sorted(tmp_path.iterdir()), nothing, notes)]
    if numbered:
        assert found == [(7, 300), (8, 10)] and notes["steps of more than 300 rows: the rest is left out"] == 700
    else:
        assert found == [(0, 300), (1, 300), (2, 300), (3, 100), (4, 10)]
        assert any("without a step: as many at a time count as one" in note for note in notes)


def test_one_step_is_in_memory_at_a_time(tmp_path):
    """A hundred thousand rows of a thousand steps, read with a small and constant peak of Arrow's memory."""
    path = tmp_path / "long.parquet"
    text = "first, we need to find the sum: 1 + 1 = 2"
    schema = pa.schema([("step", pa.int64()), ("group", pa.int64()), ("completion", pa.string())])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, 1000, 100):
            steps = [step for step in range(start, start + 100) for _ in range(100)]
            writer.write_table(
                pa.table(
                    {"step": steps, "group": [0, 1] * (len(steps) // 2), "completion": [text] * len(steps)}, schema
                )
            )
    pool = pa.default_memory_pool()
    before, seen = pool.bytes_allocated(), 0
    for record in step_records([path], nothing, {}):
        seen += sum(len(group.completions) for group in record.groups)
        assert pool.bytes_allocated() - before < 50e6
    assert seen == 100_000


def test_what_was_read_of_a_table_is_given_back(tmp_path, monkeypatch):
    """Buffers of row groups that are done would add up: a table of ten million rows has hundreds."""
    monkeypatch.setattr(rows, "ROWS", 64)
    noise = pa.array(list(np.random.default_rng(0).normal(size=(64, 2048))))  # a megabyte that nothing makes smaller
    part = pa.table({"step": np.arange(64), "completion": ["so"] * 64} | dict.fromkeys(rebuild.ARRAYS, noise))
    with parquet.ParquetWriter(tmp_path / "long.parquet", part.schema) as writer:
        for _ in range(16):
            writer.write_table(part)
    held = [pa.total_allocated_bytes() for _ in rows.read_rows([tmp_path / "long.parquet"], {})]
    assert len(held) == 16 * 64 and max(held) - held[0] < 2 * part.nbytes, (max(held) - held[0]) / part.nbytes
