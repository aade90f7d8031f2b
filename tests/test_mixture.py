"""Mixture: shares, temperature, floors, gaps; nested curricula; resume."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from benchmarks.learners import Columns, number, tried
from curricula.difficulty import Difficulty
from curricula.mixture import Mixture, shares
from rltrain import build
from rltrain.config import CurriculumSpec
from rltrain.metrics import undeclared
from rltrain.types import Accountable, Curriculum

COMMON = ["a"] * 60 + ["b"] * 30 + ["rare"] * 10


def course(curriculum, steps, n=8, first=0, seed=1):
    """Sample, try and observe; the keys drawn, in order."""
    drawn = []
    for step in range(first, first + steps):
        tasks = curriculum.sample(n)
        rng = np.random.default_rng([seed, step])
        curriculum.observe(tried(tasks, lambda i: 0.1 + 0.8 * (i % 2), rng, step))
        drawn += [task.key for task in tasks]
    return drawn


def sources(keys):
    return [key.partition("/")[0] for key in keys]


def gaps(drawn, name):
    """Distances between the places at which a source was drawn, the first counted from the start."""
    places = [0, *(i + 1 for i, source in enumerate(drawn) if source == name)]
    return np.diff(places)


def test_without_weights_a_source_weighs_as_many_prompts_as_it_has():
    curriculum = Mixture(Columns(COMMON), seed=0)
    assert isinstance(curriculum, Curriculum) and isinstance(curriculum, Accountable)
    assert Counter(sources(course(curriculum, 25, n=4))) == {"a": 60, "b": 30, "rare": 10}
    assert undeclared(curriculum.metrics()) == []


@pytest.mark.parametrize(
    ("weights", "temperature", "floors", "expected"),
    [
        ({"a": 3, "b": 1}, 1.0, {}, {"a": 0.75, "b": 0.25}),
        ({"a": 9, "b": 1}, 2.0, {}, {"a": 0.75, "b": 0.25}),
        ({"a": 99, "b": 1}, 1.0, {"b": 0.1}, {"a": 0.9, "b": 0.1}),
        ({"a": 1, "b": 0}, 1.0, {}, {"a": 1.0}),
        ({"a": 8, "b": 1, "c": 1}, 1.0, {"b": 0.3, "c": 0.0}, {"a": 0.7 * 8 / 9, "b": 0.3, "c": 0.7 / 9}),
        ({"a": 70, "b": 29, "c": 1}, 1.0, {"b": 0.28, "c": 0.1}, {"a": 0.62, "b": 0.28, "c": 0.1}),
    ],
)
def test_shares_by_hand(weights, temperature, floors, expected):
    assert shares(weights, temperature, floors) == pytest.approx(expected)


def test_a_gap_is_kept_at_the_same_total_share():
    table = Columns(["a"] * 990 + ["rare"] * 10)
    drawn = sources(course(Mixture(table, seed=0, max_gap={"rare": 40}), 100, n=10))
    assert gaps(drawn, "rare").max() <= 40 and drawn.count("rare") == pytest.approx(25, abs=1)
    without = sources(course(Mixture(table, seed=0), 100, n=10))
    assert gaps(without, "rare").max() > 90


def test_all_gaps_are_kept_when_several_fall_due_at_once():
    rng, names = np.random.default_rng(0), ["s0", "s1", "s2", "s3"]
    for _ in range(40):
        wanted = {name: int(gap) for name, gap in zip(names, rng.integers(8, 60, 4), strict=True)}
        weights = {name: float(w) + 1e-6 for name, w in zip(names, rng.dirichlet(np.ones(4)), strict=True)}
        drawn = sources(course(Mixture(Columns(names * 3), seed=0, max_gap=wanted, weights=weights), 30, n=10))
        assert all(gaps(drawn, name).max() <= wanted[name] for name in names)


def test_every_draw_says_why():
    curriculum = Mixture(Columns(COMMON), seed=0, max_gap={"rare": 5})
    drawn = course(curriculum, 5)
    rows = [row for row in curriculum.decisions() if row["action"] == "source"]
    assert [row["prompt"] for row in rows] == drawn
    assert {row["why"].split()[0] for row in rows if row["source"] == "rare"} >= {"due"}


def learner(curriculum, steps, need, first=0, rate=0.1, seed=0):
    """Steps of a learner whose rare source rises only where it has at least a share `need` of the groups.

    What it learns of the rare one is undone otherwise. Its pass rate at the end, and the boosts on the way.
    """
    rng, boosts = np.random.default_rng(seed), []
    for step in range(first, first + steps):
        tasks = curriculum.sample(20)
        curriculum.observe(tried(tasks, lambda i, p=rate: p if i >= 90 else 0.5, rng, step))
        share = np.mean([number(task) >= 90 for task in tasks])
        rate = float(np.clip(rate + (0.01 if share >= need else -0.02), 0.1, 0.9))
        boosts.append(curriculum.metrics()["curriculum/boost@rare"])
    return rate, boosts


WEIGHTS = {"a": 12, "b": 7, "rare": 1}  # one of twenty


def test_a_rare_source_is_raised_while_it_is_drowned_and_rises():
    rates = {}
    for most in (1.0001, 4.0):
        curriculum = Mixture(Columns(COMMON), seed=0, weights=WEIGHTS, max_boost=most, window=24)
        rates[most], boosts = learner(curriculum, 500, need=0.09)
    assert rates[1.0001] == pytest.approx(0.1) and rates[4.0] > 0.6 and boosts[-1] > 1
    assert boosts[0] == 1.0 and max(boosts) >= 2.0
    assert undeclared(curriculum.metrics()) == []
    raised = [event for event in curriculum.events() if event.name == "source_raised"]
    assert raised[0].evidence["source"] == "rare" and raised[0].evidence["factor"] == 2.0
    assert "push" in raised[0].evidence


def test_what_weight_does_not_help_is_given_back():
    curriculum = Mixture(Columns(COMMON), seed=0, weights=WEIGHTS, max_boost=4, window=24)
    _, boosts = learner(curriculum, 400, need=2.0)
    assert max(boosts) == 4.0 and boosts[-1] == 1.0
    assert "source_lowered" in {event.name for event in curriculum.events()}


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_what_does_not_push_is_not_raised(rate):
    curriculum = Mixture(Columns(COMMON), seed=0, weights=WEIGHTS, max_boost=4, window=24)
    rng = np.random.default_rng(0)
    for step in range(150):
        curriculum.observe(tried(curriculum.sample(20), lambda i: rate if i >= 90 else 0.5, rng, step))
    assert curriculum.metrics()["curriculum/boost@rare"] == 1.0 and curriculum.events() == []


def test_new_shares_count_from_where_they_change_and_floors_are_kept():
    curriculum = Mixture(Columns(COMMON), seed=0, weights=WEIGHTS, max_boost=4, window=24, floors={"b": 0.3})
    learner(curriculum, 30, need=2.0)  # raised after 24 groups
    assert curriculum.metrics()["curriculum/boost@rare"] == 2.0
    drawn = Counter(task.source for task in curriculum.sample(200))
    assert drawn["rare"] / 200 == pytest.approx(0.095, abs=0.01) and drawn["b"] / 200 >= 0.295


def test_resume_of_raised_shares_is_bit_equal():
    make = lambda: Mixture(Columns(COMMON), seed=0, weights=WEIGHTS, max_boost=4, window=24)  # noqa: E731
    whole, first, resumed = make(), make(), make()
    learner(whole, 60, need=2.0)
    learner(first, 60, need=2.0)
    resumed.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert learner(resumed, 60, need=2.0, first=60) == learner(whole, 60, need=2.0, first=60)
    assert [task.key for task in resumed.sample(50)] == [task.key for task in whole.sample(50)]


def nested():
    """A spec of three curricula inside each other, as a config has it."""
    inner = {"use": "curricula.mixture:Mixture", "floors": 0.1, "inner": {"use": "curricula.difficulty:Difficulty"}}
    return CurriculumSpec.model_validate(
        {"use": "curricula.staged:Staged", "min_groups": 40, "max_groups": 80, "window": 20, "inner": inner}
    )


def table():
    kinds = ["structured"] * 90 + ["creative"] * 10
    return Columns(COMMON, kinds=kinds)


def test_curricula_nest_one_instance_a_part():
    curriculum, gates = build.build_curriculum(nested(), table(), 0)
    drawn = sources(course(curriculum, 40))
    assert gates == [] and set(drawn[:40]) == {"a", "b"} and "rare" in drawn[-40:]
    metrics = curriculum.metrics()
    assert undeclared(metrics) == []
    assert {"curriculum/stage", "curriculum/share@structured@a", "curriculum/learnable@creative@rare"} <= metrics.keys()
    rows = curriculum.decisions()
    assert {row["action"] for row in rows} >= {"stage", "source", "learn", "explore", "move"}
    assert "stage_ended" in {event.name for event in curriculum.events()}


@pytest.mark.parametrize("cut", [1, 11, 17, 30])
def test_resume_of_nested_curricula_is_bit_equal(cut):
    whole = course(build.build_curriculum(nested(), table(), 0)[0], 40)
    first = build.build_curriculum(nested(), table(), 0)[0]
    course(first, cut)
    resumed = build.build_curriculum(nested(), table(), 7)[0]
    resumed.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert course(resumed, 40 - cut, first=cut) == whole[8 * cut :]


def test_a_source_that_is_new_starts_even_and_one_that_is_gone_is_forgotten():
    old = Mixture(Columns(["a"] * 10 + ["b"] * 10), seed=0)
    course(old, 10)
    new = Mixture(Columns(["a"] * 10 + ["c"] * 10), seed=0)
    new.load_state_dict(old.state_dict())
    assert Counter(sources(course(new, 10))) == {"a": 40, "c": 40}
    (event,) = [event for event in new.events() if event.name == "sources_changed"]
    assert event.evidence == {"added": ["c"], "gone": ["b"]}


@pytest.mark.parametrize("now", ["ac", "abcd"])
def test_gaps_go_on_where_sources_came_or_went(now):
    def mixture(names):
        table = Columns([name for name in names for _ in range(10)])
        return Mixture(table, seed=0, weights={"c": 1e-4}, max_gap={"c": 16})

    old, new = mixture("abc"), mixture(now)
    before = sources(course(old, 100))
    new.load_state_dict(old.state_dict())
    drawn = before + sources(course(new, 20))
    places = [i for i, name in enumerate(drawn) if name == "c"]
    assert max(np.diff(places)) <= 16 and len(places) > 50
    assert new.metrics()["curriculum/gap@c"] <= 16 and new.metrics()["curriculum/gap@a"] < 10


def test_a_low_temperature_leaves_the_heaviest():
    for weights in ({"a": 4.0, "b": 1.0}, {"a": 0.25, "b": 0.1}, {"a": 5e4, "b": 1.0}):
        assert shares(weights, 1e-3, {}) == {"a": 1.0}


@pytest.mark.parametrize("inner", ["mixture:Mixture", "uniform:Uniform"])
def test_arguments_may_name_sources_of_another_part_and_none_else(inner):
    def spec(name):
        nested_spec = {"use": f"curricula.{inner}", "weights": {"a": 3, name: 1}}
        return CurriculumSpec.model_validate({"use": "curricula.staged:Staged", "inner": nested_spec})

    curriculum, _ = build.build_curriculum(spec("rare"), table(), 0)
    assert Counter(sources(task.key for task in curriculum.sample(40))) == {"a": 30, "b": 10}
    with pytest.raises(ValueError, match=r"'rar'; did you mean 'rare'\?"):
        build.build_curriculum(spec("rar"), table(), 0)


def test_one_source_alone_and_difficulty_inside():
    curriculum = Mixture(Columns(["a"] * 30), seed=0, inner=Difficulty, max_gap=4)
    drawn = course(curriculum, 20)
    assert len({number(curriculum_task) for curriculum_task in curriculum.sample(4)}) == 4 and len(set(drawn)) > 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"weights": 3}, r"weights: expected \{source: weight\}, got 3"),
        ({"weights": {"c": 1}}, "weights name source 'c'"),
        ({"weights": {1: 1}}, "weights name source 1. Sources: a, b"),
        ({"weights": {"a": -1}}, "weights of 'a': expected a number at least 0, got -1"),
        ({"weights": {"a": 0, "b": 0}}, "all weights are 0"),
        ({"floors": 0.6}, r"floors sum to 1\.2, more than 1"),
        ({"floors": {"a": 2}}, "floors of 'a': expected a number from 0 to 1"),
        ({"temperature": 0}, "temperature: expected a number at least"),
        ({"max_gap": {"a": 2, "b": 2}}, r"takes 1\.00 of all draws; expected at most half"),
        ({"max_boost": 0.5}, "max_boost: expected a number at least 1"),
        ({"max_gap": 0}, "max_gap of 'a': expected a number at least 1"),
    ],
)
def test_bad_arguments(arguments, told):
    with pytest.raises(ValueError, match=told):
        Mixture(Columns(["a", "b"]), seed=0, **arguments)
    with pytest.raises(ValueError, match="no tasks"):
        Mixture(Columns([]), seed=0)
