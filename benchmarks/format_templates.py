"""Three templates, one task, a transformer of 0.1 million parameters: formats under real policy gradients.

Additions of two digits are rendered as code, with a box, and as numbered steps. Pretraining shows the three in the
shares .28, .60, .12 with right answers in .42, .30, .25 of cases (all .32 in the control); then GRPO with Adam, 10
prompts x 16 completions, reward 1 for the right sum. The first token decides the template, so the policy's true
shares are its probabilities at that token, averaged over all hundred prompts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.made import group, record
from benchmarks.tiny_policy import Policy, logprobs, sampled, taught
from diagnostics.formats import RuleFormats
from rltrain.types import StepRecord

SHARES, ACCURACIES, EQUAL = (0.28, 0.60, 0.12), (0.42, 0.30, 0.25), (0.32, 0.32, 0.32)
TEMPLATES = (
    ("def solve():\n    total = ", "a", " + ", "b", "\n    return ", "r", "\n"),
    ("We add $", "a", "$ and $", "b", "$, so $x = \\boxed{", "r", "}$."),
    ("1. Take ", "a", ".\n2. Add ", "b", ".\n3. That gives ", "r", "."),
)
NAMES = ("code", "boxed_latex", "numbered_steps")
NUMBERS = 19  # 0 to 18 are tokens 0 to 18
PIECES = tuple(dict.fromkeys(part for template in TEMPLATES for part in template if len(part) > 1 or part in "\n."))
VOCABULARY = (*map(str, range(NUMBERS)), *PIECES)
LENGTH = len(TEMPLATES[0])
PROMPTS, SAMPLES, RATE, PRETRAINING = 10, 16, 2e-4, 500


class Setting(NamedTuple):
    """One cell of the experiment."""

    name: str
    accuracies: tuple[float, ...] = ACCURACIES
    beta: float = 0.0
    runs: int = 5
    steps: int = 150


SETTINGS = (
    Setting("transformer, no KL"),
    Setting("transformer, KL 0.05", beta=0.05),
    Setting("transformer, KL 0.2", beta=0.2),
    Setting("transformer, control: equal accuracies", accuracies=EQUAL),
)


def pretrained(accuracies: tuple[float, ...], seed: int = 0) -> Policy:
    """A policy that writes the templates in their shares, right as often as asked."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    batches = (examples(rng, 256, accuracies) for _ in range(PRETRAINING))
    return taught(Policy(len(VOCABULARY), 2 + LENGTH), batches, PRETRAINING, prompt=2)


def examples(rng: np.random.Generator, n: int, accuracies: tuple[float, ...]) -> np.ndarray:
    """(n, 2 + LENGTH) ids of prompts with completions."""
    a, b = rng.integers(10, size=(2, n))
    forms = rng.choice(3, n, p=SHARES)
    right = rng.random(n) < np.array(accuracies)[forms]
    answers = np.where(right, a + b, (a + b + rng.integers(1, NUMBERS, n)) % NUMBERS)
    rows = []
    for i, form in enumerate(forms):
        numbers = {"a": a[i], "b": b[i], "r": answers[i]}
        ids = [int(numbers[part]) if part in numbers else VOCABULARY.index(part) for part in TEMPLATES[form]]
        rows.append([a[i], b[i], *ids])
    return np.array(rows)


def true_shares(policy: Policy) -> np.ndarray:
    """(3,) probability of each template, over all prompts."""
    prompts = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    first = [VOCABULARY.index(template[0]) for template in TEMPLATES]
    with torch.no_grad():
        return policy(prompts)[:, -1].exp().mean(0)[first].numpy()


def run(setting: Setting, start: Policy, seed: int) -> Iterator[tuple[np.ndarray, StepRecord]]:
    """(true shares before the step's update, the step's record) of each step."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    policy = copy.deepcopy(start)
    optimizer = torch.optim.Adam(policy.parameters(), lr=RATE)
    known: dict[str, str] = {}
    for step in range(1, setting.steps + 1):
        shares = true_shares(policy)
        pairs = rng.integers(10, size=(PROMPTS, 2))
        ids = sampled(policy, torch.tensor(pairs).repeat_interleave(SAMPLES, 0), LENGTH)
        made = record(step, groups(pairs, ids[:, 2:].numpy().reshape(PROMPTS, SAMPLES, LENGTH), known))
        yield shares, made
        advantages = torch.tensor([a.value for g in made.groups for a in g.advantages])
        optimizer.zero_grad()
        loss(policy, start, ids, advantages, setting.beta).backward()
        optimizer.step()


def loss(policy: Policy, start: Policy, ids: torch.Tensor, advantages: torch.Tensor, beta: float) -> torch.Tensor:
    """GRPO's with one update a batch: -A log p over tokens, and beta times the k3 estimate of KL(policy, start)."""
    log_p = logprobs(policy, ids, prompt=2)
    total = -(advantages[:, None] * log_p).mean()
    if beta:
        with torch.no_grad():
            reference = logprobs(start, ids, prompt=2)
        d = reference - log_p
        total = total + beta * (d.exp() - d - 1).mean()
    return total


def groups(pairs: np.ndarray, completions: np.ndarray, known: dict[str, str]) -> list:
    """The step's groups; `known` keeps the form of texts already seen."""
    made, classifier = [], RuleFormats()
    answer_at = TEMPLATES[0].index("r")
    for i, (a, b) in enumerate(pairs.tolist()):
        texts = ["".join(VOCABULARY[token] for token in row) for row in completions[i]]
        for text in set(texts) - known.keys():
            known[text] = classifier.format(text)
        outcomes = (completions[i][:, answer_at] == a + b).astype(float)
        made.append(group(i, f"sums/{a}+{b}", f"{a} + {b}?", texts, outcomes, [known[text] for text in texts]))
    return made
