"""Prompts that are too hard, made easier: hints, questions turned round, lower levels, and what follows from them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from benchmarks.learners import Columns, answered
from curricula import forms
from curricula.difficulty import Difficulty
from curricula.mixture import Mixture
from diagnostics.reward import RewardDiagnostic
from rewards.numeric import numeric
from rltrain.metrics import undeclared
from rltrain.types import REFORMULATED, Completion, StepRecord, Task

TEXT = "Ann has 12 apples and 12 pears and buys 1,250.5 more. How many are there?"
SOLUTION = "Fruit first: 12 + 12.\nThat makes 24.\nThen the rest.\nSo 1274.5 in all."


def task(text=TEXT, answer="1274.5", solution=SOLUTION, key="shop/7"):
    prompt = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": text})
    return Task(
        key, key.partition("/")[0], "structured", prompt, answer, None, {"solution": solution, "entry": {"x": 1}}
    )


class Shop(Columns):
    """Tasks with a solution and numbers."""

    def __getitem__(self, index):
        key = self.keys[index]
        return task(f"From {100 + index} take 31. What is left?", str(69 + index), key=key)


def said(text):
    return Completion(np.zeros(1), np.zeros(1), np.ones(1), text, "stop", 0, "", "made")


def test_a_hint_is_the_first_half_of_the_solution_and_never_the_answer():
    form = forms.hinted(task(), "solution")
    text = form.prompt[-1]["content"]
    assert text.startswith(TEXT) and "Fruit first: 12 + 12.\nThat makes 24.\n" in text and "Then the rest" not in text
    assert (form.key, form.answer, form.source) == ("shop/7~hint", "1274.5", "shop")
    assert form.meta == {"solution": SOLUTION, "entry": {"x": 1}, REFORMULATED: {"of": "shop/7", "how": "hint"}}
    early = task(answer="24")
    assert "24" not in forms.hinted(early, "solution").prompt[-1]["content"].removeprefix(TEXT)
    for answer, step in (("1234", "First 1,234."), ("1,234", "It is 1234"), ("Paris", "So PARIS.")):
        assert forms.hinted(task(answer=answer, solution=f"{step}\nb\nc\nd"), "solution") is None
    sentences = forms.hinted(task(solution="Add them. Then halve. Done."), "solution")
    assert "begins like this:\nAdd them.\n\nGo on" in sentences.prompt[-1]["content"]


@pytest.mark.parametrize(
    ("answer", "step", "told"),
    [
        ("0.5", "Half of them, that is 1/2.", True),
        ("0.5", "So 50% are left.", True),
        ("1/2", "It is \\frac{1}{2}.", True),
        ("1/2", "It is .50 then.", True),
        ("50%", "A share of 0.5", True),
        ("50%", "There are 50 per cent", True),
        ("\\frac{3}{4}", "3 / 4 of it", True),
        ("\u00be", "0.75 of it", True),
        ("1.5", "That is 1 1/2 hours", True),
        ("1\u00bd", "which makes 1.5", True),
        ("$1,200", "1200.00 in all", True),
        ("2000", "2e3 of them", True),
        ("x = 12.0", "12 of 24, so 12/24", True),
        ("-3", "minus 3.0", True),
        ("12 apples", "They are 12.", True),
        ("0.5", "5 of 11 are left, 0.05 are not.", False),
        ("1/2", "First take 1 and then 2.", False),
        ("x^2 + 1", "Take 1 or 2.", False),
        ("(1, 2)", "Take 1.", False),
        ("Paris", "In the year 1789.", False),
        ("9" * 5000, "9 and 99", False),
        ("0", "10 / 0 is none", True),
    ],
)
def test_a_step_gives_the_answer_away_however_it_is_written(answer, step, told):
    hint = forms.hinted(task(answer=answer, solution=f"{step}\nb\nc\nd"), "solution")
    assert (hint is None) is told


@pytest.mark.parametrize(
    ("made", "column"),
    [(task(solution="1274.5"), "solution"), (task(solution=None), "solution"), (task(), "rationale"),
     (task(answer="12"), "solution"), (task(solution=""), "solution")],
)  # fmt: skip
def test_without_two_steps_before_the_answer_there_is_no_hint(made, column):
    assert forms.hinted(made, column) is None


def test_turned_round_a_number_that_occurs_once_is_asked_for():
    form = forms.backward(task())
    text = form.prompt[-1]["content"]
    assert "buys [?] more" in text and "1,250.5" not in text and "answer to the text is 1274.5" in text
    assert form.prompt[0] == task().prompt[0] and form.answer == "1250.5" and form.key == "shop/7~backward0"
    assert form.meta == {REFORMULATED: {"of": "shop/7", "how": "backward"}}  # no reward may judge by the original's
    assert numeric(form, said("It must be 1,250.5")) == 1 and numeric(form, said("1274.5")) == 0
    assert "[?] is" not in forms.backward(task("7 is 7.0 and 3 less is?", "4")).prompt[-1]["content"]  # told elsewhere
    two = [forms.backward(task("From 5 to 9?", "4"), turn) for turn in range(3)]
    assert [form.answer for form in two] == ["5", "9", "5"] and two[0].key == two[2].key != two[1].key


@pytest.mark.parametrize(
    ("text", "answer"), [("no number", "3"), ("7 and 7", "14"), (TEXT, None), (TEXT, "a\nb"), (TEXT, "9" * 200)]
)
def test_what_cannot_be_turned_round_is_not(text, answer):
    assert forms.backward(task(text, answer)) is None


def course(curriculum, rate, steps, first=0, seed=2):
    """Sample, try and observe; `rate` (task) is its pass rate; all tasks asked for."""
    rng, asked = np.random.default_rng(seed), []
    for step in range(first, first + steps):
        tasks = curriculum.sample(8)
        curriculum.observe([answered(t, (rng.random(8) < rate(t)).astype(float).tolist(), step) for t in tasks])
        asked += tasks
    return asked


def hard(t):
    return 0.9 if REFORMULATED in t.meta else 0.0


def test_quarantined_prompts_are_asked_in_easier_forms_and_then_tried_again():
    curriculum = Difficulty(Shop(["shop"] * 40), seed=0, reformulate=0.25, probe_every=1000)
    course(curriculum, hard, 12)
    assert curriculum.metrics()["curriculum/quarantined"] > 20
    curriculum.decisions()
    asked = course(curriculum, hard, 12, first=12)
    easier = [t for t in asked if REFORMULATED in t.meta]
    assert 12 <= len(easier) <= 36 and {t.meta[REFORMULATED]["how"] for t in easier} == {"hint", "backward"}
    rows = curriculum.decisions()
    told = {row["prompt"] for row in rows if row["action"] == "easier"}
    due = {row["prompt"] for row in rows if row["action"] == "due"}
    assert told == {t.key for t in easier} and due == {t.meta[REFORMULATED]["of"] for t in easier}
    assert due & {row["prompt"] for row in rows if row["action"] == "probe"}  # long before the schedule
    found = curriculum.metrics()
    assert found["curriculum/reformulated@hint"] + found["curriculum/reformulated@backward"] >= len(easier)
    assert found["curriculum/reformulated_outcome@hint"] == pytest.approx(0.9, abs=0.1)
    assert undeclared(found) == []
    assert not [t for t in course(Difficulty(Shop(["shop"] * 40), seed=0), hard, 24) if REFORMULATED in t.meta]


def test_a_form_is_no_evidence_about_its_original():
    curriculum = Difficulty(
        Shop(["shop"] * 20), seed=0, reformulate=0.5, probe=0.0, probe_every=1000, when_empty="stop"
    )
    course(curriculum, hard, 30)
    assert curriculum.metrics()["curriculum/quarantined"] == 20


def test_with_levels_the_next_lower_one_stands_in():
    levels = np.repeat([1.0, 2.0, 3.0], 20)
    curriculum = Difficulty(Shop(["shop"] * 60, levels), seed=0, reformulate=0.5)
    course(curriculum, lambda t: 0.5 if int(t.key.rpartition("/")[2]) < 40 else 0.0, 30)
    rows = [row for row in curriculum.decisions() if row["action"] == "easier"]
    assert rows and {levels[int(row["prompt"].rpartition("/")[2])] for row in rows} == {2.0}
    assert set(curriculum.metrics()) & {"curriculum/reformulated@level", "curriculum/reformulated@hint"} == {
        "curriculum/reformulated@level"
    }


def test_a_form_that_no_reward_judges_is_given_up():
    def rate(t):
        return None if t.meta.get(REFORMULATED, {}).get("how") == "backward" else hard(t)

    curriculum, early, late = Difficulty(Shop(["shop"] * 40), seed=0, reformulate=0.25), [], []
    for step in range(80):
        tasks = curriculum.sample(8)
        curriculum.observe([answered(t, [rate(t)] * 8, step) for t in tasks])
        (early if step < 60 else late).extend(t.meta[REFORMULATED]["how"] for t in tasks if REFORMULATED in t.meta)
    assert early.count("backward") in range(8, 11) and set(late) == {"hint"}


def test_a_source_whose_prompts_have_no_easier_form_is_told_once():
    curriculum = Difficulty(Shop(["shop"] * 40), seed=0, reformulate=0.25, solution="soluton")
    course(curriculum, hard, 40)
    assert not [event for event in curriculum.events() if event.name == "no_easier_form"]  # they can be turned round

    class Plain(Shop):
        def __getitem__(self, index):
            return task("What is left?", "3", key=self.keys[index])

    curriculum = Difficulty(Plain(["shop"] * 40), seed=0, reformulate=0.25, solution="soluton")
    assert not [t for t in course(curriculum, hard, 60) if REFORMULATED in t.meta]
    (event,) = [event for event in curriculum.events() if event.name == "no_easier_form"]
    assert event.evidence == {"source": "shop", "prompts": 8, "solution": "soluton"}


def test_inside_a_mixture_and_over_a_restart_the_sequence_is_the_same():
    def made():
        inner = lambda tasks, *, seed: Difficulty(tasks, seed=seed, reformulate=0.25)  # noqa: E731
        return Mixture(Shop(["shop"] * 30 + ["fair"] * 30), seed=3, inner=inner)

    whole = made()
    expected = [t.key for t in course(whole, hard, 40)]
    assert any("~hint" in key for key in expected) and any("~backward" in key for key in expected)
    cut = made()
    course(cut, hard, 25)
    state = pickle.loads(pickle.dumps(cut.state_dict()))
    again = made()
    again.load_state_dict(state)
    assert [t.key for t in course(again, hard, 5, first=25)] == [t.key for t in course(cut, hard, 5, first=25)]


def test_metrics_of_rewards_keep_the_forms_apart():
    groups = tuple(answered(t, [o] * 4, 0) for t, o in ((task(), 0.0), (forms.hinted(task(), "solution"), 1.0)))
    found = RewardDiagnostic().observe(StepRecord(1, groups, {}, {}))
    assert found["reward/outcome_all@shop"] == 0 and found["reward/outcome_all@shop, hint"] == 1


def test_a_share_is_a_share():
    with pytest.raises(ValueError, match=r"difficulty: reformulate: expected a number from 0 to 1, got 2"):
        Difficulty(Shop(["shop"] * 4), seed=0, reformulate=2)
