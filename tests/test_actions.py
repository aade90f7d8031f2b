"""Acting on events: credit for planning begins, settings change, a run ends; logged, replayable, resumable."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from diagnostics.phase.verdict import STATES
from diagnostics.shortcuts.advice import ADVICE
from rltrain import checkpoint, config, launch, load_run, plugins
from rltrain.actions import due
from rltrain.check.actions import check_actions
from rltrain.config import Action
from rltrain.events import EVENTS, EVIDENCE, PHASES
from rltrain.twin import twin
from rltrain.types import Event
from tests.test_check import settings

ROOT = Path(__file__).parent.parent

PLUGINS = """
import re
from rltrain.types import Event

class Digits:
    '''Takes numbers for planning phrases.'''
    def spans(self, text):
        return [match.span() for match in re.finditer(r"[0-9]+", text)]

class Alarm:
    panels = ()
    def __init__(self, *, at):
        self.at = at
    def observe(self, record):
        self.step = record.step
        return {}
    def events(self):
        return [Event(self.step, "alarm", "warning", {"state": "red"}, "none")] if self.step == self.at else []
    def state_dict(self):
        return {}
    def load_state_dict(self, state):
        pass
"""
BASE = ["run.console=false", "evaluation.prompts=0", "checkpoints.every=4", "checkpoints.keep=9", "training.steps=8"]


@pytest.fixture(scope="module")
def runs(ray_session, tmp_path_factory):
    """Runs a twin of the quickstart whose tagger takes numbers for plans."""
    root = tmp_path_factory.mktemp("actions")
    (root / "plugins.py").write_text(PLUGINS)

    def run(name: str, *overrides: str, resume: bool = False) -> Path:
        given = [text.replace("PLUGINS", str(root / "plugins.py")) for text in overrides]
        order = [*BASE, "tagger.use=" + str(root / "plugins.py:Digits"), *given, f"run.dir={root / name}"]
        launch.train(
            config.load("quickstart", order), "quickstart", resume="" if resume else None, twin=True, faults=()
        )
        return root / name

    return run


@pytest.fixture(scope="module")
def plain(runs):
    """The run without any action."""
    return runs("plain")


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model" / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return all(np.array_equal(a[name], b[name]) for name in b)


@pytest.mark.parametrize("variant", ["paper", "long_correct"])
def test_credit_begins_at_its_step_and_is_written_down(runs, variant):
    order = (f"advantages.hicra={{start: 3, max_ratio: 50, variant: {variant}}}",)
    run = runs(variant, *order)
    rows = load_run(run).rollouts()
    early, late = rows[rows.step < 3], rows[rows.step >= 3]
    assert not any(bonus is not None and np.any(bonus) for bonus in early.planning_bonus)
    credited = 0
    for row in late.itertuples():
        bonus, seen = np.array(row.planning_bonus), np.array(row.token_advantage)
        np.testing.assert_allclose(seen - bonus, row.advantage, atol=1e-6)
        assert np.isclose(bonus, 0.2 * abs(row.advantage), atol=1e-6)[bonus != 0].all()
        if variant == "paper":
            assert (bonus[np.array(row.planning)] > 0).all() == (row.advantage != 0)
            assert not bonus[~np.array(row.planning)].any()
        else:
            assert not bonus.any() or row.outcome > 0.5
            credited += bonus[~np.array(row.planning)].any()
    assert variant == "paper" or credited, "no token of high entropy got credit"
    metrics = load_run(run).metrics.set_index("step")["plan/credit"]
    assert (metrics.loc[:2] == 0).all() and metrics.loc[3:].max() > 0
    if variant == "long_correct":  # when credit begins is kept alike for both
        copy = run.with_name(f"{variant}-resumed")
        shutil.copytree(run, copy)
        shutil.rmtree(checkpoint.path_of(copy / "checkpoints", 8))
        shutil.rmtree(copy / "model")
        assert same_weights(run, runs(copy.name, *order, resume=True))


def test_an_action_has_its_cause_and_is_replayed_and_resumed_bit_equal(runs, plain):
    alarm = "diagnostics=[{use: 'PLUGINS:Alarm', args: {at: 3}}]"
    on_event = "actions=[{event: alarm, do: checkpoint}, {event: alarm, when: {state: red}, do: beta, value: 0.2}]"
    run = runs("caused", alarm, on_event)
    found = [event for event in load_run(run).events if event.name == "action"]
    assert [event.evidence["do"] for event in found] == ["checkpoint", "beta"]
    assert found[1].step == 3 and found[1].evidence["cause"] == "alarm"
    assert found[1].evidence["cause_evidence"] == {"state": "red"}
    assert "actions: [{at: 3, do: beta, value: 0.2}]" in found[1].advice
    kl = load_run(run).metrics.set_index("step")["loss/kl"]
    assert kl.loc[:3].isna().all() and kl.loc[4:].notna().all()
    assert checkpoint.path_of(run / "checkpoints", 3) in [c.path for c in checkpoint.whole(run / "checkpoints")]

    replayed = runs("replayed", "actions=[{at: 3, do: beta, value: 0.2}]")
    assert same_weights(run, replayed)
    assert not same_weights(run, plain)

    copy = run.with_name("caused-resumed")
    shutil.copytree(run, copy)
    for step in (4, 8):  # on from the checkpoint of the action itself, which holds what the other one changed
        shutil.rmtree(checkpoint.path_of(copy / "checkpoints", step))
    shutil.rmtree(copy / "model")
    assert same_weights(run, runs("caused-resumed", alarm, on_event, resume=True))


def test_stop_ends_the_run_in_order_and_it_can_go_on(runs, plain):
    run = runs("stopped", "actions=[{at: 3, do: stop}]")
    assert load_run(run).metrics.step.max() == 3
    assert (run / "model" / "model.safetensors").exists()
    assert checkpoint.whole(run / "checkpoints")[-1].step == 3
    shutil.rmtree(run / "model")
    gone_on = runs("stopped", "actions=[{at: 3, do: stop}]", resume=True)
    assert load_run(gone_on).metrics.step.tolist() == list(range(1, 9))
    assert same_weights(gone_on, plain)


def test_events_choose_actions():
    alarm = Event(5, "alarm", "warning", {"state": "red", "n": 3}, "")
    actions = [
        Action(event="alarm", do="checkpoint"),
        Action(event="alarm", when={"state": "green"}, do="stop"),
        Action(at=5, do="beta", value=0.1),
        Action(at=6, do="stop"),
    ]
    assert due(actions, 5, [alarm, alarm]) == [(actions[0], alarm), (actions[2], None)]
    assert due(actions, 5, []) == [(actions[2], None)]


@pytest.mark.parametrize(
    "text, said",
    [
        ("{do: stop}", "needs either event: NAME or at: STEP"),
        ("{event: alarm, at: 3, do: stop}", "needs either event: NAME or at: STEP"),
        ("{event: alarm, do: beta}", "needs a value"),
        ("{event: alarm, do: stop, value: 1}", "takes no value"),
        ("{event: alarm, do: hicra}", "advantages.hicra"),
        ("{event: alarm, do: dance}", "do"),
    ],
)
def test_a_bad_action_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        config.load("quickstart", [f"actions=[{text}]"])


@pytest.mark.parametrize(
    "at, said",
    [(9, "ends at step 8"), (3, "inside a rollout batch of 2 updates .*give step 4")],
)
def test_an_action_at_a_step_that_never_ends_a_batch_is_refused(at, said):
    given = ["training.steps=8", "training.updates_per_rollout=2", f"actions=[{{at: {at}, do: stop}}]"]
    with pytest.raises(ValueError, match=said):
        config.load("quickstart", given)


def test_a_twin_takes_its_actions_within_its_own_steps():
    asked = config.load("quickstart", ["training.steps=60", "actions=[{at: 50, do: stop}, {at: 2, do: checkpoint}]"])
    assert [action.at for action in twin(asked).actions] == [12, 2]


def test_the_events_that_actions_may_wait_for_are_those_that_are_written():
    """Names as they stand in the code: `Event(step, name, ...)`, `journal.tell(name, ...)`."""
    never = {"action", "stuck", "checkpoint_torn", "order_forecast", "scores_failed"}
    written = {f"shortcut_{name}" for name in ADVICE}
    for package in ("rltrain", "curricula", "diagnostics"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                written |= _name_in(node, {"Event": 1} | ({"tell": 0} if package == "curricula" else {}))
    assert written - never == EVENTS.keys()
    installed = {found.name for kind in ("curricula", "diagnostics") for found in plugins.installed(f"rltrain.{kind}")}
    assert {writer for writers in EVENTS.values() for writer in writers} <= installed


def _name_in(node: ast.AST, calls: dict[str, int]) -> set[str]:
    """The name of the event that one of these calls writes, whose argument it is at the place given."""
    if not isinstance(node, ast.Call):
        return set()
    place = calls.get(getattr(node.func, "id", getattr(node.func, "attr", "")))
    given = node.args[place] if place is not None and len(node.args) > place else None
    return {given.value} if isinstance(given, ast.Constant) and isinstance(given.value, str) else set()


def _said(verdict: str, **sections) -> str:
    given = check_actions(settings(**sections)).lines
    return "\n".join(line.text for line in given if line.verdict == verdict)


def test_evidence_that_an_event_never_has_is_an_error():
    def asked(event="phase_changed", **when) -> str:
        return _said("error", actions=[{"event": event, "when": when, "do": "stop"}])

    assert "asks for to: plannning, which never comes; did you mean 'planning'?" in asked(to="plannning")
    assert "asks for 'too', which its evidence does not have; did you mean 'to'?" in asked(too="planning")
    assert "asks for 'state', which its evidence does not have" in asked("format_collapse", state="planning")
    assert asked(to="planning") == asked("format_collapse", winner="code") == asked("source_raised", source="a") == ""
    assert "asks for 'winnner'" in asked("format_recovered", winnner="code")
    assert "asks for 'level'" in asked("entropy_spent", level=1)
    told_by_a_run = {"base_probed", "parity", "resumed", "stage_ended", "stages_changed", "tasks_changed"}
    of_curricula = {name for name, writers in EVENTS.items() if {"difficulty", "mixture", "staged"} & {*writers}}
    assert EVENTS.keys() - EVIDENCE.keys() <= told_by_a_run | of_curricula  # whose evidence depends on the run
    assert PHASES == STATES and EVIDENCE.keys() <= EVENTS.keys()


def test_what_an_action_waits_for(tmp_path):
    typo, known = [{"event": "format_colapse", "do": "stop"}], [{"event": "format_collapse", "do": "stop"}]
    assert "did you mean 'format_collapse'? there are: base_probed" in _said("error", actions=typo)
    assert _said("ok", actions=known) == "stop on format_collapse"
    off = [{"use": "reward"}]
    assert "which formats writes, and that is not on" in _said("warning", actions=known, diagnostics=off)
    (tmp_path / "plugins.py").write_text(PLUGINS)
    strange = [{"use": f"{tmp_path / 'plugins.py'}:Alarm", "args": {"at": 1}}]
    alarm = [{"event": "alarm", "do": "stop"}]
    assert "Alarm writes it" in _said("warning", actions=alarm, diagnostics=strange)
    assert _said("error", actions=alarm, diagnostics=strange) == ""
