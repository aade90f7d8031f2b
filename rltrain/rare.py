"""The rare-success guard: what is known of prompts' pass rates, and which groups hold nothing but a lucky hit.

Normalising within the group turns the one success on a near-impossible prompt into the largest advantage of the
batch, whatever brought it about (a guess, a shortcut). Evidence decides, and evidence against a prompt is only what
was seen of the prompt itself: one that was tried a few times is never guarded, or a run that starts from nothing
would stay there. What other prompts show can lift the guard and never bring it on: each source has a skill in logits,
a rating after Elo, and what a prompt did at a lower skill is read as it would look at the present one. Without that,
a run that improves on all its prompts is held back by failures it has outgrown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rltrain.config import RareSuccess
from rltrain.posterior import below
from rltrain.types import Group

PRIOR = 0.5  # success and failure each prompt begins with (Jeffreys)
RATE = 0.4  # logits a source's skill moves by, times surprise
MOST = 0.125  # that of groups of 16: in smaller ones 2 / num_generations is what many learnable prompts begin with
MIN_VISITS = {"none": 8, "group": 3, "batch": 3}  # by `scale`: a push made larger takes less evidence against it


def visits_needed(guard: RareSuccess, scale: str) -> int:
    """Groups of a prompt before it may be guarded."""
    return MIN_VISITS[scale] if guard.min_visits is None else guard.min_visits


def bound(guard: RareSuccess, samples: int) -> float:
    """Pass rate below which a hit counts as luck, in groups of so many completions."""
    return min(2 / samples, MOST) if guard.lucky_below is None else guard.lucky_below


def hits(outcomes: Sequence[float]) -> int:
    """How many stand out: more than half as good as the best. Of outcomes that are 0 or 1, the successes.

    Where outcomes are graded many are alike, and their sum may be that of a single success.
    """
    return sum(outcome > max(outcomes) / 2 for outcome in outcomes)


class Tries(NamedTuple):
    """What is known of a prompt: faded successes and failures, groups, the version and skill they are as of."""

    successes: float = 0.0
    failures: float = 0.0
    visits: int = 0
    version: int = 0
    skill: float = 0.0

    def posterior(self, kept: float, skill: float) -> tuple[float, float]:
        """Beta of the pass rate: evidence faded to a share, odds raised by what the source's skill has gained since."""
        alpha, beta = kept * self.successes + PRIOR, kept * self.failures + PRIOR
        gain = math.exp(max(0.0, skill - self.skill))
        share = alpha * gain / (alpha * gain + beta)
        return (alpha + beta) * share, (alpha + beta) * (1 - share)


@dataclass
class PassRates:
    """Tries of every prompt that was seen, by key, and the skill of each source; part of the checkpoint."""

    tries: dict[str, Tries] = field(default_factory=dict)
    skills: dict[str, float] = field(default_factory=dict)

    def observe(self, groups: Iterable[Group], half_life: float) -> None:
        """Add the outcomes of groups; older ones count half after `half_life` steps."""
        for group in groups:
            if outcomes := group.outcomes:
                version = max(completion.policy_version for completion in group.completions)
                good, old = sum(outcomes), self.tries.get(group.task.key, Tries(version=version))
                skill = self.skills.get(group.task.source, 0.0)
                alpha, beta = old.posterior(2.0 ** (-max(0, version - old.version) / half_life), skill)
                if old.visits:
                    skill += RATE * (good / len(outcomes) - alpha / (alpha + beta))
                    self.skills[group.task.source] = skill
                won, lost = max(0.0, alpha - PRIOR) + good, max(0.0, beta - PRIOR) + len(outcomes) - good
                self.tries[group.task.key] = Tries(won, lost, old.visits + 1, max(version, old.version), skill)

    def lucky(self, group: Group, guard: RareSuccess, scale: str) -> bool:
        """Whether the group's few successes are more likely luck than skill; it must have been observed.

        `scale`: what advantages are divided by, `advantages.scale`.
        """
        tries = self.tries.get(group.task.key, Tries())
        if not 0 < hits(group.outcomes) < guard.min_successes or tries.visits < visits_needed(guard, scale):
            return False
        posterior = tries.posterior(1.0, self.skills.get(group.task.source, 0.0))
        return below(bound(guard, len(group.completions)), *posterior) > guard.confidence
