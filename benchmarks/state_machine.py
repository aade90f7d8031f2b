"""The state-machine task: every token is known to plan or to execute. Problems, a reward, a tagger.

After the synthetic bed of arXiv 2505.22756, made smaller. A problem shows a state, a row of marks, and a hint between
each two of them; its solution is a move from mark to mark, an action and the state it leads to:

    K4s7w1x1:    ->    cFhAaQ

Planning is to find the action that leads from one mark to the next; execution is to know the state that an action
leads to. Both are tables of a machine that is drawn once. The texts for SFT are those of a careless hand: each state
has its habits and hints go with actions, so that a policy learns to guess from both, and a share of actions and states
is wrong; what follows goes on from what was written. In the problems for RL and evaluation neither habits nor hints
tell anything. One token a character, so a completion of n moves has n planning tokens, n execution tokens, and its end.
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import numpy as np

STATES, ACTIONS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghij"
MARKS, HINTS = "0123456789", "qrstuvwxyz"
MOVES = (3, 4, 5)  # of a problem
HABIT, HINT = 0.3, 0.3  # of the Dirichlet distributions that habits and hints are drawn from
LAPSE, SLIP = 0.2, 0.1  # share of actions and of states in the texts for SFT that are any


class Machine(NamedTuple):
    """The tables behind the task; states, actions, marks and hints are numbers from 0 on."""

    next_state: np.ndarray  # (states, actions)
    next_mark: np.ndarray  # (marks, actions), a permutation in each row: two marks tell the action
    habits: np.ndarray  # (states, actions) how often an action is taken in a state, in the texts for SFT
    hints: np.ndarray  # (actions, hints) how often a hint stands beside an action there


@functools.cache
def machine(seed: int) -> Machine:
    """The machine of a seed."""
    rng, states, actions = np.random.default_rng([seed, 1]), len(STATES), len(ACTIONS)
    return Machine(
        next_state=rng.integers(states, size=(states, actions)),
        next_mark=rng.permuted(np.tile(np.arange(actions), (len(MARKS), 1)), axis=1),
        habits=rng.dirichlet(np.full(actions, HABIT), states),
        hints=rng.dirichlet(np.full(len(HINTS), HINT), actions),
    )


def problem(of: Machine, rng: np.random.Generator, count: int, moves: int) -> tuple[list[str], list[str]]:
    """`count` prompts without habits and hints, and their solutions, of so many moves."""
    even = of._replace(habits=_even(of.habits), hints=_even(of.hints))
    return _written(even, rng, count, moves, lapse=0.0, slip=0.0)


def careless(of: Machine, rng: np.random.Generator, count: int, moves: int) -> tuple[list[str], list[str]]:
    """`count` prompts and what a careless hand writes below them, of so many moves."""
    return _written(of, rng, count, moves, lapse=LAPSE, slip=SLIP)


def _written(
    of: Machine, rng: np.random.Generator, count: int, moves: int, *, lapse: float, slip: float
) -> tuple[list[str], list[str]]:
    state, mark = rng.integers(len(STATES), size=count), rng.integers(len(MARKS), size=count)
    prompts, solutions = [_letters(STATES, state), _letters(MARKS, mark)], []
    for _ in range(moves):
        planned = _drawn(rng, of.habits[state])
        hint, mark = _drawn(rng, of.hints[planned]), of.next_mark[mark, planned]
        action = _but(rng, planned, lapse, len(ACTIONS))
        state = _but(rng, of.next_state[state, action], slip, len(STATES))
        prompts += [_letters(HINTS, hint), _letters(MARKS, mark)]
        solutions += [_letters(ACTIONS, action), _letters(STATES, state)]
    return _joined([*prompts, np.full(count, ":")]), _joined(solutions)


def problems(count: int, seed: int) -> list[dict[str, Any]]:
    """A task source: problems of the seed's machine without habits and hints, an equal share of each length."""
    rng, rows = np.random.default_rng([seed, 2]), []
    for i, moves in enumerate(MOVES):
        share = len(range(i, count, len(MOVES)))
        drawn = zip(*problem(machine(seed), rng, share, moves), strict=True)
        rows += [{"prompt": prompt, "answer": answer, "level": moves, "machine": seed} for prompt, answer in drawn]
    return rows


def solved(task, completion) -> dict[str, float]:
    """A reward: 1 for the solution and nothing else.

    Its parts say why, as shares of the problem's moves: `plan`, actions that lead to the next mark; `execution`,
    states that follow from the action and the state before it as they were written, right or wrong.
    """
    text, answer = completion.text, task.answer
    table, state = machine(task.meta["machine"]).next_state, task.prompt[0]["content"][0]
    planned = executed = 0
    for i in range(0, len(answer), 2):
        action, after = text[i : i + 1], text[i + 1 : i + 2]
        planned += action == answer[i]
        known = action and state and action in ACTIONS and state in STATES
        executed += bool(known) and after == STATES[table[STATES.index(state), ACTIONS.index(action)]]
        state = after
    moves = len(answer) // 2
    return {"value": float(text == answer), "plan": planned / moves, "execution": executed / moves}


class Actions:
    """A tagger: actions are the planning tokens."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of the actions; those that touch are one."""
        return [match.span() for match in re.finditer(f"[{ACTIONS}]+", text)]


def _drawn(rng: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    """One index a row of chances (N, K)."""
    return (rng.random((len(chances), 1)) > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)


def _even(chances: np.ndarray) -> np.ndarray:
    return np.full_like(chances, 1 / chances.shape[1])


def _but(rng: np.random.Generator, right: np.ndarray, share: float, kinds: int) -> np.ndarray:
    """`right` (N,), a share of it replaced by any of so many kinds."""
    return np.where(rng.random(len(right)) < share, rng.integers(kinds, size=len(right)), right)


def _letters(alphabet: str, numbers: np.ndarray) -> np.ndarray:
    return np.array(list(alphabet))[numbers]


def _joined(columns: list[np.ndarray]) -> list[str]:
    return ["".join(row) for row in zip(*columns, strict=True)]
