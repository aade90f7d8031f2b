"""Shaping rewards: what they give for what, and that they stay out of the outcome."""

import numpy as np
import pytest

from rewards.diversity import diversity
from rewards.language import language
from rewards.length import length
from rewards.overlong import overlong
from rewards.repetition import repetition
from rltrain import advantages, scoring
from rltrain.config import RewardSpec
from rltrain.types import Completion, Group, Task

TASK = Task("s/1", "s", "structured", ({"role": "user", "content": "?"},), "4")


def says(text, tokens=0):
    ids = np.zeros(tokens, np.int32)
    return Completion(ids, ids.astype(np.float32), ids, text, "stop", 0, "", "")


@pytest.mark.parametrize(("tokens", "value"), [(0, 0), (80, 0), (81, -0.05), (90, -0.5), (100, -1), (150, -1)])
def test_overlong_is_dapos_band(tokens, value):
    scored = overlong(TASK, says("", tokens), max_length=100, buffer=20)
    assert scored == {"value": pytest.approx(value), "over": float(tokens > 80)}


@pytest.mark.parametrize(("max_length", "buffer"), [(100, 0), (100, 101), (0, 0)])
def test_overlong_refuses_a_band_that_is_none(max_length, buffer):
    with pytest.raises(ValueError, match="0 < buffer <= max_length"):
        overlong(TASK, says(""), max_length=max_length, buffer=buffer)


@pytest.mark.parametrize(("words", "value"), [(0, 0), (5, 0.5), (10, 1), (20, 1), (30, 0.5), (40, 0), (400, 0)])
def test_length_falls_off_on_both_sides(words, value):
    assert length(TASK, says("word " * words), low=10, high=20, unit="words") == pytest.approx(value)


def test_length_in_its_units():
    assert length(TASK, says("abcd", 7), low=8) == 7 / 8
    assert length(TASK, says("abcd", 7), high=2, unit="characters") == 0.0
    with pytest.raises(ValueError, match="low <= high"):
        length(TASK, says("x"), low=3, high=2)
    with pytest.raises(ValueError, match="expected tokens, words or characters, got 'lines'"):
        length(TASK, says("x"), unit="lines")


def test_repetition():
    assert repetition(TASK, says("one two three four five six seven")) == {"value": 0.0, "share": 0.0}
    assert repetition(TASK, says("")) == {"value": 0.0, "share": 0.0}
    looping = repetition(TASK, says("so it is " * 20))
    assert looping["share"] == pytest.approx(54 / 57)
    assert looping["value"] == pytest.approx(-(54 / 57 - 0.1) / 0.9)
    assert repetition(TASK, says("\u6211\u4eec\u5fc5\u987b" * 20))["value"] < -0.8
    assert repetition(TASK, says("a b c d a b c d e f g h i j k l m n o p q r s t u v w x y z"))["value"] == 0.0  # free
    assert repetition(TASK, says("the same\n" * 100_000))["value"] < -0.99


@pytest.mark.parametrize(
    ("text", "script", "value"),
    [
        ("We add both.", "latin", 1.0),
        ("We \u6211\u4eec.", "latin", 0.5),
        ("\u041c\u044b \u0441\u043b\u043e\u0436\u0438\u043c $x + y$ \u0438 `code`.", "cyrillic", 1.0),
        ("\u041c\u044b \\frac{1}{2} https://a.b/c", "cyrillic", 1.0),
        ("\u6f22\u5b57\u3068\u304b\u306a", ["han", "kana"], 1.0),
        ("\u6f22\u5b57\u3068\u304b\u306a", "han", 0.4),
        ("42 + 1 = 43", "latin", None),
        ("", "latin", None),
    ],
)
def test_language_is_the_share_of_a_script(text, script, value):
    assert language(TASK, says(text), script=script) == (value if value is None else pytest.approx(value))


def test_language_names_its_scripts():
    with pytest.raises(ValueError, match="latn unknown; expected of latin"):
        language(TASK, says("x"), script="latn")


def test_diversity_is_measured_inside_the_group():
    same, other = "the cat sat on the mat", "a dog ran under some tall trees"
    assert diversity(TASK, [says(same), says(same)]) == [0.0, 0.0]
    assert diversity(TASK, [says(same), says(other)]) == [1.0, 1.0]
    one, two, odd = diversity(TASK, [says(same), says(same), says(other)])
    assert (one, two, odd) == (0.5, 0.5, 1.0)
    assert diversity(TASK, [says("short"), says(same)]) == [0.0, 1.0]
    assert diversity(TASK, [says(same)]) == [None]


def test_shaping_enters_the_total_and_never_the_outcome():
    specs = [
        RewardSpec(use="exact"),
        RewardSpec(use="overlong", role="shaping", weight=0.5, args={"max_length": 10, "buffer": 5}),
        RewardSpec(use="repetition", role="shaping", weight=0.1),
        RewardSpec(use="language", role="shaping", args={"script": "latin"}),
    ]
    group = Group(0, TASK, np.zeros(1, np.int32), (says("4", 10), says("four", 2)))
    right, wrong = scoring.score(scoring.bind(specs), group)
    assert (right.outcome, right.total) == (1.0, 1.0 - 0.5)
    assert (wrong.outcome, wrong.total) == (0.0, 1.0)
    assert right.values["language"] is None
    assert right.parts["overlong/over"] == 1.0
    weights = {spec.label: spec.weight for spec in specs}
    for combine in ("sum_then_normalize", "normalize_then_sum"):
        scored = Group(0, TASK, group.prompt_ids, group.completions, (right, wrong))
        [done] = advantages.assign([scored], weights, scale="group", combine=combine)
        assert all(np.isfinite(advantage.value) for advantage in done.advantages)
