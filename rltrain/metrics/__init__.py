"""Every metric, declared once: name, unit, meaning, formula, where it comes from, how to read it and when it lies.

A metric's full name is its stem, optionally `@` and a source, reward, or class: `reward/mean@chain_sum`.
Only the stem is declared. `python -m rltrain.metrics` prints `docs/metrics.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from rltrain.metrics.answers import ANSWERS
from rltrain.metrics.learning import LEARNING
from rltrain.metrics.machine import MACHINE
from rltrain.metrics.metric import Metric
from rltrain.metrics.probes import PROBES
from rltrain.metrics.readings import readings
from rltrain.metrics.samples import samples

AREAS: Mapping[str, str] = MappingProxyType({
    "reward": "What the rewards said about the completions of a step.",
    "advantage": "What the rare-success guard withheld.",
    "loss": "The optimizer step.",
    "drift": "How far the policy that sampled is from the policy that is trained.",
    "entropy": "How undecided the policy is, on planning and on execution tokens.",
    "plan": "How much the completions plan, and how variedly.",
    "phase": "Which phase of learning the run is in, judged from the steps so far.",
    "ppl": "How surprising the sampled tokens are to the policy, relative to the start.",
    "format": "In which forms the answers are written.",
    "shortcut": "Whether reward is earned without the work.",
    "continuous": "How near the answers come, beside whether they pass.",
    "infogain": "What each step of the reasoning tells a frozen model about the answer.",
    "interference": "How the tasks' gradients help and hinder each other, and which tasks are rare.",
    "length": "How long the completions are.",
    "curriculum": "Which prompts are drawn, and which groups entered the batch.",
    "prompts": "Prompts that never became tasks.",
    "eval": "Held-out evaluation.",
    "throughput": "How fast the run goes.",
    "tokens": "How much was sampled.",
    "time": "Where the seconds of a step go.",
    "pool": "The rollout engines, taken together.",
    "engine": "What each rollout engine did between the last step and this one.",
    "judge": "The model that answers rewards in text.",
})  # fmt: skip


def _table() -> dict[str, Metric]:
    told, counted = readings(), samples()
    declared = (*LEARNING, *ANSWERS, *PROBES, *MACHINE)
    return {m.stem: m._replace(**told.get(m.stem, {}), sample=counted.get(m.stem, ())) for m in declared}


METRICS: Mapping[str, Metric] = MappingProxyType(_table())


def stem(name: str) -> str:
    """The declared part of a metric's name: `reward/mean@chain_sum` -> `reward/mean`."""
    return name.partition("@")[0]


def area(name: str) -> str:
    """The part before the slash: `reward/mean@chain_sum` -> `reward`."""
    return name.partition("/")[0]


def undeclared(names: Iterable[str]) -> list[str]:
    """The names whose stem is not in the table, in order and once each; `step` is no metric."""
    return [name for name in dict.fromkeys(names) if name != "step" and stem(name) not in METRICS]


def markdown() -> str:
    """The page `docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Every curve a run writes to `metrics.jsonl`: what it is, how to read it, and when it says what is not so. "
        "A name is `area/name`, and `area/name@x` for one source, reward or class. This page is generated: "
        "`python -m rltrain.metrics > docs/metrics.md`.",
    ]
    for name, about in AREAS.items():
        lines += ["", f"## {name}", "", about]
        for metric in METRICS.values():
            if area(metric.stem) == name:
                lines += ["", *_entry(metric)]
    return "\n".join(lines) + "\n"


def _entry(metric: Metric) -> list[str]:
    """A metric's lines of the page."""
    return [
        f"### `{metric.stem}`",
        "",
        f"{metric.meaning}",
        "",
        f"- unit: {metric.unit}; measured by: {metric.source}",
        f"- formula: {metric.formula}",
        *([f"- sample: {' + '.join(f'`{each}`' for each in metric.sample)}"] if metric.sample else ()),
        f"- how to read it: {metric.reading}",
        f"- when it lies: {metric.lies}",
    ]
