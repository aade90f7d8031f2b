"""What each step of the reasoning tells a frozen model about the gold answer.

IG_k = [log p(a | q, s_1..s_k) - log p(a | q, s_1..s_k-1)] / |a| in nats per token of the answer, after "Knowledge
Index and Information Gain" (arXiv 2506.02126). The released code of that paper takes the perplexity of the whole text
instead, which every longer text changes; here the answer alone is scored. The model is frozen: under the policy in
training a gain could be the policy's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise, zip_longest
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from rltrain.types import Completion, Event, Panel, Scorer, StepRecord, Task

Splitter = Literal["line", "sentence"]
ENDS = {"line": r"\n+", "sentence": r"(?<=[.!?])\s+|\n+"}


class Gains(NamedTuple):
    """Of one completion."""

    before: float  # log p(a | q) / |a|
    steps: np.ndarray  # (K,) float64, IG_k
    right: bool | None  # whether it passed; None without an outcome


class InfoGainDiagnostic:
    """Computes `infogain/*` of `completions` completions, spread over the groups, of every `every`th step.

    The first step counts, and of those that follow only the ones that are there: a log of every tenth step is read
    at its first, its 1 + `every`th, ...

    A completion is cut into steps at line ends or sentence ends, at most `most_steps` (neighbours joined). Its last
    step states the answer and is left out; a completion of one step has no reasoning to look at. `answer` is how the
    answer is stated behind the steps; the scorer reads what stands before `{answer}` and is asked about the rest.
    """

    panels: Sequence[Panel] = (
        Panel(
            "What the reasoning tells",
            ("infogain/total", "infogain/step"),
            "line",
            "Nats by which the steps before the final one make the gold answer likelier to a frozen model, a token of "
            "it. A total near 0 beside a high outcome is reasoning for show: the answer does not come from it. @wrong "
            "near @right: the steps mention the answer and the completion does not use it.",
        ),
        Panel(
            "Steps that lead away",
            ("infogain/negative", "infogain/steps"),
            "line",
            "Share of the steps that make the gold answer less likely, and how many steps there are. More steps at "
            "the same total are filler.",
        ),
        Panel(
            "What the gain rests on",
            ("infogain/completions", "infogain/before"),
            "line",
            "Completions looked at, and how likely the answer is without any step: from near 0 nothing can be gained.",
        ),
    )

    def __init__(
        self,
        *,
        every: int = 10,
        completions: int = 8,
        splitter: Splitter = "line",
        most_steps: int = 16,
        answer: str = "\nAnswer: {answer}",
        solved: float = 1.0,
        scorer: Scorer | None = None,
    ) -> None:
        if not (every >= 1 and completions >= 1 and most_steps >= 1 and 0 < solved <= 1):
            raise ValueError(
                f"infogain diagnostic: every {every}, completions {completions}, most_steps {most_steps}, solved "
                f"{solved}; expected at least 1 of the first three, 0 < solved <= 1"
            )
        if splitter not in ENDS:
            raise ValueError(f"infogain diagnostic: splitter {splitter!r}; expected {' or '.join(get_args(Splitter))}")
        if answer.count("{answer}") != 1 or not answer.endswith("{answer}"):
            raise ValueError(f"infogain diagnostic: answer {answer!r}; expected one {{answer}}, at its end")
        self._every, self._count, self._splitter, self._most = every, completions, splitter, most_steps
        self._form, self._solved, self._scorer = answer, solved, scorer
        self._steps = 0  # so far
        self._found = False

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step that is looked at."""
        self._steps += 1
        if self._scorer is None or (self._steps - 1) % self._every:
            return {}
        rows: list[Gains] = []
        for task, completion, outcome in chosen(record, self._count, self._splitter):
            parts = joined(cut(completion.text, self._splitter)[:-1], self._most)
            before, gains = information_gain(self._scorer, task.prompt, parts, task.answer, self._form)
            if len(gains):
                rows.append(Gains(before, gains, None if outcome is None else outcome >= self._solved))
        self._found |= bool(rows)
        return summary(rows)

    def events(self) -> list[Event]:
        """None: what a gain should be depends on the tasks."""
        return []

    def notes(self) -> list[str]:
        """What could not be measured."""
        if self._scorer is None:
            return ["infogain: no scorer; give `rltrain diagnose` one by --scorer MODEL"]
        absent = "infogain: no completion with a gold answer and more than one step"
        return [absent] if self._steps and not self._found else []

    def state_dict(self) -> dict[str, Any]:
        """How many steps there were, and whether anything could be measured."""
        return {"steps": self._steps, "found": self._found}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as if the run had never stopped."""
        self._steps, self._found = state["steps"], state["found"]


def information_gain(
    scorer: Scorer, prompt: Sequence[Mapping[str, str]], steps: Sequence[str], answer: str, form: str
) -> tuple[float, np.ndarray]:
    """log p(a | q) / |a| and the K gains of the steps, in nats per token of the answer; no gains without its tokens.

    The gains sum to log p(a | q, all steps) / |a| - log p(a | q) / |a|.
    """
    head = form.partition("{answer}")[0]
    lead, space = head.rstrip(" "), head[len(head.rstrip(" ")) :]
    texts = ["".join(steps[:k]) + lead for k in range(len(steps) + 1)]
    prompts = [(*prompt, {"role": "assistant", "content": text}) if text else tuple(prompt) for text in texts]
    found = scorer.logprobs(prompts, [space + answer] * len(prompts))
    if not len(found[0]):
        return 0.0, np.zeros(0)
    level = np.array([logprob.sum(dtype=np.float64) / len(logprob) for logprob in found])
    return float(level[0]), np.diff(level)


def summary(rows: Sequence[Gains]) -> dict[str, float]:
    """`infogain/*` of the completions looked at; empty without any."""
    if not rows:
        return {}
    steps = np.concatenate([row.steps for row in rows])
    totals = np.array([row.steps.sum() for row in rows])
    metrics = {
        "infogain/total": float(totals.mean()),
        "infogain/step": float(steps.mean()),
        "infogain/negative": float((steps < 0).mean()),
        "infogain/steps": len(steps) / len(rows),
        "infogain/before": float(np.mean([row.before for row in rows])),
        "infogain/completions": float(len(rows)),
    }
    for name, passed in (("right", True), ("wrong", False)):
        of_kind = totals[[row.right is passed for row in rows]]
        if len(of_kind):
            metrics[f"infogain/total@{name}"] = float(of_kind.mean())
            metrics[f"infogain/completions@{name}"] = float(len(of_kind))
    return metrics


def chosen(record: StepRecord, count: int, splitter: Splitter) -> list[tuple[Task, Completion, float | None]]:
    """The first completions of all groups, then the second ones, ...: those with a gold answer and steps before it."""
    rows = [
        [
            (group.task, completion, score.outcome if score else None)
            for completion, score in zip_longest(group.completions, group.scores[: len(group.completions)])
            if len(cut(completion.text, splitter)) > 1
        ]
        for group in record.groups
        if group.task.answer
    ]
    return [row for row in chain.from_iterable(zip_longest(*rows)) if row is not None][:count]


def cut(text: str, splitter: Splitter) -> list[str]:
    """Steps of a text, each with the break behind it: they join to the text, less the space around it."""
    text = text.strip()
    ends = [match.end() for match in re.finditer(ENDS[splitter], text)]
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True) if text[a:b]]


def joined(steps: Sequence[str], most: int) -> list[str]:
    """At most so many steps: neighbours joined, as evenly as can be."""
    edges = np.linspace(0, len(steps), min(most, len(steps)) + 1).round().astype(int)
    return ["".join(steps[a:b]) for a, b in pairwise(edges)]
