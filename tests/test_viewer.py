"""What the rollout viewer is told: rows to pick from, groups with tokens, a prompt over time, all of it bounded."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from rollouts import CONFIG, HOSTILE, rollout_run, write_step

from diagnostics.report.viewer import History, embed, group_payload, script, settings, step_payload, text_payload
from diagnostics.report.viewer.embed import BUDGET, chosen_steps
from diagnostics.report.viewer.picks import groups, lucky, orders
from diagnostics.report.viewer.reading import completions, outline
from rltrain.records import RunDir, load_run
from rltrain.types import Event


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return rollout_run(tmp_path_factory.mktemp("runs") / "a")


def file(run, step: int = 2):
    return run.path / "rollouts" / f"step_{step:05d}.parquet"


def a_group(run, step: int, place: int) -> dict:
    rows = outline(file(run, step))
    members = [row for row in rows if row["group"] == rows[8 * place]["group"]]
    return group_payload(file(run, step), step, members, [row["row"] for row in members])


def light(outcome, group=0, reward=None, error=None) -> dict:
    return {"outcome": outcome, "reward": outcome if reward is None else reward, "error": error, "group": group}


# --- picking -------------------------------------------------------------------------------------


def test_the_worst_has_the_lowest_outcome_and_then_the_lowest_reward():
    rows = [light(1.0), light(0.0, reward=0.2), light(0.0, reward=0.1), light(None, reward=0.0, error="Timeout")]
    found = orders(rows)
    assert found["worst"] == [2, 1, 0, 3] and found["best"] == [0, 1, 2, 3]
    assert sorted(found["random"]) == [0, 1, 2, 3] and orders(rows)["random"] == found["random"]


def test_a_step_of_very_many_completions_is_put_in_order():
    rows = [light(i % 2, group=i // 8, error="Timeout" if i % 5 == 0 else None) for i in range(40_000)]
    found = orders(rows)
    assert sorted(found["worst"]) == list(range(40_000)) and found["worst"][-1] == 39_995


def test_lucky_is_a_success_alone_in_a_large_group():
    alone = [light(1.0, "a")] + [light(0.0, "a")] * 7
    small = [light(1.0, "b"), light(0.0, "b")]
    several = [light(1.0, "c")] * 2 + [light(0.0, "c")] * 6
    assert lucky([*small, *alone, *several]) == [2]


def test_the_groups_shown_first_hold_the_worst_the_best_and_the_lucky(made):
    rows = outline(file(made))
    first = groups(rows, 2, seed=1)
    found = orders(rows)
    assert {rows[found["worst"][0]]["group"], rows[found["lucky"][0]]["group"]} <= set(groups(rows, 3)) and len(
        first
    ) == 2


# --- reading -------------------------------------------------------------------------------------


def test_a_step_in_outline_is_the_file_s_rows(made):
    rows = outline(file(made))
    assert [row["row"] for row in rows] == list(range(24))
    assert {row["task_key"] for row in rows} == {"sums/0", "sums/2", "odd/2"}
    assert all(row["tokens"] > 5 for row in rows) and rows[16]["error"].startswith("Timeout")
    told = step_payload(2, rows, 24)
    assert told["of"] == 24 and json.dumps(told) and told["orders"]["worst"][-1] == 16


def test_the_tokens_of_a_group_join_to_its_texts(made):
    group, table = a_group(made, 2, 0), parquet.read_table(file(made)).to_pylist()
    for completion in group["completions"]:
        assert "".join(completion["pieces"]) == table[completion["row"]]["completion"]
        assert len(completion["entropy"]) == len(completion["pieces"]) == completion["tokens"]
    assert group["task"]["prompt"] == [{"role": "user", "content": "6 + 3?"}]
    assert group["mean"] == pytest.approx(0.55)


def test_what_follows_from_other_columns_is_not_sent(made):
    first = a_group(made, 2, 0)["completions"][0]
    assert first["ratio"] is None and first["token_advantage"] is None
    assert isinstance(first["planning_bonus"], list) and first["loss_mask"].count(0) == 1
    row = parquet.read_table(file(made)).to_pylist()[0]
    for i, value in enumerate(row["token_advantage"]):
        assert value == pytest.approx(first["advantage"] + first["planning_bonus"][i], abs=1e-4)
        assert row["ratio"][i] == pytest.approx(math.exp(first["train_logprob"][i] - first["logprob"][i]), rel=1e-4)


def test_what_does_not_follow_is_sent(made, tmp_path):
    table = parquet.read_table(file(made))
    odd = [[v + 0.5 for v in row] for row in table["token_advantage"].to_pylist()]
    place = table.schema.get_field_index("token_advantage")
    path = tmp_path / "step_00002.parquet"
    parquet.write_table(table.set_column(place, table.schema.field(place), pa.array(odd, pa.list_(pa.float32()))), path)
    rows = outline(path)
    found = group_payload(path, 2, rows[:8], range(8))["completions"][0]
    assert found["token_advantage"][0] == pytest.approx(odd[0][0], rel=1e-4)


def test_a_long_text_is_cut_with_its_length_said_and_whole_on_demand(tmp_path):
    run = rollout_run(tmp_path / "a", 1, hostile=True)
    long = next(c for c in a_group(run, 1, 2)["completions"] if c["characters"] > 10**5)
    assert long["characters"] == 1_000_000 and sum(map(len, long["pieces"])) == 50_000
    assert text_payload(file(run, 1), long["row"]) == "A" * 1_000_000
    with pytest.raises(ValueError, match="no row 99"):
        text_payload(file(run, 1), 99)


def test_bytes_that_are_no_text_are_replaced(tmp_path):
    data = b"ok \xff\xfe\xc3(" + b"\xed\xa0\x80"
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data))
    path = tmp_path / "step_00001.parquet"
    parquet.write_table(pa.table({"completion": broken, "task_key": broken, "reward": [0.5]}), path)
    (row,) = outline(path)
    (found,) = completions(path, [0])
    assert found["completion"].startswith("ok \ufffd") and found["token_text"] == [found["completion"]]
    json.dumps(group_payload(path, 1, [row], [0])).encode()


def test_a_table_without_token_columns_is_shown_as_far_as_it_goes(tmp_path):
    path = tmp_path / "step_00001.parquet"
    parquet.write_table(pa.table({"completion": ["a b", "c"], "task_key": ["x", "x"], "outcome": [1.0, 0.0]}), path)
    rows = outline(path)
    found = group_payload(path, 1, rows, [0, 1])
    assert found["completions"][0]["pieces"] == ["a b"] and found["completions"][0]["entropy"] is None
    assert found["mean"] is None and found["task"]["prompt"] == []


def test_per_token_lists_of_another_length_are_left_out(made, tmp_path):
    table = parquet.read_table(file(made))
    place = table.schema.get_field_index("entropy")
    path = tmp_path / "step_00002.parquet"
    parquet.write_table(
        table.set_column(place, table.schema.field(place), pa.array([[1.0]] * 24, pa.list_(pa.float32()))), path
    )
    assert completions(path, [3])[0]["entropy"] is None


def test_cells_of_another_writer_need_not_be_json(made, tmp_path):
    table = parquet.read_table(file(made))
    chat = [[{"role": "user", "content": "2 + 3?"}]] * table.num_rows
    for name, cells in (
        ("prompt", chat),
        ("values", [{"numeric": 1.0}] * table.num_rows),
        ("meta", [7] * table.num_rows),
        ("completion", [7] * table.num_rows),
    ):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(cells))
    parquet.write_table(table, tmp_path / "step_00001.parquet")
    members = outline(tmp_path / "step_00001.parquet")[:8]
    found = group_payload(tmp_path / "step_00001.parquet", 1, members, [row["row"] for row in members])
    assert found["task"]["prompt"] == [{"role": "user", "content": "2 + 3?"}] and found["task"]["meta"] == {}
    assert found["completions"][0]["values"] == {"numeric": 1.0} and found["completions"][0]["pieces"] == ["7"]


def test_a_torn_file_is_an_error_in_words(tmp_path):
    (tmp_path / "step_00001.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(ValueError, match=r"step_00001\.parquet: cannot be read"):
        outline(tmp_path / "step_00001.parquet")


def test_settings_are_the_config_s(made):
    found = settings(load_run(made.path).config)
    assert found["rewards"]["form"] == {"role": "shaping", "weight": 0.1, "range": None}
    assert found["aligned"] is True and found["hicra"]["alpha"] == 0.2 and found["cap"] == 1.05
    assert settings({"rewards": 3, "training": []})["rewards"] == {} and settings({})["aligned"] is None


# --- the same prompt over time -------------------------------------------------------------------


def test_a_prompt_s_visits_are_found_and_new_steps_are_added(tmp_path):
    run = rollout_run(tmp_path / "a", 3)
    history = History(run.path)
    assert history.look() == (3, 3)
    assert [(v["step"], v["successes"], v["completions"]) for v in history.visits("sums/0")] == [
        (s, 4, 8) for s in (1, 2, 3)
    ]
    assert [v["step"] for v in history.visits("odd/2")] == [2] and history.visits("none") == []
    write_step(run, 4, np.random.default_rng(0))
    run.flush()
    file(run, 1).unlink()
    (run.path / "rollouts" / "step_00003.parquet").write_bytes(b"torn")
    assert history.look() == (3, 3)
    assert [v["step"] for v in history.visits("sums/0")] == [2, 4]


def test_a_look_ends_in_time_and_goes_on_where_it_stopped(made):
    history = History(made.path)
    assert history.look(seconds=0) == (0, 3)
    assert history.look() == (3, 3)


# --- inside the report ---------------------------------------------------------------------------


def test_the_selection_holds_first_last_and_eventful_steps(tmp_path):
    run = RunDir.create(tmp_path / "a", "", {})
    for step, severity, name in [
        (37, "warning", "format_collapse"),
        (50, "info", "tick"),
        (61, "info", "phase_changed"),
    ]:
        run.log_event(Event(step, name, severity, {}, ""))
    chosen = chosen_steps(load_run(run.path), range(1, 101), 8)
    assert {1, 37, 61, 100} <= set(chosen) and 50 not in chosen and len(chosen) == 8
    assert chosen_steps(load_run(run.path), [], 8) == [] and chosen_steps(load_run(run.path), [5], 8) == [5]


def test_the_selection_is_bounded_and_whole(tmp_path):
    run = rollout_run(tmp_path / "a", 12, hostile=True)
    (told,) = embed([load_run(run.path)])
    assert len(json.dumps(told)) < BUDGET + 100_000 and told["of"] == 12
    for step in told["steps"]:
        for row in step["rows"]:
            inside = told["groups"][f"{step['step']}/{row['group']}"]["completions"]
            assert row["row"] in [completion["row"] for completion in inside]
        assert step["rows"][step["orders"]["worst"][0]]["outcome"] == 0.0
    assert [visit["step"] for visit in told["histories"]["sums/0"]] == list(range(1, 13))


def test_runs_without_rollouts_embed_nothing(tmp_path):
    assert embed([load_run(RunDir.create(tmp_path / "a", CONFIG, {}).path)]) == []


def test_a_torn_step_is_noted(tmp_path):
    run = rollout_run(tmp_path / "a", 2)
    file(run, 1).write_bytes(b"torn")
    (told,) = embed([load_run(run.path)])
    assert [step["step"] for step in told["steps"]] == [2] and "step 1" in told["notes"][0]


def test_the_script_sets_no_html():
    text = script()
    assert (
        "innerHTML" not in text and "outerHTML" not in text and "insertAdjacentHTML" not in text and "eval(" not in text
    )
    assert len(HOSTILE) == 8
