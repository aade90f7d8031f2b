"""What is believed of each prompt's pass rate, as columns: a Beta posterior that fades and moves with the learner.

N prompts, R relations, S sources. Time is the policy's version, that is, optimizer steps: evidence is about the
policy that was tried, and the policy moves. Two things follow it. Evidence fades with a half-life. And each source
has a skill in logits, a rating after Elo: it moves with every prompt that does better or worse than expected, and
what was seen at another skill is read as it would look now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from curricula.relations import Relations

NEVER = -1
STRENGTH = 1.0  # completions the prior of an untried prompt is worth: one, so that a few results outweigh it
RATE = 0.4  # logits a source's skill moves by, times surprise
RISE = 0.5  # logits of skill after which quarantined relatives are worth a try


class Posterior(NamedTuple):
    """Beta(alpha, beta); arrays or numbers."""

    alpha: Any
    beta: Any

    @property
    def mean(self) -> Any:
        """Expected pass rate."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def teaches(self) -> Any:
        """Expected p(1 - p), which bounds from below what a step on the prompt improves (arXiv 2504.03380)."""
        n = self.alpha + self.beta
        return self.alpha * self.beta / (n * (n + 1))


class Beliefs:
    """Successes and failures of each prompt, faded with half-life `half_life` (steps), at most `memory` in all.

    The prior of a prompt is what its relatives did when they were first tried: first tries alone, because
    later ones were chosen by their results.
    """

    COLUMNS = ("successes", "failures", "seen", "at_skill", "visits")

    def __init__(self, relations: Relations, *, half_life: float, memory: float):
        count = len(relations.of)
        self._relations, self._half_life, self._memory = relations, half_life, memory
        self._source = relations.source[relations.of]  # (N,)
        self.successes = np.zeros(count, np.float32)  # faded to the version in `seen`, at the skill in `at_skill`
        self.failures = np.zeros(count, np.float32)
        self.seen = np.full(count, NEVER, np.int32)  # version of the last result
        self.at_skill = np.zeros(count, np.float32)
        self.visits = np.zeros(count, np.int32)
        self.first_tries = np.zeros((len(relations.names), 4))  # successes, failures; their version and skill
        self.skill = np.zeros(len(relations.sources))
        self.probed_at = np.zeros(len(relations.names))  # skill at which relatives were last sent to be probed
        self.now = 0

    def posterior(self, rows: Any) -> Posterior:
        """Beta of these rows (an array, or one row) at the newest version seen."""
        relation = self._relations.of[rows]
        tries = self.first_tries[relation]
        source = self._source[rows]
        good, bad = self._today(tries[..., 0], tries[..., 1], tries[..., 2], tries[..., 3], source)
        prior = STRENGTH * (good + 0.5) / (good + bad + 1.0)
        good, bad = self._evidence(rows)
        return Posterior(prior + good, STRENGTH - prior + bad)

    def learn(self, row: int, successes: float, failures: float, version: int) -> float | None:
        """Add a group's results, sampled by this version of the policy; the surprise, if it was seen before."""
        self.now = max(self.now, version)
        source, surprise = int(self._source[row]), None
        new = successes + failures
        if self.visits[row]:
            surprise = successes / new - float(self.posterior(row).mean)
            self.skill[source] += RATE * surprise
        else:
            tries = self.first_tries[self._relations.of[row]]
            good, bad = self._today(*tries, source)
            tries[:] = good + successes, bad + failures, self.now, self.skill[source]
        good, bad = map(float, self._evidence(row))
        kept = min(1.0, max(0.0, self._memory - new) / (good + bad)) if good + bad else 0.0
        self.successes[row], self.failures[row] = kept * good + successes, kept * bad + failures
        self.seen[row], self.at_skill[row] = self.now, self.skill[source]
        self.visits[row] += 1
        return surprise

    def rate(self, row: int) -> float | None:
        """Pass rate of a prompt when it was seen last, as it was then; None before."""
        good, bad = float(self.successes[row]), float(self.failures[row])
        return good / (good + bad) if good + bad else None

    def risen(self, row: int) -> bool:
        """Whether the skill of a prompt's source has risen since its relatives were last sent to be probed."""
        relation, skill = self._relations.of[row], self.skill[self._source[row]]
        self.probed_at[relation] = min(self.probed_at[relation], skill)
        if skill < self.probed_at[relation] + RISE:
            return False
        self.probed_at[relation] = skill
        return True

    def _evidence(self, rows: Any) -> tuple[Any, Any]:
        """Successes and failures of rows, as they count today."""
        return self._today(
            self.successes[rows], self.failures[rows], self.seen[rows], self.at_skill[rows], self._source[rows]
        )

    def _today(self, good: Any, bad: Any, seen: Any, skill: Any, source: Any) -> tuple[Any, Any]:
        """Evidence faded by its age, its odds moved by what the source's skill has gained since."""
        kept = 2.0 ** (-(self.now - np.asarray(seen, float)) / self._half_life)
        gain = np.exp(self.skill[source] - skill)
        count = good + bad
        share = good * gain / np.maximum(good * gain + bad, 1e-12)
        return kept * count * share, kept * count * (1 - share)

    def state_dict(self) -> dict[str, Any]:
        """Copies of the columns; by name what belongs to relations and sources."""
        named = self._relations
        return {
            "columns": {name: getattr(self, name).copy() for name in self.COLUMNS},
            "first_tries": dict(zip(named.names, self.first_tries.tolist(), strict=True)),
            "probed_at": dict(zip(named.names, self.probed_at.tolist(), strict=True)),
            "skill": dict(zip(named.sources, self.skill.tolist(), strict=True)),
            "now": self.now,
        }

    def load_state_dict(self, state: Mapping[str, Any], saved: np.ndarray, rows: np.ndarray) -> None:
        """Take the state's rows `saved` as these `rows`; relations and sources that are new begin anew."""
        for name in self.COLUMNS:
            getattr(self, name)[rows] = state["columns"][name][saved]
        for i, name in enumerate(self._relations.names):
            self.first_tries[i] = state["first_tries"].get(name, 0.0)
            self.probed_at[i] = state["probed_at"].get(name, 0.0)
        for i, name in enumerate(self._relations.sources):
            self.skill[i] = state["skill"].get(name, 0.0)
        self.now = state["now"]
