"""The difficulty curriculum: beliefs, pools, quarantine, related prompts, levels, resume, and what it tells."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from benchmarks.learners import Columns, answered, number, tried
from curricula.beliefs import Beliefs
from curricula.difficulty import Difficulty
from curricula.progress import Progress
from curricula.relations import relations
from rltrain.metrics import undeclared
from rltrain.posterior import below
from rltrain.types import Accountable, Curriculum

IMPOSSIBLE, LEARNABLE, EASY = 0.003, 0.4, 0.99


def keys(tasks):
    return [task.key for task in tasks]


def mixed(count=300, seed=0):
    """Pass rates of a set of which a tenth is easy, a fifth learnable, the rest near-impossible."""
    return np.random.default_rng(seed).choice([EASY, LEARNABLE, IMPOSSIBLE], size=count, p=[0.1, 0.2, 0.7])


def course(curriculum, rate, steps, n=8, first=0, seed=1):
    """Sample, try and observe; the places drawn, step by step."""
    rng, drawn = np.random.default_rng(seed), []
    for step in range(first, first + steps):
        tasks = curriculum.sample(n)
        curriculum.observe(tried(tasks, rate, rng, step))
        drawn.append([number(task) for task in tasks])
    return drawn


# --- beliefs ---


@pytest.mark.parametrize(
    ("x", "alpha", "beta", "expected"),
    [(0.3, 2, 5, 0.579825), (0.1, 1, 1, 0.1), (0.5, 3, 3, 0.5), (0.2, 1, 9, 1 - 0.8**9), (0, 2, 2, 0), (1, 2, 2, 1)],
)
def test_the_beta_integral_is_the_binomials(x, alpha, beta, expected):
    assert below(x, alpha, beta) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 16.5), (40.5, 0.5), (300.0, 700.0), (0.01, 9.0)])
def test_the_beta_integral_agrees_with_draws(alpha, beta):
    drawn = np.random.default_rng(0).beta(alpha, beta, 200_000)
    for x in (0.05, 0.3, 0.95):
        assert below(x, alpha, beta) == pytest.approx((drawn < x).mean(), abs=0.005)


def test_evidence_halves_with_the_half_life_and_is_capped():
    beliefs = Beliefs(relations(Columns(["a", "a"])), half_life=10, memory=16)
    beliefs.learn(0, 4.0, 4.0, version=0)
    before = beliefs.posterior(0)
    beliefs.now = 10
    after = beliefs.posterior(0)
    assert after.alpha + after.beta - 1 == pytest.approx((before.alpha + before.beta - 1) / 2)
    assert after.teaches > 0 and 0 < after.mean < 1
    for version in range(11, 60):
        beliefs.learn(0, 8.0, 0.0, version)
    assert beliefs.successes[0] + beliefs.failures[0] <= 16.0001


def test_an_untried_prompt_is_believed_to_be_like_its_relatives():
    table = Columns(["a"] * 4, levels=[1, 1, 2, 2])
    beliefs = Beliefs(relations(table), half_life=50, memory=64)
    assert beliefs.posterior(1).mean == pytest.approx(0.5)
    beliefs.learn(0, 0.0, 8.0, version=0)
    assert beliefs.posterior(1).mean == pytest.approx(0.5 / 9)
    assert beliefs.posterior(3).mean == pytest.approx(0.5)  # another level


def test_levels_are_relations_and_too_many_share():
    few = relations(Columns(["a", "a", "b", "a"], levels=[2, 1, np.nan, 2]))
    assert few.names == ("a, level 1", "a, level 2", "b")
    assert few.of.tolist() == [1, 0, 2, 1] and few.harder.tolist() == [1, -1, -1]
    many = relations(Columns(["a"] * 1000, levels=np.arange(1000)))
    assert len(many.names) == 16 and set(np.bincount(many.of)) <= {62, 63, 64}


# --- pools ---


def test_it_is_a_curriculum_and_its_metrics_are_declared():
    curriculum = Difficulty(Columns(["a"] * 50), seed=0)
    assert isinstance(curriculum, Curriculum) and isinstance(curriculum, Accountable)
    course(curriculum, lambda i: LEARNABLE, 5)
    metrics = curriculum.metrics()
    assert undeclared(metrics) == []
    assert sum(metrics[f"curriculum/{pool}"] for pool in ("unknown", "learnable", "too_easy", "quarantined")) == 50


def test_a_mixed_set_is_sorted_out_and_the_learnable_are_drawn():
    rates = mixed()
    curriculum = Difficulty(Columns(["a"] * 300), seed=0)
    drawn = np.concatenate(course(curriculum, rates.__getitem__, 120)[60:])
    assert (rates[drawn] == LEARNABLE).mean() > 0.6  # uniform: 0.2
    pools = curriculum.state_dict()["shelf"]["pool"]
    assert (rates[pools == 3] == IMPOSSIBLE).mean() > 0.95
    assert (rates[pools == 2] == EASY).mean() > 0.8


def test_no_prompt_is_set_aside_after_one_group_that_fails():
    curriculum = Difficulty(Columns(["a"] * 3), seed=0)
    for task in curriculum.sample(3):
        curriculum.observe([answered(task, [0.0] * 64, 0)])
    assert curriculum.metrics()["curriculum/quarantined"] == 0
    assert curriculum.metrics()["curriculum/unknown"] == 3


def test_where_all_is_learnable_all_is_drawn():
    curriculum = Difficulty(Columns(["a"] * 40), seed=0)
    counts = Counter(np.concatenate(course(curriculum, lambda i: LEARNABLE, 100)).tolist())
    assert len(counts) == 40 and min(counts.values()) >= 4 and max(counts.values()) <= 60


def test_quarantine_is_probed_less_and_less_and_left_on_success():
    table, rate = Columns(["a"] * 40), {i: IMPOSSIBLE if i < 30 else LEARNABLE for i in range(40)}
    curriculum = Difficulty(table, seed=0, probe_every=5)
    course(curriculum, rate.get, 60)
    assert curriculum.metrics()["curriculum/quarantined"] >= 25
    first = [row for row in curriculum.decisions() if row["action"] == "probe"]
    assert first and all(row["pool"] == "quarantined" for row in first)
    course(curriculum, lambda i: LEARNABLE, 120, first=60)
    assert curriculum.metrics()["curriculum/quarantined"] <= 3
    assert {event.name for event in curriculum.events()} >= {"quarantined", "released"}


def test_too_easy_is_watched_and_what_is_forgotten_comes_back():
    curriculum = Difficulty(Columns(["a"] * 20), seed=0, probe_every=5)
    course(curriculum, lambda i: EASY if i < 10 else LEARNABLE, 80)
    assert curriculum.metrics()["curriculum/too_easy"] >= 8
    course(curriculum, lambda i: LEARNABLE, 120, first=80)
    assert curriculum.metrics()["curriculum/too_easy"] <= 2
    assert "forgotten" in {event.name for event in curriculum.events()}


def test_related_prompts_that_improve_bring_quarantine_forward():
    levels = np.repeat([1.0, 2.0], 20)
    curriculum = Difficulty(Columns(["a"] * 40, levels), seed=0, probe_every=10_000)
    course(curriculum, lambda i: 0.3 if i < 20 else 0.0, 60)
    assert curriculum.metrics()["curriculum/quarantined"] >= 18
    course(curriculum, lambda i: 0.9 if i < 20 else 0.5, 60, first=60)
    assert "related_improved" in {event.name for event in curriculum.events()}
    assert curriculum.metrics()["curriculum/quarantined"] <= 4


def test_levels_move_with_the_learner():
    """Pass rate of level l falls with l; as skill grows, unknown prompts of higher levels are the ones explored."""
    levels = np.tile(np.arange(10), 500).astype(float)
    curriculum = Difficulty(Columns(["a"] * 5000, levels), seed=0)
    means = []
    for part in range(20):  # from skill 1 to skill 8
        skill = 1 + 7 * part / 19
        drawn = course(curriculum, lambda i, s=skill: float(1 / (1 + np.exp(2 * (levels[i] - s)))), 20, first=20 * part)
        means.append(levels[np.concatenate(drawn)].mean() - skill)
    assert max(map(abs, means[1:])) < 2.0


def test_progress_prefers_what_changes():
    """Two levels half right: one improves from .2 to .8 and falls again, the other stays where it is."""
    levels = np.tile([1.0, 2.0], 30)
    waves = lambda step: 0.5 + 0.3 * np.sin(step / 15)  # noqa: E731
    share = {}
    for prefer in ("variance", "progress"):
        curriculum = Difficulty(Columns(["a"] * 60, levels), seed=0, prefer=prefer)
        drawn = [
            course(curriculum, lambda i, s=s: waves(s) if i % 2 else 0.5, 1, first=s, seed=s)[0] for s in range(200)
        ]
        share[prefer] = np.mean([i % 2 for step in drawn[60:] for i in step])
    assert share["progress"] > share["variance"] + 0.04  # three standard errors of so many draws


def test_what_has_made_no_progress_is_drawn_all_the_same():
    found = Progress(["a", "b"])
    for change in (0.2, 0.3, 0.1):
        found.note(1, change)
    assert found.of(np.array([0, 1])) == pytest.approx(
        [0.02, 0.02 + (0.2 * 0.98**2 + 0.3 * 0.98 + 0.1) / (0.98**2 + 0.98 + 2)]
    )
    other = Progress(["b", "c"])
    other.load_state_dict(found.state_dict())
    assert other.of(np.array([0])) == found.of(np.array([1])) and other.of(np.array([1])) == [0.02]


# --- the loop's side ---


@pytest.mark.parametrize("rate", [0.0, LEARNABLE, 1.0])
def test_one_prompt_only(rate):
    curriculum = Difficulty(Columns(["a"]), seed=0, prefer="progress")
    assert course(curriculum, lambda i: rate, 30) == [[0] * 8] * 30


def sorted_out(count, **arguments):
    """A curriculum that has set all of its prompts aside but the first, in no more steps than that takes."""
    curriculum = Difficulty(Columns(["a"] * count), seed=0, probe_every=1000, **arguments)
    for step in range(3):
        for row in range(count):
            task = curriculum._tasks[row]
            curriculum.observe([answered(task, [1.0, 0.0] * 4 if row == 0 else [float(row % 4 == 1)] * 16, step)])
    assert curriculum.metrics()["curriculum/learnable"] == 1
    assert min(curriculum.metrics()[f"curriculum/{pool}"] for pool in ("quarantined", "too_easy")) >= count // 5
    curriculum.decisions()
    return curriculum


@pytest.mark.parametrize(("at_once", "calls"), [(32, 1), (1, 32), (8, 4)])
def test_one_learnable_prompt_does_not_fill_the_batch(at_once, calls):
    curriculum = sorted_out(60)
    drawn = [number(task) for _ in range(calls) for task in curriculum.sample(at_once)]
    assert drawn.count(0) == 1 and len(set(drawn)) == 32  # nothing has come back yet: nothing is asked twice
    actions = Counter(row["action"] for row in curriculum.decisions())
    assert actions["learn"] == 1 and actions["probe"] + actions["watch"] == 31 and actions["watch"] > 4
    rest = keys(curriculum.sample(60 - 32))
    assert len({*rest, *(f"a/{i}" for i in drawn)}) == 60  # the oldest first, so that all have their turn
    assert len({*keys(curriculum.sample(60))}) == 60  # repeats come after that, and in turn


def test_a_prompt_whose_result_never_came_is_drawn_again_once_later_ones_have():
    curriculum, rng = sorted_out(60), np.random.default_rng(0)
    assert "a/0" in keys(curriculum.sample(4))
    for step in range(3, 6):
        tasks = curriculum.sample(4)
        curriculum.observe(tried([t for t in tasks if number(t)], lambda i: float(i % 4 == 1), rng, step))
    assert "a/0" in keys(curriculum.sample(4))


def test_probes_take_more_of_a_batch_while_they_bring_prompts_back():
    """200 prompts that become learnable at once, all due: a tenth of each batch is not all they get."""
    curriculum, back = Difficulty(Columns(["a"] * 240), seed=0, probe_every=4), []
    course(curriculum, lambda i: IMPOSSIBLE if i < 200 else LEARNABLE, 150)
    shares = []
    for first, rate in ((150, IMPOSSIBLE), (200, LEARNABLE), (250, LEARNABLE)):
        curriculum.decisions()
        course(curriculum, lambda i, rate=rate: rate if i < 200 else LEARNABLE, 50, first=first)
        shares.append(np.mean([r["action"] == "probe" for r in curriculum.decisions() if r["action"] != "move"]))
        back.append(200 - curriculum.metrics()["curriculum/quarantined"])
    assert shares[0] < 0.15 < 0.25 < shares[1] <= 0.55  # at most a half, while there is other work
    assert back[1] > 100 and back[2] > 190
    still = Difficulty(Columns(["a"] * 240), seed=0, probe_every=4, probe=0.0)
    course(still, lambda i: LEARNABLE if i >= 200 else IMPOSSIBLE, 150)
    assert not [row for row in still.decisions() if row["action"] == "probe"]


def test_a_batch_larger_than_the_set_repeats_and_small_ones_do_not():
    curriculum = Difficulty(Columns(["a"] * 5), seed=0)
    assert len(curriculum.sample(12)) == 12
    assert len(set(keys(Difficulty(Columns(["a"] * 50), seed=0).sample(12)))) == 12


def test_resume_is_bit_equal_at_every_step():
    rates, table = mixed(100), Columns(["a", "b"] * 50)
    whole = Difficulty(table, seed=3)
    expected = course(whole, rates.__getitem__, 30)
    for cut in (1, 7, 19):
        first = Difficulty(table, seed=3)
        rng = np.random.default_rng(1)
        for step in range(cut):
            tasks = first.sample(8)
            first.observe(tried(tasks, rates.__getitem__, rng, step))
        tasks = first.sample(8)  # asked for, not yet known
        resumed = Difficulty(table, seed=99)
        resumed.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
        resumed.observe(tried(tasks, rates.__getitem__, rng, cut))
        drawn = [[number(task) for task in tasks]]
        for step in range(cut + 1, 30):
            tasks = resumed.sample(8)
            resumed.observe(tried(tasks, rates.__getitem__, rng, step))
            drawn.append([number(task) for task in tasks])
        assert drawn == expected[cut:]
        assert pickle.dumps(resumed.metrics()) == pickle.dumps(whole.metrics())


def test_every_choice_and_move_is_written_down_once():
    curriculum = Difficulty(Columns(["a"] * 30), seed=0)
    drawn = course(curriculum, lambda i: EASY if i < 15 else 0.0, 20)
    rows = curriculum.decisions()
    chosen = [row for row in rows if row["action"] != "move"]
    assert [row["prompt"] for row in chosen] == [f"a/{i}" for step in drawn for i in step]
    moves = [row for row in rows if row["action"] == "move"]
    assert moves and all(row["pool"] != row["to"] and "P(" in row["why"] for row in moves)
    assert all(row["alpha"] > 0 and row["beta"] > 0 for row in rows)
    assert curriculum.decisions() == []
    flow = {name: value for name, value in curriculum.metrics().items() if "flow@" in name}
    assert sum(flow.values()) == len(moves)


def test_a_million_prompts_in_a_small_state():
    curriculum = Difficulty(Columns(["a"] * 1_000_000), seed=0)
    course(curriculum, lambda i: LEARNABLE, 3)
    assert len(pickle.dumps(curriculum.state_dict(), protocol=5)) < 60e6


def test_a_state_of_other_prompts_is_matched_and_the_difference_told():
    old = Difficulty(Columns(["a"] * 30), seed=0)
    course(old, lambda i: LEARNABLE, 20)
    visits = old.state_dict()["beliefs"]["columns"]["visits"]
    table = Columns(["a"] * 40)
    table.keys = [f"a/{i}" for i in range(5, 45)]  # five went, fifteen came
    new = Difficulty(table, seed=0)
    new.load_state_dict(old.state_dict())
    assert new.state_dict()["beliefs"]["columns"]["visits"][:25].tolist() == visits[5:].tolist()
    assert new.state_dict()["beliefs"]["columns"]["visits"][25:].sum() == 0
    (event,) = [event for event in new.events() if event.name == "tasks_changed"]
    assert (event.evidence["added"], event.evidence["gone"]) == (15, 5)
    assert event.evidence["first_added"][0] == "a/30" and event.evidence["first_gone"][0] == "a/0"
    new.observe([answered(Columns(["a"])[0], [1.0], 20)])  # was under way when the state was saved


@pytest.mark.parametrize(("choice", "action"), [("probe", "probe"), ("widen", "widen"), ("stop", "probe")])
def test_with_nothing_left_to_learn_it_says_so_once_and_does_what_was_chosen(choice, action):
    curriculum = Difficulty(Columns(["a"] * 12), seed=0, when_empty=choice, probe_every=1000)
    course(curriculum, lambda i: 0.0, 20)
    assert [row["action"] for row in curriculum.decisions()][-8:] == [action] * 8
    (event,) = [event for event in curriculum.events() if event.name == "nothing_learnable"]
    assert event.evidence["pools"]["quarantined"] == 12 and event.evidence["then"] == choice


def test_outcomes_that_are_all_none_are_told_and_every_prompt_is_drawn_alike():
    curriculum = Difficulty(Columns(["a"] * 20), seed=0)
    counts = Counter()
    for step in range(60):
        tasks = curriculum.sample(4)
        counts.update(keys(tasks))
        curriculum.observe([answered(task, [None] * 4, step) for task in tasks])
    assert [event.name for event in curriculum.events()] == ["no_outcomes"]
    assert len(counts) == 20 and curriculum.metrics()["curriculum/unknown"] == 20


def test_a_prompt_that_never_answers_is_left_alone():
    curriculum, rng = Difficulty(Columns(["a"] * 10), seed=0), np.random.default_rng(0)
    asked = Counter()
    for step in range(40):
        tasks = curriculum.sample(2)
        asked.update(number(task) for task in tasks)
        curriculum.observe(tried([t for t in tasks if number(t) > 1], lambda i: LEARNABLE, rng, step))
    assert asked[0] == asked[1] == 3
    assert curriculum.metrics()["curriculum/silent"] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"low": 0.9, "high": 0.1}, "low 0.9 is not below high 0.1"),
        ({"explore": 1.5}, "explore: expected a number from 0 to 1, got 1.5"),
        ({"half_life": 0}, "half_life: expected a number at least 1, got 0"),
        ({"min_visits": "two"}, "min_visits: expected a number"),
        ({"when_empty": "panic"}, "when_empty: expected 'probe', 'widen' or 'stop', got 'panic'"),
        ({"prefer": "hard"}, "prefer: expected 'variance' or 'progress', got 'hard'"),
        ({"confidence": 0.3}, "confidence: expected a number from 0.5 to 1, got 0.3"),
        ({"solution": ["a"]}, r"solution: expected the name of a column, got \['a'\]"),
        ({"inner": Difficulty}, "no inner curriculum"),
    ],
)
def test_bad_arguments(arguments, told):
    with pytest.raises(ValueError, match=told):
        Difficulty(Columns(["a"] * 4), seed=0, **arguments)


def test_bad_tables_and_groups():
    with pytest.raises(ValueError, match="no tasks"):
        Difficulty(Columns([]), seed=0)
    curriculum = Difficulty(Columns(["a"] * 4), seed=0)
    with pytest.raises(ValueError, match="'b/9' is none of the 4"):
        curriculum.observe([answered(Columns(["b"] * 10)[9], [1.0], 0)])


@pytest.mark.parametrize(("count", "n", "ahead"), [(8, 32, 1), (40, 32, 4)])
def test_few_prompts_asked_for_again_before_they_answered_are_not_given_up(count, n, ahead):
    curriculum = Difficulty(Columns(["a"] * count), seed=0, when_empty="stop")
    rng, asked = np.random.default_rng(0), [curriculum.sample(n) for _ in range(ahead)]
    assert [event.name for event in curriculum.events()] == []
    for version in range(3):
        curriculum.observe(tried(asked.pop(0), lambda _: LEARNABLE, rng, version))
        asked.append(curriculum.sample(n))
    assert "nothing_learnable" not in [event.name for event in curriculum.events()]


def test_a_prompt_that_never_answered_while_later_ones_did_is_no_hope():
    curriculum = Difficulty(Columns(["a"] * 8), seed=0, when_empty="stop")
    for version in range(60):
        tasks = [task for task in curriculum.sample(4) if number(task)]  # the first is over the length
        curriculum.observe(tried(tasks, lambda _: 0.0, np.random.default_rng(version), version))
    assert [event.name for event in curriculum.events()].count("nothing_learnable") == 1
    assert curriculum.metrics()["curriculum/silent"] == 1


def test_a_date_beyond_all_is_kept():
    curriculum = Difficulty(Columns(["a"] * 20), seed=0, probe_every=10**9)
    course(curriculum, lambda _: 0.0, 40)
    assert curriculum.metrics()["curriculum/quarantined"] == 20


def test_groups_of_prompts_that_are_gone_may_come_after_a_second_restart():
    old, rng = Difficulty(Columns(["a"] * 40), seed=0), np.random.default_rng(0)
    under_way = old.sample(32)
    for version in range(2):
        new = Difficulty(Columns(["a"] * 20), seed=0)
        new.load_state_dict(pickle.loads(pickle.dumps(old.state_dict())))
        new.observe(tried(under_way[16 * version :][:16], lambda _: 0.5, rng, version))
        old = new
    assert sum(new.metrics()[f"curriculum/{pool}"] for pool in ("unknown", "learnable")) == 20
    whole = Difficulty(Columns(["a"] * 40), seed=0)
    whole.load_state_dict(new.state_dict())  # they are back
    whole.observe(tried(under_way, lambda _: 0.5, rng, 3))
    assert whole.metrics()["curriculum/learnable"] > 20
