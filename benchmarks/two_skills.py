"""A tiny transformer with two ways to answer: to work, or to guess. The bed of benchmarks/curriculum_transformer.py.

A prompt is a mark and two numbers from 0 to 15, an answer a word for the way and a number. SFT shows both ways, each
right as often as asked; but where an answer can be known, that comes first, nearly always worked out and always right,
or it would not be learned in so few steps. Then GRPO. Which prompts are hard cannot be read off them before they are
tried, so what is learned on hard ones is done on easy ones too. Curriculum, advantages and guard are the real ones.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.learners import Columns, answered, number
from benchmarks.tiny_policy import Policy, logprobs, sampled, taught
from rltrain.advantages import assign, withheld, withhold
from rltrain.config import RareSuccess
from rltrain.rare import PassRates
from rltrain.step_scale import StepScale

SIDE, NUMBERS = 16, 31  # numbers of a prompt; numbers an answer can be
WORK, GUESS, MARKS = NUMBERS, NUMBERS + 1, tuple(range(NUMBERS + 2, NUMBERS + 7))
PROMPT, ANSWER = 3, 2  # tokens
PRETRAINING, ADAM = 1200, partial(torch.optim.Adam, lr=1e-4)
LEARNED = 0.7  # share of SFT in which answers are learned
PAIRS = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2)


class Skill(NamedTuple):
    """What SFT shows for a mark: how often the answer is worked out, and how often either way is right."""

    work: float
    right: float  # where it works
    guessed: float  # where it guesses
    share: int = 1  # of the examples, beside those of the other marks


class Luck(NamedTuple):
    """How often either way is right where no number is, by chance and by nothing else."""

    work: float
    guess: float


@dataclasses.dataclass(frozen=True)
class Prompts:
    """N prompts and what is right; an answer of -1 is drawn anew for each group, out of `out_of` numbers.

    With `luck` an answer of -1 means that each completion is right by chance, as often as its way is.
    """

    ids: np.ndarray  # (N, PROMPT)
    answers: np.ndarray  # (N,)
    out_of: int = NUMBERS
    luck: Luck | None = None

    def __len__(self) -> int:
        return len(self.ids)


def answer(marks: int | np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(n,) the right number for pairs (n, 2): each mark stands for another sum, the last for the first number alone."""
    return (pairs[:, 0] + (marks - MARKS[0] + 1) % len(MARKS) * pairs[:, 1]) % NUMBERS


def prompts(mark: int, places: Sequence[int]) -> Prompts:
    """Prompts with this mark and these of all pairs."""
    pairs = PAIRS[np.asarray(places)]
    return Prompts(np.column_stack([np.full(len(pairs), mark), pairs]), answer(mark, pairs))


def joined(*parts: Prompts, out_of: int = NUMBERS) -> Prompts:
    """All of them, one after another."""
    return Prompts(np.concatenate([p.ids for p in parts]), np.concatenate([p.answers for p in parts]), out_of)


def hard(given: Prompts) -> Prompts:
    """The same prompts with a right answer that nobody can know."""
    return dataclasses.replace(given, answers=np.full(len(given), -1))


def examples(skills: dict[int, Skill], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches (256, PROMPT + ANSWER) for SFT, of each mark its share."""
    shares = [skill.share for skill in skills.values()]
    marks, asked = np.repeat(list(skills), shares), np.repeat([skill[:3] for skill in skills.values()], shares, 0)
    first = np.where(asked[:, 1:2] > 2 / NUMBERS, np.maximum(asked, (0.9, 1.0, 0.0)), asked)
    for step in count():
        shown = asked if step > LEARNED * PRETRAINING else first
        which, pairs = rng.integers(len(marks), size=256), PAIRS[rng.integers(len(PAIRS), size=256)]
        works = rng.random(256) < shown[which, 0]
        truth = answer(marks[which], pairs)
        right = rng.random(256) < np.where(works, shown[which, 1], shown[which, 2])
        told = np.where(right, truth, (truth + rng.integers(1, NUMBERS, 256)) % NUMBERS)
        yield np.column_stack([marks[which], pairs, np.where(works, WORK, GUESS), told])


def pretrained(skills: dict[int, Skill], seed: int) -> Policy:
    """A policy with these skills."""
    torch.manual_seed(seed)
    policy = Policy(MARKS[-1] + 1, PROMPT + ANSWER)
    return taught(policy, examples(skills, np.random.default_rng(seed)), PRETRAINING, PROMPT)


@torch.no_grad()
def accuracy(policy: Policy, given: Prompts) -> tuple[float, float]:
    """Chance of the right answer, and of guessing, exactly; means over prompts whose answer is known."""
    ids, answers = torch.tensor(given.ids), torch.tensor(given.answers)[:, None]
    way = policy(ids)[:, -1].exp()
    right = torch.zeros(len(ids))
    for token in (WORK, GUESS):
        after = policy(torch.cat([ids, torch.full((len(ids), 1), token)], 1))[:, -1].exp()
        right += way[:, token] * after.gather(1, answers).squeeze(1)
    return float(right.mean()), float(way[:, GUESS].mean())


class Trainer:
    """GRPO on prompts that a curriculum chooses."""

    def __init__(
        self,
        start: Policy,
        given: Prompts,
        curriculum: Callable[..., Any],
        *,
        seed: int,
        scale: str = "none",
        guard: RareSuccess | None = None,
        samples: int = 16,
        batch: int = 32,
        optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
    ):
        torch.manual_seed(seed)
        self.policy, self._given, self._rng = copy.deepcopy(start), given, np.random.default_rng(seed)
        self._curriculum = curriculum(Columns(["all"] * len(given)), seed=seed)
        self._scale, self._guard, self._rates = scale, guard, PassRates()
        self._scaled = StepScale()
        self._samples, self._batch = samples, batch
        self.steps, self.stopped = 0, False  # stopped: the curriculum has nothing left and asks to stop
        self._optimizer = optimizer(self.policy.parameters())

    def step(self) -> float:
        """One optimizer step; mean outcome of the batch."""
        tasks = self._curriculum.sample(self._batch)
        rows = [number(task) for task in tasks]
        ids = torch.tensor(self._given.ids[rows]).repeat_interleave(self._samples, 0)
        ids = sampled(self.policy, ids, ANSWER)
        truth = np.where(self._given.answers[rows] < 0, self._luck(self._given.ids[rows]), self._given.answers[rows])
        said = ids[:, PROMPT:].numpy().reshape(len(rows), -1, ANSWER)
        right = np.isin(said[..., 0], (WORK, GUESS)) & (said[..., 1] == truth[:, None])
        if self._given.luck is not None:
            chance = np.select([said[..., 0] == WORK, said[..., 0] == GUESS], self._given.luck, 0.0)
            blind = self._given.answers[rows] < 0
            right[blind] = (self._rng.random(right.shape) < chance)[blind]
        outcomes = right.astype(float).tolist()
        groups = [answered(t, o, self.steps, i) for i, (t, o) in enumerate(zip(tasks, outcomes, strict=True))]
        self._curriculum.observe(groups)
        groups = assign(groups, {}, scale=self._scale, combine="sum_then_normalize")
        if self._guard is not None:
            self._rates.observe(groups, self._guard.half_life)
            lucky = {group.ticket for group in groups if self._rates.lucky(group, self._guard, self._scale)}
            groups = withhold(groups, lucky, self._guard.cap)
            self._scaled.coming(self._optimizer, 1.0 - withheld(groups)["advantage/withheld"])
        pushed = torch.tensor([a.value for group in groups for a in group.advantages], dtype=torch.float32)
        self._optimizer.zero_grad()
        (-(pushed[:, None] * logprobs(self.policy, ids, PROMPT)).mean()).backward()
        self._optimizer.step()
        self._scaled.on_optimizer_step(None, None, None)
        self.steps += 1
        told = self._curriculum.events()
        self.stopped |= any(event.name == "nothing_learnable" and event.evidence["then"] == "stop" for event in told)
        return float(right.mean())

    def _luck(self, ids: np.ndarray) -> np.ndarray:
        """Answers out of `out_of` numbers, none of them what working it out would give."""
        return (
            answer(ids[:, 0], ids[:, 1:]) + self._rng.integers(1, self._given.out_of, len(ids))
        ) % self._given.out_of
