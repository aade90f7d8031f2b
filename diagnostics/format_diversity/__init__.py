"""In which forms a run writes, how many are left, and the alarm when one has taken over.

Every sampled completion counts, rejected groups too: filters change what is trained, not what the policy writes.
How often the alarms are right is measured by `benchmarks/format_collapse.py`; see docs/formats-and-shortcuts.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from diagnostics.format_diversity import measures
from diagnostics.format_diversity.alarm import Alarm, Recovery, Takeover
from diagnostics.format_diversity.contest import Contest
from diagnostics.format_diversity.fingerprint import Structures
from diagnostics.format_diversity.measures import Row
from rltrain.types import Event, Panel, StepRecord

MOST_PROMPTS = 4096  # whose first formats are kept
SURE = 4.0  # standard errors between the accuracies of two forms, which are compared after every step
BASE_GROUPS = 4  # that the alarm's base holds for each of the first steps: of five groups in all no share is known


class FormatDiagnostic:
    """Computes `format/*`; events `format_collapse`, `format_recovered`, `format_wrong_winner` and `format_single`.

    The first `baseline_steps` steps stand for the base model; the alarm takes more where they hold less than
    four groups each. A form collapses the run when its smoothed share reaches `alert_share` after a rise over its
    share in the base; `alpha` bounds the chance that a run without such a rise is taken for one. The run has
    recovered when that share has surely fallen below again.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Forms of the answers",
            ("format/share", "format/unclassified"),
            "area",
            "Share of each form among all sampled completions. One colour that swallows the others is a collapse: "
            "what the others could do is lost with them. Look at the accuracy of the forms before you are glad.",
        ),
        Panel(
            "How many forms are left",
            ("format/effective", "format/effective_in_group", "format/structures", "format/structures_other"),
            "line",
            "Effective numbers; 1 is a single form. Classes and structures should fall together. Classes that fall "
            "to `other` while structures stay is a new form the classifier does not know; structures that fall inside "
            "`other` is a collapse no class would show. In a group: what one prompt still gets.",
        ),
        Panel(
            "Accuracy by form",
            ("format/accuracy", "format/judged"),
            "line",
            "Mean outcome of the completions in each form, beside the number it rests on: a form with a handful of "
            "completions jumps about. The winner should be the most accurate; easy prompts may prefer one form, so "
            "the alarm compares inside groups.",
        ),
        Panel(
            "Distance from the base model",
            ("format/base_distance", "format/base_distance_noise", "format/base_distance_same"),
            "line",
            "Half the sum of differences of shares against the first steps, on the same mix of sources, and on the "
            "same prompts where they come again. At or below the noise line nothing has moved.",
        ),
    )

    def __init__(self, *, alert_share: float = 0.9, baseline_steps: int = 5, alpha: float = 0.01) -> None:
        if not (0.5 < alert_share < 1 and baseline_steps >= 1 and 0 < alpha < 1):
            raise ValueError(
                f"format diagnostic: alert_share {alert_share}, baseline_steps {baseline_steps}, alpha {alpha}; "
                "expected 0.5 < alert_share < 1, at least 1 step, 0 < alpha < 1"
            )
        self._alert_share, self._baseline_steps = alert_share, baseline_steps
        self._structures, self._contest = Structures(), Contest()
        self._alarm = Alarm(level=alert_share, alpha=alpha, base_groups=BASE_GROUPS * baseline_steps)
        self._seen = 0  # steps with completions
        self._by_source: dict[str, Counter[str]] = {}
        self._by_prompt: dict[str, Counter[str]] = {}
        self._effective = 0.0  # of the base
        self._takeover: Takeover | None = None  # the last one
        self._until: int | None = None  # the step at which it ended
        self._wrong: str | None = None
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; empty when no completion carries a format."""
        rows = [row for row in measures.rows(record, self._structures.label(measures.texts(record))) if row.labels]
        if not rows:
            return {}
        self._seen += 1
        metrics = measures.diversity(rows) | measures.accuracy(rows)
        self._contest.observe(rows)
        if self._seen <= self._baseline_steps:
            self._learn(record.step, rows)
        else:
            self._watch(record.step, rows, metrics)
            metrics |= self._distances(rows)
        return metrics | {"format/leading": self._alarm.leading()[1]}

    def _learn(self, step: int, rows: Sequence[Row]) -> None:
        self._alarm.learn(step, rows)
        for row in rows:
            self._by_source.setdefault(row.source, Counter()).update(row.names)
            if row.key in self._by_prompt or len(self._by_prompt) < MOST_PROMPTS:
                self._by_prompt.setdefault(row.key, Counter()).update(row.names)
        if self._seen < self._baseline_steps:
            return
        total = sum(self._by_source.values(), Counter())
        self._effective = measures.effective(list(total.values()))
        label, share = self._alarm.base_leading()
        if share >= self._alert_share:
            advice = "There is no diversity to lose in this run: the base model already answers in one form."
            evidence = {"winner": label, "share": share, "completions": total.total()}
            self._events.append(Event(step, "format_single", "info", evidence, advice))

    def _watch(self, step: int, rows: Sequence[Row], metrics: Mapping[str, float]) -> None:
        found = self._alarm.update(step, rows)
        if isinstance(found, Takeover):
            self._takeover, self._until, self._wrong = found, None, None
            self._events.append(self._collapse(step, found, rows, metrics))
        elif isinstance(found, Recovery):
            self._until = found.until
            self._events.append(self._recovered(step, found, metrics))
        if self._takeover is None or self._until is not None or self._wrong:
            return
        if better := self._contest.better(self._takeover.label, z=SURE):
            self._wrong = better[0]
            evidence = {
                "onset_step": self._takeover.onset,
                "winner": self._takeover.label,
                "better": better[0],
                "difference": better[1].difference,
                "standard_error": better[1].error,
                "groups": better[1].groups,
            }
            self._events.append(Event(step, "format_wrong_winner", "warning", evidence, _WRONG))

    def _collapse(self, step: int, found: Takeover, rows: Sequence[Row], metrics: Mapping[str, float]) -> Event:
        evidence = {
            "onset_step": found.onset,
            "rise_step": found.rise,
            "winner": found.label,
            "share": found.share,
            "base_share": found.base_share,
            "effective": metrics["format/effective"],
            "base_effective": self._effective,
            "structures": metrics["format/structures"],
            "accuracy": measures.accuracy_of(rows, found.label),
            "completions": metrics["format/completions"],
        }
        return Event(step, "format_collapse", "warning", evidence, _COLLAPSE)

    def _recovered(self, step: int, found: Recovery, metrics: Mapping[str, float]) -> Event:
        assert self._takeover is not None
        evidence = {
            "onset_step": self._takeover.onset,
            "until_step": found.until,
            "winner": found.label,
            "share": found.share,
            "effective": metrics["format/effective"],
            "base_effective": self._effective,
        }
        return Event(step, "format_recovered", "info", evidence, _RECOVERED)

    def _distances(self, rows: Sequence[Row]) -> dict[str, float]:
        """Distance from the first steps, on the same mix of sources and on the prompts seen then."""
        known = [row for row in rows if row.source in self._by_source]
        found: dict[str, float] = {}
        if known:
            sources = Counter(row.source for row in known for _ in row.names)
            n_base = sum(self._by_source[source].total() for source in sources)
            base = measures.standardised(self._by_source, sources)
            d = measures.distance(_shares(known), base, sources.total(), n_base)
            found |= {"format/base_distance": d.value, "format/base_distance_noise": d.noise}
        same = [row for row in rows if row.key in self._by_prompt]
        if same:
            prompts = Counter(row.key for row in same for _ in row.names)
            base = measures.standardised(self._by_prompt, prompts)
            d = measures.distance(_shares(same), base, prompts.total(), prompts.total())
            found |= {"format/base_distance_same": d.value, "format/base_prompts": float(len(prompts))}
        return found

    def events(self) -> list[Event]:
        """What was found since the last call."""
        found, self._events = self._events, []
        return found

    def diagnosis(self) -> dict[str, Any]:
        """The entry `format` of diagnosis.json: whether one form has taken over now, and the last time one did."""
        found = self._takeover
        return {
            "format": {
                "collapsed": found is not None and self._until is None,
                "onset_step": found.onset if found else None,
                "until_step": self._until,
                "winner": found.label if found else None,
                "wrong_winner": self._wrong is not None if found else None,
            }
        }

    def state_dict(self) -> dict[str, Any]:
        """All that later steps are held against."""
        return {
            "seen": self._seen,
            "structures": self._structures.state_dict(),
            "contest": self._contest.state_dict(),
            "alarm": self._alarm.state_dict(),
            "by_source": {source: dict(of) for source, of in self._by_source.items()},
            "by_prompt": {key: dict(of) for key, of in self._by_prompt.items()},
            "effective": self._effective,
            "takeover": self._takeover and list(self._takeover),
            "until": self._until,
            "wrong": self._wrong,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as if the run had never stopped."""
        self._seen, self._effective, self._wrong = state["seen"], state["effective"], state["wrong"]
        self._structures.load_state_dict(state["structures"])
        self._contest.load_state_dict(state["contest"])
        self._alarm.load_state_dict(state["alarm"])
        self._by_source = {source: Counter(of) for source, of in state["by_source"].items()}
        self._by_prompt = {key: Counter(of) for key, of in state["by_prompt"].items()}
        self._takeover = Takeover(*state["takeover"]) if state["takeover"] else None
        self._until = state["until"]


def _shares(rows: Sequence[Row]) -> dict[str, float]:
    return measures.shares(Counter(name for row in rows for name in row.names))


_COLLAPSE = (
    "One form has taken over. Compare pass@k at large k with the base model's; if it fell, go back to a checkpoint "
    "before rise_step and raise beta, or ask for other forms in a share of each step's prompts."
)
_RECOVERED = (
    "The form that took over has given way. Compare pass@k at large k with that before onset_step: other forms are "
    "back, what they could do may not be."
)
_WRONG = (
    "The form that took over is right less often than another was, on the same prompts. Look for a shaping reward, a "
    "length limit or a parser that favours the winner; go back to a checkpoint before the rise."
)
