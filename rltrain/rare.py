"""The rare-success guard: what is known of prompts' pass rates, and which groups hold nothing but a lucky hit.

Normalising within the group turns the one success on a near-impossible prompt into the largest advantage of the
batch, whatever brought it about (a guess, a shortcut). Evidence decides, and only evidence about the prompt itself:
one that was tried a few times is never guarded, or a run that starts from nothing would stay there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rltrain.config import RareSuccess
from rltrain.posterior import below
from rltrain.types import Group

PRIOR = 0.5  # success and failure each prompt begins with (Jeffreys)


class Tries(NamedTuple):
    """What is known of a prompt: faded successes and failures, groups, and the version they are faded to."""

    successes: float = 0.0
    failures: float = 0.0
    visits: int = 0
    version: int = 0


@dataclass
class PassRates:
    """Tries of every prompt that was seen, by key; part of the checkpoint."""

    tries: dict[str, Tries] = field(default_factory=dict)

    def observe(self, groups: Iterable[Group], half_life: float) -> None:
        """Add the outcomes of groups; older ones count half after `half_life` steps."""
        for group in groups:
            if outcomes := group.outcomes:
                version = max(completion.policy_version for completion in group.completions)
                good, old = sum(outcomes), self.tries.get(group.task.key, Tries(version=version))
                kept = 2.0 ** (-max(0, version - old.version) / half_life)
                self.tries[group.task.key] = Tries(
                    kept * old.successes + good,
                    kept * old.failures + len(outcomes) - good,
                    old.visits + 1,
                    max(version, old.version),
                )

    def lucky(self, group: Group, guard: RareSuccess) -> bool:
        """Whether the group's few successes are more likely luck than skill; it must have been observed."""
        tries, good = self.tries.get(group.task.key, Tries()), sum(group.outcomes)
        if not 0 < good < guard.min_successes or tries.visits < guard.min_visits:
            return False
        bound = guard.lucky_below if guard.lucky_below is not None else 2 / len(group.completions)
        return below(bound, tries.successes + PRIOR, tries.failures + PRIOR) > guard.confidence
