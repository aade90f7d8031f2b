"""Planning-focused credit: the formula in every case of signs, its two variants, and the guard."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rltrain import credit
from rltrain.advantages import token_advantages
from rltrain.types import Advantage, Completion, Group, Score, Task


def group(values, masks, outcomes=None) -> Group:
    completions = tuple(
        Completion(
            np.zeros(len(mask), np.int32), np.zeros(len(mask), np.float32), np.arange(1, len(mask) + 1, dtype=np.int32),
            "x" * len(mask), "stop", 0, "d", "e",
        )
        for mask in masks
    )  # fmt: skip
    scores = tuple(Score(outcome=o, total=o or 0.0) for o in outcomes or [1.0] * len(masks))
    return Group(
        0, Task("s/0", "s", "structured", ({"role": "user", "content": "?"},)), np.zeros(2, np.int32), completions,
        scores, tuple(Advantage(v, 0.0, 1.0) for v in values), tuple(np.array(m, bool) for m in masks),
    )  # fmt: skip


@pytest.mark.parametrize("value", [1.5, 0.25, 0.0, -0.25, -1.5])
@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.9])
def test_the_formula_in_every_sign(value, alpha):
    (found,) = credit.planning_credit([group([value], [[True, False]])], alpha, "paper")
    planning, execution = token_advantages(found, 0)
    assert planning == pytest.approx(value + alpha * abs(value), abs=1e-6)
    assert planning == pytest.approx(value * (1 + alpha if value > 0 else 1 - alpha), abs=1e-6)
    assert execution == pytest.approx(value, abs=1e-6)


def test_long_correct_chooses_correct_completions_above_the_mean_length():
    masks = [[True] * 4, [True] * 4, [True] * 2, [True] * 2]
    found = credit.planning_credit([group([1.0, -1.0, 1.0, -1.0], masks, [1.0, 0.0, 1.0, None])], 0.2, "long_correct")
    assert [bool(bonus.any()) for bonus in found[0].planning_bonus] == [True, False, False, False]
    assert found[0].entropy_bonus == pytest.approx((0.2, 0.0, 0.0, 0.0))


def test_the_entropy_bonus_meets_undecided_tokens_once():
    value, bonus = torch.tensor([1.0, -1.0, 2.0]), torch.tensor([0.2, 0.2, 0.0])
    advantages = value.unsqueeze(1).repeat(1, 6)
    advantages[0, 0] += 0.2  # planning, and the most undecided
    entropy = torch.tensor([[5.0, 4.0, 1.0, 1.0, 1.0, 9.0], *[[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]] * 2])
    mask = torch.ones(3, 6)
    mask[:, 5] = 0
    found = credit.with_entropy_bonus(advantages, value, bonus, entropy, mask)
    torch.testing.assert_close(found[0], torch.tensor([1.2, 1.2, 1.0, 1.0, 1.0, 1.0]))
    torch.testing.assert_close(found[1], torch.tensor([-1.0, -1.0, -1.0, -0.8, -0.8, -1.0]))
    torch.testing.assert_close(found[2], advantages[2])
    nothing = torch.zeros(1, 2)  # a filler row has no token at all
    torch.testing.assert_close(
        credit.with_entropy_bonus(nothing, torch.zeros(1), torch.zeros(1), nothing, nothing), nothing
    )


def test_the_effect_is_what_the_advantage_would_have_been_without():
    groups = credit.planning_credit([group([1.0, -1.0], [[True, False], [False, False]])], 0.2, "paper")
    assert credit.effect(groups) == pytest.approx(0.2 / 4)
    assert credit.effect([group([0.0], [[True]])]) == 0.0
    rejected = dataclasses.replace(groups[0], admitted=False)
    assert credit.effect([rejected]) == 0.0


def test_the_guard_has_nothing_to_hold_the_first_phrases_against():
    guard = credit.Guard()
    for _ in range(8):
        guard = guard.seen(0.0, 2.0)
    guard = guard.started(9).seen(0.0, 2.0)
    assert guard.active and guard.reference is None
    guard = guard.seen(0.05, 2.0)
    for _ in range(credit.WINDOW):
        assert guard.active and guard.reference == pytest.approx(0.05)
        guard = guard.seen(0.05, 2.0)
    for _ in range(credit.WINDOW):
        guard = guard.seen(0.11, 2.0)
    assert guard.resting


def test_the_guard_rests_while_phrases_are_stuffed():
    guard = credit.Guard()
    for _ in range(8):
        guard = guard.seen(0.1, 2.0)
    assert not guard.active
    guard = guard.started(9).seen(0.1, 2.0)
    assert guard.active and guard.since == 9 and guard.reference == pytest.approx(0.1)
    for _ in range(credit.WINDOW):
        guard = guard.seen(0.35, 2.0)
    assert not guard.active
    for _ in range(credit.WINDOW):
        guard = guard.seen(0.1, 2.0)
    assert guard.active
    assert guard.started(99).since == 9
    resting = dataclasses.replace(guard, resting=True)
    assert credit.told(guard, resting, 3).name == "planning_stuffed"
    assert credit.told(resting, guard, 3).name == "planning_credit_resumed"
    assert credit.told(guard, guard, 3) is None
