"""Shortcuts: marks read from texts, figures by hand, detectors that fire and those that stay silent, resume."""

import dataclasses
import json
import math

import numpy as np
import pytest
from synthetic import completion, group, record

from benchmarks import shortcut_toy
from diagnostics.sequential import Baseline, RiseTest, effective
from diagnostics.shortcuts import ShortcutDiagnostic, texts
from rltrain.metrics import undeclared
from rltrain.types import Advantage, Diagnostic, StepRecord

WORK = "First I add 3 and 4.\nThat is 3 + 4 = 7.\nThen 7 * 2 = 14.\nAnswer: 14"
LOOP = "Let me check that again. " * 20


def made(ticket, said, outcomes, advantages=None, prompt="1 + 3?", totals=None):
    """A group of texts with outcomes."""
    parts = {"advantages": tuple(Advantage(a, 0.0, 1.0) for a in advantages)} if advantages is not None else {}
    one = group(ticket, tuple(outcomes), completions=tuple(map(completion, said)), **parts)
    task = dataclasses.replace(one.task, prompt=({"role": "user", "content": prompt},))
    scores = tuple(
        dataclasses.replace(s, total=s.outcome if totals is None else totals[i]) for i, s in enumerate(one.scores)
    )
    return dataclasses.replace(one, task=task, scores=scores)


def events(diagnostic, steps):
    found = {}
    for step in steps:
        diagnostic.observe(step)
        found |= {event.name: event for event in diagnostic.events()}
    return found


# --- marks of a text -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (WORK, ["14"]),
        ("The answer is 7. So the answer is 8.", ["7", "8"]),
        ("\\boxed{3/4}", ["3/4"]),
        ("<answer>B</answer>", ["b"]),
        ('{"answer": 42}', ["42"]),
        ("Paris", ["paris"]),
        ("", []),
    ],
)
def test_answers_are_read(text, stated):
    assert texts.answers(text) == stated


def test_repetition_is_of_the_final_answer():
    assert texts.is_repeated(["7", "7", "7"]) and texts.is_repeated(["3", "7", "7", "7"])
    assert not texts.is_repeated(["7", "7"]) and not texts.is_repeated(["7", "7", "7", "8"])


@pytest.mark.parametrize(
    ("text", "steps"), [(WORK, 3), ("Answer: 14", 0), ("14", 0), ("", 0), ("We add. 3 + 4 = 7; 7 * 2 = 14.", 2)]
)
def test_steps_are_what_is_worked_out(text, steps):
    assert texts.steps(text) == steps


def test_copying_is_of_long_runs():
    prompt = "Ann has seven apples and gives three of them to Bob, how many are left?"
    known = texts.runs(prompt)
    assert texts.copied(prompt, known) == 1.0
    assert texts.copied(f"{prompt} I do not know what else to say about all of this, sorry about that one", known) < 0.5
    assert texts.copied("Ann has four apples left", known) == texts.copied(prompt, texts.runs("1 + 3?")) == 0.0


@pytest.mark.parametrize(
    "text", [LOOP, "the " * 100, "12 " * 200, "a" * 400, f"She thinks about it for a while. {LOOP}"]
)
def test_loops_are_seen(text):
    assert texts.is_looped(text)


@pytest.mark.parametrize(
    "text",
    [
        "the the the",
        WORK,
        "She has three apples and buys four more at the market, where they cost a dollar each. That makes seven "
        "apples, and she pays four dollars for those she bought, so of ten dollars six are left in the end.",
        "| name | age |\n|------|-----|\n| Ann  | 3   |\n| Bob  | 45  |\n| Cleo | 7   |\n| Dora | 19  |",
    ],
)
def test_ordinary_texts_are_no_loops(text):
    assert not texts.is_looped(text)


# --- figures -------------------------------------------------------------------------------------


def test_luck_and_the_mass_of_advantages_by_hand():
    lucky = made(1, ["7"] * 8, [1] + [0] * 7, [7.0] + [-1.0] * 7)
    sound = made(2, ["7"] * 8, [1] * 4 + [0] * 4, [1.0] * 4 + [-1.0] * 4)
    small = made(3, ["7"] * 4, [1] + [0] * 3, [3.0] + [-1.0] * 3)  # one of four is no luck
    metrics = ShortcutDiagnostic().observe(record(1, lucky, sound, small))
    assert metrics["shortcut/lucky"] == pytest.approx(1 / 5) and metrics["shortcut/successes"] == 6
    assert metrics["shortcut/advantage_mass"] == pytest.approx(14 / (14 + 8 + 6))
    assert metrics["shortcut/advantage_groups"] == 3 and metrics["shortcut/misdirected"] == 0.0


@pytest.mark.parametrize(("easy", "hard", "per_step"), [(0.05, 0.02, 4), (0.0, 0.01, 16)])
def test_luck_is_that_of_all_successes_and_not_of_a_step_s(easy, hard, per_step):
    """Hard prompts beside a few easy ones: most steps have a lonely success or none, most successes are not alone."""

    def steps():
        rng = np.random.default_rng(6)
        for n in range(1, 161):
            groups = []
            for i in range(per_step):
                right = (rng.random(16) < (0.95 if rng.random() < easy else hard)).astype(float)
                spread = (right - right.mean()) / (right.std() + 1e-4)
                groups.append(made(i, [f"{WORK}{i}"] * 16, right.tolist(), spread.tolist()))
            yield record(n, *groups)

    found = events(ShortcutDiagnostic(), steps())
    assert set(found) == {"shortcut_advantage_mass"} | ({"shortcut_lucky"} if not easy else set())
    assert all(one.evidence["ceiling"] == one.evidence["usual"] == 0.5 for one in found.values())


def test_the_gradient_is_weighed_by_its_mass():
    """Two groups in three are lucky, and have two fifths of the advantages."""
    lucky = made(1, ["7"] * 8, [1] + [0] * 7, [7.0] + [-1.0] * 7)
    sound = made(2, ["7"] * 8, [1] * 4 + [0] * 4, [5.5] * 4 + [-5.5] * 4)
    assert not events(ShortcutDiagnostic(), (record(n, lucky, lucky, sound) for n in range(1, 100)))
    heavy = made(1, ["7"] * 8, [1] + [0] * 7, [49.0] + [-7.0] * 7)
    assert "shortcut_advantage_mass" in events(
        ShortcutDiagnostic(), (record(n, heavy, heavy, sound) for n in range(1, 100))
    )


@pytest.mark.parametrize("seed", range(6))
def test_lucky_groups_count_by_their_weight_before_there_is_another(seed):
    """Advantages that are not divided: nine groups in ten have no success and a little shaping, a seventh of all."""

    def steps():
        rng = np.random.default_rng(seed)
        for n in range(1, 201):
            right = np.zeros(8)
            right[: 0 if rng.random() < 0.9 else 4] = 1
            total = right + 0.02 * (rng.random(8) < 0.5)
            yield record(n, made(n, ["7"] * 8, right.tolist(), (total - total.mean()).tolist()))

    assert "shortcut_advantage_mass" not in events(ShortcutDiagnostic(), steps())


def test_groups_of_unequal_size_count_by_their_successes():
    """Three in four successes are in groups of 64, which are fewer than the lonely ones in groups of 8."""

    def steps(easy):
        rng = np.random.default_rng(0)
        for n in range(1, 201):
            size = 64 if rng.random() < easy else 8
            right = [1.0] * (size // 8) + [0.0] * (size - size // 8) if size == 64 else [1.0] + [0.0] * 7
            yield record(n, made(n, ["7"] * size, right, [0.0] * size))

    assert not events(ShortcutDiagnostic(), steps(0.3))
    assert "shortcut_lucky" in events(ShortcutDiagnostic(), steps(0.0))


def test_huge_advantages_are_weighed():
    huge = made(1, ["7"] * 8, [1] + [0] * 7, [1.7e308] + [-1e308] * 7)
    metrics = ShortcutDiagnostic().observe(record(1, huge, huge))
    assert metrics["shortcut/advantage_mass"] == 1.0 and metrics["shortcut/misdirected"] == 0.0


def test_a_group_that_nobody_judged_is_no_luck():
    """A reward that is no outcome, several rewards of which none is named: nothing is known of successes."""
    unknown = made(1, ["7"] * 8, [math.nan] * 8, [7.0] + [-1.0] * 7)
    diagnostic = ShortcutDiagnostic()
    said = [diagnostic.observe(record(n, *[unknown] * 4)) for n in range(1, 60)]
    assert not any({"shortcut/advantage_mass", "shortcut/lucky"} & metrics.keys() for metrics in said)
    assert diagnostic.events() == []
    sound = made(2, ["7"] * 8, [1] * 4 + [0] * 4, [1.0] * 4 + [-1.0] * 4)
    assert diagnostic.observe(record(60, unknown, sound))["shortcut/advantage_mass"] == 0.0


def test_praise_for_failures_is_misdirected():
    shaped = made(1, ["7"] * 4, [0] * 4, [1.0, -1.0, 0.5, -0.5])
    right = made(2, ["7"] * 2, [1, 0], [4.5, -4.5])
    assert ShortcutDiagnostic().observe(record(1, shaped, right))["shortcut/misdirected"] == pytest.approx(1.5 / 6)


def test_skipping_is_held_against_the_sources_first_steps():
    diagnostic = ShortcutDiagnostic(baseline_steps=2)
    full = made(1, [WORK] * 4, [1] * 4)
    assert "shortcut/skipped" not in diagnostic.observe(record(1, full))
    assert diagnostic.observe(record(2, full))["shortcut/skipped"] == 0.0
    metrics = diagnostic.observe(record(3, made(1, [WORK, "14", "14", "7"], [1, 1, 0, 0])))
    assert metrics["shortcut/skipped"] == 0.75 and metrics["shortcut/skipped_correct"] == 0.5
    assert metrics["shortcut/steps"] == 0.75


def test_a_source_that_works_nothing_out_has_nothing_to_skip():
    diagnostic = ShortcutDiagnostic(baseline_steps=2)
    said = [diagnostic.observe(record(n, made(1, ["14", "15"], [1, 0]))) for n in range(1, 5)]
    assert not any("shortcut/skipped" in metrics for metrics in said)


@pytest.mark.parametrize(
    "step",
    [
        StepRecord(1, (), {}, {}),
        record(1, group(1, (None, None), admitted=False)),
        record(1, group(1, (None,), completions=(completion(""),))),
        record(1, made(1, ["7"] * 8, [math.nan, math.inf, *[0.0] * 6], [math.nan, math.inf, *[1.0] * 6])),
    ],
)
def test_bad_input_is_survived(step):
    diagnostic = ShortcutDiagnostic(baseline_steps=2)
    for _ in range(4):
        assert all(math.isfinite(value) for value in diagnostic.observe(step).values())
    assert diagnostic.events() == []


def test_everything_said_is_declared_and_shown():
    diagnostic = ShortcutDiagnostic(baseline_steps=2)
    assert isinstance(diagnostic, Diagnostic)
    said = {}
    for n in range(1, 4):
        groups = [made(i, [WORK] * 8, [1] + [0] * 7, [7.0] + [-1.0] * 7) for i in range(8)]
        said |= diagnostic.observe(record(n, *groups))
    assert not undeclared(said) and all(isinstance(value, float) for value in said.values())
    stems = {stem for panel in diagnostic.panels for stem in panel.metrics}
    assert stems == set(said)


# --- detectors -----------------------------------------------------------------------------------


def turning(bad, begins=30, steps=60, groups=8, prompt="1 + 3?", share=0.7):
    """Runs whose completions are `bad` in a share of cases from a step on."""
    rng = np.random.default_rng(0)
    for n in range(1, steps + 1):
        chance = share if n >= begins else 0.02
        yield record(
            n,
            *(
                made(
                    i,
                    [bad if rng.random() < chance else f"{WORK}{i}" for _ in range(8)],
                    [1] * 4 + [0] * 4,
                    prompt=prompt,
                )
                for i in range(groups)
            ),
        )


@pytest.mark.parametrize(
    ("name", "bad", "prompt"),
    [
        ("skipped", "14", "1 + 3?"),
        ("looped", f"{WORK}\n{LOOP}", "1 + 3?"),
        ("repeated", f"{WORK}. Answer: 14. Answer: 14", "1 + 3?"),
        (
            "copied",
            "we know that Ann has seven apples and we add 3 + 4",
            "we know that Ann has seven apples and we add 3 + 4",
        ),
    ],
)
def test_each_detector_sees_its_own_shortcut(name, bad, prompt):
    found = events(ShortcutDiagnostic(), turning(bad, prompt=prompt))
    event = found[f"shortcut_{name}"]
    assert 30 <= event.step <= 36 and 28 <= event.evidence["onset_step"] <= 31
    assert event.evidence["value"] > event.evidence["ceiling"] > event.evidence["usual"]
    assert event.severity == "warning" and event.advice


def test_one_answer_for_every_prompt():
    def steps():
        for n in range(1, 61):
            same = n >= 30
            yield record(n, *(made(i, [f"{WORK}{'' if same else n + i}"] * 4, [0, 1, 1, 0]) for i in range(10)))

    found = events(ShortcutDiagnostic(), steps())
    assert set(found) == {"shortcut_same_answer"} and 30 <= found["shortcut_same_answer"].step <= 50


def test_reward_up_and_outcome_down_is_a_divergence():
    def steps(gamed, harder):
        rng = np.random.default_rng(1)
        for n in range(1, 81):
            share = max(n - 30, 0) / 50
            groups = []
            for i in range(8):
                right = (rng.random(8) < 0.6 - 0.5 * share * harder).astype(float)
                extra = rng.random(8) * 0.2 + 0.9 * share * gamed
                groups.append(made(i, [f"{WORK}{i}"] * 8, right.tolist(), totals=(right + extra).tolist()))
            yield record(n, *groups)

    found = events(ShortcutDiagnostic(), steps(gamed=1, harder=1))
    assert "shortcut_divergence" in found and 30 < found["shortcut_divergence"].step < 81
    said = found["shortcut_divergence"].evidence
    assert said["reward"] > said["reward_ceiling"] > said["reward_usual"] == pytest.approx(0.7, abs=0.05)
    assert said["outcome_floor"] < said["outcome_usual"] == pytest.approx(0.6, abs=0.05)
    assert not events(ShortcutDiagnostic(), steps(gamed=0, harder=1))  # only harder
    assert not events(ShortcutDiagnostic(), steps(gamed=1, harder=0))  # only shaped


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1e300])
def test_a_divergence_is_seen_at_any_scale_of_the_rewards(scale):
    def steps():
        rng = np.random.default_rng(1)
        for n in range(1, 61):
            late = n > 30
            right = [float(rng.random() < (0.1 if late else 0.6)) for _ in range(8)]
            totals = [scale * (1 + rng.random() + late) for _ in range(8)]
            yield record(n, *(made(i, [f"{WORK}{i}"] * 8, right, totals=totals) for i in range(8)))

    assert "shortcut_divergence" in events(ShortcutDiagnostic(), steps())


@pytest.mark.parametrize("total", [0.0, 1e308, -1e308])
def test_rewards_that_are_all_the_same_are_no_divergence(total):
    steps = (
        record(n, *(made(i, [f"{WORK}{i}"] * 4, [1.0] * 4, totals=[total] * 4) for i in range(4))) for n in range(1, 40)
    )
    assert "shortcut_divergence" not in events(ShortcutDiagnostic(), steps)


@pytest.mark.parametrize("setting", shortcut_toy.SETTINGS, ids=lambda s: s.name)
def test_the_toy_in_short(setting, monkeypatch):
    """The whole toy is a benchmark; here its first steps: luck is seen, clean runs are silent."""
    monkeypatch.setattr(shortcut_toy, "STEPS", 40)
    found = shortcut_toy.judged(setting, 0)
    assert found["harm"] is None and set(found["fired"]) == ({"advantage_mass"} if setting.hard == 1 else set())


def test_state_carries_over():
    steps = list(turning("14"))
    whole, first, second = ShortcutDiagnostic(), ShortcutDiagnostic(), ShortcutDiagnostic()
    expected = [(whole.observe(step), whole.events()) for step in steps]
    for cut in (5, 31):
        first = ShortcutDiagnostic()
        got = [(first.observe(step), first.events()) for step in steps[:cut]]
        second = ShortcutDiagnostic()
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        got += [(second.observe(step), second.events()) for step in steps[cut:]]
        assert got == expected and second.diagnosis() == whole.diagnosis()
    found = {entry["name"]: entry for entry in whole.diagnosis()["shortcuts"]}["skipped"]
    assert found["onset_step"] == 30 and found["evidence"]["step"] < 40


def test_a_checkpoint_of_before_the_units_were_kept_is_taken_up():
    old = ShortcutDiagnostic()
    for step in list(turning("14"))[:20]:
        old.observe(step)
    state = json.loads(json.dumps(old.state_dict()))
    del state["detectors"]["units"]
    state["detectors"]["tests"]["lucky"]["ceiling"] = 0.5  # as it was then
    new = ShortcutDiagnostic()
    new.load_state_dict(state)
    fresh = ShortcutDiagnostic().state_dict()["detectors"]["tests"]["lucky"]
    assert new.state_dict()["detectors"]["tests"]["lucky"] == fresh
    assert new.state_dict()["detectors"]["tests"]["copied"] == state["detectors"]["tests"]["copied"]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="baseline_steps 1"):
        ShortcutDiagnostic(baseline_steps=1)


# --- the test behind the detectors ---------------------------------------------------------------


def test_false_alarms_stay_below_alpha_however_long_one_looks():
    rng, alarms = np.random.default_rng(2), 0
    for _ in range(200):
        test = RiseTest(0.1, alpha=0.05)
        alarms += any(test.update(step, rng.random(4) < 0.1) for step in range(150))
    assert alarms <= 16  # 10 is the bound; above 16 once in thirty times if it were reached


def test_a_rise_is_seen_with_its_beginning():
    rng = np.random.default_rng(3)
    test = RiseTest(0.2, alpha=0.001)
    fired = next(n for n in range(1, 400) if test.update(n, rng.random(8) < (0.5 if n > 200 else 0.15)))
    assert 200 < fired < 215 and abs(test.onset - 201) <= 3 and test.fired == fired
    assert RiseTest.from_state(test.state_dict()) == test


def test_a_baseline_has_a_bound_even_without_a_hit():
    base = Baseline()
    base.add(np.zeros(50))
    assert base.mean == 0 and 0.02 < base.upper() < 0.12
    base.add([1.0, 0.5])
    assert effective([2, 2, 0]) == pytest.approx(2.0)
