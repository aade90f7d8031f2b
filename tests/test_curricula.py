"""The uniform curriculum."""

from collections import Counter

import numpy as np
import pytest

from curricula.uniform import Uniform
from rltrain.types import Curriculum, Task


class Columns:
    """A table of n tasks whose sources come in turn."""

    def __init__(self, n, sources=("a",)):
        self.sources = np.asarray(list(sources))[np.arange(n) % len(sources)]
        self.kinds = np.full(n, "structured")
        self.levels = np.full(n, np.nan)
        self.keys = range(n)

    def __len__(self):
        return len(self.sources)

    def __getitem__(self, index):
        return Task(f"{self.sources[index]}/{index}", str(self.sources[index]), "structured", ())


def keys(tasks):
    return [task.key for task in tasks]


def test_it_is_a_curriculum():
    curriculum = Uniform(Columns(3), seed=0)
    assert isinstance(curriculum, Curriculum)
    assert curriculum.admit(None) is None
    assert curriculum.metrics() == {}


def test_each_pass_holds_every_prompt_once_in_another_order():
    curriculum = Uniform(Columns(50, "ab"), seed=1)
    first, second = keys(curriculum.sample(50)), keys(curriculum.sample(50))
    assert len(set(first)) == len(set(second)) == 50
    assert first != second
    assert keys(Uniform(Columns(50, "ab"), seed=1).sample(50)) == first
    assert keys(Uniform(Columns(50, "ab"), seed=2).sample(50)) != first


def test_weights_are_kept_exactly_and_each_source_is_passed_over_by_itself():
    curriculum = Uniform(Columns(30, "abc"), seed=0, weights={"a": 3, "b": 1, "c": 0})
    drawn = curriculum.sample(40)
    assert Counter(task.source for task in drawn) == {"a": 30, "b": 10}
    assert len(set(keys(t for t in drawn if t.source == "b"))) == 10
    assert set(Counter(keys(t for t in drawn if t.source == "a")).values()) == {3}


@pytest.mark.parametrize("weights", [None, {"a": 2.0}])
def test_resume_continues_with_the_same_prompts(weights):
    whole = Uniform(Columns(23, "ab"), seed=5, weights=weights)
    expected = keys(whole.sample(60))
    cut = Uniform(Columns(23, "ab"), seed=5, weights=weights)
    cut.sample(31)
    state = cut.state_dict()
    resumed = Uniform(Columns(23, "ab"), seed=5, weights=weights)
    resumed.load_state_dict(state)
    assert keys(resumed.sample(29)) == expected[31:]
    assert resumed.state_dict() == whole.state_dict()


def test_the_state_of_a_million_prompts_is_small():
    curriculum = Uniform(Columns(1_000_000, "abcd"), seed=0)
    curriculum.sample(10)
    assert len(repr(curriculum.state_dict())) < 400


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"weights": {"aa": 1}}, "source 'aa'"),
        ({"weights": {1: 1}}, "source 1. Sources"),
        ({"weights": {"a": -1}}, "weight of 'a'"),
        ({"weights": {"a": "much"}}, "weight of 'a'"),
        ({"weights": {"a": 0, "b": 0}}, "all weights are 0"),
        ({"inner": Uniform}, "no inner curriculum"),
    ],
)
def test_bad_arguments(arguments, told):
    with pytest.raises(ValueError, match=told):
        Uniform(Columns(4, "ab"), seed=0, **arguments)


def test_bad_tables():
    with pytest.raises(ValueError, match="no tasks"):
        Uniform(Columns(0), seed=0)


def test_a_state_of_other_tasks_is_taken_up_and_its_sources_listed():
    old = Uniform(Columns(40, "ab"), seed=3, weights={"a": 3})
    old.sample(12)
    new = Uniform(Columns(60, "abc"), seed=0, weights={"a": 3})
    new.load_state_dict(old.state_dict())
    (event,) = new.events()
    assert event.name == "tasks_changed" and new.events() == []
    assert event.evidence == {name: f"{was} prompts, now 20" for name, was in (("a", 20), ("b", 20), ("c", 0))}
    drawn = Counter(task.source for task in new.sample(50))
    assert drawn["a"] == pytest.approx(30, abs=2) and drawn["c"] == pytest.approx(10, abs=2)  # c begins even
    assert new.decisions() == []


def test_prompts_added_or_gone_begin_a_new_pass():
    old = Uniform(Columns(10), seed=3)
    old.sample(7)
    for count in (8, 14):
        new = Uniform(Columns(count), seed=0)
        new.load_state_dict(old.state_dict())
        assert len(set(keys(new.sample(count)))) == count
        assert new.events()[0].evidence == {"a": f"10 prompts, now {count}"}


def test_the_same_number_of_other_prompts_is_noticed():
    old, new = Uniform(Columns(4), seed=0), Columns(4)
    new.keys = range(1, 5)
    changed = Uniform(new, seed=0)
    changed.load_state_dict(old.state_dict())
    assert changed.events()[0].evidence == {"a": "4 prompts, now 4"}
