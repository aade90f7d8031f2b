"""Whether creative completions lose their diversity: their entropy and their variety against those of the first groups.

Structured tasks lower the entropy of what a policy says, creative ones raise it (arXiv 2507.14783, section 5), so a run
that trains both can lose on the creative side what it wins on the other. Two signals, one value a group: the mean
entropy of its tokens, and how much its completions differ from each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np

from diagnostics.sequential import Baseline, RiseTest
from rltrain.types import Event, Group, Panel, StepRecord

CREATIVE = "creative"
SIGNALS = ("entropy", "variety")
COMPARED = 8  # completions of a group whose pairs are compared
RECENT = 32  # groups that an event's figure of now is a mean of
PANEL = Panel(
    "Variety of creative completions",
    ("entropy/variety",),
    "line",
    "How much the completions of one creative prompt differ. Structured tasks lower entropy/mean@structured; "
    "where entropy/mean@creative or this falls with it, the run is losing on the creative side what it wins "
    "on the other.",
)
_WORD = re.compile(r"\w+")
_ADVICE = (
    "Creative completions say less and less that is different. Raise the creative share of the mixture or its floor, "
    "reward diversity, or raise entropy_coef or beta, from a checkpoint before onset_step; as an action: "
    "[{event: creative_diversity_lost, do: entropy_coef, value: 0.001}]"
)


class Values(NamedTuple):
    """What a step's creative groups say: one value a group, by signal."""

    entropy: list[float]  # nats
    variety: list[float]  # in [0, 1]


class DiversityWatch:
    """Raises an alarm, once a signal, when it has lost more than `drop` of what the first groups had.

    `baseline`: how many groups those are. `alpha` bounds the chance of any false alarm in a run of whatever length
    whose diversity is never lower than that; what the baseline itself may be off by is left as room (3 standard
    errors).
    """

    def __init__(self, *, drop: float = 0.3, baseline: int = 48, alpha: float = 0.01) -> None:
        self._drop, self._count, self._alpha = drop, baseline, alpha / len(SIGNALS)
        self._first: dict[str, list[float]] = {name: [] for name in SIGNALS}
        self._recent: dict[str, list[float]] = {name: [] for name in SIGNALS}
        self._tests: dict[str, RiseTest] = {}

    def observe(self, step: int, values: Values) -> list[Event]:
        """The alarms of a step."""
        found = []
        for name in SIGNALS:
            new, first = list(getattr(values, name)), self._first[name]
            if room := self._count - len(first):
                first += new[:room]
                new = new[room:]
            if not new or not np.mean(first) > 0:  # nothing yet, or nothing to lose
                continue
            self._recent[name] = (self._recent[name] + new)[-RECENT:]
            if self._test(name).update(step, _lost(new, np.mean(first))):
                found.append(self._event(step, name))
        return found

    def _test(self, name: str) -> RiseTest:
        """On 1 - value / (2 x baseline): one half where nothing is lost, 1 where all is."""
        if name not in self._tests:
            base = Baseline()
            base.add(_lost(self._first[name], np.mean(self._first[name])))
            spread = np.sqrt(max(base.squares / base.count - base.mean**2, 0.0) / base.count)
            self._tests[name] = RiseTest(min(base.mean + 3 * float(spread) + self._drop / 2, 0.98), self._alpha)
        return self._tests[name]

    def _event(self, step: int, name: str) -> Event:
        before, now = float(np.mean(self._first[name])), float(np.mean(self._recent[name]))
        evidence = {"signal": name, "before": before, "now": now, "lost": 1 - now / before}
        evidence |= {"onset_step": self._tests[name].onset, "groups": len(self._recent[name])}
        return Event(step, "creative_diversity_lost", "warning", evidence, _ADVICE)

    def state_dict(self) -> dict[str, Any]:
        """All that later steps are held against."""
        return {
            "first": {name: list(of) for name, of in self._first.items()},
            "recent": {name: list(of) for name, of in self._recent.items()},
            "tests": {name: test.state_dict() for name, test in self._tests.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as if the run had never stopped."""
        self._first = {name: list(of) for name, of in state["first"].items()}
        self._recent = {name: list(of) for name, of in state["recent"].items()}
        self._tests = {name: RiseTest.from_state(of) for name, of in state["tests"].items()}


def values(record: StepRecord) -> Values:
    """The creative groups of a step. Entropy is known of trained groups, variety of all that were sampled."""
    found = Values([], [])
    for group in record.groups:
        if group.task.kind == CREATIVE:
            entropy = _entropy(record, group)
            found.entropy.extend([] if entropy is None else [entropy])
            differ = variety([completion.text for completion in group.completions[:COMPARED]])
            found.variety.extend([] if differ is None else [differ])
    return found


def metrics(said: Values) -> dict[str, float]:
    """`entropy/variety` of a step, in [0, 1], and the groups it rests on; empty without any."""
    if not said.variety:
        return {}
    return {"entropy/variety": float(np.mean(said.variety)), "entropy/variety_groups": float(len(said.variety))}


def variety(texts: Sequence[str]) -> float | None:
    """Mean over the pairs of texts of 1 - Jaccard similarity of their sets of word pairs; None without a pair.

    A text of one word or none counts by its words.
    """
    words = [_WORD.findall(text.casefold()) for text in texts]
    sets = [set(pairwise(said)) or {tuple(said)} for said in words]
    differ = [1 - len(one & other) / len(one | other) for one, other in combinations(sets, 2)]
    return float(np.mean(differ)) if differ else None


def _entropy(record: StepRecord, group: Group) -> float | None:
    """Mean over the group's trained tokens with a finite entropy, in nats."""
    rows = [record.tokens[key] for i in range(len(group.completions)) if (key := (group.ticket, i)) in record.tokens]
    tokens = [row.entropy[row.loss_mask & np.isfinite(row.entropy)] for row in rows]
    joined = np.concatenate(tokens) if tokens else np.zeros(0)
    return float(joined.mean()) if len(joined) else None


def _lost(values: Sequence[float], base: float) -> np.ndarray:
    return np.clip(1 - np.asarray(values, float) / (2 * base), 0.0, 1.0)
