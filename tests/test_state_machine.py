"""The state-machine bed: its problems can be solved, its reward tells plan from execution, its tagger the tokens."""

import itertools
import json

import numpy as np
import pytest

from benchmarks import two_phase
from benchmarks.made import group
from benchmarks.state_machine import (
    ACTIONS,
    HINTS,
    LAPSE,
    MARKS,
    MOVES,
    SLIP,
    STATES,
    Actions,
    careless,
    machine,
    problem,
    problems,
    solved,
)
from rltrain import config, tasks
from rltrain.types import Completion, Task

SEED = 5


def completion(text):
    n = len(text)
    ends = np.arange(1, n + 1, dtype=np.int32)
    return Completion(np.arange(n, dtype=np.int32), np.zeros(n, np.float32), ends, text, "stop", 0, "made", "made")


def task(row):
    prompt = ({"role": "user", "content": row["prompt"]},)
    return Task("s/0", "s", "structured", prompt, row["answer"], meta={"machine": row["machine"]})


def by_the_tables(prompt):
    """The solution, from the marks and the tables alone."""
    of, state, solution = machine(SEED), STATES.index(prompt[0]), ""
    marks = [MARKS.index(sign) for sign in prompt if sign in MARKS]
    for before, after in itertools.pairwise(marks):
        [action] = np.flatnonzero(of.next_mark[before] == after)
        state = of.next_state[state, action]
        solution += ACTIONS[action] + STATES[state]
    return solution


def test_marks_and_tables_tell_the_solution_of_every_problem():
    rows = problems(30, SEED)
    assert [by_the_tables(row["prompt"]) for row in rows] == [row["answer"] for row in rows]
    assert [len(row["answer"]) // 2 for row in rows] == [moves for moves in MOVES for _ in range(10)]
    assert rows == problems(30, SEED) != problems(30, SEED + 1)


def test_a_careless_hand_has_habits_hints_and_slips_and_problems_have_none():
    of, rng = machine(SEED), np.random.default_rng(0)
    for written, careless_hand in ((careless, True), (problem, False)):
        prompts, texts = written(of, rng, 20_000, 3)
        right = [by_the_tables(prompt) for prompt in prompts]
        hints, habits = np.zeros_like(of.hints), np.zeros_like(of.habits)
        for prompt, solution in zip(prompts, right, strict=True):
            action = ACTIONS.index(solution[0])
            hints[action, HINTS.index(prompt[2])] += 1
            habits[STATES.index(prompt[0]), action] += 1
        for counts, wanted in ((hints, of.hints), (habits, of.habits)):
            shares = counts / counts.sum(axis=1, keepdims=True)
            error = np.abs(shares - (wanted if careless_hand else 1 / wanted.shape[1]))
            assert error[counts.sum(axis=1) > 300].max() < 0.1
        wrong = np.mean([text[0] != solution[0] for text, solution in zip(texts, right, strict=True)])
        assert wrong == pytest.approx(LAPSE * (1 - 1 / len(ACTIONS)) if careless_hand else 0, abs=0.02)
        executed = [
            STATES.index(text[1]) == of.next_state[STATES.index(prompt[0]), ACTIONS.index(text[0])]
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        assert 1 - np.mean(executed) == pytest.approx(SLIP * 25 / 26 if careless_hand else 0, abs=0.02)


def test_the_reward_tells_what_went_wrong():
    row = problems(30, SEED)[0]
    right, moves = row["answer"], len(row["answer"]) // 2
    table = machine(SEED).next_state
    other_action = ACTIONS[(ACTIONS.index(right[0]) + 1) % len(ACTIONS)]
    after = STATES[table[STATES.index(row["prompt"][0]), ACTIONS.index(other_action)]]
    other_state = STATES[(STATES.index(right[-1]) + 1) % len(STATES)]

    def judged(text):
        return solved(task(row), completion(text))

    assert judged(right) == {"value": 1.0, "plan": 1.0, "execution": 1.0}
    slip = judged(right[:-1] + other_state)
    assert slip == {"value": 0.0, "plan": 1.0, "execution": pytest.approx(1 - 1 / moves)}
    detour = judged(other_action + after)  # another plan, carried out rightly, and then given up
    assert detour == {"value": 0.0, "plan": 0.0, "execution": pytest.approx(1 / moves)}
    assert judged(right + right[-2:])["value"] == 0.0
    for text in ("", "a", "zzK", right[0], "AaAaAa"):
        assert judged(text)["value"] == 0.0 and 0 <= judged(text)["execution"] < 1


def test_actions_are_the_planning_tokens():
    assert Actions().spans("cFhAaQ") == [(0, 1), (2, 3), (4, 5)]
    assert Actions().spans("") == Actions().spans("F") == []
    assert Actions().spans("abF") == [(0, 2)]


def test_the_config_holds_and_names_the_task():
    settings = config.load(two_phase.CONFIG)
    sets = tasks.build(settings.tasks, seed=SEED)
    assert {sets.train[i].answer for i in range(20)} <= {row["answer"] for row in problems(1280, SEED)}
    assert len(sets.held_out) >= settings.evaluation.prompts and sets.train[0].meta["machine"] == SEED
    longest = (
        max(len(row["prompt"]) for row in problems(30, SEED)),
        max(len(r["answer"]) + 1 for r in problems(30, SEED)),
    )
    assert longest <= (settings.sampling.max_prompt_length, settings.sampling.max_completion_length)


def test_sft_learns_solutions_and_leaves_a_checkpoint(tmp_path):
    from benchmarks.small_policy import batch, teach
    from rltrain.models import load_model, load_tokenizer

    teach(tmp_path, SEED, 30, lambda steps: steps)
    before, after = load_model("tiny"), load_model(str(tmp_path))
    ids, labels = batch(np.random.default_rng(0), SEED, load_tokenizer(str(tmp_path)))
    prompt = int((labels[0] == -100).sum())
    assert (ids.shape[1] - prompt - 1) // 2 in MOVES and (labels[:, prompt:] == ids[:, prompt:]).all()
    losses = [model(input_ids=ids, labels=labels).loss.item() for model in (before, after)]
    assert losses[1] < losses[0] - 1


def sampled(rights, n=two_phase.LARGE):
    """A group a problem, with so many of n samples right."""
    return [group(i, f"s/{i}", "?", ["a0"] * n, [1.0] * right + [0.0] * (n - right)) for i, right in enumerate(rights)]


def test_what_is_solved_by_whom_is_counted_over_all_samples():
    found = two_phase.coverage({"base": sampled([0, 1, 5, 0]), "run": sampled([3, 0, 64, 0])}, seed=0)
    assert found["solved_in_any_sample"] == {"both": 1, "base only": 1, "run only": 1, "none": 1}
    assert found["pass"]["pass@1"]["base"] == pytest.approx(6 / 64 / 4)
    assert found["pass"][f"pass@{two_phase.LARGE}"]["run"] == pytest.approx(0.5) and found["label"] == "inconclusive"


@pytest.mark.parametrize(
    "first, large, gained, said",
    [
        ((0.1, 0.2), (-0.1, 0.0), 0, "sharpened"),
        ((0.1, 0.2), (0.1, 0.2), 3, "expanded"),
        ((0.1, 0.2), (0.1, 0.2), 0, "inconclusive"),
        ((-0.1, 0.2), (-0.1, 0.0), 0, "inconclusive"),
        ((0.1, 0.2), (-0.1, 0.3), 3, "inconclusive"),
    ],
)
def test_a_run_is_labelled_by_both_ends_of_pass_at_k(first, large, gained, said):
    def interval(low, high):
        return {"difference": {"mean": (low + high) / 2, "low": low, "high": high}}

    figures = {"pass@1": interval(*first), f"pass@{two_phase.LARGE}": interval(*large)}
    assert two_phase.label(figures, gained) == said


def test_half_of_a_fall_is_found_and_a_rise_has_none():
    falling = np.exp(-np.minimum(np.arange(100) / 50, 1.0))
    assert two_phase.half_fall(falling) == 26  # steps count from 1
    assert two_phase.half_fall(1 / falling) is None


def test_the_course_of_a_run_is_read_from_its_files(tmp_path):
    lines = [{"step": 0, "eval/outcome": 0.1}]
    for step in range(1, 41):
        falling = float(np.exp(-min(step / 20, 1.0)))
        lines.append(
            {"step": step, "ppl/execution_rel": falling, "ppl/planning_rel": 1.0, "entropy/gap": 0.5 - step / 50}
            | {"ppl/planning_logprob": -1.0, "ppl/execution_logprob": -0.5}
        )
        lines[-1] |= dict.fromkeys(set(two_phase.SERIES) - lines[-1].keys(), 1.0)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    changed = {"step": 30, "name": "phase_changed", "severity": "info", "evidence": {"to": "stalled"}, "advice": ""}
    (tmp_path / "events.jsonl").write_text(json.dumps(changed) + "\n")
    (tmp_path / "diagnosis.json").write_text(json.dumps({"phase": {"state": "stalled"}}))
    found = two_phase.learning(tmp_path)
    assert found["perplexity_at_start"] == pytest.approx({"planning": np.e, "execution": np.exp(0.5)})
    assert found["end"]["ppl/execution_rel"] == pytest.approx(np.exp(-1), abs=0.001)
    assert found["half_fall_step"] == {"planning": None, "execution": 10}
    assert found["gap"] == pytest.approx({"lowest": -0.3, "above": 24 / 40, "surely_above": 1.0})
    assert found["phase"] == {"state": "stalled"} and found["phase_events"] == [{"step": 30, "to": "stalled"}]
