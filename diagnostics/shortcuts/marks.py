"""What one step shows of shortcuts: one row a group, then sums over rows. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from diagnostics.shortcuts import texts
from rltrain.types import Group, StepRecord

LARGE = 8  # completions a group must have before one success among them is luck
EVEN = LARGE / (LARGE + 1)  # mean of `lonely` where one success in two is the only one of its group
SUCCESS = 0.5


class Marks(NamedTuple):
    """The completions of one group. Arrays are (G,)."""

    source: str
    steps: np.ndarray  # int, worked out before the answer
    repeated: np.ndarray  # bool
    copied: np.ndarray  # bool
    looped: np.ndarray  # bool
    answer: str | None  # the one most of them give
    outcomes: np.ndarray  # float, NaN where unknown
    totals: np.ndarray  # float, NaN where scoring failed
    advantages: np.ndarray  # float, 0 where there is none

    @property
    def successes(self) -> int:
        """Completions with an outcome of at least a half."""
        return int((self.outcomes >= SUCCESS).sum())

    @property
    def is_large(self) -> bool:
        """Whether few successes among its completions would say something: there are enough, and most are judged."""
        return len(self.outcomes) >= LARGE and 2 * np.isfinite(self.outcomes).sum() > len(self.outcomes)

    @property
    def mass(self) -> float:
        """Mean absolute advantage; 0 where nothing is judged."""
        if not np.isfinite(self.outcomes).any():
            return 0.0
        return float(np.abs(self.advantages / len(self.advantages)).sum())  # a sum of huge ones would be infinite

    @property
    def most(self) -> float:
        """The largest `mass` that a group with advantages of this kind can have; 0 where that cannot be told.

        It is 1 where advantages are in units of their deviation, else half of their range, if that holds a success.
        """
        half = float(self.advantages.max() / 2 - self.advantages.min() / 2)
        if half < len(self.advantages) and 0.9 <= float((self.advantages - self.advantages[0]).std()) <= 1.005:
            return 1.0
        return half if self.successes else 0.0

    @property
    def is_lucky(self) -> bool:
        """Whether a group that is large enough has one success or none."""
        return self.is_large and self.successes <= 1


def marks(record: StepRecord) -> list[Marks]:
    """One row a sampled group, rejected groups included."""
    read: dict[str, tuple[int, bool, bool, str | None]] = {}  # equal texts are read once
    return [_of_group(group, read) for group in record.groups if group.completions]


def _of_group(group: Group, read: dict[str, tuple[int, bool, bool, str | None]]) -> Marks:
    prompt = texts.runs("\n".join(str(message["content"]) for message in group.task.prompt))
    found = []
    for completion in group.completions:
        if completion.text not in read:
            stated = texts.answers(completion.text)
            last = stated[-1] if stated else None
            read[completion.text] = (
                texts.steps(completion.text),
                texts.is_repeated(stated),
                texts.is_looped(completion.text),
                last,
            )
        found.append(read[completion.text])
    nan: list[float | None] = [None] * len(found)
    finals = Counter(last for *_, last in found if last)
    return Marks(
        source=group.task.source,
        steps=np.array([row[0] for row in found]),
        repeated=np.array([row[1] for row in found]),
        copied=np.array([texts.copied(c.text, prompt) >= 0.5 for c in group.completions]),
        looped=np.array([row[2] for row in found]),
        answer=finals.most_common(1)[0][0] if finals else None,
        outcomes=_finite([s.outcome for s in group.scores] or nan),
        totals=_finite([None if s.error else s.total for s in group.scores] or nan),
        advantages=np.nan_to_num(_finite([a.value for a in group.advantages] or nan)),
    )


def _finite(values: Sequence[float | None]) -> np.ndarray:
    """The values, NaN for everything that is no finite number."""
    array = np.array(values, float)
    return np.where(np.isfinite(array), array, np.nan)


def skips(row: Marks, references: Mapping[str, float]) -> np.ndarray | None:
    """(G,) whether a completion works out half of its source's reference or less; None where there is none."""
    reference = references.get(row.source)
    return None if reference is None else row.steps <= reference / 2


def same_answer(rows: Sequence[Marks]) -> float | None:
    """Largest share of groups with one leading answer; None below eight groups."""
    counts = Counter(row.answer for row in rows if row.answer)
    return max(counts.values()) / counts.total() if counts.total() >= LARGE else None


def lucky(rows: Sequence[Marks]) -> float | None:
    """Share of the successes, in groups of eight or more, that were the only one of their group."""
    large = [row.successes for row in rows if row.is_large]
    return sum(n for n in large if n == 1) / sum(large) if sum(large) else None


def advantage_mass(rows: Sequence[Marks]) -> float | None:
    """Share of the absolute advantage that comes from groups with one success or none; unjudged groups are left out."""
    largest = max((row.mass for row in rows if row.is_large), default=0.0)
    if not largest:
        return None
    mass = [(row, row.mass / largest * len(row.advantages)) for row in rows]
    return sum(m for row, m in mass if row.is_lucky) / sum(m for _, m in mass)


def lonely(rows: Sequence[Marks], size: int) -> list[float]:
    """For each large group with a success a value in [0, 1], with a mean above `EVEN` if most successes are alone.

    In units of `size`, that of the largest group so far, a success that is alone counts for 1 and every other one for
    -1, so that it is the ratio of sums that is held against one half. A mean of each step's ratio is another quantity:
    steps with few successes would count as much as those with many.
    """
    return [EVEN * (1 + (1 if n == 1 else -n) / size) for row in rows if row.is_large and (n := row.successes)]


def accidental(rows: Sequence[Marks], size: int, most: float) -> list[float]:
    """For each group with an advantage a value in [0, 1], with a mean above 1/2 if most of the advantage is luck's.

    A group counts by the sum of its absolute advantages, in units of what the largest group so far could have at most:
    `most` for each of its `size` completions. In units of what was seen, lucky groups would count for too much as long
    as there was no other.
    """
    mass = [(row, min(row.mass / most * len(row.advantages) / size, 1.0)) for row in rows if most]
    return [0.5 + (0.5 if row.is_lucky else -0.5) * m for row, m in mass if m]


def metrics(rows: Sequence[Marks], references: Mapping[str, float]) -> dict[str, float]:
    """`shortcut/*` of a step; what rests on nothing is absent."""
    count = sum(len(row.steps) for row in rows)
    skipped = [(row, s) for row in rows if (s := skips(row, references)) is not None]
    working = sum(row.successes for row, _ in skipped)
    praised = np.concatenate([np.maximum(row.advantages, 0)[~np.isnan(row.outcomes)] for row in rows])
    outcomes = np.concatenate([row.outcomes[~np.isnan(row.outcomes)] for row in rows])
    found = {
        "shortcut/completions": float(count),
        "shortcut/steps": sum(row.steps.sum() for row in rows) / count,
        "shortcut/repeated": sum(row.repeated.sum() for row in rows) / count,
        "shortcut/copied": sum(row.copied.sum() for row in rows) / count,
        "shortcut/looped": sum(row.looped.sum() for row in rows) / count,
        "shortcut/answered": float(sum(row.answer is not None for row in rows)),
        "shortcut/same_answer": same_answer(rows),
        "shortcut/successes": float(sum(row.successes for row in rows)) if len(outcomes) else None,
        "shortcut/lucky": lucky(rows),
        "shortcut/advantage_mass": advantage_mass(rows),
        "shortcut/advantage_groups": float(sum(bool(row.advantages.any()) for row in rows)),
    }
    if skipped:
        found["shortcut/skippable"] = sum(len(s) for _, s in skipped)
        found["shortcut/skipped"] = sum(s.sum() for _, s in skipped) / found["shortcut/skippable"]
    if working:
        hits = sum((s & (row.outcomes >= SUCCESS)).sum() for row, s in skipped)
        found["shortcut/skipped_correct"] = hits / working
    if praised.any():
        praised /= praised.max()  # a sum of huge ones would be infinite
        found["shortcut/misdirected"] = praised[outcomes < SUCCESS].sum() / praised.sum()
    return {name: float(value) for name, value in found.items() if value is not None}


def mean_outcome(rows: Sequence[Marks]) -> float | None:
    """Mean outcome of all completions that have one."""
    return _mean_of_known([row.outcomes for row in rows])


def mean_reward(rows: Sequence[Marks]) -> float | None:
    """Mean reward of all completions that were scored."""
    return _mean_of_known([row.totals for row in rows])


def _mean_of_known(values: Sequence[np.ndarray]) -> float | None:
    whole = np.concatenate(values)
    known = whole[~np.isnan(whole)]
    return float(known.mean()) if len(known) else None


def worth_of_work(rows: Sequence[Marks], references: Mapping[str, float]) -> dict[str, float]:
    """Mean outcome of the completions that skip and of those that work."""
    pairs = [(row.outcomes, s) for row in rows if (s := skips(row, references)) is not None]
    if not pairs:
        return {}
    outcomes, skipped = (np.concatenate(part) for part in zip(*pairs, strict=True))
    known = ~np.isnan(outcomes)
    parts = {"outcome_skipped": known & skipped, "outcome_worked": known & ~skipped}
    return {name: float(outcomes[part].mean()) for name, part in parts.items() if part.any()}
