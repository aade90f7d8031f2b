"""A run in a notebook: the page's examples run, the tables are tidy, and text out of a run stays text."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import completion, group, record, run

import rltrain
from rltrain.records import RunDir, about, load_run
from rltrain.types import Event

PAGE = Path(__file__).parent.parent / "docs" / "notebook.md"


@pytest.fixture
def quick(tmp_path):
    """A run with curves, an event, and two steps of rollouts."""
    config = "model: {path: tiny}\ntasks: [{use: file}]\nrewards: [{use: exact}]\ntraining: {steps: 40}\n"
    made = run(tmp_path / "runs" / "quickstart-001", 12, config=config)
    for step in (11, 12):
        made.write_rollouts(record(step, group(2 * step), group(2 * step + 1, admitted=False)))
        made.write_curriculum(step, [{"task": "a", "verdict": "kept"}])
    made.close()
    return made.path


def test_the_page_s_examples_run(quick, monkeypatch, capsys):
    monkeypatch.chdir(quick.parent.parent)
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert list(names["river"].columns) == ["answer_only", "prose"] and len(names["river"]) == 12
    assert set(names["last"].index) == {"sums", "haiku"}
    assert names["entropy"].to_dict() == {False: 1.0, True: 2.0}
    assert len(names["forks"]) == 5 and names["warnings"]["name"].tolist() == ["engine_restarted"]
    assert names["decisions"]["verdict"].tolist() == ["kept", "kept"]
    assert names["pictures"]["reward"][0].layout.height == 300
    assert "sums/24" in capsys.readouterr().out


# --- curves --------------------------------------------------------------------------------------


def test_curves_are_one_value_a_row(quick):
    files = rltrain.load_run(quick)
    long = files.curves()
    assert list(long.columns) == ["step", "name", "class", "value"] and long["value"].notna().all()
    wide = files.metrics.set_index("step")
    assert len(long) == int(wide.notna().sum().sum())
    one = long[(long["name"] == "reward/mean") & (long["class"] == "sums")].set_index("step")["value"]
    pd.testing.assert_series_equal(one, wide["reward/mean@sums"].dropna(), check_names=False)
    assert long[long["name"] == "entropy/gap"]["class"].isna().all()


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (("format",), {"format/share"}),
        (("entropy/gap",), {"entropy/gap"}),
        (("reward/mean@sums", "length"), {"reward/mean", "length/mean"}),
        (("nothing",), set()),
    ],
)
def test_curves_by_area_and_name(quick, wanted, names):
    found = rltrain.load_run(quick).curves(*wanted)
    assert set(found["name"]) == names and list(found.columns) == ["step", "name", "class", "value"]
    if "reward/mean@sums" in wanted:
        assert set(found[found["name"] == "reward/mean"]["class"]) == {"sums"}


# --- tokens --------------------------------------------------------------------------------------


def test_tokens_are_one_row_each_and_join_to_the_completion(quick):
    files = rltrain.load_run(quick)
    tokens, rollouts = files.tokens([12]), files.rollouts([12])
    assert len(tokens) == sum(map(len, rollouts["token_ids"])) == 4 * 5
    joined = tokens.groupby(["group", "sample"])["token"].agg("".join)
    assert joined.tolist() == rollouts["completion"].tolist()
    first = tokens[(tokens["group"] == 24) & (tokens["sample"] == 0)]
    assert first["position"].tolist() == list(range(5)) == first["token_id"].tolist()
    assert first["entropy"].tolist() == [2, 2, 1, 1, 1] and first["planning"].tolist() == [True] * 2 + [False] * 3
    refused = tokens[~tokens["admitted"]]
    assert refused["entropy"].isna().all() and refused["loss_mask"].isna().all() and len(refused) == 10
    assert refused["logprob"].tolist() == [-0.5] * 10


def test_tokens_of_nothing_and_of_an_older_file(tmp_path):
    made = RunDir.create(tmp_path / "r", "", {})
    assert len(load_run(made.path).tokens()) == 0
    made.write_rollouts(record(1, group(completions=(completion("", 0), completion("abc", 2)))))
    made.close()
    path = made.path / "rollouts" / "step_00001.parquet"
    pd.read_parquet(path).drop(columns=["ratio", "planning_bonus", "format"]).to_parquet(path)
    tokens = load_run(made.path).tokens()
    assert (
        tokens["token"].tolist() == ["a", "bc"] and tokens["ratio"].isna().all() and tokens["sample"].tolist() == [1, 1]
    )
    assert np.isfinite(tokens["entropy"]).all()


# --- pictures, and what it says of itself --------------------------------------------------------


def test_pictures_are_the_report_s_and_an_unknown_one_is_named(quick):
    files = rltrain.load_run(quick)
    assert set(files.figures()) >= {"reward"}
    with pytest.raises(ValueError, match=r"no picture 'rewrd'; did you mean 'reward'\? there are: "):
        files.figures("rewrd")


def test_a_run_says_what_it_is(quick):
    files = rltrain.load_run(quick)
    for text in (files._repr_markdown_(), files._repr_html_()):
        plain = text.replace("\\", "")
        for part in ("quickstart-001", "12 of 40", "tiny", "exact", "reward/mean", "step 5 engine_restarted"):
            assert part in plain, part


def test_text_out_of_a_run_is_text_there(tmp_path):
    odd = "<img src=x onerror=alert(1)>| `a` [b](javascript:alert(1)) \x1b[2J\u202e"
    made = RunDir.create(tmp_path / "<b>r", "model: [\n", {})
    made.log_event(Event(1, odd, "info", {}, odd))
    made.close()
    files = load_run(made.path)
    page, marked = about.page(files), about.markdown(files)
    assert "<img" not in page and "<b>" not in page and "config.yaml cannot be read" in page
    assert "<img" not in marked and "](javascript" not in marked and "\\`a\\`" in marked
    assert not {"\x1b", "\u202e"} & {*page, *marked}
