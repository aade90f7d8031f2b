"""`rltrain eval`: the figures, and a twin run evaluated end to end."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rltrain import checkpoint, compare, config
from rltrain.models import locate
from rltrain.twin import twin
from rltrain.types import Score
from tests import synthetic


def groups(*outcomes, source="sums", start=0):
    return [synthetic.group(start + i, row, source) for i, row in enumerate(outcomes)]


def test_figures_in_all_and_per_source():
    base = groups((0, 0, 0, 1), (0, 0, 1, 1)) + groups((0, 0, 0, 0), source="haiku", start=5)
    run = groups((1, 1, 1, 1), (0, 0, 1, 1)) + groups((0.5, 0, 0, 0), source="haiku", start=5)
    found = compare.compared({"base": base, "run": run}, seed=0)
    assert found["prompts"] == 3
    assert list(found["sources"]) == ["all", "sums", "haiku"]
    assert found["sources"]["all"]["prompts"] == 3
    sums = found["sources"]["sums"]
    assert sums["outcome"]["base"] == pytest.approx(3 / 8)
    assert sums["outcome"]["run"] == pytest.approx(6 / 8)
    assert sums["outcome"]["difference"]["mean"] == pytest.approx(3 / 8)
    assert [what for what in sums if what.startswith("pass")] == ["pass@1", "pass@2", "pass@4"]
    assert sums["pass@1"]["base"] == pytest.approx(3 / 8)
    assert sums["pass@2"]["base"] == pytest.approx((1 / 2 + 5 / 6) / 2)  # 1 - C(3,2)/C(4,2), 1 - C(2,2)/C(4,2)
    assert sums["pass@4"]["base"] == 1.0
    haiku = found["sources"]["haiku"]
    assert haiku["outcome"]["run"] == pytest.approx(1 / 8)
    assert haiku["pass@4"]["run"] == 0.0  # half right is not solved
    assert haiku["outcome"]["difference"]["low"] <= 1 / 8 <= haiku["outcome"]["difference"]["high"]


def test_a_failed_score_is_counted_and_passes_nothing():
    found = compare.compared({"model": groups((None, 1.0))}, seed=0)
    assert found["failed_scores"] == {"model": 1}
    assert found["sources"]["all"]["outcome"] == {"model": 0.5}


def test_the_table_holds_every_figure():
    result = {"policies": {"base": "a", "run": "b"}, "num_generations": 2}
    result |= compare.compared({"base": groups((0, 1)), "run": groups((1, 1))}, seed=0)
    drawn = compare.table(result)
    assert drawn.row_count == 2 * 3  # all and sums x outcome, pass@1, pass@2
    assert [str(column.header) for column in drawn.columns] == ["tasks", "", "base", "run", "difference [95%, paired]"]


def test_without_an_outcome_there_is_nothing_to_compare():
    bare = [dataclasses.replace(synthetic.group(0, (1.0,)), scores=(Score(total=1.0),))]
    with pytest.raises(ValueError, match="no outcome reward applies"):
        compare.compared({"model": bare}, seed=0)


def test_several_greedy_completions_would_be_one():
    settings = config.load("quickstart", ["evaluation.temperature=0", "sampling.temperature=0.7"])
    assert compare.sampling(settings, 1).temperature == 0
    assert compare.sampling(settings, 4).temperature == 0.7


@pytest.mark.parametrize(
    ("target", "given", "told"),
    [
        ("nothing-001", None, "no run of that name or directory; for a model give its tasks and rewards by --config"),
        ("run", "quickstart", "is a run and has a config of its own"),
        ("run", None, "the run has no final model"),
    ],
)
def test_what_cannot_be_evaluated(target, given, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    synthetic.run(tmp_path / "runs" / "run", steps=1, config=config.dump(config.load("quickstart")))
    with pytest.raises(ValueError, match=told):
        compare.main(target, given, None, 2)


def test_what_is_no_model_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "held_out", lambda *_: pytest.fail("it went on"))
    (tmp_path / "plain").mkdir()
    shutil.copytree(locate("tiny"), tmp_path / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    for target, told in (
        (tmp_path / "none", "no such directory, and not a hub id"),
        (tmp_path / "plain", r"no config\.json in it"),
        (tmp_path / "empty", "no weights in it"),
    ):
        with pytest.raises(ValueError, match=told):
            compare.main(str(target), "quickstart", None, 2)


def test_a_checkpoint_is_advised_only_where_there_is_one(tmp_path):
    run = tmp_path / "r"
    synthetic.run(run, steps=1, config=config.dump(config.load("quickstart")))
    with pytest.raises(ValueError, match=r"train CONFIG --resume .*/r$"):
        compare.subject(str(run), None)
    path = checkpoint.path_of(run / "checkpoints", 4)
    shutil.copytree(locate("tiny"), path)
    checkpoint.seal(path, {}, step=4, fingerprint={})
    with pytest.raises(ValueError, match=r"rltrain eval .*/step_00004 --config .*config\.yaml"):
        compare.subject(str(run), None)


def test_nothing_held_out_is_an_error():
    settings = config.load("quickstart")
    with pytest.raises(ValueError, match="0 prompts wanted"):
        compare.held_out(settings, 0)


@pytest.fixture
def twin_run(tmp_path, monkeypatch):
    """A run of the quickstart's twin called `t`, as if it had ended with the weights it began with."""
    monkeypatch.chdir(tmp_path)
    settings = twin(config.load("quickstart"))
    synthetic.run(tmp_path / "runs" / "t", steps=1, config=config.dump(settings))
    shutil.copytree(locate("tiny"), tmp_path / "runs" / "t" / "model")
    return tmp_path / "runs" / "t"


def test_a_run_or_a_model_is_found(twin_run, tmp_path):
    by_name, by_path = compare.subject("t", None), compare.subject(str(twin_run), None)
    assert by_name.policies == {"base": "tiny", "run": "runs/t/model"}
    assert (by_name.directory, by_path.config) == (Path("runs/t"), by_name.config)
    settings = compare.subject("t", None, ["rollouts.slots=8"]).config
    assert settings.rollouts.slots == 8  # and all else as it was
    assert settings.model_copy(update={"rollouts": by_name.config.rollouts}) == by_name.config
    plain = compare.subject("runs/t/model", str(twin_run / "config.yaml"))
    assert plain.policies == {"model": "runs/t/model"}
    assert (plain.config.model.path, plain.directory) == ("runs/t/model", None)


def test_a_twin_run_against_its_base(ray_session, twin_run, capsys):
    compare.main("t", None, 6, 4)
    result = json.loads((twin_run / "eval.json").read_text())
    assert result["policies"] == {"base": "tiny", "run": "runs/t/model"}
    assert result["prompts"] == 6
    everything = result["sources"]["all"]
    # the twin's engine says the same whatever the weights: the pairs are exact
    assert everything["outcome"]["base"] == everything["outcome"]["run"] > 0
    assert everything["pass@1"]["difference"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert np.all(np.diff([everything[f"pass@{k}"]["run"] for k in (1, 2, 4)]) >= 0)
    assert "6 held-out prompts x 4 completions" in capsys.readouterr().out
