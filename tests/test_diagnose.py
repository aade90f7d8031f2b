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


def diagnosed(path: Path, out: Path, *options: str) -> dict:
    assert cli.main(["diagnose", str(path), "--out", str(out), *options]) == 0
    assert (out / "report.html").stat().st_size > 100_000
    return verdicts(out)


def test_after_the_fact_the_numbers_are_those_of_the_run(run, tmp_path):
    online, later = verdicts(run), diagnosed(run, tmp_path / "out")
    assert len(later["series"]) > 100
    for name, pairs in later["series"].items():
        assert [step for step, _ in pairs] == [step for step, _ in online["series"][name]], name
        assert [value for _, value in pairs] == pytest.approx([v for _, v in online["series"][name]], abs=1e-6), name
    assert later["notes"] == online["notes"]
    assert all(text.startswith("phase: undecided, variety of plans is known in") for text in later["notes"])
    drifts = {name for name in online["series"] if name.startswith("drift/")}
    assert drifts - later["series"].keys() == {"drift/lag", "drift/parity_gap", "drift/parity_bound"} & drifts
    assert len(drifts & later["series"].keys()) > 10


def test_the_phase_is_in_the_run_and_after_the_fact(run, tmp_path):
    online, later = verdicts(run)["phase"], diagnosed(run, tmp_path / "out")["phase"]
    assert set(online) == {"state", "onset_step", "interval", "confidence", "why", "segments"}
    assert online["segments"][-1]["end"] == 12
    for ours, theirs in ((later, online), *zip(later["segments"], online["segments"], strict=True)):
        same = {"confidence": pytest.approx(theirs["confidence"], abs=1e-6), "segments": ours.get("segments")}
        assert ours == theirs | {key: value for key, value in same.items() if key in ours}


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
        max_steps=2, log_completions=True, report_to=[], use_cpu=True, bf16=False, save_strategy="steps", save_steps=2,
        logging_steps=1,
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
    logged = [line for line in trainer.state.log_history if "entropy" in line]
    for theirs, ours in (("entropy", "entropy/mean"), ("grad_norm", "loss/grad_norm")):
        assert found["series"][ours] == [[line["step"], pytest.approx(line[theirs])] for line in logged]
    assert found["series"]["length/mean"] == [[line["step"], line["completions/mean_length"]] for line in logged]


def trl_table(folder: Path, steps: int = 3, **columns) -> Path:
    """What TRL writes for steps of two prompts with two completions each; a column is a function of the step."""
    (folder / "completions").mkdir(parents=True)
    for step in range(1, steps + 1):
        frame = pd.DataFrame({"step": [step] * 4, "prompt": ["a", "a", "b", "b"], "completion": ["so it is"] * 4})
        frame = frame.assign(**{name: of(step) for name, of in columns.items()}, advantage=0.5)
        frame.to_parquet(folder / "completions" / f"completions_{step:05d}.parquet")
    return folder


def test_a_single_reward_of_trl_is_the_outcome_if_it_stays_in_its_range(tmp_path):
    """Of -1 and 1 only the successes would be outcomes, and everything would be right."""
    series = diagnosed(trl_table(tmp_path / "a", right=lambda _: [1.0, 0.0, 1.0, 1.0]), tmp_path / "out_a")["series"]
    assert series["reward/outcome"] == [[step, 0.75] for step in (1, 2, 3)]
    late = trl_table(tmp_path / "b", right=lambda step: [1.0] * 3 + [-1.0 if step == 3 else 1.0])
    found = diagnosed(late, tmp_path / "out_b")
    assert "reward/outcome" not in found["series"] and found["series"]["reward/mean"][2] == [3, 0.5]
    assert any("no outcome: right goes from -1 to 1" in note for note in found["notes"])


def test_of_several_rewards_of_trl_one_may_be_named_the_outcome(tmp_path, capfd):
    nan = float("nan")
    rewards = {"right": lambda _: [1.0, 0.0, nan, nan], "format": lambda _: [0.5, nan, 0.5, nan]}
    folder = trl_table(tmp_path / "a", **rewards)
    found = diagnosed(folder, tmp_path / "out")
    assert "reward/outcome" not in found["series"]
    assert any("no outcome: several rewards; name the task's result by --outcome" in note for note in found["notes"])
    series = diagnosed(folder, tmp_path / "named", "--outcome", "right")["series"]
    assert series["reward/outcome"][0] == [1, 0.5] and series["reward/value@format"][0] == [1, 0.5]
    assert series["reward/mean"][0] == [1, pytest.approx((1.5 + 0.0 + 0.5) / 3)]
    assert series["reward/errors"][0] == [1, 1.0]  # no reward applied to the last one
    assert cli.main(["diagnose", str(folder), "--out", str(tmp_path / "x"), "--outcome", "wrong"]) == 2
    assert "--outcome 'wrong': no such column of rewards; there are format, right" in capfd.readouterr().err


def changed(run: Path, folder: Path, change) -> Path:
    """The run's rollouts with every table changed."""
    folder.mkdir()
    for path in tables(run):
        made = change(parquet.read_table(path).to_pandas())
        made = made if isinstance(made, pa.Table) else pa.Table.from_pandas(made)
        parquet.write_table(made, folder / path.name)
    return folder


def enlarged(frame: pd.DataFrame) -> pa.Table:
    table = pa.Table.from_pandas(frame)
    large = [
        field.with_type(pa.large_list(pa.large_string() if field.name == "token_text" else field.type.value_type))
        if pa.types.is_list(field.type)
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(large))


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
    "large lists, as other writers have them": (enlarged, None),
    "nothing but text": (lambda f: f[["completion"]], "no per-token arrays"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_can_be_computed_is_and_what_cannot_says_why(run, tmp_path, case):
    change, said = CASES[case]
    found = diagnosed(changed(run, tmp_path / "in", change), tmp_path / "out")
    assert "format/effective" in found["series"]
    assert said is None or any(said in note for note in found["notes"]), found["notes"]


def test_what_is_known_of_a_token_counts_where_something_else_is_not(run, tmp_path):
    online = verdicts(run)["series"]
    silent = changed(run, tmp_path / "a", lambda f: f.assign(entropy=[v * np.nan for v in f.entropy]))
    found = diagnosed(silent, tmp_path / "out_a")
    assert dict(found["series"]["ppl/execution_rel"]) == pytest.approx(dict(online["ppl/execution_rel"]), abs=1e-6)
    assert any("no entropies of the trainer" in note for note in found["notes"])
    assert not {"entropy/mean", "entropy/gap"} & found["series"].keys()
    assert "too_few_planning_tokens" not in {event["name"] for event in found["events"]}
    blind = changed(run, tmp_path / "b", lambda f: f.drop(columns=["train_logprob"]))
    found = diagnosed(blind, tmp_path / "out_b")
    assert dict(found["series"]["entropy/mean"]) == pytest.approx(dict(online["entropy/mean"]), abs=1e-6)
    assert any("no log-probs of the trainer" in note for note in found["notes"])
    assert not {"ppl/execution_rel", "drift/ess"} & found["series"].keys()


def test_a_run_is_marked_anew_on_request(run, tmp_path):
    """What is asked of a person whose lexicon changed under way: one tagger for all steps."""
    (tmp_path / "phrases.txt").write_text("# version: mine\nno such words at all\n")
    found = diagnosed(run, tmp_path / "out", "--lexicon", str(tmp_path / "phrases.txt"))
    assert all(count == 0 for _, count in found["series"]["entropy/planning_tokens"])
    assert any(count for _, count in verdicts(run)["series"]["entropy/planning_tokens"])
    (tmp_path / "forms.py").write_text("class One:\n    def format(self, text):\n        return 'one'\n")
    found = diagnosed(run, tmp_path / "forms", "--formats", f"{tmp_path / 'forms.py'}:One")
    assert set(value for _, value in found["series"]["format/share@one"]) == {1.0}


def test_columns_of_another_kind_are_read_or_named(tmp_path):
    said = [[{"role": "assistant", "content": f"we add: {i}"}] for i in range(4)]
    asked = [[{"role": "user", "content": "2 + 2?"}]] * 4
    frame = pd.DataFrame({"step": [1.0, 1.0, 2.0, float("nan")], "prompt": asked, "completion": said})
    odd = {"task_key": [7, 7, 8, 8], "answer": 4, "outcome": "yes", "reward": "1", "values": "no JSON", "group": 1}
    frame.assign(**odd).to_parquet(tmp_path / "a.parquet")
    notes: dict[str, int] = {}
    first, *_ = step_records([tmp_path / "a.parquet"], nothing, notes)
    (group,) = first.groups
    assert first.step == 1 and group.task.key == "7" and group.task.answer == "4" and not group.outcomes
    assert group.task.prompt[0]["content"] == "2 + 2?" and group.completions[1].text == "we add: 1"
    assert {"column outcome is string and is left out, expected double", "column reward is string and is left out, "
            "expected double"} <= {note.replace("large_string", "string") for note in notes}  # fmt: skip


ODD = {
    "policy_version that is NaN": ({"policy_version": [np.nan, 1.0, np.inf, 2.5]}, None),
    "step of NaN among steps": ({"step": [1.0, np.nan, 2.0, 2.0]}, (rows.NO_STEP, 1)),
    "step before 0": ({"step": [-1, 1, 1, 2]}, (rows.NO_STEP, 1)),
    "step beyond all runs": ({"step": np.array([1, 1, 2**63 + 5, 2], np.uint64)}, (rows.NO_STEP, 1)),
    "step without an end": ({"step": [1.0, 1.0, 1e300, 2.0]}, (rows.NO_STEP, 1)),
    "steps of text": ({"step": ["one"] * 4}, ("no steps: a file without a column `step`", 1)),
    "brackets without an end": ({"prompt": "[" * 200_000}, None),
    "meta of brackets": ({"meta": "[" * 200_000}, ("texts in column meta that are no JSON object", 2)),
    "values of brackets": ({"values": "[" * 200_000}, ("texts in column values that are no JSON object", 4)),
    "a number of 400 digits": ({"values": '{"right": %s}' % ("9" * 400)}, None),
    "a mark of another program": ({"meta": '{"reformulated": true}'}, None),
    "rewards near the largest number": ({"reward": 1e308, "advantage": 1e308}, None),
    "rewards to both ends": ({"reward": [1e308, -1e308, 1e308, -1e308]}, None),
    "log-probs above 0": ({"logprob": [[0.5, -1.0]] * 4}, ("numbers of column logprob above 0", 4)),
    "entropies below 0": ({"entropy": [[-0.5, 1.0]] * 4}, ("numbers of column entropy below 0", 4)),
    "nothing trained": ({"loss_mask": [[False, False]] * 4}, ("no token is trained (loss_mask)", 4)),
    "outcomes that are NaN": ({"outcome": [np.nan, 1.0, 0.0, 1.0]}, ("NaN or infinite outcomes", 1)),
    "no number among the outcomes": ({"outcome": [np.nan] * 4}, ("no outcome: column outcome holds no number", 1)),
    "advantages that are NaN": ({"advantage": [np.nan, 1.0, 0.0, 1.0]}, ("no advantage: ", 1)),
    "advantages of text": ({"advantage": ["a"] * 4}, ("no advantage: ", 4)),
    "no outcome": ({"outcome": None}, ("no outcome: no column `outcome`", 1)),
    "no reward at all": ({"outcome": None, "reward": None}, ("no reward, no outcome", 4)),
    "no advantage": ({"advantage": None}, ("no advantage: ", 4)),
    "no prompt": ({"prompt": None}, ("no prompt: what compares completions with it is left out, and without", 4)),
    "no step": ({"step": None}, ("no steps: a file without a column `step`", 1)),
}


def odd(**columns) -> pa.Table:
    """Two steps of one prompt with two completions each; None takes a column away, and NaN stays NaN."""
    tokens = {"token_text": [["so", " it"]] * 4, "logprob": [[-1.0, -1.0]] * 4, "entropy": [[1.0, 1.0]] * 4}
    known = {
        "step": [1, 1, 2, 2],
        "group": [0] * 4,
        "prompt": "a",
        "completion": "so it",
        "outcome": [1.0, 0.0, 1.0, 1.0],
        "reward": 1.0,
    }
    known |= {"advantage": [0.5, -0.5, 0.0, 0.0], "train_logprob": tokens["logprob"]} | tokens | columns
    full = {name: [of] * 4 if isinstance(of, str | float) else of for name, of in known.items() if of is not None}
    return pa.table({name: pa.array(of, from_pandas=False) for name, of in full.items()})


def test_a_token_that_is_not_the_policy_s_never_plans(tmp_path):
    """As a tool's answer: also where the table has no array of the trainer."""
    marks = {"planning": [[True, True]] * 4, "loss_mask": [[True, False]] * 4}
    for name, lacking in (("all", {}), ("masks alone", {"train_logprob": None, "entropy": None})):
        parquet.write_table(odd(**marks | lacking), tmp_path / f"{name}.parquet")
        first, *_ = step_records([tmp_path / f"{name}.parquet"], nothing, {})
        assert [mask.tolist() for mask in first.groups[0].planning] == [[True, False]] * 2, name


def test_a_gap_in_the_groups_is_no_group(tmp_path):
    """As pandas writes it: the prompt tells then."""
    parquet.write_table(odd(group=[np.nan] * 4, prompt=["a", "b", "a", "a"]), tmp_path / "a.parquet")
    first, second = step_records([tmp_path / "a.parquet"], nothing, {})
    assert (len(first.groups), len(second.groups)) == (2, 1)


def test_a_token_that_the_sampler_did_not_score_has_no_ratio(tmp_path):
    sampled = {"known": [[-1.0, -1.5]] * 4, "half": [[np.nan, -1.5]] * 4}
    found = {}
    for name, logprob in sampled.items():
        parquet.write_table(odd(logprob=logprob), tmp_path / f"{name}.parquet")
        found[name] = diagnosed(tmp_path / f"{name}.parquet", tmp_path / name)["series"]
    ratio, tokens = (found["half"][f"drift/{key}"][0][1] for key in ("ratio_mean", "tokens"))
    assert tokens == 2 == found["known"]["drift/tokens"][0][1] / 2 and ratio == pytest.approx(np.exp(0.5), rel=1e-6)


@pytest.mark.parametrize("case", ODD)
def test_an_odd_cell_is_left_out_and_the_rest_is_read(tmp_path, case):
    columns, said = ODD[case]
    parquet.write_table(odd(**columns), tmp_path / "a.parquet")
    found = diagnosed(tmp_path / "a.parquet", tmp_path / "out")
    assert found["series"]["format/completions"][0][1] >= 1
    notes = [note for note in found["notes"] if not note.startswith("phase: ")]
    if said is None:
        assert notes == []
    else:
        assert any(note.startswith(said[0]) and f"({said[1]} completion(s)" in note for note in notes), notes


def test_a_sound_table_has_no_notes(tmp_path):
    parquet.write_table(odd(), tmp_path / "a.parquet")
    notes = diagnosed(tmp_path / "a.parquet", tmp_path / "out")["notes"]
    assert all(note.startswith("phase: ") for note in notes), notes


def damaged(path: Path, group: int, column: str) -> None:
    """Overwrite the data of a column in a row group; the file's footer stays whole."""
    found = parquet.read_metadata(path).row_group(group)
    chunk = next(found.column(i) for i in range(found.num_columns) if found.column(i).path_in_schema == column)
    start, content = chunk.dictionary_page_offset or chunk.data_page_offset, bytearray(path.read_bytes())
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)


def test_of_a_damaged_row_group_the_columns_that_can_be_read_are(tmp_path):
    path, notes = tmp_path / "a.parquet", {}
    frame = pd.DataFrame({"step": np.arange(6), "completion": ["x"] * 6, "outcome": 1.0, "reward": np.arange(6.0)})
    parquet.write_table(pa.Table.from_pandas(frame), path, row_group_size=2)
    damaged(path, 1, "reward")
    damaged(path, 2, "completion")
    found = list(rows.read_rows([path], notes))
    assert [(row["step"], row.get("reward")) for row in found] == [(0, 0.0), (1, 1.0), (2, None), (3, None)]
    (lost,) = (text for text in notes if "row group 2 of 3 is damaged, reward of its rows is left out" in text)
    (gone,) = (text for text in notes if "row group 3 of 3 is damaged, its rows are left out" in text)
    assert lost.startswith("a.parquet: ") and notes[lost] == notes[gone] == 2
    assert diagnosed(path, tmp_path / "out")["series"]["reward/outcome"] == [[step, 1.0] for step in range(4)]


def test_a_damaged_table_out_of_order_is_still_put_into_order(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"step": [3, 2, 1, 0], "completion": list("abcd"), "reward": 1.0})
    parquet.write_table(pa.Table.from_pandas(frame), path, row_group_size=2)
    damaged(path, 0, "reward")
    found = list(rows.read_rows([path], {}))
    assert [(row["completion"], row.get("reward")) for row in found] == [
        ("d", 1.0),
        ("c", 1.0),
        ("b", None),
        ("a", None),
    ]


def test_rows_are_put_into_the_order_of_their_steps(tmp_path, monkeypatch):
    frame = pd.DataFrame({"step": [3, 1, 2, 1, 3], "completion": list("abcde")})
    frame.to_parquet(tmp_path / "a.parquet")
    found = {
        record.step: "".join(c.text for group in record.groups for c in group.completions)
        for record in step_records([tmp_path / "a.parquet"], nothing, {})
    }
    assert list(found.items()) == [(1, "bd"), (2, "c"), (3, "ae")]
    monkeypatch.setattr(rows, "SORTED", 10)
    with pytest.raises(ValueError, match="not in the order of their steps, and it is too large to sort here"):
        list(step_records([tmp_path / "a.parquet"], nothing, {}))


def test_files_are_read_by_number_and_what_goes_back_is_noted(tmp_path):
    for step in (99_999, 100_000):
        pd.DataFrame({"step": [step], "completion": ["x"]}).to_parquet(tmp_path / f"step_{step:05d}.parquet")
    notes: dict[str, int] = {}
    assert [record.step for record in step_records(tables(tmp_path), nothing, notes)] == [99_999, 100_000]
    assert not any("go back" in text for text in notes)
    back = step_records(tables(tmp_path)[::-1], nothing, notes)
    assert [record.step for record in back] == [100_000, 100_001]
    assert notes["steps go back from a file to the next: they are counted on from the last one"] == 1


def test_two_runs_in_one_folder_are_one_after_the_other(tmp_path):
    for name, steps in (("a", (1, 2, 3)), ("b", (2, 3, 4))):
        frame = pd.DataFrame({"step": np.repeat(steps, 4), "group": 1, "completion": ["x"] * 12})
        frame.assign(outcome=[1.0, 0.0, 0.0, 0.0] * 3).to_parquet(tmp_path / f"{name}.parquet")
    found = diagnosed(tmp_path, tmp_path / "out")
    assert [step for step, _ in found["series"]["reward/outcome_all"]] == [1, 2, 3, 4, 5, 6]
    assert any("steps go back from a file to the next" in text for text in found["notes"])


def test_columns_of_trl_that_hold_texts_are_named(tmp_path):
    advantages = trl_table(tmp_path / "a", right=lambda _: [1.0, 0.0, 1.0, 1.0])
    for path in tables(advantages):
        pd.read_parquet(path).assign(advantage="x").to_parquet(path)
    found = diagnosed(advantages, tmp_path / "out_a")
    assert found["series"]["reward/mean"][0] == [1, 0.75]
    assert any(note.startswith("column advantage is ") for note in found["notes"])
    found = diagnosed(trl_table(tmp_path / "b", right=lambda _: ["1"] * 4), tmp_path / "out_b")
    assert "reward/mean" not in found["series"]
    assert any("column of numbers, and the further columns are right" in note for note in found["notes"])


def test_a_generation_that_trl_writes_again_raises_no_alarm(tmp_path):
    """Each of 8 groups of 8 at 16 steps, as of num_iterations 4 and steps_per_generation 4: nothing changes."""
    folder, rng = tmp_path / "trl" / "completions", np.random.default_rng(3)
    folder.mkdir(parents=True)
    for step in range(1, 161):
        if step % 16 == 1:
            texts = [f"{rng.integers(100)} and {'then ' * rng.integers(3)}so" for _ in range(32)]
            frame = pd.DataFrame({"prompt": np.repeat([f"{step} {i}" for i in range(4)], 8), "completion": texts})
            frame = frame.assign(right=rng.integers(0, 2, 32).astype(float), advantage=rng.normal(size=32))
        frame.assign(step=step).to_parquet(folder / f"completions_{step:05d}.parquet")
    found = diagnosed(tmp_path / "trl", tmp_path / "out")
    assert [step for step, _ in found["series"]["reward/mean"]] == list(range(1, 161, 16))
    assert not found["shortcuts"] and not found["format"]["collapsed"]
    assert any("once more" in note and "(4800 completion(s)" in note for note in found["notes"])


def test_a_reward_of_a_table_of_ours_may_be_named_the_outcome(tmp_path, capfd):
    """As PhaseCallback leaves it behind where nobody named one."""
    values = [json.dumps({"right": float(i == 0), "tidy": 0.5}) for i in range(4)]
    frame = pd.DataFrame({"step": 1, "group": 1, "completion": ["x"] * 4, "reward": 0.7, "outcome": None})
    frame.assign(values=values).to_parquet(tmp_path / "a.parquet")
    assert "reward/outcome" not in diagnosed(tmp_path / "a.parquet", tmp_path / "out")["series"]
    series = diagnosed(tmp_path / "a.parquet", tmp_path / "named", "--outcome", "right")["series"]
    assert series["reward/outcome"] == [[1, 0.25]] and series["reward/mean"] == [[1, pytest.approx(0.7)]]
    assert cli.main(["diagnose", str(tmp_path / "a.parquet"), "--outcome", "rihgt"]) == 2
    assert "no such column of rewards; there are right, tidy" in capfd.readouterr().err


def test_where_no_table_can_be_read_nothing_is_said(tmp_path, capfd):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 torn")
    assert cli.main(["diagnose", str(tmp_path)]) == 2
    assert "none of its tables can be read" in capfd.readouterr().err


def test_what_a_script_logs_besides_is_no_reward_where_trls_log_tells(tmp_path):
    """`log_extra` writes its numbers into the same table as the rewards."""
    folder = trl_table(tmp_path / "trl", right=lambda _: [1.0, 0.0, 0.0, 0.0], level=lambda step: [6.0 + step] * 4)
    found = diagnosed(folder, tmp_path / "live")
    assert found["series"]["reward/mean"][0] == [1, 7.25] and "reward/outcome" not in found["series"]
    said = "taken for rewards, as no trainer_state.json names one of their columns: level, right"
    assert any(note.startswith(said) for note in found["notes"])
    log = {"log_history": [{"step": 1, "rewards/right/mean": 0.25, "rewards/right/std": 0.5}]}
    (folder / "trainer_state.json").write_text(json.dumps(log))
    found = diagnosed(folder, tmp_path / "out")
    assert found["series"]["reward/mean"] == found["series"]["reward/outcome"] == [[n, 0.25] for n in (1, 2, 3)]
    assert not any("taken for rewards" in note or "no outcome" in note for note in found["notes"])
    empty = trl_table(tmp_path / "empty", right=lambda _: [None] * 4, level=lambda _: [7.0] * 4)
    (empty / "trainer_state.json").write_text(json.dumps(log))
    assert "reward/mean" not in diagnosed(empty, tmp_path / "none")["series"]
    other = trl_table(tmp_path / "other", level=lambda _: [7.0] * 4)
    (other / "trainer_state.json").write_text(json.dumps(log))
    assert any(note.startswith(said.split(":")[0]) for note in diagnosed(other, tmp_path / "o")["notes"])
    right = trl_table(tmp_path / "b", right=lambda _: [0.5] * 4, good=lambda _: [1.0, 0.0, 0.0, 0.0])
    (right / "trainer_state.json").write_text(json.dumps(log))
    series = diagnosed(right, tmp_path / "named", "--outcome", "good")["series"]
    assert series["reward/outcome"][0] == [1, 0.25] and series["reward/mean"][0] == [1, 0.5]


def test_lists_that_are_all_empty_are_lists(tmp_path):
    frame = pd.DataFrame({"step": 1, "group": 1, "completion": [""] * 4, "token_ids": [[]] * 4, "outcome": 0.0})
    frame.to_parquet(tmp_path / "a.parquet")
    found = diagnosed(tmp_path / "a.parquet", tmp_path / "out")
    assert not any("column token_ids" in note for note in found["notes"])


LOGS = {
    "a line without a step": ([{"loss": 1.0}, ["a"], {"step": None, "loss": 2.0}], "lines of trainer_state.json", 3),
    "no list of lines": ({"a": 1}, "trainer_state.json is left out: it is torn, or has no list `log_history`", 1),
}


@pytest.mark.parametrize("case", LOGS)
def test_of_trls_log_what_can_be_read_is(tmp_path, case):
    history, said, count = LOGS[case]
    folder = trl_table(tmp_path / "trl", right=lambda _: [1.0] * 4)
    known = [{"step": 2, "loss": 0.5, "entropy": "x"}]
    log = history if isinstance(history, dict) else known + history
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    found = diagnosed(folder, tmp_path / "out")
    assert found["series"].get("loss/total") == (None if isinstance(history, dict) else [[2, 0.5]])
    assert any(note.startswith(said) and f"({count} completion(s)" in note for note in found["notes"])


def test_a_reward_that_is_not_there_is_not_0(tmp_path):
    frame = pd.DataFrame({"step": 1, "group": 1, "completion": ["x"] * 4})
    frame.to_parquet(tmp_path / "a.parquet")
    assert "reward/mean" not in diagnosed(tmp_path / "a.parquet", tmp_path / "out_a")["series"]
    frame.assign(outcome=[1.0, 0.0, 0.0, 0.0]).to_parquet(tmp_path / "b.parquet")
    assert diagnosed(tmp_path / "b.parquet", tmp_path / "out_b")["series"]["reward/mean"] == [[1, 0.25]]
    frame.assign(reward=[float("nan"), float("inf"), 1.0, 2.0]).to_parquet(tmp_path / "c.parquet")
    found = diagnosed(tmp_path / "c.parquet", tmp_path / "out_c")
    assert found["series"]["reward/mean"] == [[1, 1.5]] and found["series"]["reward/errors"] == [[1, 2.0]]
    assert any("NaN or infinite rewards" in note for note in found["notes"])
    frame.assign(outcome=[-1.0, 1.0, 1.0, 1.0], reward=0.5).to_parquet(tmp_path / "d.parquet")
    found = diagnosed(tmp_path / "d.parquet", tmp_path / "out_d")
    assert "reward/outcome" not in found["series"]
    assert any("no outcome: outcome goes from -1 to 1" in note for note in found["notes"])
    frame[:0].to_parquet(tmp_path / "e.parquet")
    assert any("not one completion" in note for note in diagnosed(tmp_path / "e.parquet", tmp_path / "out_e")["notes"])


def test_a_tasks_meta_comes_back(tmp_path):
    meta = json.dumps({"options": ["a", "b"]})
    pd.DataFrame({"completion": ["x"], "meta": [meta]}).to_parquet(tmp_path / "a.parquet")
    (record,) = step_records([tmp_path / "a.parquet"], nothing, {})
    assert record.groups[0].task.meta == {"options": ["a", "b"]}


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
    (record,) = step_records([tmp_path / "a.parquet"], nothing, {}, outcome="right")
    (group,) = record.groups
    assert group.task.prompt[0]["content"] == "2 + 2?" and group.outcomes == [1.0, 1.0]
    assert [completion.text for completion in group.completions] == ["first, we add: 4"] * 2


def test_messages_without_content_and_in_parts_are_text(tmp_path):
    """A call of a tool has no content, its answer is not the policy's; a content may be written as parts."""
    called = [
        {"role": "assistant", "content": [], "tool_calls": "add"},
        {"role": "tool", "content": [{"type": "text", "text": "4"}], "tool_calls": None},
        {"role": "assistant", "content": [{"type": "text", "text": "so "}, {"type": "text", "text": "4"}]},
    ]
    asked = [{"role": "user", "content": [{"type": "text", "text": "2 + 2 "}, {"type": "image", "text": None}]}]
    for name, prompt in (("trl", [asked]), ("ours", json.dumps(asked))):
        frame = pd.DataFrame({"step": 1, "prompt": prompt, "completion": [called], "advantage": 0.0})
        frame.assign(**{"task_key": "k"} if name == "ours" else {}).to_parquet(tmp_path / f"{name}.parquet")
        (record,) = step_records([tmp_path / f"{name}.parquet"], nothing, {})
        (group,) = record.groups
        assert group.completions[0].text == "so 4" and group.task.prompt[0]["content"] == "2 + 2 <image>"


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
