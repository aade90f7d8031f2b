"""Runs with rollouts whose advantages add up, for the tests of what shows them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rltrain import advantages
from rltrain.records import RunDir
from rltrain.types import Completion, Group, Score, StepRecord, Task, TokenArrays

WEIGHTS = {"numeric": 1.0, "form": 0.1}
ALPHA, CAP = 0.2, 1.05
CONFIG = f"""
training: {{steps: 40, updates_per_rollout: 1, correction: token_truncate, correction_cap: {CAP}}}
rollouts: {{max_lag: 0}}
admission: {{oversample: 1.0}}
advantages: {{scale: group, combine: sum_then_normalize, guard: null, hicra: {{alpha: {ALPHA}, variant: paper}}}}
rewards:
- {{use: numeric, role: outcome, weight: 1.0, name: null}}
- {{use: "mine.py:form", role: shaping, weight: 0.1, name: null}}
diagnostics: [{{use: reward}}, {{use: entropy}}]
"""
HOSTILE = (
    "<script>window.harmed = 1</script> 4",
    '<img src="http://127.0.0.1:9/x.png" onerror="window.harmed = 2"> 4',
    "</script><script>window.harmed = 3</script><!--",
    "\x1b[2J\x1b[31mred\x1b]0;owned\x07 \x00 4",
    "abc \u202egnp.4\u202c \u2066x\u2069 \ufeff\u200b",
    "half a letter \ud800 and \ufffd",
    "A" * 1_000_000,
    "so we need to add: 4",
)


def sampled(text: str, rng: np.random.Generator) -> Completion:
    """A completion, cut before each space and, where there are none, now and then."""
    places = [i for i, letter in enumerate(text) if letter == " " and i][:2000]
    ends = np.array([*places, len(text)] if text else [], np.int32)
    return Completion(
        token_ids=np.arange(len(ends), dtype=np.int32),
        logprobs=-rng.gamma(1.0, 0.5, len(ends)).astype(np.float32),
        offsets=ends,
        text=text,
        finish_reason="stop",
        policy_version=1,
        weight_digest="d1",
        engine="engine-0",
    )


def judged(ticket: int, key: str, texts: Sequence[str], outcomes: Sequence[float | None], rng) -> Group:
    """A group with scores and advantages as a run makes them; an outcome of None is a failed judgement."""
    scores = tuple(map(_score, outcomes))
    completions = tuple(sampled(text, rng) for text in texts)
    planning = tuple(np.arange(len(c.token_ids)) % 3 == 1 for c in completions)
    task = Task(key, "sums", "structured", ({"role": "user", "content": f"{ticket} + 3?"},), "4")
    group = Group(ticket, task, np.arange(3, dtype=np.int32), completions, scores, planning=planning)
    (group,) = advantages.assign([group], WEIGHTS, scale="group", combine="sum_then_normalize")
    bonus = tuple(
        (ALPHA * abs(a.value) * mask).astype(np.float32) for a, mask in zip(group.advantages, planning, strict=True)
    )
    return dataclasses.replace(group, planning_bonus=bonus, formats=("prose",) * len(texts))


def _score(outcome: float | None) -> Score:
    if outcome is None:
        return Score(
            {"numeric": None, "form": 0.5}, total=0.05, error="Timeout: reward 'numeric' took longer than 10 s"
        )
    parts = {"form/tag": 0.25, "form/line": 0.25}
    return Score({"numeric": outcome, "form": 0.5}, parts, outcome, outcome + 0.05)


def step_record(step: int, groups: Sequence[Group], rng: np.random.Generator) -> StepRecord:
    """The groups with token arrays of a trainer that is close to the sampler."""
    tokens = {}
    for group in groups:
        for i, c in enumerate(group.completions):
            drift = rng.normal(0, 0.06, len(c.token_ids)).astype(np.float32)
            entropy = rng.gamma(2.0, 0.4, len(c.token_ids)).astype(np.float32)
            mask = np.arange(len(c.token_ids)) != 4
            row = advantages.token_advantages(group, i)
            tokens[group.ticket, i] = TokenArrays(c.logprobs + drift, entropy, np.exp(drift), mask, row)
    return StepRecord(step, tuple(groups), tokens, {})


def write_step(run: RunDir, step: int, rng: np.random.Generator, hostile: bool = False) -> None:
    """A step of three groups of eight: mixed, with one lucky hit, and with a failed judgement (or hostile texts)."""
    plain = [f"step {step}: so we need to add, and {i} + 3 = {i + 3}\nanswer {i}" for i in range(8)]
    texts = list(HOSTILE) if hostile else plain
    mixed = judged(3 * step, "sums/0", plain, [1.0, 0.0] * 4, rng)
    lucky = judged(3 * step + 1, f"sums/{step}", plain, [0.0] * 7 + [1.0], rng)
    failed = judged(3 * step + 2, f"odd/{step}", texts, [None, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0], rng)
    run.write_rollouts(step_record(step, [mixed, lucky, failed], rng))


def log(run: RunDir, step: int) -> None:
    """A line of metrics."""
    share = min(1.0, step / 40)
    run.log_metrics(
        step,
        {
            "reward/mean": 0.1 + 0.6 * share + 0.02 * math.sin(step),
            "reward/outcome": 0.1 + 0.5 * share,
            "entropy/mean": 2 - share,
            "tokens/step": 640.0,
            "time/step_s": 1.0,
        },
    )


def rollout_run(path: Path, steps: int = 3, hostile: bool = False) -> RunDir:
    """A run of some steps with metrics and rollouts, closed; the last step has hostile texts if asked for."""
    rng = np.random.default_rng(7)
    run = RunDir.create(path, CONFIG, {"seed": 7})
    for step in range(1, steps + 1):
        log(run, step)
        write_step(run, step, rng, hostile and step == steps)
    run.flush()
    return run
