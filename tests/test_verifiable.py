"""Mathematics, choices, patterns and JSON: what is judged right, and what is not."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import math_pairs
from rewards.choice import choice
from rewards.equivalence import equal, readable
from rewards.extraction import final_answer
from rewards.json_schema import json_schema
from rewards.math import math
from rewards.regex import regex
from rltrain.types import Completion, Task

LABELS = Path(__file__).parent.parent / "benchmarks" / "labels"


def says(text):
    nothing = np.zeros(0, np.int32)
    return Completion(nothing, nothing.astype(np.float32), nothing, text, "stop", 0, "", "")


def task(answer=None, **meta):
    return Task("s/1", "s", "structured", ({"role": "user", "content": "?"},), answer, meta=meta)


def pairs(name):
    lines = (LABELS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


# --- mathematics ---


@pytest.mark.parametrize(("name", "least"), [("math_build", 600), ("math_heldout", 100)])
def test_answers_are_compared_as_the_table_says(name, least):
    rows = pairs(name)
    assert len(rows) >= least
    assert {same for _, _, same in rows} == {"0", "1"}
    wrong = [(expected, given, same) for expected, given, same in rows if equal(given, expected) != (same == "1")]
    assert wrong == []  # a disagreement that stays belongs into docs/rewards.md


@pytest.mark.parametrize(
    ("name", "least"), [("math_completions", 390), ("math_completions_second", 130), ("math_completions_third", 77)]
)
def test_completions_are_judged_as_the_table_says(name, least):
    rows = math_pairs.read(LABELS / f"{name}.tsv")
    assert len(rows) >= least
    wrong = [row for row in rows if math_pairs.rewarded(row.given, row.expected) != row.same]
    assert wrong == []  # a disagreement that stays belongs into docs/rewards.md


def test_every_expected_answer_of_the_tables_can_be_read():
    expected = {row[0] for name in ("math_build", "math_heldout") for row in pairs(name)}
    assert [answer for answer in expected if not readable(answer)] == []


@pytest.mark.parametrize(
    ("answer", "text", "value", "rule"),
    [
        ("42", "So it is \\boxed{42}. Or Answer: 41", 1.0, "boxed"),
        ("42", "<answer>42</answer> 7", 1.0, "tags"),
        ("42", "I add.\nAnswer: 42 clips in all.\nIt took 3 steps.", 1.0, "answer"),
        ("42", "40 + 2\n#### 42", 1.0, "answer"),
        ("42", "The answer to the question is 42, because 40 + 2 = 42.", 1.0, "answer_is"),
        ("42", "That gives 40 + 2 = 42.", 1.0, "last_number"),
        ("42", "Answer: the total is $42$ clips", 1.0, "answer"),
        ("42", "Answer: $1$ $2$ $42$", 0.0, "answer"),
        ("42", "Answer: either 41 or 42", 0.0, "answer"),
        ("42", "\\boxed{41} \\boxed{42} \\boxed{43}", 0.0, "boxed"),
        ("\\frac{1}{2}", "Answer: **0.5**", 1.0, "answer"),
        ("(1, 2)", "so $(x, y) = (1, 2)$. Answer: $(1,2)$", 1.0, "answer"),
        ("42", "<think>\\boxed{41}</think>So 42.", 1.0, "last_number"),
        ("42", "The answer is found by adding.\nSo 40 + 2 = 42.", 1.0, "last_number"),
        ("42", "Answer: 40 clips + 2 clips = 42 clips", 1.0, "answer"),
        ("42", "Answer: 42 (forty-two)", 1.0, "answer"),
        ("42", "Answer: 42 (or 43)", 0.0, "answer"),
        ("4, 7", "$x = \\boxed{4}$ or $x = \\boxed{7}$", 1.0, "boxed"),
        ("7", "$x = \\boxed{4}$ or $x = \\boxed{7}$", 0.0, "boxed"),
        ("42", "The answer is \\boxed{41} or \\boxed{42}.", 0.0, "boxed"),
        ("0.5", "It is $\\boxed{50\\%}$, or $\\boxed{\\frac{1}{2}}$.", 1.0, "boxed"),
        ("\\frac{3}{4}", "So it is $\\frac{3}{4}$.", 1.0, "last_number"),
        ("4", "So it is $\\frac{3}{4}$.", 0.0, "last_number"),
        ("27", "The volume is 27π.", 0.0, "last_number"),
        ("8", "It is $2^3 = 8$.", 1.0, "last_number"),
    ],
)
def test_math_finds_the_answer_and_names_the_rule(answer, text, value, rule):
    assert math(task(answer), says(text)) == {"value": value, f"by_{rule}": 1.0}


def test_math_without_an_answer_or_anything_to_find():
    assert math(task(None), says("4")) is None
    assert math(task("4"), says("I do not know")) == {"value": 0.0}
    assert math(task("4"), says("It is 4"), extract="boxed") == {"value": 0.0}
    assert math(task("x+1"), says("x + 1"), extract="whole")["value"] == 1.0


def test_an_unreadable_answer_of_a_task_is_an_error_and_not_a_zero():
    with pytest.raises(ValueError, match=r"answer '\\\\frac\{' cannot be read"):
        math(task("\\frac{"), says("Answer: 3"))


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9^{9}}}",
        "10^{1000000}",
        "1000000!",
        "((((3!)!)!)!)!",
        "(" * 5000 + "1" + ")" * 5000,
        "\\frac{" * 3000,
        "9" * 100_000,
        "1e999999999",
        "\\sqrt{" * 200 + "2" + "}" * 200,
        "x+" * 290 + "x",
        "\\text{" * 150,
        "1" + ",000" * 5000,
        "$" * 5000,
        "answer is " * 3000,
        "\x00\ud7ff\U0001f600",
    ],
)
def test_no_answer_takes_long_or_counts(text):
    for form in (text, f"\\boxed{{{text}}}", f"Answer: {text}"):
        assert math(task("\\sqrt{2}+1"), says(form))["value"] == 0.0


def test_lines_without_end_take_one_pass():
    assert final_answer("The answer is" + "\n" * 200_000, "final") is None


def test_extraction_by_name():
    assert final_answer("The answer is 42.", "answer_is") == ("answer_is", "42.")
    assert final_answer("2 of 3, -1,234.5 left", "last_number") == ("last_number", "-1,234.5")
    assert final_answer("no number", "final") is None
    assert final_answer("<think>I think it is \\boxed{42}", "final") is None


# --- choices ---


@pytest.mark.parametrize(
    ("answer", "text", "value"),
    [
        ("C", "Answer: C", 1.0),
        ("C", "Answer: (c)", 1.0),
        ("C", "Answer: **C. Paris**", 1.0),
        ("C", "The answer is option C.", 1.0),
        ("C", "\\boxed{\\text{C}}", 1.0),
        ("C", "C", 1.0),
        ("C", "Paris", 1.0),
        ("Paris", "(C)", 1.0),
        ("C", "It was never B.\nSo it must be (C).", 1.0),
        ("C", "Answer: B", 0.0),
        ("C", "Answer: B or C", 0.0),
        ("C", "A B C D", 0.0),
        ("C", "It may be B, or it may be C.", 0.0),
        ("C", "Answer: London", 0.0),
        ("C", "", 0.0),
        ("C", "Answer: 3", 0.0),
        (None, "C", None),
    ],
)
def test_choice(answer, text, value):
    assert choice(task(answer, choices=["London", "Rome", "Paris", "Bonn"]), says(text)) == value


def test_choice_refuses_an_answer_that_is_no_option():
    with pytest.raises(ValueError, match="'Madrid' is neither a letter nor one of"):
        choice(task("Madrid", choices=["London"]), says("A"))
    with pytest.raises(ValueError, match="'B' is neither"):
        choice(task("B", choices=["London"]), says("A"))


# --- patterns ---


def test_regex():
    assert regex(task(), says("it ends here"), pattern="ends? HERE", ignore_case=True) == 1.0
    assert regex(task(), says("it ends here"), pattern="ends", whole=True) == 0.0
    assert regex(task("^a+$"), says("Answer: aaa"), extract="answer") == 1.0
    assert regex(task("^a+$"), says("aaa"), extract="answer") == 0.0
    assert regex(task(), says("x")) is None
    with pytest.raises(ValueError, match=r"pattern '\(': no regular expression"):
        regex(task(), says("x"), pattern="(")


# --- JSON ---

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "value", "parses"),
    [
        ('{"name": "Ada", "age": 36}', 1.0, 1.0),
        ('Here:\n```json\n{"name": "Ada"}\n```\nDone.', 1.0, 1.0),
        ('{"name": "Ada", "age": -1}', 0.0, 1.0),
        ('{"age": 3}', 0.0, 1.0),
        ('{"name": "Ada", "more": 1}', 0.0, 1.0),
        ('{"name": "Ada", "name": "Eve"}', 0.0, 0.0),
        ('{"name": "Ada", "age": NaN}', 0.0, 0.0),
        ('{"name": "Ada"', 0.0, 0.0),
        ("", 0.0, 0.0),
        ("[" * 50_000, 0.0, 0.0),
        ('{"age": ' + "9" * 10_000 + "}", 0.0, 0.0),
    ],
)
def test_json_schema(text, value, parses):
    assert json_schema(task(schema=SCHEMA), says(text)) == {"value": value, "parses": parses}


def test_json_schema_comes_from_the_task_or_the_arguments_and_must_be_one():
    assert json_schema(task(), says("3"), schema={"type": "integer"}) == {"value": 1.0, "parses": 1.0}
    assert json_schema(task(), says("3")) is None
    with pytest.raises(ValueError, match="'nothing' is not valid under any of the given schemas at"):
        json_schema(task(), says("3"), schema={"type": "nothing"})


def test_json_schema_follows_no_reference_to_another_place():
    from referencing.exceptions import Unresolvable

    with pytest.raises((Unresolvable, ValueError), match=r"http://127\.0\.0\.1"):
        json_schema(task(), says(json.dumps({})), schema={"$ref": "http://127.0.0.1:9/schema.json"})
