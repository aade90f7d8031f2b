"""From scores to advantages: TRL's numbers, and what filters and failures may and may not do."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import synthetic
import torch

from rltrain import advantages
from rltrain.types import Advantage, Score

REWARDS = {"exact": [[1.0, 0.0, 0.0, 1.0], [0.2, 0.2, 0.2, 0.9]], "brief": [[0.5, 0.1, 0.3, 0.7], [1.0, 0.0, 0.5, 0.5]]}
WEIGHTS = {"exact": 1.0, "brief": 0.25}


def scored(ticket, scores):
    """A group with these scores and no advantages yet."""
    made = synthetic.group(ticket, outcomes=[0.0] * len(scores))
    return dataclasses.replace(made, scores=tuple(scores), advantages=())


def groups(rewards=REWARDS, weights=WEIGHTS):
    """Groups whose scores hold these values; None does not apply, a missing total is a failure."""
    made = []
    for g in range(len(rewards["exact"])):
        scores = []
        for i in range(len(rewards["exact"][g])):
            values = {name: rows[g][i] for name, rows in rewards.items()}
            total = sum(weights[name] * value for name, value in values.items() if value is not None)
            scores.append(Score(values=values, outcome=values["exact"], total=total))
        made.append(scored(g, scores))
    return made


def values(assigned):
    return np.array([[a.value for a in group.advantages] for group in assigned])


def trl(scale, combine):
    """The lines of TRL 1.16's _generate_and_score_completions, over (N, functions)."""
    per_function = torch.tensor([REWARDS["exact"], REWARDS["brief"]]).permute(1, 2, 0).double()
    weights = torch.tensor(list(WEIGHTS.values()), dtype=torch.double)
    if combine == "normalize_then_sum":
        normal = (per_function - per_function.mean(1, keepdim=True)) / (per_function.std(1, keepdim=True) + 1e-4)
        rewards = (normal * weights).sum(-1)
        return ((rewards - rewards.mean()) / (rewards.std() + 1e-4)).numpy()
    rewards = (per_function * weights).sum(-1)
    centred = rewards - rewards.mean(1, keepdim=True)
    spread = {"group": rewards.std(1, keepdim=True), "batch": rewards.std()}
    return (centred if scale == "none" else centred / (spread[scale] + 1e-4)).numpy()


@pytest.mark.parametrize(
    "scale, combine",
    [(s, "sum_then_normalize") for s in ("none", "group", "batch")] + [("batch", "normalize_then_sum")],
)
def test_the_numbers_are_trls(scale, combine):
    assigned = advantages.assign(groups(), WEIGHTS, scale=scale, combine=combine)
    np.testing.assert_allclose(values(assigned), trl(scale, combine), atol=1e-7)


@pytest.mark.parametrize("scale", ["none", "group", "batch"])
@pytest.mark.parametrize("combine", ["sum_then_normalize", "normalize_then_sum"])
def test_every_advantage_says_how_it_came_about(scale, combine):
    for group in advantages.assign(groups(), WEIGHTS, scale=scale, combine=combine):
        for score, advantage in zip(group.scores, group.advantages, strict=True):
            explained = (score.total - advantage.baseline) / advantage.scale
            assert advantage.value == pytest.approx(explained, abs=1e-12)


@pytest.mark.parametrize("scale", ["none", "group", "batch"])
@pytest.mark.parametrize("combine", ["sum_then_normalize", "normalize_then_sum"])
def test_a_failed_score_is_neither_praised_nor_blamed(scale, combine):
    """It carries 0, and the others' advantages are those of a group without it."""
    (group, other) = groups()
    failed = list(group.scores)
    failed[0] = Score(error="TimeoutError: 10 s")
    (found, _) = advantages.assign([scored(0, failed), other], WEIGHTS, scale=scale, combine=combine)
    (without, _) = advantages.assign([scored(0, failed[1:]), other], WEIGHTS, scale=scale, combine=combine)
    assert found.advantages[0].value == 0.0
    assert [a.value for a in found.advantages[1:]] == pytest.approx([a.value for a in without.advantages])


@pytest.mark.parametrize("combine", ["sum_then_normalize", "normalize_then_sum"])
def test_a_group_of_failures_has_no_signal_and_no_nan(combine):
    scores = (Score(error="ValueError: x"), Score(error="ValueError: x"))
    (found,) = advantages.assign([scored(0, scores)], WEIGHTS, scale="group", combine=combine)
    assert [a.value for a in found.advantages] == [0.0, 0.0]


def test_a_reward_that_does_not_apply_does_not_count_in_its_mean():
    rewards = {"exact": [[1.0, 0.0, 1.0]], "brief": [[None, 0.2, 0.4]]}
    (found,) = advantages.assign(groups(rewards), WEIGHTS, scale="none", combine="normalize_then_sum")
    expected = [1 - 2 / 3, -2 / 3 - 0.25 * 0.1, 1 / 3 + 0.25 * 0.1]
    assert [a.value for a in found.advantages] == pytest.approx(expected)


def test_equal_rewards_give_zero_and_not_noise():
    for scale in ("none", "group", "batch"):
        found = advantages.normalize(np.array([0.3, 0.3, 0.3]), scale, 0.0)
        assert [a.value for a in found] == [0.0, 0.0, 0.0]


def test_the_filter_looks_at_the_outcome_and_not_at_the_shaped_total():
    alike = tuple(Score(values={}, outcome=0.0, total=total) for total in (0.1, 0.4))
    assert advantages.zero_variance(scored(0, alike))
    apart = tuple(Score(values={}, outcome=outcome, total=0.5) for outcome in (0.0, 1.0))
    assert not advantages.zero_variance(scored(0, apart))
    unknown = tuple(Score(values={}, outcome=None, total=total) for total in (0.1, 0.4))
    assert not advantages.zero_variance(scored(0, unknown))


def test_token_advantages_are_the_completions_plus_its_tokens_own_credit():
    group = synthetic.group(0, advantages=(Advantage(-1.0, 0.5, 1.0), Advantage(0.5, 0.5, 1.0)))
    bonus = tuple(np.linspace(0, 1, 5, dtype=np.float32) for _ in range(2))
    credited = synthetic.group(0, advantages=group.advantages, planning_bonus=bonus)
    plain = synthetic.group(0, advantages=group.advantages, planning_bonus=())
    assert advantages.token_advantages(plain, 1).tolist() == [0.5] * 5
    np.testing.assert_allclose(advantages.token_advantages(credited, 0), -1.0 + bonus[0])
    assert advantages.token_advantages(credited, 0).dtype == np.float32


def test_one_completion_has_no_spread():
    (only,) = advantages.normalize(np.array([0.7]), "group")
    assert only.value == 0.0 and not math.isnan(only.scale)
