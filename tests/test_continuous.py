"""Measures beside pass/fail: identities, the policy's own probabilities, and a jump that is one of the measure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import synthetic

from diagnostics.continuous import ContinuousDiagnostic, distances, options, stated
from diagnostics.continuous.jump import JumpWatch, Point, compared
from diagnostics.continuous.measures import brier, edit_distance, nearest, softmax, tokens
from rltrain.metrics import undeclared
from rltrain.types import Diagnostic, Forced, Score


def by_the_book(a, b):
    """Levenshtein by recursion on prefixes, the whole table."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return int(table[-1, -1])


def test_edit_distances_are_those_of_the_book():
    assert [edit_distance(*pair) for pair in [("kitten", "sitting"), ("", "abc"), ("abc", ""), ("", "")]] == [
        3,
        3,
        3,
        0,
    ]
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (rng.integers(3, size=rng.integers(0, 9)).tolist() for _ in range(2))
        assert edit_distance(a, b) == edit_distance(b, a) == by_the_book(a, b)
        stretches = [b[i:j] for i in range(len(b) + 1) for j in range(i, len(b) + 1)]
        assert nearest(a, b) == min(by_the_book(a, stretch) for stretch in stretches)


def test_tokens_are_words_digits_and_signs():
    assert tokens("The sum is 124, not $1_2!") == [
        "the",
        "sum",
        "is",
        "1",
        "2",
        "4",
        ",",
        "not",
        "$",
        "1",
        "_",
        "2",
        "!",
    ]
    assert tokens("Übung 中文") == ["übung", "中文"] and tokens("") == []


def test_brier_is_its_formula():
    assert brier([1, 0, 0], 0) == 0 and brier([0, 1], 0) == 2
    p = softmax([0.3, -1.0, 2.0])
    assert p.sum() == pytest.approx(1) and brier(p, 2) == pytest.approx(((p - [0, 0, 1]) ** 2).sum(), abs=1e-12)


def group(ticket, texts, outcomes, answer="42", source="sums", **meta):
    made = synthetic.group(
        ticket, outcomes=tuple(outcomes), source=source, completions=tuple(synthetic.completion(t) for t in texts)
    )
    return dataclasses.replace(made, task=dataclasses.replace(made.task, answer=answer, meta=meta))


def test_the_figures_of_a_step():
    groups = [
        group(0, ["42", "It is 42.", "4"], [1, 1, 0]),
        group(1, ["41"], [0]),
        group(2, ["a poem"], [0.5], answer=None),
    ]
    found = ContinuousDiagnostic().observe(synthetic.record(1, *groups))
    assert found["continuous/edit"] == pytest.approx(np.mean([0, 3, 1, 1]))
    assert found["continuous/edit_rel"] == pytest.approx(np.mean([0, 3 / 5, 1 / 2, 1 / 2]))
    assert found["continuous/edit_nearest"] == pytest.approx(np.mean([0, 0, 1 / 2, 1 / 2]))
    assert (found["continuous/completions"], found["continuous/pass"]) == (4, pytest.approx(2 / 5))
    assert found["continuous/pass_low"] < 0.4 < found["continuous/pass_high"]
    assert distances(groups[2]) == []


class Teacher:
    """Gives each character of a text log-probability -1, and -0.1 in what it is fond of."""

    def __init__(self, fond=()):
        self.fond, self.asked = fond, []

    def forced(self, prompts, continuations):
        self.asked += list(zip(prompts, continuations, strict=True))
        return [
            Forced(np.full(len(t), -0.1 if t in self.fond else -1.0, np.float32), np.arange(len(t)) % 2 == 0)
            for t in continuations
        ]


def test_the_policy_is_asked_for_the_gold_answer_and_the_options():
    policy = Teacher(fond=("B",))
    diagnostic = ContinuousDiagnostic(every=2, prompts=2, policy=policy)
    assert isinstance(diagnostic, Diagnostic)
    groups = [group(0, ["x"], [0]), group(1, ["B"], [1], answer="B", options=["A", "B", "C"]), group(2, ["x"], [0])]
    found = diagnostic.observe(synthetic.record(1, *groups))
    assert found["continuous/prompts"] == 2  # the third came too late for the panel
    assert found["continuous/answer_logprob"] == pytest.approx((-1 - 0.1) / 2)
    assert found["continuous/answer_logprob_total"] == pytest.approx((-2 - 0.1) / 2)
    assert found["continuous/token_accuracy"] == pytest.approx(2 / 3)
    assert found["continuous/brier"] == pytest.approx(brier(softmax([-1, -0.1, -1]), 1))
    assert found["continuous/brier_prompts"] == 1
    assert "continuous/prompts" not in diagnostic.observe(synthetic.record(2, *groups))
    assert "continuous/prompts" in diagnostic.observe(synthetic.record(3, *groups))
    assert not undeclared([*found, *(stem for panel in diagnostic.panels for stem in panel.metrics)])
    assert diagnostic.notes() == []


def test_the_policy_is_asked_every_so_many_steps_whatever_their_numbers():
    diagnostic, asked = ContinuousDiagnostic(every=2, policy=Teacher()), []
    for step in range(10, 60, 10):
        if "continuous/prompts" in diagnostic.observe(synthetic.record(step, group(0, ["x"], [0]))):
            asked.append(step)
        resumed = ContinuousDiagnostic(every=2, policy=Teacher())
        resumed.load_state_dict(diagnostic.state_dict())
        diagnostic = resumed
    assert asked == [10, 30, 50]


def test_an_answer_is_stated_in_its_form():
    task = group(0, ["x"], [0]).task
    assert stated(task, "{answer}", "42") == (task.prompt, "42")
    prompt, answer = stated(task, "Answer: {answer}.", "42")
    assert (prompt[-1], answer) == ({"role": "assistant", "content": "Answer:"}, " 42")
    assert options(dataclasses.replace(task, meta={"choices": [41, 42]})) == ["41", "42"]
    assert options(dataclasses.replace(task, meta={"choices": ["41", "43"]})) == []  # the gold answer is not among them


def test_what_cannot_be_computed_is_said():
    diagnostic = ContinuousDiagnostic()
    unknown = group(0, ["x"], [0], answer=None)
    blank = dataclasses.replace(unknown, scores=(Score(),))
    assert diagnostic.observe(synthetic.record(1, blank)) == {}
    assert [note.split(",")[0] for note in diagnostic.notes()] == [
        "continuous: no outcomes", "continuous: no gold answers"
    ]  # fmt: skip
    diagnostic.observe(synthetic.record(2, group(0, ["x"], [0])))
    assert [note.split(",")[0] for note in diagnostic.notes()] == ["continuous: rollouts do not hold the weights"]
    other = ContinuousDiagnostic(policy=Teacher())
    other.observe(synthetic.record(1, group(0, ["x"], [0])))
    assert "no Brier score" in other.notes()[0]


# --- the jump ------------------------------------------------------------------------------------


def run(passed, near, steps=40, groups=8, generations=8, length=10, seed=0, panel=None):
    """Jumps found in a run whose tokens are right with chance `near(step)` and whose answers pass by `passed`."""
    rng, watch, found = np.random.default_rng(seed), JumpWatch(5, 0.2), []
    for step in range(1, steps + 1):
        points = []
        for i in range(groups):
            right = rng.random((generations, length)) < near(step)
            points.append(Point("ab"[i % 2], float(np.mean(passed(step, right, rng))), float(right.mean())))
        if panel is not None:
            watch.panel(step, {str(i): panel(step) for i in range(8)})
        jump = watch.update(step, points)
        found += [(step, jump)] if jump else []
    return found


def exact(step, right, rng):
    return right.all(axis=1)


def lenient_from_20_on(step, right, rng):
    return right.all(axis=1) if step < 20 else right[:, :2].all(axis=1)  # the parser reads the first two tokens alone


@pytest.mark.parametrize("panel", [None, lambda step: (-0.3, -3.0)], ids=["no panel", "panel"])
def test_a_parser_that_turns_lenient_is_found(panel):
    found = [run(lenient_from_20_on, lambda step: 0.75, seed=seed, panel=panel) for seed in range(20)]
    assert sum(len(jumps) == 1 for jumps in found) >= 19
    [(step, jump)] = next(jumps for jumps in found if len(jumps) == 1)
    assert 20 <= step <= 30 and abs(jump.onset - 20) <= 1
    assert jump.passed.difference > 0.2 and abs(jump.nearness.difference) < 0.05
    assert jump.probability is None if panel is None else jump.probability == pytest.approx((0, 0))


def test_an_ability_that_only_looks_sudden_is_none():
    """Exact match over ten tokens jumps while each token gets better by degrees."""
    rising = [run(exact, lambda step: 0.75 + 0.24 / (1 + np.exp(-(step - 20) / 2)), seed=seed) for seed in range(20)]
    assert rising == [[]] * 20
    hidden = run(lenient_from_20_on, lambda step: 0.75, panel=lambda step: (-0.3, -3.0) if step < 20 else (-0.02, -0.2))
    assert hidden == []  # the policy's own odds did move


def test_a_quiet_run_has_no_jump():
    assert [run(exact, lambda step: 0.93, seed=seed, steps=120) for seed in range(20)] == [[]] * 20


def test_another_mix_of_sources_is_no_change():
    easy, hard = Point("easy", 1.0, 1.0), Point("hard", 0.0, 0.5)
    change = compared([easy] * 5 + [hard] * 15, [easy] * 15 + [hard] * 5, "passed")
    assert change.difference == 0 and compared([easy], [hard], "passed") is None


def test_the_event_and_a_restart():
    def record(step):
        texts = ["41"] * 4
        return synthetic.record(step, *(group(10 * step + i, texts, [float(step >= 8)] * 4) for i in range(4)))

    whole, broken, events = ContinuousDiagnostic(window=3), ContinuousDiagnostic(window=3), []
    for step in range(1, 16):
        again = ContinuousDiagnostic(window=3)
        again.load_state_dict(broken.state_dict())
        broken = again
        assert whole.observe(record(step)) == broken.observe(record(step))
        found = whole.events()
        assert found == broken.events()
        events += found
    [event] = events
    assert (event.name, event.evidence["onset_step"], event.evidence["nearness_change"]) == ("metric_jump", 8, 0.0)
    assert event.evidence["pass_change"] == 1.0 and event.evidence["groups"] == 24


def test_arguments_are_checked():
    for wrong in ({"every": 0}, {"window": 1}, {"jump": 0}, {"solved": 2}, {"answer": "no place"}):
        with pytest.raises(ValueError, match=r"continuous diagnostic: .*expected"):
            ContinuousDiagnostic(**wrong)
