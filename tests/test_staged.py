"""Stages: their order, when one ends, replay, resume, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from benchmarks.learners import Columns, tried
from curricula.plateau import trend
from curricula.staged import Staged

KINDS = ["structured", "structured", "creative"]


def table(count=30):
    return Columns(["sums", "letters", "haiku"] * count, kinds=KINDS * count)


def course(curriculum, steps, rate=lambda step: 0.5, n=8, first=0):
    """The sources drawn, step by step, of a learner whose pass rate follows from the step."""
    drawn = []
    for step in range(first, first + steps):
        tasks = curriculum.sample(n)
        curriculum.observe(tried(tasks, lambda i, s=step: rate(s), np.random.default_rng(step), step))
        drawn.append([task.source for task in tasks])
    return drawn


def ended(curriculum):
    return [event.evidence for event in curriculum.events() if event.name == "stage_ended"]


def test_a_line_by_hand():
    found = trend([1.0, 2.0, 3.0, 4.0])
    assert (found.mean, found.gain) == (2.5, pytest.approx(3.0)) and found.error == pytest.approx(0.0, abs=1e-9)
    noise = [trend(np.random.default_rng(seed).random(50)).rises(1.28) for seed in range(300)]
    assert 0.05 < np.mean(noise) < 0.15  # one-sided, a tenth by chance


def test_structured_comes_first_and_is_replayed():
    curriculum = Staged(table(), seed=0, min_groups=40, window=40, replay=0.25)
    drawn = course(curriculum, 40)
    first = [set(step) for step in drawn[:5]]
    assert set().union(*first) == {"sums", "letters"}
    late = [source for step in drawn[-10:] for source in step]
    assert late.count("haiku") / len(late) == pytest.approx(0.75, abs=0.02)
    (evidence,) = ended(curriculum)
    assert evidence["stage"] == "structured" and evidence["next"] == "creative" and evidence["why"] == "plateau"


def test_a_stage_that_rises_goes_on_to_its_maximum():
    curriculum = Staged(table(), seed=0, min_groups=40, max_groups=240, window=80)
    course(curriculum, 29, rate=lambda step: step / 30)
    assert ended(curriculum) == []
    course(curriculum, 2, rate=lambda step: step / 30, first=29)
    (evidence,) = ended(curriculum)
    assert (evidence["why"], evidence["groups"]) == ("maximum", 240)


def test_no_stage_ends_before_its_minimum():
    curriculum = Staged(table(), seed=0, min_groups=400, window=20)
    course(curriculum, 49)
    assert ended(curriculum) == []


def test_sources_can_be_stages_and_the_rest_goes_by_kind():
    curriculum = Staged(table(), seed=0, stages=["letters", ["structured", "creative"]], max_groups=20, min_groups=5)
    drawn = course(curriculum, 10)
    assert set(drawn[0]) == {"letters"} and set(drawn[-1]) >= {"sums", "haiku"}


def test_interleaved_stages_are_all_open():
    curriculum = Staged(table(), seed=0, order="interleave")
    drawn = [source for step in course(curriculum, 10) for source in step]
    assert drawn.count("haiku") == 40 and ended(curriculum) == []


def test_one_task_only_is_one_stage():
    curriculum = Staged(Columns(["sums"] * 9), seed=0, max_groups=10, min_groups=1)
    course(curriculum, 5)
    assert curriculum.metrics()["curriculum/stage"] == 1 and ended(curriculum) == []


@pytest.mark.parametrize("cut", [1, 6, 13])
def test_resume_is_bit_equal(cut):
    make = lambda: Staged(table(), seed=0, min_groups=40, window=40)  # noqa: E731
    whole = make()
    expected = course(whole, 20)
    first, resumed = make(), make()
    course(first, cut)
    resumed.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert course(resumed, 20 - cut, first=cut) == expected[cut:]
    assert resumed.metrics() == whole.metrics()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"stages": ["sms", "haiku"]}, "'sms', no kind or source; did you mean 'sums'"),
        ({"stages": ["structured"]}, "no stage has source 'haiku'; name it or its kind 'creative'"),
        ({"stages": ["structured", ["creative", "structured"]]}, "'structured' is in two stages"),
        ({"stages": "structured"}, "stages: expected a list of kinds and sources, .* got 'structured'"),
        ({"stages": 5}, "stages: expected a list of kinds and sources, .* got 5"),
        ({"order": "bwt", "matrix_file": 5}, r"the path of a bwt\.json, got 5"),
        ({"stages": [3, "creative"]}, r"expected a list .* got \[3, 'creative'\]"),
        ({"stages": [[], "creative"]}, r"expected a list .* got \[\[\], 'creative'\]"),
        ({"stages": ["x", "creative"]}, r"'x', no kind or source\. There are: "),
        ({"order": "best"}, "order: expected 'fixed', 'bwt' or 'interleave', got 'best'"),
        ({"order": "bwt"}, "needs matrix_file, the path of a bwt.json"),
        ({"matrix_file": "bwt.json"}, "matrix_file has no effect with order: fixed; use order: bwt"),
        ({"stages": []}, r"expected a list .* got \[\]"),
        ({"order": "bwt", "stages": ["structured"]}, "leave `stages` out"),
        ({"order": "bwt", "matrix_file": "no.json"}, "matrix_file 'no.json': No such file"),
        ({"replay": 1.0}, r"replay: expected a number from 0 to 0\.9"),
        ({"max_groups": 10}, "max_groups: expected a number at least 100"),
    ],
)
def test_bad_arguments(arguments, told):
    with pytest.raises(ValueError, match=told):
        Staged(table(), seed=0, **arguments)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not valid JSON"),
        ('{"order": ["sums"]}', "expected `order` and a `forecast` for each"),
        ('{"order": ["sum"], "forecast": {"sum": 1}}', r"'sum', which the run does not have; did you mean 'sums'\?"),
        ('{"order": ["sums"], "forecast": {"sums": 1}}', "does not know source 'haiku'"),
    ],
)
def test_bad_orders(tmp_path, text, told):
    file = tmp_path / "bwt.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=told):
        Staged(table(), seed=0, order="bwt", matrix_file=str(file))


def test_a_state_of_other_stages_is_taken_up_and_told():
    old = Staged(table(), seed=0, min_groups=8, max_groups=16)
    course(old, 3)  # the second stage is open
    new = Staged(Columns(["sums", "stories"] * 30, kinds=["structured", "creative"] * 30), seed=0)
    new.load_state_dict(pickle.loads(pickle.dumps(old.state_dict())))
    assert new.metrics()["curriculum/stage"] == 2  # kinds are the stages: the same ones
    other = Staged(table(), seed=0, stages=["letters", "creative", "sums"])
    other.load_state_dict(old.state_dict())
    assert other.metrics()["curriculum/stage"] == 1
    (event,) = [event for event in other.events() if event.name == "stages_changed"]
    assert event.evidence["open"] == "letters" and event.evidence["were"] == ["structured", "creative"]
    new.observe(tried([table()[1]], lambda i: 0.5, np.random.default_rng(0), 4))  # of a source that is gone
