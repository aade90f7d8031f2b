"""`rltrain bwt`: transfer and orders by hand, single-task runs, and a measurement on the twin that is gone on with."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import yaml

from curricula.staged import Staged
from diagnostics.report.summary import sentences
from rltrain import bwt, cli, config, launch, load_run
from rltrain.bwt import cells, transfer
from rltrain.bwt.transfer import Means, Measured
from rltrain.config import Config

SUMS = {"use": "reasoning_gym", "args": {"generator": "chain_sum", "size": 60}, "held_out": 0.3}
TWO = {
    "run": {"console": False, "wandb": False},
    "model": {"path": "tiny", "dtype": "float32"},
    "tasks": [SUMS, {"use": "word_constraints", "kind": "creative", "args": {"size": 60}, "held_out": 0.3}],
    "rewards": [
        {"use": "numeric", "only": {"kind": "structured"}},
        {"use": "constraints", "only": {"kind": "creative"}},
    ],
    "rollouts": {"engine": "transformers"},
    "training": {"steps": 4, "prompts_per_step": 2, "micro_batch_size": 4},
    "sampling": {"num_generations": 2},
    "evaluation": {"prompts": 8},
    "checkpoints": {"every": 0},
    "diagnostics": [{"use": "reward"}],
}


def made(before, after) -> Means:
    """Means of runs that begin alike."""
    count = len(before)
    return Means(np.tile(np.array(before, float), (count, 1)), np.array(after, float))


def prompts(before, after, count=40, noise=0.0):
    """The same, as outcomes of `count` prompts a source."""
    k, rng = len(before), np.random.default_rng(0)
    of = np.repeat(np.arange(k), count)
    rows = [np.repeat(np.asarray(row, float), count) + noise * rng.normal(size=k * count) for row in after]
    return Measured(
        tuple("abcdefgh"[:k]), of, np.tile(np.repeat(np.asarray(before, float), count), (k, 1)), np.array(rows)
    )


def test_transfer_and_forecast_by_hand():
    found = made([0.4, 0.5], [[0.8, 0.25], [0.55, 0.9]])  # a halves b's skill, b mends a fourth of a's failures
    assert found.transfer == pytest.approx(np.array([[0.4 / 0.6, -0.5], [0.25, 0.8]]))
    assert transfer.forecast((0, 1), found) == pytest.approx([0.8 + 0.25 * 0.2, 0.9])
    assert transfer.forecast((1, 0), found) == pytest.approx([0.8, 0.9 * 0.5])
    assert transfer.candidates(found)[0] == (0, 1)


def test_what_was_hardly_there_can_hardly_be_lost():
    found = made([0.02, 0.5], [[0.5, 0.5], [0.0, 0.9]])
    assert found.transfer[1, 0] == pytest.approx(-0.2)  # a share of the floor, not of .02


def test_the_order_of_a_made_matrix_is_the_right_one():
    # c harms both others, a harms b: so c first, then a, then b
    found = made([0.5] * 3, [[0.8, 0.35, 0.5], [0.5, 0.8, 0.5], [0.25, 0.25, 0.8]])
    assert transfer.candidates(found)[0] == (2, 0, 1)
    assert transfer.forecast((2, 0, 1), found) == pytest.approx([0.8] * 3)
    assert transfer.candidates(found)[-1] == (1, 0, 2)


def test_of_many_sources_an_order_is_built_that_is_hardly_worse_than_the_best(monkeypatch):
    rng = np.random.default_rng(1)
    for _ in range(5):
        found = made(np.full(5, 0.5), np.clip(0.5 + 0.2 * rng.normal(size=(5, 5)), 0.05, 0.95))
        worth = {order: transfer.forecast(order, found).mean() for order in permutations(range(5))}
        monkeypatch.setattr(transfer, "MOST", 4)
        chosen = transfer.candidates(found)[0]
        monkeypatch.undo()
        ordered = sorted(worth.values(), reverse=True)
        assert worth[chosen] >= ordered[5]  # of 120


def test_how_sure_an_order_is():
    clear = transfer.propose(prompts([0.5, 0.5], [[0.8, 0.2], [0.6, 0.8]], noise=0.1))
    assert clear["order"] == ["a", "b"] and clear["sure"] > 0.99
    none = transfer.propose(prompts([0.5, 0.5], [[0.8, 0.5], [0.5, 0.8]], noise=0.3))
    assert none["sure"] < 0.95 and none["low"]["a"] < none["forecast"]["a"] < none["high"]["a"]
    tied = transfer.propose(prompts([0.5, 0.5], [[0.8, 0.5], [0.5, 0.8]]))
    assert tied["sure"] == pytest.approx(0.5)
    assert [len(order["order"]) for order in clear["orders"]] == [2, 2]


def test_a_single_task_run_trains_on_one_source_by_the_inner_curriculum():
    inner = {"use": "difficulty", "low": 0.2}
    spec = {"use": "staged", "order": "bwt", "inner": inner, "gates": [{"use": "g:G"}]}
    asked = Config.model_validate(TWO | {"curriculum": spec, "actions": [{"at": 3, "do": "stop"}]})
    single = cells.alone(asked, "chain_sum", ["chain_sum", "words"], 7, Path("there"))
    assert single.curriculum.use == "mixture" and single.curriculum.args["weights"] == {"chain_sum": 1.0, "words": 0.0}
    assert single.curriculum.inner.use == "difficulty" and single.curriculum.inner.args == {"low": 0.2}
    assert [gate.use for gate in single.curriculum.gates] == ["g:G"]
    assert (single.training.steps, single.actions, single.run.dir) == (7, [], Path("there"))
    spec["inner"] = {"use": "mixture", "inner": inner | {"when_empty": "stop"}}  # would end it before its last step
    asked = Config.model_validate(TWO | {"curriculum": spec})
    single = cells.alone(asked, "chain_sum", ["chain_sum", "words"], 7, Path("there"))
    assert single.curriculum.inner.inner.args == {"low": 0.2, "when_empty": "probe"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(TWO))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tasks": [SUMS]}, "one source, 'chain_sum': there is nothing to order"),
        ({"evaluation": {"prompts": 1}}, "evaluation.prompts: 1 for 2 sources"),
        ({"tasks": [SUMS | {"held_out": 0.0}, TWO["tasks"][1]]}, "source 'chain_sum' has no held-out prompts"),
    ],
)
def test_refused(here, capsys, change, told):
    (here / "other.yaml").write_text(yaml.safe_dump(TWO | change))
    assert cli.main(["bwt", "other.yaml", "--twin"]) == 2
    assert told in capsys.readouterr().err and not (here / "runs").exists()


def test_measured_on_the_twin_gone_on_with_and_followed(here, ray_session, capsys):
    assert cli.main(["bwt", "two.yaml", "--twin", "--steps", "1"]) == 0
    root = here / "runs" / "two-twin-bwt"
    found = json.loads((root / bwt.FILE).read_text())
    assert set(found["sources"]) == {"chain_sum", "word_constraints"} == set(found["order"])
    assert all(0 <= value <= 1 for row in found["after"].values() for value in row.values())
    said = capsys.readouterr().out
    assert "order: " in said and "trained on" in said and "matrix_file" in said
    assert "plotly" in (root / bwt.PICTURE).read_text()
    runs = sorted(path for path in root.iterdir() if path.is_dir())
    kept = {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in runs}
    assert len(runs) == 2 and not any((run / "checkpoints").exists() for run in runs)
    for run in runs:
        assert len(set(load_run(run).rollouts().source)) == 1
    assert cli.main(["bwt", "two.yaml", "--twin", "--steps", "1"]) == 0  # nothing is left to run
    assert {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in runs} == kept
    assert cli.main(["bwt", "two.yaml", "--twin", "--steps", "1", "run.seed=7"]) == 2
    assert "measured with another config: run.seed was 0, is 7" in capsys.readouterr().err

    order = f"curriculum={{use: staged, order: bwt, matrix_file: '{root / bwt.FILE}'}}"
    loaded = config.load("two.yaml", ["training.steps=2", order, "run.dir=followed"])
    launch.train(loaded, "two", resume=None, twin=True, faults=())
    (event,) = [event for event in load_run("followed").events if event.name == "order_forecast"]
    assert event.evidence["forecast"] == found["forecast"] and set(event.evidence["came"]) == set(found["sources"])
    assert any("against its forecast" in sentence for sentence in sentences(load_run("followed")))
    assert load_run("followed").metrics[f"curriculum/forecast@{found['order'][0]}"].iloc[-1] == pytest.approx(
        found["forecast"][found["order"][0]]
    )


def test_an_order_is_followed_source_by_source(tmp_path):
    from tests.test_staged import course, table

    file = tmp_path / "bwt.json"
    file.write_text(
        json.dumps({"order": ["haiku", "sums", "letters"], "forecast": {"haiku": 0.5, "sums": 1, "letters": 0}})
    )
    curriculum = Staged(table(), seed=0, order="bwt", matrix_file=str(file), min_groups=8, max_groups=16, replay=0.0)
    drawn = course(curriculum, 8)
    assert [set(step) for step in drawn[:2]] == [{"haiku"}] * 2 and set(drawn[-1]) == {"letters"}
    assert curriculum.metrics()["curriculum/forecast@sums"] == 1.0


def test_room_is_counted_in_cores(monkeypatch):
    monkeypatch.setattr(cells.os, "cpu_count", lambda: 8)
    asked = Config.model_validate(TWO)  # engine and trainer, two threads each, take turns

    def room(**rollouts):
        return cells.room(asked.model_copy(update={"rollouts": asked.rollouts.model_copy(update=rollouts)}))

    assert (room(), room(max_lag=1), room(engine="vllm"), room(gpus=1.0)) == (4, 2, 1, 1)
