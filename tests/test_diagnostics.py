"""Diagnostics, tagger and format rules: counted by hand, repeatable, and declared."""

import dataclasses
import math

import numpy as np
import pytest
from synthetic import completion, group, record

from diagnostics.entropy import EntropyDiagnostic
from diagnostics.formats import FORMATS, RuleFormats
from diagnostics.reward import RewardDiagnostic
from diagnostics.taggers import LEXICON, LexiconTagger, NetworkTagger, read_lexicon
from rltrain.metrics import undeclared
from rltrain.types import Diagnostic, StepRecord

# --- reward --------------------------------------------------------------------------------------


def test_means_are_sums_over_counts_and_not_means_of_means():
    step = record(1, group(1, (1.0,)), group(2, (0.0, 0.0, 0.0)))
    metrics = RewardDiagnostic().observe(step)
    assert metrics["reward/mean"] == pytest.approx(1 / 4 + 0.05)
    assert metrics["reward/outcome"] == 1 / 4
    assert metrics["reward/value@format"] == 0.5 and metrics["reward/part@digits"] == 1.0


def test_rejected_groups_count_where_it_says_all():
    step = record(1, group(1, (0.0, 1.0)), group(2, (1.0, 1.0), admitted=False), group(3, (0.0, 0.0), "haiku"))
    metrics = RewardDiagnostic().observe(step)
    assert (metrics["reward/outcome"], metrics["reward/outcome_all"]) == (0.25, 0.5)
    assert (metrics["reward/mean"], metrics["reward/mean_all"]) == (pytest.approx(0.3), pytest.approx(0.55))
    assert (metrics["reward/zero_variance"], metrics["reward/zero_variance_all"]) == (1 / 2, 2 / 3)
    assert (metrics["reward/outcome@sums"], metrics["reward/outcome@haiku"]) == (0.5, 0.0)
    assert metrics["reward/zero_variance_all@sums"] == 0.5


def test_the_spread_is_inside_groups():
    flat = record(1, group(1, (0.0, 0.0)), group(2, (1.0, 1.0)))
    assert RewardDiagnostic().observe(flat)["reward/std"] == 0
    assert RewardDiagnostic().observe(record(1, group(1, (0.0, 1.0))))["reward/std"] == pytest.approx(0.5)


def test_a_failed_score_is_an_error_and_no_zero():
    metrics = RewardDiagnostic().observe(record(1, group(1, (None, 1.0, 1.0))))
    assert metrics["reward/mean"] == pytest.approx(1.05) and metrics["reward/outcome"] == 1.0
    assert metrics["reward/errors"] == 1 and metrics["reward/error_rate"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("diagnostic", [RewardDiagnostic(), EntropyDiagnostic()])
def test_nothing_to_rest_on_is_nothing_said(diagnostic):
    rejected = record(1, group(1, (None, None), admitted=False))
    for step in (StepRecord(1, (), {}, {}), rejected):
        metrics = diagnostic.observe(step)
        assert "reward/mean" not in metrics and "entropy/mean" not in metrics
        assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("diagnostic", [RewardDiagnostic(), EntropyDiagnostic(min_planning_tokens=1)])
def test_everything_said_is_declared_and_shown(diagnostic):
    assert isinstance(diagnostic, Diagnostic)
    metrics = diagnostic.observe(record(1, group(1), group(2, source="haiku")))
    assert metrics and not undeclared(metrics)
    assert not undeclared(stem for panel in diagnostic.panels for stem in panel.metrics)
    assert all(isinstance(value, float | int) for value in metrics.values())
    diagnostic.load_state_dict(diagnostic.state_dict())
    assert diagnostic.events() == []


# --- entropy -------------------------------------------------------------------------------------


def test_planning_and_execution_are_told_apart():
    step = record(1, group(1), planning=2.0, execution=0.5)  # two completions, 2 of 5 tokens plan
    metrics = EntropyDiagnostic(min_planning_tokens=4).observe(step)
    assert not {"entropy/gap_low", "entropy/ratio_low"} & set(metrics)  # two completions have no spread to speak of
    assert (metrics["entropy/planning"], metrics["entropy/execution"]) == (2.0, 0.5)
    assert (metrics["entropy/gap"], metrics["entropy/ratio"]) == (1.5, 4.0)
    assert metrics["entropy/mean"] == pytest.approx((4 * 2.0 + 6 * 0.5) / 10)
    assert (metrics["entropy/planning_tokens"], metrics["entropy/execution_tokens"]) == (4, 6)
    assert metrics["plan/ratio"] == 0.4 and metrics["entropy/gap@sums"] == 1.5


def test_too_few_planning_tokens_and_no_gap():
    metrics = EntropyDiagnostic(min_planning_tokens=5).observe(record())
    assert metrics["entropy/planning_tokens"] == 4 and "entropy/execution" in metrics
    assert not {"entropy/planning", "entropy/gap", "entropy/gap_low", "entropy/ratio"} & set(metrics)


def test_every_source_has_its_own_interval():
    rng, ours = np.random.default_rng(0), EntropyDiagnostic(min_planning_tokens=4)
    step = record(1, *(group(i, source=source) for i, source in enumerate(("sums", "haiku") * 4)))
    for tokens in step.tokens.values():
        tokens.entropy[:] = rng.gamma(2.0, 0.5, len(tokens.entropy))
    metrics = ours.observe(step)
    for name in ("gap", "ratio"):
        for source in ("", "@sums", "@haiku"):
            low, middle, high = (metrics[f"entropy/{name}{end}{source}"] for end in ("_low", "", "_high"))
            assert low <= middle <= high and low < high
    assert metrics["entropy/gap_low@sums"] != metrics["entropy/gap_low@haiku"]
    alone = record(1, *(g for g in step.groups if g.task.source == "sums"))
    alone = dataclasses.replace(alone, tokens={key: step.tokens[key] for key in alone.tokens})
    assert ours.observe(alone)["entropy/gap_low@sums"] == metrics["entropy/gap_low@sums"]  # whatever else is there


def test_tokens_outside_the_loss_do_not_count():
    step = record(1, group(1, (1.0,)))
    tokens = step.tokens[1, 0]
    tokens.loss_mask[2:] = False
    metrics = EntropyDiagnostic().observe(step)
    assert metrics["entropy/execution_tokens"] == 0 and "entropy/execution" not in metrics


def test_the_interval_covers_the_truth_and_repeats():
    rng, covered, true_gap = np.random.default_rng(0), 0, 0.5
    for trial in range(60):
        step = record(trial, *(group(i) for i in range(20)))
        for tokens in step.tokens.values():
            level = rng.normal(0, 0.3)  # completions differ, so tokens are not independent
            tokens.entropy[:] = level + 1 + rng.normal(0, 0.2, 5)
            tokens.entropy[:2] += true_gap + rng.normal(0, 0.3)
        metrics = EntropyDiagnostic().observe(step)
        covered += metrics["entropy/gap_low"] <= true_gap <= metrics["entropy/gap_high"]
        assert metrics == EntropyDiagnostic().observe(step)
    assert covered >= 50  # 57 expected of 60; below 50 by chance once in 500


def test_lengths():
    short, cut = completion("ab", 2), completion("abcdef", 6, finish="length")
    metrics = EntropyDiagnostic().observe(record(1, group(1, (0.0, 1.0), completions=(short, cut))))
    assert (metrics["length/mean"], metrics["length/max"], metrics["length/truncated_frac"]) == (4.0, 6.0, 0.5)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="min_planning_tokens 0"):
        EntropyDiagnostic(min_planning_tokens=0)


# --- tagger --------------------------------------------------------------------------------------


def marked(text: str) -> list[str]:
    return [text[start:end] for start, end in LexiconTagger().spans(text)]


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("First, let's see. 24 / 6 = 4.", ["First, let's see"]),
        ("Now we need to find x = 5", ["Now we need to find"]),  # two overlapping phrases
        ("WE  NEED\nto   find it", ["WE  NEED\nto   find"]),
        ("**We need** to find it", ["We need** to find"]),
        ("Let\u2019s check: 3 + 4 = 7", ["Let\u2019s check"]),
        ("lets verify this", ["lets verify"]),
        ("awe need to finder", []),
        ("therefore the answer is 5", []),
        ("\u0130\u0130 we need to find", ["we need to find"]),  # a letter whose lower case is two
        ("", []),
        ("\ud800 we can use\x00", ["we can use"]),
    ],
)
def test_phrases_are_found_where_they_stand(text, phrases):
    assert marked(text) == phrases


def test_the_shipped_lexicon_has_a_name():
    assert LexiconTagger().hash == LexiconTagger(LEXICON).hash
    assert len(read_lexicon(LEXICON)) >= 30


def test_every_phrase_of_the_lexicon_is_found_whole():
    for phrase in read_lexicon(LEXICON):
        assert marked(f"Yes. {phrase.upper()}, 3 + 4")[0].lower() == phrase


def test_a_lexicon_of_ones_own(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# mine\nver suchen wir  # German\nwir versuchen\n", encoding="utf-8")
    tagger = LexiconTagger(path)
    assert tagger.spans("Wir versuchen es") == [(0, 13)] and tagger.hash != LexiconTagger().hash
    path.write_text("one two\nalone\n")
    with pytest.raises(ValueError, match=r"line 2: expected 2 to 8 words, got 'alone'"):
        LexiconTagger(path)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="no phrase"):
        LexiconTagger(path)
    with pytest.raises(ValueError, match="cannot be read"):
        LexiconTagger(tmp_path / "none.txt")


# --- formats -------------------------------------------------------------------------------------

EXAMPLES = {
    "code": [
        "def add(a, b):\n    return a + b",
        "Here you go:\n\n```python\nx = 3\nfor i in range(x):\n    print(i)\n```",
        "<!DOCTYPE html>\n<html><body><p>Hi</p></body></html>",
        "<code>\nx = 1\nprint(x)\n</code>",
        "import math\n\nr = 3\narea = math.pi * r ** 2\nprint(area)",
        "#include <stdio.h>\nint main() {\n  return 0;\n}",
    ],
    "boxed_latex": [
        "\\boxed{42}",
        "The total is 3 + 4 = 7, so the answer is \\boxed{7}.",
        "We add and get 7. $\\boxed{7",
    ],
    "prose": [
        "She has three apples and buys four more. That makes seven in all.",
        "## Answer\nThe train leaves at noon and it arrives at six in the evening.",
        "To find the total we add the two numbers and then we divide by",
        "The rain came down all night.\nIn the morning the street was a river, and nobody went to work.",
    ],
    "numbered_steps": [
        "1. Add 3 and 4.\n2. Divide by 7.\n3. The answer is \\boxed{1}.",
        "Step 1: find the sum\nStep 2: halve it\nAnswer: 4",
        "Let me solve this.\n\n1) Add them:\n   - first 3\n   - then 4\n2) The sum is 7",
        "First, add 3 and 4 to get 7.\nNext, divide by 7.\nFinally, the answer is 1.",
    ],
    "bullets": [
        "- apples\n- pears\n- plums",
        "Shopping list:\n\n* milk\n  1. skimmed\n* bread",
        "\u2022 one\n\u2022 two",
    ],
    "table": [
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "name,age\nann,3\nbob,4",
        "name\tage\nann\t3",
        "name    age\nann     3\nbob     4",
        "<table><tr><td>1</td></tr></table>",
    ],
    "json": [
        '{"answer": 42}',
        '```json\n{"a": [1, 2]}\n```',
        'Sure, here it is:\n{"answer": "B"}',
        '{"a": 1}\n{"a": 2}',
        '{"answer": 42, "steps": ["add',
        "[1, 2, 3]",
    ],
    "tags": [
        "<think>3 + 4 is 7</think><answer>7</answer>",
        "<answer>B</answer>",
        "<think>\nLet me see, 3 + 4",
        "[THINK]3 + 4[/THINK][ANSWER]7[/ANSWER]",
        "<think>\n1. add\n2. halve\n</think>\n<answer>\\boxed{4}</answer>",
    ],
    "answer_only": ["42", "B", "The answer is 42.", "Answer: 7", "**Final answer:** 3/4", "$12.50", "-17", "Paris"],
    "other": [
        "",
        "  \n ",
        "3 + 4 = 7\n7 * 2 = 14\n14 - 5 = 9",
        "An old silent pond\nA frog jumps into the pond\nSplash! Silence again",
        "name: Ann\nage: 3\ncity: Rome",
        "word " * 300,
        "\x00\x01 %% ## @@ \ud800",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EXAMPLES.items() for text in texts])
def test_forms_are_named(name, text):
    assert RuleFormats().format(text) == name


def test_every_form_has_an_example():
    assert set(EXAMPLES) == set(FORMATS)


HOSTILE = [
    *("a " + "1" * 20_000, "-" * 20_000 + "x", "int " + "a" * 20_000, "(" * 20_000, "<a " * 8_000, "[" * 20_000),
    *("=" * 20_000, "```\n" * 5_000, "a, " * 8_000, "let's " * 5_000, "wait " * 5_000, "1. " * 8_000, "{'" * 9_000),
    *(" " * 20_000 + "x", "a." * 9_000, "| " * 9_000, "<a>" * 6_000, "return " * 4_000, "x=" * 9_000),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_judged_in_time(text):
    """Patterns that backtrack would not end here."""
    assert RuleFormats().format(text) in FORMATS
    for tagger in (LexiconTagger(), NetworkTagger()):
        assert all(0 <= start < end <= len(text) for start, end in tagger.spans(text))
