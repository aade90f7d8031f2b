"""What each reward gives for what."""

import warnings

import numpy as np
import pytest

from rewards.constraints import constraints
from rewards.exact import exact
from rewards.extraction import boxed, extract_answer, undressed
from rewards.format import format
from rewards.numeric import numeric
from rewards.reasoning_gym import reasoning_gym
from rltrain import tasks
from rltrain.config import TaskSource
from rltrain.types import Completion, Task


def says(text):
    nothing = np.zeros(0, np.int32)
    return Completion(nothing, nothing.astype(np.float32), nothing, text, "stop", 0, "", "")


def task(answer=None, prompt="?", **meta):
    return Task("s/1", "s", "structured", ({"role": "user", "content": prompt},), answer, meta=meta)


@pytest.mark.parametrize(
    ("text", "extract", "found"),
    [
        (" 42 \n", "whole", "42"),
        ("so\n\n 42 \n\n", "last_line", "42"),
        ("Answer: 1\nthen Final answer : 42\nDone.", "answer", "42"),
        ("**Answer:** 42", "answer", "42"),
        ("Answer:\n42", "answer", "42"),
        ("the answer is 42", "answer", None),
        ("Answer:", "answer", None),
        ("Answer:\n1 2\n3 4", "after_answer", "1 2\n3 4"),
        (r"\boxed{1} and \boxed{\frac{1}{2}}", "boxed", r"\frac{1}{2}"),
        (r"\boxed{1", "boxed", None),
        ("<answer>1</answer> <answer>\n42</answer>", "tags", "42"),
        ("", "whole", None),
    ],
)
def test_extraction(text, extract, found):
    assert extract_answer(text, extract) == found


def test_extraction_helpers():
    assert undressed("**42**.") == undressed("$42$") == undressed("`42`") == "42"
    assert boxed(r"\boxed{a} \boxed{}") == ["a", ""]
    with pytest.raises(ValueError, match="expected one of whole, last_line"):
        extract_answer("x", "boxd")


@pytest.mark.parametrize(
    ("answer", "text", "arguments", "value"),
    [
        ("blue", "Blue", {}, 1.0),
        ("blue", "Blue", {"ignore_case": False}, 0.0),
        ("two  words", "Answer: **two words**.", {"extract": "answer"}, 1.0),
        ("red", "Answer: red\nAnswer: blue", {"extract": "answer"}, 0.0),
        ("red", "red", {"extract": "answer"}, 0.0),
        ("It ends.", "It ends.", {}, 1.0),
        ("", "", {}, 0.0),
        (None, "x", {}, None),
    ],
)
def test_exact(answer, text, arguments, value):
    assert exact(task(answer), says(text), **arguments) == value


@pytest.mark.parametrize(
    ("answer", "text", "value"),
    [
        ("72", "48/2 = 24, so 48 + 24 = 72 clips.", 1.0),
        ("72", "72 or 73", 0.0),
        ("1234.5", "$1,234.50", 1.0),
        ("1,234", "it is 1234", 1.0),
        ("0.75", "3/4", 1.0),
        ("0.75", r"\frac{3}{4}", 1.0),
        ("-0.5", r"-\frac{1}{2}", 1.0),
        ("1.5", "1 1/2", 1.0),
        ("50", "50%", 1.0),
        ("0.5", "50 %", 1.0),
        ("50%", "0.5", 1.0),
        ("2000", "2e3", 1.0),
        ("-7", "5 - 12 = -7", 1.0),
        ("-7", "\u22127", 1.0),
        ("7", "-7", 0.0),
        ("2", "5-3", 0.0),
        ("3", "the list is 1,2,3", 1.0),
        ("0", "1/0", 0.0),
        ("1", "no number", 0.0),
        ("1", "", 0.0),
        ("1", "9" * 10_000, 0.0),
        ("1", "1e99999999", 0.0),
        ("blue", "blue", None),
        (None, "1", None),
    ],
)
def test_numeric(answer, text, value):
    assert numeric(task(answer), says(text)) == value


@pytest.mark.parametrize("tolerance", ["abc", -1, float("nan")])
def test_numeric_refuses_a_tolerance_that_is_none(tolerance):
    with pytest.raises(ValueError, match="tolerance: expected a number from 0 on, got"):
        numeric(task("4"), says("4"), tolerance=tolerance)


def test_numeric_tolerance_and_extraction():
    assert numeric(task("3.1416"), says("3.14"), tolerance=1e-3) == 1.0
    assert numeric(task("3.1416"), says("3.14")) == 0.0
    assert numeric(task("72"), says("Answer: 72 clips. Or 5?\nIn 2024."), extract="boxed") == 0.0
    assert numeric(task("72"), says("Answer: 72 clips.\nIn 2024."), extract="answer") == 1.0


@pytest.mark.parametrize("text", ["answer" + " " * 20_000, "1 " * 20_000, "\\boxed{" * 2_000, "<answer>" * 5_000])
def test_no_text_takes_long(text):
    for extract in ("answer", "boxed", "tags"):
        numeric(task("1"), says(text), extract=extract)
    numeric(task("1"), says(text))


@pytest.mark.parametrize(
    ("text", "arguments", "value"),
    [
        ("2 + 2 = 4.\nAnswer: 4", {}, 1.0),
        ("**Answer:** 4", {}, 1.0),
        ("Answer: 4. More?\nYes.", {}, 0.0),
        ("Answer: 4\nAnswer: 5", {}, 0.0),
        ("Answer:", {}, 0.0),
        (r"so \boxed{4}", {"style": "boxed"}, 1.0),
        (r"\boxed{4} \boxed{5}", {"style": "boxed"}, 0.0),
        (r"\boxed{ }", {"style": "boxed"}, 0.0),
        ("<think>a\nb</think>\n<answer>4</answer>", {"style": "tags"}, 1.0),
        ("<think>a</think><answer></answer>", {"style": "tags"}, 0.0),
        ("<think>a</think><answer>4</answer>!", {"style": "tags"}, 0.0),
        ("<think>a</think><answer>4</answer><think>a</think><answer>4</answer>", {"style": "tags"}, 0.0),
        ("abc", {"pattern": "^a.c$"}, 1.0),
        ("abd", {"pattern": "^a.c$"}, 0.0),
    ],
)
def test_format(text, arguments, value):
    assert format(task(), says(text), **arguments) == value


def test_format_names_its_styles():
    with pytest.raises(ValueError, match="expected answer, boxed or tags, got 'box'"):
        format(task(), says("x"), style="box")


# --- reasoning-gym ---


def gym(generator, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tasks.sample(TaskSource(use="reasoning_gym", args={"generator": generator, **parameters}))


def test_reasoning_gym_asks_the_generators_scorer():
    some = gym("chain_sum", min_terms=2, max_terms=2)
    for text, value in ((f"Let me see. Answer: {some.answer}", 1.0), (f"**Answer:** {some.answer}.00", 1.0)):
        assert reasoning_gym(some, says(text)) == value
    assert reasoning_gym(some, says(f"It is {some.answer}")) == 0.0  # no "Answer:"
    assert reasoning_gym(some, says("")) == 0.0
    assert reasoning_gym(some, says(some.answer), extract="whole") == 1.0
    assert reasoning_gym(task("4"), says("4")) is None


def test_an_answer_that_a_scorer_cannot_parse_is_wrong_and_a_broken_scorer_raises():
    some = gym("prime_factorization")
    assert reasoning_gym(some, says("Answer: hello")) == 0.0
    some.meta["entry"]["answer"] = "no factors"  # as if the scorer were broken: it fails on the gold answer too
    with pytest.raises(ValueError, match="no factors"):
        reasoning_gym(some, says("Answer: hello"))


def test_grids_are_read_whole():
    some = gym("n_queens")
    gold = some.meta["entry"]["metadata"]["valid_answers"][0]
    assert reasoning_gym(some, says(f"Answer:\n{gold}"), extract="after_answer") == 1.0


# --- constraints ---

RULES = {"words": ["river", "lamp"], "min_words": 6, "max_words": 20, "sentences": 1}
PROMPT = "Write one sentence with the words river and lamp. Use 6 to 20 words."


def judged(text, **meta):
    return constraints(task(prompt=PROMPT, **(meta or RULES)), says(text))


def test_constraints_all_kept():
    kept = judged("The lamp on the boat lit the dark river.")
    assert kept["value"] == 1.0
    assert {"words", "length", "sentences", "variety", "prose", "own"} < kept.keys()
    assert judged("Under the old lamps, two rivers met in silence.")["value"] == 1.0  # plurals count


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("We walked all the way to the river.", "words"),
        ("The river has a lamp.", "length"),
        ("The lamp was on. It lit the dark river.", "sentences"),
        ("The lamp by the river lit the lamp by the river.", "variety"),
        ("The lamp on the boat lit the dark river and then", "sentences"),
    ],
)
def test_constraints_fall_off_one_by_one(text, part):
    scored = judged(text)
    assert 0.0 < scored[part] < 1.0 or part == "variety"
    assert scored["value"] < 1.0
    assert scored[part] == min(v for name, v in scored.items() if name != "value")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "River lamp.",
        "river lamp " * 5,
        PROMPT,
        "River and lamp and dog and cat and house and tree.",
        "The river and the lamp are nice. " * 10,
    ],
)
def test_degenerate_texts_earn_nothing(text):
    assert judged(text)["value"] == 0.0


def test_constraints_apply_where_there_are_rules():
    assert judged("x", other=1) is None
    assert judged("We went to see the river.", words=["river"])["value"] == 1.0


def test_the_reference_of_word_constraints_keeps_its_rules():
    sets = tasks.build([TaskSource(use="word_constraints", kind="creative", args={"size": 200})], seed=1)
    values = [constraints(t, says(t.answer))["value"] for t in map(sets.train.__getitem__, range(len(sets.train)))]
    assert set(values) == {1.0}
