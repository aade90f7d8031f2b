"""What the rewards said: means, spread, zero-variance groups and failures, in total and per source."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rltrain.types import REFORMULATED, Event, Group, Panel, Score, StepRecord, Task


class RewardDiagnostic:
    """Computes `reward/*`. Every mean is one sum over one count; a failed score counts only as an error."""

    panels: Sequence[Panel] = (
        Panel(
            "Reward and outcome",
            ("reward/mean", "reward/mean_all", "reward/outcome", "reward/outcome_all"),
            "line",
            "Outcome is the task result, reward adds the shaping. Both should rise together: a reward that rises "
            "while the outcome does not is being gamed. Over all samples they part from those of the trained ones "
            "where groups are filtered.",
        ),
        Panel(
            "Single rewards",
            ("reward/value", "reward/part"),
            "line",
            "The raw value of each reward and its named parts, before weights. One part that carries the whole "
            "rise, often a form or a length, says what is really being learned.",
        ),
        Panel(
            "Signal",
            ("reward/std", "reward/zero_variance", "reward/zero_variance_all"),
            "line",
            "Groups whose completions all fare alike teach nothing. A share near 1 means tasks that are too easy "
            "or too hard for this policy; a spread near 0 means the gradient is noise.",
        ),
        Panel(
            "What the rewards rest on",
            (
                "reward/completions",
                "reward/completions_all",
                "reward/judged",
                "reward/judged_all",
                "reward/groups",
                "reward/groups_all",
                "reward/value_completions",
                "reward/part_completions",
            ),
            "line",
            "Completions with a reward, those with an outcome, and groups with two outcomes or more: the counts behind "
            "the means. A mean over few completions moves by chance, the more so as those of a group share a prompt.",
        ),
        Panel(
            "Failed scores",
            ("reward/errors", "reward/error_rate", "reward/failed"),
            "line",
            "Scores that raised, timed out, left their range or whose judge said nothing of use, in all and by kind. "
            "Anything but 0 deserves a look at the `error` column of the rollouts.",
        ),
    )

    def observe(self, record: StepRecord) -> dict[str, float]:
        """`reward/*` of a step; an admitted group counts as trained."""
        by_source: dict[str, list[Group]] = defaultdict(list)
        for group in record.groups:
            by_source[_label(group.task)].append(group)
        metrics = _of_groups(record.groups) | _by_name(record.groups) | _failures(record.groups)
        for source, groups in sorted(by_source.items()):
            metrics |= {f"{name}@{source}": value for name, value in _of_groups(groups).items()}
        return metrics

    def events(self) -> list[Event]:
        """None: what fails is reported by the scoring itself."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Empty: every step stands alone."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


def _label(task: Task) -> str:
    """Its source; of a prompt that was asked in place of a harder one also how it was made easier."""
    mark = task.meta.get(REFORMULATED)
    how = mark.get("how") if isinstance(mark, Mapping) else None  # a file of somebody else's may hold anything
    return f"{task.source}, {how}" if how else task.source


def _of_groups(groups: Sequence[Group]) -> dict[str, float]:
    """The metrics that exist in total and per source; what has nothing to rest on is absent."""
    trained = [group for group in groups if group.admitted]
    totals = [[score.total for score in group.scores if score.error is None] for group in trained]
    apart = (total - sum(row) / len(row) for row in totals for total in row)
    squares = sum(one * one for one in apart)  # `**` of floats raises where a product is infinite
    count = sum(map(len, totals))
    scores = [score for group in groups for score in group.scores]
    errors = sum(score.error is not None for score in scores)
    metrics = {
        "reward/completions": float(count),
        "reward/completions_all": float(len(scores) - errors),
        "reward/mean": _ratio(sum(map(sum, totals)), count),
        "reward/mean_all": _ratio(sum(score.total for score in scores if score.error is None), len(scores) - errors),
        "reward/std": _root(_ratio(squares, count)),
        **_outcome(trained),
        **_outcome(groups, "_all"),
        **_zero_variance(trained),
        **_zero_variance(groups, "_all"),
        "reward/errors": float(errors),
        "reward/error_rate": _ratio(errors, len(scores)),
    }
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}


def _by_name(groups: Iterable[Group]) -> dict[str, float]:
    """`reward/value@<reward>` and `reward/part@<part>` of the trained completions."""
    scores = [score for group in groups if group.admitted for score in group.scores if score.error is None]
    return _means("reward/value", scores, "values") | _means("reward/part", scores, "parts")


def _failures(groups: Iterable[Group]) -> dict[str, float]:
    """`reward/failed@<kind>`; the kind is the first word of an error."""
    errors = [score.error for group in groups for score in group.scores if score.error is not None]
    kinds = Counter(re.split(r"[\s:]", error, maxsplit=1)[0] for error in errors)
    return {f"reward/failed@{kind}": float(count) for kind, count in sorted(kinds.items())}


def _means(stem: str, scores: Iterable[Score], field: str) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        for name, value in getattr(score, field).items():
            if value is not None:
                found[name].append(value)
    counts = {f"{stem}_completions@{name}": float(len(values)) for name, values in sorted(found.items())}
    return {f"{stem}@{name}": sum(values) / len(values) for name, values in sorted(found.items())} | counts


def _outcome(groups: Iterable[Group], which: str = "") -> dict[str, float | None]:
    """Mean outcome and how many there are; `which` ends the names."""
    outcomes = [outcome for group in groups for outcome in group.outcomes]
    mean = _ratio(sum(outcomes), len(outcomes))
    return {f"reward/outcome{which}": mean, f"reward/judged{which}": float(len(outcomes))}


def _zero_variance(groups: Iterable[Group], which: str = "") -> dict[str, float | None]:
    """Share of equal outcomes among the groups with at least two, and the number of these."""
    known = [outcomes for group in groups if len(outcomes := group.outcomes) > 1]
    share = _ratio(sum(max(outcomes) == min(outcomes) for outcomes in known), len(known))
    return {f"reward/zero_variance{which}": share, f"reward/groups{which}": float(len(known))}


def _ratio(total: float, count: int) -> float | None:
    return total / count if count else None


def _root(value: float | None) -> float | None:
    return None if value is None else value**0.5
