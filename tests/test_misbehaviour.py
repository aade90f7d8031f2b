"""Rewards that misbehave in whole runs on the twin: steps complete, counts are right, too many failures stop it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from data import misbehaving

from rltrain import checkpoint, cli, config, launch, load_run, metrics

FILE = Path(misbehaving.__file__)
BASE = ["run.console=false", "evaluation.prompts=0", "diagnostics=[{use: reward}]"]
BREAKS = '''
def breaks(task, completion):
    """Is broken by what the policy of step 4 says."""
    if completion.policy_version >= 4:
        return 1 / len(completion.token_ids[:0])
    return float((task.answer or "the") in completion.text)
'''


@pytest.fixture(scope="module")
def run(ray_session, tmp_path_factory):
    """A run of rewards that do everything they should not."""
    directory = tmp_path_factory.mktemp("misbehaviour") / "run"
    order = [
        *BASE,
        f"tasks=[{{use: python, name: made, held_out: 0, args: {{function: '{FILE}:tasks'}}}}]",
        f"rewards=[{{use: '{FILE}:value', timeout_s: 1}}, {{use: '{FILE}:values', role: shaping}}]",
        "training.steps=6",
        "admission.max_errors=1.0",
        f"run.dir={directory}",
    ]
    launch.train(config.load("quickstart", order), "quickstart", resume=None, twin=True, faults=())
    return load_run(directory)


def does(rows):
    return rows.meta.map(lambda meta: json.loads(meta)["does"])


def kind_of(error):
    """The first word of an error; None where there is none."""
    return error.replace(":", " ").split()[0] if isinstance(error, str) else None


@pytest.mark.parametrize("kind", misbehaving.KINDS)
def test_it_costs_its_own_samples_a_typed_error(run, kind):
    rows = run.rollouts()
    mine = rows[does(rows) == kind]
    assert len(mine) and mine.completion.map(misbehaving.guilty).any()
    told = misbehaving.TOLD.get(kind)
    for _, group in mine.groupby(["step", "group"]):
        guilty = group.completion.map(misbehaving.guilty)
        if kind == "length" or (kind in misbehaving.DEADLY and guilty[:3].all()):
            guilty[:] = True
        expected = [told if failed and told else None for failed in guilty]
        assert [kind_of(error) for error in group.error] == expected
        assert group.outcome.isna().tolist() == [error is not None for error in expected]


def test_the_steps_complete_and_the_counts_are_those_of_the_rows(run):
    lines, rows = run.metrics.set_index("step"), run.rollouts()
    assert [step for step in lines.index if step] == list(range(1, 7)) and metrics.undeclared(lines.columns) == []
    assert lines.loc[1:, "loss/grad_norm"].notna().all()
    assert rows.admitted.sum() == 6 * 4 * 4  # groups that failed as a whole were replaced
    assert rows.error.notna().sum() == lines["reward/errors"].sum()
    kinds = rows.error.dropna().map(kind_of).value_counts()
    counted = {name.partition("@")[2]: lines[name].sum() for name in lines if name.startswith("reward/failed@")}
    assert counted == kinds.to_dict() and counted.keys() == set(misbehaving.TOLD.values())


def test_too_many_failures_stop_the_run_which_then_goes_on(ray_session, tmp_path, capfd):
    (tmp_path / "breaks.py").write_text(BREAKS)
    directory = tmp_path / "run"
    order = [*BASE, f"rewards=[{{use: '{tmp_path}/breaks.py:breaks'}}]", "checkpoints.every=0", f"run.dir={directory}"]
    assert cli.main(["train", "quickstart", *order, "--twin"]) == 1
    said = capfd.readouterr().err
    assert "100% of the scores of step 5 failed (admission.max_errors 50%): 16 Raised" in said
    assert "ZeroDivisionError" in said and "breaks.py" in said and "return 1 / len(" in said
    assert [found.step for found in checkpoint.whole(directory / "checkpoints")] == [4]
    assert [event.name for event in load_run(directory).events if event.severity == "error"] == ["scores_failed"]
    (tmp_path / "breaks.py").write_text(BREAKS.replace("1 / len(completion.token_ids[:0])", "1.0"))
    command = shlex.split(said.rpartition("go on with: ")[2].splitlines()[0])
    assert Path(command[0]).name == "rltrain" and cli.main(command[1:]) == 0
    assert load_run(directory).metrics.step.tolist() == list(range(1, 13))


def test_too_many_failures_at_the_first_step_leave_nothing_to_go_on_from_but_the_start(ray_session, tmp_path, capfd):
    (tmp_path / "breaks.py").write_text(BREAKS.replace(">= 4", ">= 0"))
    order = [*BASE, f"rewards=[{{use: '{tmp_path}/breaks.py:breaks'}}]", f"run.dir={tmp_path / 'run'}"]
    assert cli.main(["train", "quickstart", *order, "--twin"]) == 1
    said = capfd.readouterr().err
    assert "scores of step 1 failed" in said and "no checkpoint yet" in said and "--resume" in said
