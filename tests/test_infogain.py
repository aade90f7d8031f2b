"""Information gain of reasoning steps: the sum is the difference of its ends, and a gain is where it was planted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import synthetic

from diagnostics.infogain import InfoGainDiagnostic, cut, information_gain, joined
from rltrain.metrics import undeclared
from rltrain.types import Diagnostic

PROMPT = ({"role": "user", "content": "How much is 12 + 30?"},)


class Reader:
    """Finds the answer likelier by a nat a token for each operand it has read, less likely for a wrong sum."""

    def __init__(self):
        self.asked = []

    def logprobs(self, prompts, continuations):
        self.asked += list(zip(prompts, continuations, strict=True))
        return [self._logprob(prompt, text) for prompt, text in zip(prompts, continuations, strict=True)]

    def _logprob(self, prompt, text):
        said = prompt[-1]["content"] if prompt[-1]["role"] == "assistant" else ""
        level = -4.0 + ("first is 12" in said) + ("second is 30" in said) - 2 * ("makes 43" in said)
        return np.full(len(text), level, np.float32)


STEPS = ["The first is 12.\n", "Well.\n", "The second is 30.\n", "That makes 43.\n"]


def test_a_gain_is_where_an_operand_is_told():
    before, gains = information_gain(Reader(), PROMPT, STEPS, "42", "\nAnswer: {answer}")
    np.testing.assert_allclose(gains, [1, 0, 1, -2], atol=1e-6)
    assert before == -4


def test_the_scorer_reads_the_steps_and_is_asked_for_the_answer_alone():
    reader = Reader()
    information_gain(reader, PROMPT, STEPS[:1], "42", "\nAnswer: {answer}")
    (first, second) = reader.asked
    assert first == ((*PROMPT, {"role": "assistant", "content": "\nAnswer:"}), " 42")
    assert second == ((*PROMPT, {"role": "assistant", "content": "The first is 12.\n\nAnswer:"}), " 42")
    reader = Reader()
    information_gain(reader, PROMPT, [], "42", "{answer}")
    assert reader.asked == [(PROMPT, "42")]


def test_the_gains_of_a_real_model_sum_to_the_difference_of_its_ends():
    from rltrain.forced import FrozenScorer

    scorer = FrozenScorer("tiny", threads=1, batch_tokens=300)
    before, gains = information_gain(scorer, PROMPT, STEPS, "42", "\nAnswer: {answer}")
    whole = {"role": "assistant", "content": "".join(STEPS) + "\nAnswer:"}
    after, alone = scorer.logprobs(
        [(*PROMPT, whole), (*PROMPT, {"role": "assistant", "content": "\nAnswer:"})], [" 42"] * 2
    )
    assert len(after) == 3 and np.abs(gains).min() > 0
    assert gains.sum() == pytest.approx(after.mean(dtype=float) - alone.mean(dtype=float), abs=1e-6)
    assert before == pytest.approx(alone.mean(dtype=float), abs=1e-6)


def test_steps_join_to_the_text():
    text = "  One. Two is 2.5 here!\n\nThree?  Four\n"
    assert cut(text, "line") == ["One. Two is 2.5 here!\n\n", "Three?  Four"]
    assert cut(text, "sentence") == ["One. ", "Two is 2.5 here!\n\n", "Three?  ", "Four"]
    assert "".join(cut(text, "sentence")) == text.strip() and cut("", "line") == []
    assert joined(list("abcdefg"), 3) == ["ab", "cde", "fg"] and joined(["a"], 3) == ["a"] and joined([], 3) == []


def record(step, *groups):
    made = []
    for i, (texts, outcomes) in enumerate(groups):
        completions = tuple(synthetic.completion(text) for text in texts)
        found = synthetic.group(i, outcomes=tuple(outcomes), completions=completions)
        made.append(dataclasses.replace(found, task=dataclasses.replace(found.task, prompt=PROMPT, answer="42")))
    return synthetic.record(step, *made)


def test_the_figures_of_a_step():
    diagnostic = InfoGainDiagnostic(every=2, completions=3, scorer=Reader())
    assert isinstance(diagnostic, Diagnostic)
    right, wrong = "".join(STEPS[:3]) + "42", "".join(STEPS) + "43"
    seen = record(1, ([right, "42"], [1, 1]), ([wrong, wrong, wrong], [0, 0, 0]))
    found = diagnostic.observe(seen)
    assert found["infogain/completions"] == 3  # one of the first group, whose other is a bare answer, two of the next
    assert found["infogain/total@right"] == pytest.approx(2) and found["infogain/total@wrong"] == pytest.approx(0)
    assert found["infogain/total"] == pytest.approx(2 / 3)
    assert found["infogain/step"] == pytest.approx(2 / 11) and found["infogain/negative"] == pytest.approx(2 / 11)
    assert found["infogain/steps"] == pytest.approx(11 / 3) and found["infogain/before"] == -4
    assert diagnostic.observe(dataclasses.replace(seen, step=2)) == {}
    assert not undeclared([*found, *(stem for panel in diagnostic.panels for stem in panel.metrics)])
    assert diagnostic.notes() == diagnostic.events() == []


def test_of_a_log_of_every_tenth_step_every_other_one_is_looked_at():
    """Its steps are 10, 20, ...: none of them is step 1, 11 or 21. What was seen counts, through a resume too."""
    right = ["".join(STEPS[:3]) + "42"]
    diagnostic, looked = InfoGainDiagnostic(every=2, scorer=Reader()), []
    for step in range(10, 70, 10):
        if diagnostic.observe(record(step, (right, [1]))):
            looked.append(step)
        resumed = InfoGainDiagnostic(every=2, scorer=Reader())
        resumed.load_state_dict(diagnostic.state_dict())
        diagnostic = resumed
    assert looked == [10, 30, 50]


def test_what_cannot_be_computed_is_said():
    assert "--scorer MODEL" in InfoGainDiagnostic().notes()[0]
    assert InfoGainDiagnostic().observe(record(1, (["a\nb"], [1]))) == {}
    diagnostic = InfoGainDiagnostic(scorer=Reader())
    assert diagnostic.observe(record(1, (["42"], [1]))) == {} and "more than one step" in diagnostic.notes()[0]
    again = InfoGainDiagnostic(scorer=Reader())
    again.load_state_dict(diagnostic.state_dict())
    assert again.notes() == diagnostic.notes()


def test_arguments_are_checked():
    for wrong in ({"every": 0}, {"splitter": "page"}, {"answer": "{answer}."}, {"answer": "?"}, {"solved": 0}):
        with pytest.raises(ValueError, match=r"infogain diagnostic: .*expected"):
            InfoGainDiagnostic(**wrong)
