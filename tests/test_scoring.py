"""Rewards on groups: forms, routing, weights, failures; in process and in Ray actors."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from rltrain import scoring
from rltrain.config import RewardSpec
from rltrain.scoring_pool import ScoringPool
from rltrain.scoring_worker import arrays_read, pack, unpack
from rltrain.types import Completion, Group, Task

FILE = Path(__file__).parent / "data" / "trial_rewards.py"


def completion(text, ids=(1, 2)):
    ids = np.asarray(ids, np.int32)
    ends = np.full(len(ids), len(text), np.int32)
    return Completion(ids, np.full(len(ids), -0.5, np.float32), ends, text, "stop", 3, "digest", "engine-0")


def group(*texts, source="sums", kind="structured", answer="4", ticket=0, **meta):
    task = Task(f"{source}/{ticket}", source, kind, ({"role": "user", "content": "2 + 2?"},), answer, meta=meta)
    return Group(ticket, task, np.arange(3, dtype=np.int32), tuple(map(completion, texts)))


def reward(function, **options):
    return RewardSpec(use=f"{FILE}:{function}", **options)


def scores(specs, some_group, **lent):
    return scoring.score(scoring.bind(specs, lent), some_group)


# --- forms ---


def test_one_completion_at_a_time_with_arguments_and_weight():
    shaping = reward("length", role="shaping", weight=0.5, args={"scale": 2.0})
    exact = RewardSpec(use="exact", weight=3.0)
    right, wrong = scores([exact, shaping], group("4", "five"))
    assert right.values == {"exact": 1.0, "length": 2.0}
    assert (right.outcome, right.total) == (1.0, 3.0 * 1.0 + 0.5 * 2.0)
    assert (wrong.outcome, wrong.total) == (0.0, 0.5 * 8.0)


def test_a_whole_group_with_parts():
    first, second = scores([reward("of_group", name="g")], group("ab", "abcd"))
    assert (first.outcome, second.outcome) == (0.5, 1.0)
    assert first.parts == {"g/longest": 4.0}


def test_trl_form_gets_columns():
    right, wrong = scores([reward("trl_form")], group("4", "5", source="sums"))
    assert (right.outcome, wrong.outcome) == (1.0, 0.0)
    named_only = scores([reward("trl_short")], group("a hint", "none", hint="hint", other=1))
    assert [s.outcome for s in named_only] == [1.0, 0.0]


def test_trls_own_reward_runs_unchanged():
    spec = RewardSpec(use="trl.rewards.format_rewards:think_format_reward")
    right, wrong = scores([spec], group("<think>\n2 and 2\n</think>\n4", "4"))
    assert (right.outcome, wrong.outcome) == (1.0, 0.0)


@pytest.mark.parametrize("name", ["slow_but_together", "trl_async"])
def test_async_forms(name):
    assert scores([reward(name)], group("4", "4"))[1].outcome == 1.0


def test_what_is_lent_goes_to_those_that_ask():
    class Judge:
        def generate(self, prompts, *, max_tokens, temperature):
            return ["0.25"]

    assert scores([reward("judged")], group("x"), judge=Judge(), scorer=None)[0].outcome == 0.25
    with pytest.raises(ValueError, match="'judge' is required"):
        scoring.bind([reward("judged")])


def test_a_score_may_be_returned():
    (score,) = scores([reward("scored")], group("x"))
    assert (score.outcome, score.parts) == (0.5, {"scored/style": 2.0})


# --- routing, range, weights ---


def test_only_routes_by_source_and_kind():
    specs = [
        reward("length", only={"source": "sums"}, range=(0, 10)),
        reward("of_group", only={"kind": ["creative"]}),
    ]
    assert scores(specs, group("abc"))[0].values == {"length": 3.0}
    assert scores(specs, group("abc", source="poems", kind="creative"))[0].values == {"of_group": 1.0}
    assert scores(specs, group("abc", source="other"))[0].values == {}


def test_a_range_is_mapped_onto_0_to_1_and_the_value_stays_raw():
    (score,) = scores([reward("length", range=(0, 10))], group("abc"))
    assert (score.outcome, score.values["length"], score.total) == (0.3, 3.0, 3.0)
    (outside,) = scores([reward("length", range=(0, 2))], group("abc"))
    assert outside.outcome is None
    assert outside.error.startswith("OutOfRange: outcome 'length' is 3, expected it in [0, 2]")
    assert "give `range: [low, high]`" in scores([reward("length")], group("abc"))[0].error


def test_routing_is_checked_before_anything_runs():
    kinds = {"sums": "structured", "poems": "creative"}
    two = scoring.bind([RewardSpec(use="exact"), RewardSpec(use="numeric")])
    with pytest.raises(ValueError, match="exact and numeric both give the outcome of source 'sums'"):
        scoring.check_routing(two, kinds)
    unknown = scoring.bind([RewardSpec(use="exact", only={"source": "sms"})])
    with pytest.raises(ValueError, match="'sms', which no task has; did you mean 'sums'"):
        scoring.check_routing(unknown, kinds)
    with pytest.raises(ValueError, match="none applies to source 'poems'"):
        scoring.check_routing(scoring.bind([RewardSpec(use="exact", only={"kind": "structured"})]), kinds)
    split = [RewardSpec(use="exact", only={"source": "sums"}), RewardSpec(use="format", role="shaping")]
    assert "no outcome reward" in scoring.check_routing(scoring.bind(split), kinds)[0]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (RewardSpec(use="exat"), "did you mean 'exact'"),
        (RewardSpec(use="exact", args={"extrct": "boxed"}), "no argument 'extrct'; did you mean 'extract'"),
        (RewardSpec(use="exact", args={"task": 1}), "'task' is supplied"),
        (RewardSpec(use="exact", range=(1, 0)), "low < high"),
        (RewardSpec(use="exact", role="shaping", range=(0, 1)), "its role is shaping"),
        (reward("NotAFunction"), "expected a function"),
        (RewardSpec(use="rltrain.plugins:absolute"), r"expected \(task, completion, ...\).*got \(spec\)"),
    ],
)
def test_what_does_not_bind(spec, told):
    with pytest.raises(ValueError, match=told):
        scoring.bind([spec])


def test_two_rewards_need_two_names():
    with pytest.raises(ValueError, match="two are called 'exact'"):
        scoring.bind([RewardSpec(use="exact"), RewardSpec(use="exact")])


# --- failures ---


def test_a_failure_is_typed_and_stays_with_its_sample():
    told = ("fine", "raise", "raise", "nan", "huge", "mute", "text", "none", "no value")
    fine, first, second, nan, huge, mute, text, none, no_value = scores([reward("says")], group(*told))
    assert (fine.outcome, fine.error) == (1.0, None)
    assert (none.outcome, none.values, none.error) == (None, {"says": None}, None)
    assert first.error.startswith("Raised KeyError: ")
    assert "trial_rewards.py" in first.error  # the traceback is kept once
    assert "\n" not in second.error
    assert nan.error == "NotFinite: 'says' returned nan"
    assert huge.error == "NotFinite: 'says' returned inf"
    assert mute.error == "Raised Mute: reward 'says'"
    assert text.error == "WrongType: 'says' returned str, expected a number"
    assert no_value.error.startswith("WrongType: 'says' returned parts without 'value'")
    assert {s.outcome for s in (first, second, nan, huge, mute, text, no_value)} == {None}


def test_a_failed_shaping_reward_fails_the_score_and_others_keep_their_values():
    specs = [RewardSpec(use="exact"), reward("says", role="shaping"), reward("says_group", role="shaping")]
    right, _ = scores(specs, group("4", "raise"))
    assert right.values == {"exact": 1.0, "says": 1.0, "says_group": None}
    assert right.outcome is None
    assert right.error == "WrongLength: reward 'says_group': expected a list of 2 values, got 1"
    _, both = scores(specs, group("4", "raise"))
    head = both.error.split("\n")[0]
    assert "Raised KeyError" in head
    assert "WrongLength" in head


def test_what_ends_a_process_is_a_typed_error_too():
    fine, left = scores([reward("says")], group("fine", "exit"))
    assert fine.error is None
    assert left.error.startswith("Raised SystemExit: reward 'says': 3\n")
    fine, cancelled = scores([reward("cancelled")], group("fine", "cancel"))
    assert fine.outcome == 1.0
    assert cancelled.error.startswith("Raised CancelledError: reward 'cancelled'\n")
    assert scores([reward("cancelled_group")], group("x"))[0].error.startswith("Raised CancelledError: ")
    assert scores([reward("lazy")], group("x", "y"))[0].error.startswith("Raised KeyError: reward 'lazy': 'late'\n")


def test_a_persons_interrupt_in_this_process_passes():
    with pytest.raises(KeyboardInterrupt):
        scores([reward("says")], group("interrupt"))


def test_a_missing_column_of_trl_form_is_named():
    assert "'hint'" in scores([reward("trl_short")], group("a"))[0].error


# --- what travels ---


def test_only_the_arrays_that_are_read_travel():
    bound = {r.label: r for r in scoring.bind([RewardSpec(use="exact"), reward("trl_form"), reward("trl_short")])}
    assert arrays_read(bound["exact"]) == set()
    assert arrays_read(bound["trl_form"]) == {"token_ids"}
    assert arrays_read(bound["trl_short"]) == set()
    assert "token_ids" in arrays_read(scoring.bind([reward("reads_tokens")])[0])


def test_packing_is_exact_and_an_array_left_behind_is_absent():
    sent = group("ab", "c")
    sent = replace(sent, completions=(completion("ab", (5, 6, 7)), completion("c", ())))
    _, packed, asked = pack(sent, [0, 1], ["token_ids", "logprobs", "offsets"])
    assert asked == [0, 1]
    for before, after in zip(sent.completions, unpack(packed), strict=True):
        assert (after.text, after.engine, after.policy_version) == (before.text, before.engine, before.policy_version)
        np.testing.assert_array_equal(after.token_ids, before.token_ids)
        np.testing.assert_array_equal(after.logprobs, before.logprobs)
    (text_only, _) = unpack(pack(sent, [0], [])[1])
    with pytest.raises(AttributeError):
        _ = text_only.token_ids


# --- the pool ---


@pytest.fixture
def pool_of(ray_session):
    pools = []

    def make(*specs, workers=1, **options):
        pools.append(ScoringPool(specs, workers, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def drain(pool, seconds=60.0):
    finished = []
    while pool.unfinished():
        some = pool.ready(seconds)
        assert some, "nothing came back in time"
        finished += some
    return {g.ticket: g for g in finished}


def test_the_pool_gives_the_scores_of_this_process(pool_of, monkeypatch):
    monkeypatch.chdir(FILE.parent)
    specs = [
        RewardSpec(use="exact", only={"kind": "structured"}),
        RewardSpec(use="trial_rewards.py:length", role="shaping", weight=0.1),  # relative to this directory
        RewardSpec(use="trial_rewards.py:reads_tokens", role="shaping"),
        RewardSpec(use="trial_rewards.py:slow_but_together", role="shaping", only={"kind": "creative"}),
    ]
    pool = pool_of(*specs, workers=2)
    groups = [group("4", "x" * i, ticket=i, kind=("structured", "creative")[i % 2]) for i in range(40)]
    for one in groups:
        pool.submit(one)
    finished = drain(pool)
    bound = scoring.bind(specs)
    assert finished == {g.ticket: finished[g.ticket] for g in groups}
    for one in groups:
        assert finished[one.ticket].scores == scoring.score(bound, one)
        assert finished[one.ticket].completions == one.completions
    assert pool.ready(0.0) == []


def test_a_call_over_its_time_is_interrupted_and_only_its_sample_fails(pool_of):
    pool = pool_of(reward("says", timeout_s=0.3))
    pool.submit(group("fine", "loop", "regex", "fine", ticket=1))
    pool.submit(group("fine", ticket=2))
    finished = drain(pool)
    errors = [s.error for s in finished[1].scores]
    assert errors[0] is errors[3] is None
    assert errors[1] == errors[2] == "Timeout: reward 'says' took longer than 0.3 s"
    assert finished[2].scores[0].outcome == 1.0


def test_a_dead_or_deaf_worker_is_replaced_and_nothing_is_lost_or_blamed_wrongly(pool_of):
    pool = pool_of(reward("says", timeout_s=0.3), reward("length", role="shaping"), workers=1)
    told = {0: "fine", 1: "die", 2: "fine", 3: "deaf", 4: "raise", 5: "fine"}
    for ticket, text in told.items():
        pool.submit(group(text, "fine", ticket=ticket))
    finished = drain(pool)
    assert sorted(finished) == sorted(told)
    for ticket in (0, 2, 5):
        assert [s.error for s in finished[ticket].scores] == [None, None]
    for ticket, kind in ((1, "WorkerDied"), (3, "Timeout")):
        assert finished[ticket].scores[0].error.startswith(f"{kind}: reward 'says'")
        assert finished[ticket].scores[1].error is None
        assert finished[ticket].scores[0].values == {"says": None, "length": float(len(told[ticket]))}
    assert finished[4].scores[0].error.startswith("Raised KeyError")
    assert finished[4].scores[1].error is None


def test_a_group_that_kills_every_worker_is_given_up_after_three(pool_of):
    pool = pool_of(reward("says"))
    pool.submit(group("die", "die", "die", "fine", "die", ticket=1))
    pool.submit(group("die", "fine", ticket=2))
    finished = drain(pool)
    assert [s.error and s.error.split(":")[0] for s in finished[1].scores] == ["WorkerDied"] * 5
    assert [s.error and s.error.split(":")[0] for s in finished[2].scores] == ["WorkerDied", None]


def test_an_interrupt_raised_in_a_worker_costs_only_its_sample(pool_of):
    pool = pool_of(reward("says"), reward("cancelled_group", role="shaping", only={"kind": "creative"}))
    pool.submit(group("fine", "interrupt", "exit", ticket=1))
    pool.submit(group("fine", kind="creative", ticket=2))
    finished = drain(pool)
    errors = [s.error and s.error.split("\n")[0] for s in finished[1].scores]
    assert errors == [None, "Raised KeyboardInterrupt: reward 'says'", "Raised SystemExit: reward 'says': 3"]
    assert finished[2].scores[0].error.startswith("Raised CancelledError: reward 'cancelled_group'")


def test_memory_forks_and_prints_cost_their_own_samples_at_most(pool_of, tmp_path):
    before = psutil.disk_usage("/").used
    pool = pool_of(reward("misbehaves", timeout_s=30.0))
    left = tmp_path / "left"
    told = ("fine", "block", "fork", f"leave {left}", "print", "close", "fine")
    for ticket, text in enumerate(told):
        pool.submit(group(text, "fine", ticket=ticket))
    finished = drain(pool, 120.0)
    errors = [[score.error and score.error.split(":")[0] for score in finished[i].scores] for i in range(len(told))]
    assert errors == [[None, None], ["Raised MemoryError", None], *[[None, None]] * 5]
    assert psutil.disk_usage("/").used - before < 500 << 20
    pool.close()
    pid = int(left.read_text())  # of a process that a reward forked and that sleeps
    assert not psutil.pid_exists(pid) or psutil.Process(pid).wait(20) is None


def test_a_reward_that_keeps_its_memory_has_its_process_replaced(pool_of):
    pool = pool_of(reward("grows"), memory_bytes=512 << 20)
    for ticket in range(9):
        pool.submit(group("x", ticket=ticket))
        assert drain(pool)[ticket].scores[0].outcome == 1.0
    pool.submit(group(*["x"] * 12, ticket=99))
    scores = drain(pool)[99].scores
    assert {score.error and score.error.split(":")[0] for score in scores} == {None, "Raised MemoryError"}


def test_every_group_is_scored_once(pool_of, tmp_path):
    marks = tmp_path / "marks"
    pool = pool_of(reward("counts", args={"path": str(marks)}), workers=2)
    for ticket in range(100):
        pool.submit(group("x", ticket=ticket))
    assert sorted(drain(pool)) == list(range(100))
    assert Counter(marks.read_text().split()) == {f"sums/{i}": 1 for i in range(100)}


def test_workers_that_cannot_start_are_an_error(pool_of, tmp_path):
    here = tmp_path / "only_here.py"
    here.write_text(f"import os\nassert os.getpid() == {os.getpid()}\ndef f(task, completion): return 1.0\n")
    pool = pool_of(RewardSpec(use=f"{here}:f"))
    pool.submit(group("x"))
    with pytest.raises(RuntimeError, match="workers do not start"):
        drain(pool)
