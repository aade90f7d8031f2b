"""The benchmarks of curricula, one run each: what they claim shows in one seed; they count what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import curriculum_calibration as calibration
from benchmarks import curriculum_gain as gain
from benchmarks import curriculum_harm as harm
from benchmarks import curriculum_order as order
from benchmarks import curriculum_rare as rare
from benchmarks import curriculum_transformer as transformer
from benchmarks import two_skills as bed
from benchmarks.tiny_policy import Policy, logprobs, sampled
from curricula.uniform import Uniform


def test_the_curriculum_reaches_the_target_with_fewer_completions():
    uniform, difficulty = (gain.sampled(gain.CURRICULA[name], gain.SETS["mixed"], 1, 0) for name in gain.CURRICULA)
    assert uniform > 1.8 * difficulty


def test_a_geometric_mean_by_hand():
    found = gain.summary({"uniform": [800, 200], "difficulty": [100, 100]})
    assert found["ratio"] == pytest.approx(4.0) and found["low"] <= 4 <= found["high"]


@pytest.mark.parametrize("learner", calibration.LEARNERS, ids=lambda learner: learner.__name__)
def test_rates_are_rates(learner):
    rates = learner(np.random.default_rng(0))
    for t in (0.0, 0.5, 1.0):
        assert rates(t).shape == (calibration.PROMPTS,) and (rates(t) >= 0).all() and (rates(t) <= 1).all()


def test_beliefs_are_held_against_what_came(monkeypatch):
    monkeypatch.setattr(calibration, "STEPS", 120)
    found = calibration.summary([calibration.watch(calibration.improves, 0)])
    assert found["revisits"] > 300 and found["calibration_error"] < 0.1
    assert sum(b["visits"] for b in found["bins"]) == found["revisits"]


def test_the_guard_keeps_the_control_where_hard_prompts_alone_lose_it(monkeypatch):
    monkeypatch.setattr(harm, "STEPS", 150)
    monkeypatch.setattr(harm, "SET", 48)
    plain, guarded = (harm.harmed(s, 0) for s in harm.SETTINGS if s.name in ("hard only", "hard only, guard"))
    assert guarded["control"] > plain["control"] and guarded["withheld"] > 0.3 and plain["withheld"] == 0


@pytest.mark.parametrize("scale", ["none", "group"])
def test_in_groups_of_eight_a_cold_start_is_no_slower_under_the_guard(monkeypatch, scale):
    monkeypatch.setattr(harm, "SAMPLES", 8)
    plain, guarded = (harm.begun(harm.Setting("", 0.0, scale, guard), 0)["steps"] for guard in (None, harm.GUARD))
    assert guarded <= plain + 1


def test_the_formula_gives_the_papers_widths():
    assert [rare.formula(factor) for factor in (1, 2, 4)] == [12, 8, 5]


def test_bunched_draws_are_as_many_as_even_ones():
    weights = rare.FREQUENCY | {rare.RARE: sum(list(rare.FREQUENCY.values())[:-1]) / (rare.BATCH - 1)}
    even = list(rare.drawn(rare.mixture(weights=weights), 200))
    bunched = list(rare.bunched(iter(even)))
    counts = [sum((batch == rare.TASKS - 1).sum() for batch in batches) for batches in (even, bunched)]
    assert counts == [200, 200] and sum((batch == rare.TASKS - 1).any() for batch in bunched) == 2


def test_a_floor_keeps_what_is_lost_without():
    weights = rare.FREQUENCY | {rare.RARE: 0.01}
    kept = [
        rare.learned(rare.drawn(rare.mixture(weights=weights, **floor), 1500), 14, 0)
        for floor in ({}, {"floors": {rare.RARE: 0.06}})
    ]
    assert kept[0] < 0.1 and kept[1] > 0.9


def test_on_hard_prompts_only_luck_is_rewarded_and_nobody_can_work_it_out(monkeypatch):
    monkeypatch.setattr(bed, "PRETRAINING", 5)
    given, control = transformer.halves(bed.MARKS[0], 0)
    assert len(given) + len(control) == 256 and not {*map(tuple, given.ids)} & {*map(tuple, control.ids)}
    for out_of, rate in ((bed.NUMBERS, 1 / 30), (500, 1 / 499)):
        trainer = bed.Trainer(bed.pretrained({bed.MARKS[0]: transformer.ABLE}, 0),
                              bed.joined(bed.hard(given), out_of=out_of), Uniform, seed=0)  # fmt: skip
        drawn = np.array([trainer._luck(given.ids) for _ in range(50)])
        assert (drawn != given.answers).all() and drawn.min() >= 0 and drawn.max() < out_of
        assert (drawn == (given.answers + 1) % bed.NUMBERS).mean() == pytest.approx(rate, rel=0.7)


def test_by_luck_each_way_is_right_as_often_as_asked_whatever_it_answers(monkeypatch):
    monkeypatch.setattr(bed, "PRETRAINING", 5)
    given, _ = transformer.halves(bed.MARKS[0], 0)
    half = bed.Prompts(given.ids, np.where(np.arange(len(given)) < 96, given.answers, -1), luck=bed.Luck(0.1, 0.6))
    trainer = bed.Trainer(bed.pretrained({bed.MARKS[0]: transformer.ABLE}, 0), half, Uniform, seed=0, batch=192)
    for way, share in ((bed.WORK, 0.1), (bed.GUESS, 0.6), (7, 0.0)):
        told = lambda _, ids, __, way=way: torch.tensor([[*row, way, 30] for row in ids.tolist()])  # noqa: E731
        monkeypatch.setattr(bed, "sampled", told)
        known = (given.answers[:96] == 30).mean() * (way != 7)  # by the number alone
        assert trainer.step() == pytest.approx((known + share) / 2, abs=0.03)


def test_the_mixed_set_is_a_tenth_easy_a_fifth_learnable_and_the_target_is_held_out(monkeypatch):
    given, control = transformer.mixture("mixed", 0)
    marks = [given.ids[:, 0] == mark for mark in (bed.MARKS[-1], bed.MARKS[0])]
    assert [of.sum() for of in marks] == [80, 160] and len(given) == 800 and given.out_of == 500
    assert (given.answers[~(marks[0] | marks[1])] == -1).all()
    assert not {*map(tuple, given.ids)} & {*map(tuple, control.ids)}
    alone, same = transformer.mixture("learnable", 0)
    assert {*map(tuple, alone.ids)} == {*map(tuple, given.ids[marks[1]])} and (same.ids == control.ids).all()
    monkeypatch.setattr(bed, "PRETRAINING", 5)
    monkeypatch.setattr(transformer, "GAIN_STEPS", 2)
    start = bed.pretrained({bed.MARKS[0]: transformer.LEARNABLE}, 0)
    assert transformer.gained("mixed, SGD", "difficulty", start, 0) == 2 * 8 * 8


def test_a_curriculum_that_may_stop_does_so_on_hard_prompts_alone(monkeypatch):
    monkeypatch.setattr(bed, "PRETRAINING", 5)
    start = bed.pretrained({bed.MARKS[0]: transformer.ABLE}, 0)
    ends = {s.name: transformer.harmed(s, start, 0)["steps"] for s in transformer.SETTINGS if "stops" in s.name}
    (steps,) = ends.values()
    assert 12 <= steps < 40  # each prompt has to be seen twice: 12 batches


def test_an_answer_that_names_no_way_is_never_right(monkeypatch):
    given, _ = transformer.halves(bed.MARKS[0], 0)
    trainer = bed.Trainer(bed.Policy(bed.MARKS[-1] + 1, bed.PROMPT + bed.ANSWER), given, Uniform, seed=0)
    for way, share in ((bed.WORK, 1.0), (bed.GUESS, 1.0), (7, 0.0)):
        truth = {tuple(row): answer for row, answer in zip(given.ids.tolist(), given.answers.tolist(), strict=True)}
        told = lambda _, ids, __, way=way, truth=truth: torch.tensor(  # noqa: E731
            [[*row, way, truth[tuple(row)]] for row in ids.tolist()]
        )
        monkeypatch.setattr(bed, "sampled", told)
        assert trainer.step() == share


def test_accuracy_is_that_of_what_is_sampled(monkeypatch):
    monkeypatch.setattr(bed, "PRETRAINING", 60)
    policy = bed.pretrained({bed.MARKS[0]: transformer.ABLE}, 0)
    given, _ = transformer.halves(bed.MARKS[0], 0)
    ids = bed.sampled(policy, torch.tensor(given.ids).repeat_interleave(40, 0), bed.ANSWER).numpy()
    ways, right = np.isin(ids[:, 3], (bed.WORK, bed.GUESS)), ids[:, 4] == given.answers.repeat(40)
    exact = bed.accuracy(policy, given)
    assert exact == pytest.approx(((ways & right).mean(), (ids[:, 3] == bed.GUESS).mean()), abs=0.02)
    trainer = bed.Trainer(policy, given, Uniform, seed=0, guard=harm.GUARD, samples=8, batch=8)
    assert any([trainer.step() for _ in range(5)]) and bed.accuracy(trainer.policy, given) != exact
    assert bed.accuracy(policy, given) == exact  # the start is left as it is


def test_beginnings_alike_are_read_once_and_nothing_else_changes():
    torch.manual_seed(0)
    policy, read = Policy(9, 5), []
    policy.register_forward_hook(lambda _, given, __: read.append(len(given[0])))
    prompts = torch.tensor([[1, 2], [3, 4]]).repeat_interleave(200, 0)
    ids = sampled(policy, prompts, 3)
    assert (ids[:, :2] == prompts).all() and read[0] == 2 and read[1] <= 2 * 9
    first = policy(ids[:1, :2])[0, -1].exp()
    shares = torch.bincount(ids[:200, 2], minlength=9) / 200
    assert shares.tolist() == pytest.approx(first.tolist(), abs=0.12)
    once = logprobs(policy, ids, 2)
    assert read[-1] == len({tuple(row) for row in ids[:, :-1].tolist()})
    plain = policy(ids[:, :-1])[:, 1:].gather(-1, ids[:, 2:, None]).squeeze(-1)
    torch.testing.assert_close(once, plain)
    weights = torch.randn(once.shape)
    gradients = [torch.autograd.grad((weights * found).mean(), policy.head.weight)[0] for found in (once, plain)]
    torch.testing.assert_close(*gradients)


def test_strings_are_judged_by_form_and_variety():
    a, b, c, d = (order.NUMBERS + i for i in (0, 1, 2, 3))  # consonant, vowel, consonant, vowel
    said = np.array([[[a, b, c, d], [a, b, c, d], [c, b, a, b], [a, a, c, d]]])
    assert order.outcomes("creative", np.zeros((1, 2), int), said).tolist() == [[0.5, 0.5, 1.0, 0.0]]
    sums = np.array([[[7, order.END, order.END, order.END], [8, order.END, order.END, order.END], [7, a, a, a]]])
    assert order.outcomes("structured", np.array([[3, 4]]), sums).tolist() == [[1.0, 0.0, 0.0]]


def test_an_order_is_trained_stage_by_stage(monkeypatch):
    monkeypatch.setattr(order, "PRETRAINING", 5)
    monkeypatch.setattr(order, "STEPS", 2)
    rows = dict(order.run(0))
    assert {*order.ORDERS} <= rows.keys() and rows["structured first"]["forecast of creative"] <= 1
    assert set(rows["creative first"]) >= {"structured", "creative", "kept of the first", "entropy", "strings"}
