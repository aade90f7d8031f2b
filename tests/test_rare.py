"""The rare-success guard: evidence about the prompt decides, and what was withheld is said."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.learners import Columns, answered
from rltrain.advantages import assign, withheld, withhold
from rltrain.config import Config, RareSuccess
from rltrain.rare import PassRates

TASK, OTHER = Columns(["a", "a"])[0], Columns(["a", "a"])[1]
GUARD = RareSuccess()
HIT, MISS = [1.0] + [0.0] * 7, [0.0] * 8


def seen(*outcomes, task=TASK, first=0):
    """Pass rates after these groups of a prompt, one a step, and the last group."""
    rates = PassRates()
    groups = [answered(task, o, first + step, step) for step, o in enumerate(outcomes)]
    rates.observe(groups, GUARD.half_life)
    return rates, groups[-1]


def assigned(group, scale="group"):
    return assign([group], {}, scale=scale, combine="sum_then_normalize")


def test_a_lucky_hit_on_a_prompt_known_to_be_near_impossible_is_guarded():
    rates, last = seen(*[MISS] * 7, HIT)
    assert rates.lucky(last, GUARD, "none")


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ([*[MISS] * 6, HIT], "too few visits"),
        ([*[MISS] * 7, MISS], "nothing to withhold"),
        ([*[MISS] * 7, [1.0, 1.0, *[0.0] * 6]], "enough successes"),
        ([*[[1.0, 1.0, 1.0, *[0.0] * 5]] * 7, HIT], "a pass rate that is not below the bound"),
        ([*[MISS] * 7, [None] * 8], "no outcome"),
    ],
)
def test_what_is_not_guarded(outcomes, why):
    rates, last = seen(*outcomes)
    assert not rates.lucky(last, GUARD, "none"), why


def test_where_advantages_are_divided_three_visits_are_enough():
    rates, last = seen(*[MISS * 2] * 2, HIT + MISS)
    assert rates.lucky(last, GUARD, "group") and not rates.lucky(last, GUARD, "none")
    assert not rates.lucky(last, RareSuccess(min_visits=4), "group")


def test_evidence_is_the_prompts_own_so_that_a_cold_start_is_never_guarded():
    rates, _ = seen(*[MISS] * 70)
    fresh = answered(OTHER, HIT, 50, 99)
    rates.observe([fresh], GUARD.half_life)
    assert not rates.lucky(fresh, GUARD, "none")


@pytest.mark.parametrize("size", [3, 4, 6])
def test_in_small_groups_what_is_right_one_time_in_three_is_no_luck(size):
    rng, rates = np.random.default_rng(0), PassRates()
    for step in range(60):
        group = answered(TASK, (rng.random(size) < 1 / 3).astype(float).tolist(), step)
        rates.observe([group], GUARD.half_life)
        assert not rates.lucky(group, GUARD, "group")


def test_graded_outcomes_that_are_alike_are_no_hits_however_low():
    alike = [[0.02, 0.05, 0.04, 0.03, 0.06, 0.03, 0.04, 0.05]] * 12
    rates, last = seen(*alike)
    assert not rates.lucky(last, GUARD, "none")
    rates, last = seen(*alike, [*alike[0][:7], 1.0])
    assert rates.lucky(last, GUARD, "none")


def test_old_failures_fade():
    rates = PassRates()
    rates.observe([answered(TASK, MISS, step, step) for step in range(10)], half_life=5)
    later = answered(TASK, HIT, 60, 60)
    rates.observe([later], half_life=5)
    assert not rates.lucky(later, GUARD, "none")


def test_what_others_learn_lifts_the_guard_and_what_they_forget_does_not_bring_it_on():
    table = Columns(["a"] * 40)
    for rate, guarded in ((0.9, False), (0.0, True)):  # of the others, after all had failed alike
        rates, rng = PassRates(), np.random.default_rng(0)
        for step in range(20):
            others = [answered(table[i], (rng.random(8) < rate * (step > 9)).tolist(), step) for i in range(1, 40)]
            own = [answered(table[0], HIT if step == 19 else MISS, step)] if step in (*range(9), 19) else []
            rates.observe(others + own, GUARD.half_life)
        assert rates.lucky(answered(table[0], HIT, 19), GUARD, "none") is guarded


@pytest.mark.parametrize("cap", [0.0, 1.0])
def test_a_guarded_group_is_scaled_to_the_cap_and_what_is_left_is_explained(cap):
    lucky, fair = assigned(answered(TASK, HIT, 0, 1))[0], assigned(answered(OTHER, HIT, 0, 2))[0]
    one, other = withhold([lucky, fair], {1}, cap)
    assert other is fair
    assert max(a.value for a in one.advantages) == cap
    share = cap / lucky.advantages[0].value
    assert [a.value for a in one.advantages] == pytest.approx([share * a.value for a in lucky.advantages])
    for score, a in zip(one.scores, one.advantages, strict=True):
        assert a.value == pytest.approx((score.total - a.baseline) / a.scale)
    metrics = withheld([one, other])
    best = lucky.advantages[0].value
    assert metrics == {"advantage/lucky_groups": 1.0, "advantage/withheld": pytest.approx((best - cap) / (2 * best))}


def test_mean_only_is_the_default_and_the_guard_is_asked_for():
    fields = Config.model_fields["advantages"].annotation.model_fields
    assert fields["scale"].default == "none" and fields["guard"].default is None


def test_hard_prompts_alone_do_not_teach_the_shortcut_under_the_guard():
    """The toy of benchmarks/shortcut_toy.py at a fifth of its length: one logit, hard prompts, group-std advantages."""
    taken = {}
    for name, guard in (("without", None), ("guarded", RareSuccess(min_visits=2))):
        rng, logit, rates, table = np.random.default_rng(0), np.log(0.1 / 0.9), PassRates(), Columns(["a"] * 16)
        for step in range(150):
            p = 1 / (1 + np.exp(-logit))
            short = rng.random((16, 16)) < p
            right = rng.random(short.shape) < np.where(short, 0.04, 0.002)
            groups = [answered(table[i], right[i].astype(float).tolist(), step, i) for i in range(16)]
            groups = assign(groups, {}, scale="group", combine="sum_then_normalize")
            if guard:
                rates.observe(groups, guard.half_life)
                groups = withhold(groups, {g.ticket for g in groups if rates.lucky(g, guard, "group")}, guard.cap)
            advantages = np.array([[a.value for a in group.advantages] for group in groups])
            logit += 0.6 * float((advantages * (short - p)).mean())
        taken[name] = 1 / (1 + np.exp(-logit))
    assert taken["without"] > 0.25 and taken["guarded"] < 0.15
