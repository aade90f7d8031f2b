"""Measures that move by degrees, beside pass/fail: how near the answers come, how likely the right one is.

A sudden ability is often a property of the measure (arXiv 2304.15004): exact match over L tokens is about p^L where
the distance in tokens is L (1 - p).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diagnostics.continuous.jump import Jump, JumpWatch, Point
from diagnostics.continuous.measures import brier, edit_distance, nearest, softmax, tokens
from rltrain.types import Event, Group, Panel, Policy, StepRecord, Task

OPTIONS = ("options", "choices")  # keys of a task's meta that hold the answers to choose from


class ContinuousDiagnostic:
    """Computes `continuous/*`; an event `metric_jump` when pass/fail jumps and nothing continuous moves.

    Distances are of every completion with a gold answer, rejected groups included. Probabilities are of the gold
    answers to the first `prompts` prompts of the run, taken at every `every`th of the steps that are there
    from the policy itself; `answer` is how an answer is stated, in place of `{answer}`. A completion passes at an
    outcome of `solved`. A jump is a change by `jump` at least between two windows of `window` steps.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Pass/fail and nearness",
            ("continuous/pass", "continuous/pass_low", "continuous/pass_high", "continuous/edit_nearest"),
            "line",
            "The share that passes with its 95% interval, and how far the gold answer is from the nearest stretch of "
            "the completion. They should move together, the distance first and more smoothly. A jump of the one "
            "without the other is a change of the parser or the form. Of answers of one or two tokens the distance "
            "is nearly pass/fail itself.",
        ),
        Panel(
            "Distance to the gold answer",
            ("continuous/edit", "continuous/edit_rel"),
            "line",
            "Edits from the whole completion to the gold answer. Meaningful where the completion is the answer; where "
            "the policy reasons first it mostly follows the length.",
        ),
        Panel(
            "What the policy gives the gold answer",
            ("continuous/answer_logprob", "continuous/answer_logprob_total"),
            "line",
            "Log-probability of stating the gold answer at once, on the same prompts all along. Rising long before "
            "anything passes is learning that pass/fail does not show. It says little of a policy that has to "
            "reason first.",
        ),
        Panel(
            "Tokens of the gold answer",
            ("continuous/token_accuracy", "continuous/brier"),
            "line",
            "Share of the gold answer's tokens that the policy finds likeliest, and the Brier score of its odds among "
            "a prompt's options, where tasks have some.",
        ),
        Panel(
            "What the continuous measures rest on",
            ("continuous/completions", "continuous/prompts", "continuous/brier_prompts"),
            "line",
            "Completions behind the distances; prompts behind the probabilities.",
        ),
    )

    def __init__(
        self,
        *,
        every: int = 5,
        prompts: int = 32,
        answer: str = "{answer}",
        solved: float = 1.0,
        window: int = 5,
        jump: float = 0.2,
        policy: Policy | None = None,
    ) -> None:
        if not (every >= 1 and prompts >= 1 and window >= 2 and 0 < jump < 1 and 0 < solved <= 1):
            raise ValueError(
                f"continuous diagnostic: every {every}, prompts {prompts}, window {window}, jump {jump}, solved "
                f"{solved}; expected at least 1, 1 and 2, 0 < jump < 1, 0 < solved <= 1"
            )
        if answer.count("{answer}") != 1:
            raise ValueError(f"continuous diagnostic: answer {answer!r}; expected one {{answer}} in it")
        self._every, self._most, self._answer, self._solved = every, prompts, answer, solved
        self._policy = policy
        self._steps = 0  # so far
        self._panel: dict[str, Task] = {}
        self._watch = JumpWatch(window, jump)
        self._judged = self._with_answer = self._with_options = False
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; empty where nothing has an outcome or a gold answer."""
        self._take_in(record)
        found = [(group, distances(group)) for group in record.groups]
        metrics = self._passed(record.groups) | _means([row for _, rows in found for row in rows])
        points = [self._point(group, rows) for group, rows in found if rows and group.outcomes]
        if self._policy is not None and self._panel and self._steps % self._every == 0:
            metrics |= self._probabilities(record.step)
        self._steps += 1
        if jump := self._watch.update(record.step, points):
            self._events.append(_event(record.step, jump))
        return metrics

    def _take_in(self, record: StepRecord) -> None:
        for group in record.groups:
            task = group.task
            self._judged |= bool(group.outcomes)
            self._with_answer |= bool(task.answer)
            if task.answer and (task.key in self._panel or len(self._panel) < self._most):
                self._panel.setdefault(task.key, task)
                self._with_options |= bool(options(task))

    def _point(self, group: Group, rows: Sequence[Distances]) -> Point:
        passed = float(np.mean([outcome >= self._solved for outcome in group.outcomes]))
        return Point(group.task.source, passed, 1 - float(np.mean([row.edit_nearest for row in rows])))

    def _passed(self, groups: Sequence[Group]) -> dict[str, float]:
        """Share that passes, with an interval from the groups' means: completions of a prompt are not independent."""
        passes = [[outcome >= self._solved for outcome in group.outcomes] for group in groups if group.outcomes]
        if not passes:
            return {}
        sizes = np.array([len(passed) for passed in passes], float)
        means = np.array([np.mean(passed) for passed in passes])
        share = float(sizes @ means / sizes.sum())
        metrics = {"continuous/pass": share}
        if len(passes) > 1:
            spread = sizes / sizes.mean() * (means - share)
            half = 1.96 * float(np.sqrt(spread @ spread / (len(passes) - 1) / len(passes)))
            metrics |= {"continuous/pass_low": max(0.0, share - half), "continuous/pass_high": min(1.0, share + half)}
        return metrics

    def _probabilities(self, step: int) -> dict[str, float]:
        """Of the panel's gold answers, and of its options, under the policy."""
        asked = [(task, text) for task in self._panel.values() for text in dict.fromkeys((task.answer, *options(task)))]
        heads = [stated(task, self._answer, text) for task, text in asked]
        forced = self._policy.forced([prompt for prompt, _ in heads], [text for _, text in heads])
        of = {(task.key, text): found for (task, text), found in zip(asked, forced, strict=True)}
        gold = {key: of[key, task.answer] for key, task in self._panel.items() if len(of[key, task.answer].logprob)}
        if not gold:
            return {}
        totals = {key: float(found.logprob.sum(dtype=np.float64)) for key, found in gold.items()}
        per_token = {key: totals[key] / len(found.logprob) for key, found in gold.items()}
        self._watch.panel(step, {key: (per_token[key], totals[key]) for key in gold})
        metrics = {
            "continuous/answer_logprob": float(np.mean(list(per_token.values()))),
            "continuous/answer_logprob_total": float(np.mean(list(totals.values()))),
            "continuous/token_accuracy": float(np.concatenate([found.likeliest for found in gold.values()]).mean()),
            "continuous/prompts": float(len(gold)),
        }
        scores = []
        for key, task in self._panel.items():
            if choices := options(task):
                odds = softmax([of[key, choice].logprob.sum(dtype=np.float64) for choice in choices])
                scores.append(brier(odds, choices.index(task.answer)))
        if scores:
            metrics |= {"continuous/brier": float(np.mean(scores)), "continuous/brier_prompts": float(len(scores))}
        return metrics

    def events(self) -> list[Event]:
        """What was found since the last call."""
        found, self._events = self._events, []
        return found

    def notes(self) -> list[str]:
        """What could not be measured."""
        missing = {
            "no outcomes, so no share that passes": not self._judged,
            "no gold answers, so no distances and no probabilities": not self._with_answer,
            "rollouts do not hold the weights, so no log-probability of the gold answer, no accuracy of its tokens, "
            "no Brier score": self._with_answer and self._policy is None,
            "no task of the panel has options (meta `options` or `choices`), so no Brier score": self._policy
            is not None
            and self._with_answer
            and not self._with_options,
        }
        return [f"continuous: {text}" for text, holds in missing.items() if holds]

    def state_dict(self) -> dict[str, Any]:
        """How many steps there were, the panel's prompts and the windows of the jump."""
        flags = [self._judged, self._with_answer, self._with_options]
        return {"steps": self._steps, "panel": dict(self._panel), "watch": self._watch.state_dict(), "flags": flags}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as if the run had never stopped."""
        self._steps, self._panel = state["steps"], dict(state["panel"])
        self._watch.load_state_dict(state["watch"])
        self._judged, self._with_answer, self._with_options = state["flags"]


def options(task: Task) -> list[str]:
    """What a task lets one choose from, if the gold answer is among it; each once."""
    for key in OPTIONS:
        given = task.meta.get(key)
        if isinstance(given, Sequence) and not isinstance(given, str):
            texts = list(dict.fromkeys(map(str, given)))
            return texts if len(texts) > 1 and task.answer in texts else []
    return []


def stated(task: Task, form: str, answer: str) -> tuple[Sequence[Mapping[str, str]], str]:
    """A prompt that ends where the answer begins, and the answer; a space before it belongs to it."""
    head = form.partition("{answer}")[0]
    lead, space = head.rstrip(" "), head[len(head.rstrip(" ")) :]
    opened = ({"role": "assistant", "content": lead},) if lead else ()
    return (*task.prompt, *opened), space + answer


class Distances(NamedTuple):
    """Of one completion from its gold answer."""

    edit: float
    edit_rel: float
    edit_nearest: float


def distances(group: Group) -> list[Distances]:
    """Of each completion of a group; none without a gold answer."""
    gold = tokens(group.task.answer or "")
    texts = [tokens(completion.text) for completion in group.completions if gold]
    edits = [edit_distance(gold, said) for said in texts]
    return [
        Distances(float(edit), edit / max(len(gold), len(said)), nearest(gold, said) / len(gold))
        for edit, said in zip(edits, texts, strict=True)
    ]


def _means(rows: Sequence[Distances]) -> dict[str, float]:
    if not rows:
        return {}
    means = zip(Distances._fields, np.mean(rows, axis=0).tolist(), strict=True)
    return {f"continuous/{name}": mean for name, mean in means} | {"continuous/completions": float(len(rows))}


def _event(step: int, found: Jump) -> Event:
    evidence = {
        "onset_step": found.onset,
        "pass_before": found.before,
        "pass_change": found.passed.difference,
        "pass_error": found.passed.error,
        "nearness_change": found.nearness.difference,
        "nearness_error": found.nearness.error,
        "groups": found.groups,
    }
    if found.probability is not None:
        evidence |= dict(zip(("token_probability_change", "answer_probability_change"), found.probability, strict=True))
    return Event(step, "metric_jump", "warning", evidence, ADVICE)


ADVICE = (
    "More (or fewer) completions pass, and they come no nearer to the gold answers: the measure has changed, or the "
    "form that its parser accepts. Read ten completions from before and after the onset, and check the reward on both."
)
