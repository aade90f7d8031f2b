"""What is written down about a finished step: token arrays, metrics, diagnostics, the verdicts so far."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rltrain import advantages, blame, contracts, diagnose
from rltrain import credit as planning
from rltrain.correction import drift_metrics
from rltrain.records import jsonl, load_run
from rltrain.records.trl_table import NAMES
from rltrain.run import Run
from rltrain.types import Accountable, Event, Group, StepRecord, TokenArrays


def record(run: Run, step: int, groups: list[Group], evaluation: dict[str, float]) -> None:
    """Everything about a finished step: token arrays, metrics, diagnostics, sinks."""
    run.channel.announce("step")
    taken = run.channel.gather(run.trainer.take_step())
    tokens = {
        row.key: TokenArrays(
            row.train_logprob, row.entropy, row.ratio, np.ones(len(row.ratio), dtype=bool), row.token_advantage
        )
        for rows, _, _ in taken
        for row in rows
    }
    if run.progress.guard.active:
        groups = planning.as_trained(groups, tokens)
    trained = sum(len(arrays.entropy) for arrays in tokens.values())
    run.progress.tokens += trained
    logs = taken[0][2]
    metrics: dict[str, float] = {NAMES[k]: float(v) for k, v in logs.items() if k in NAMES}
    metrics |= drift_metrics([part for _, drifts, _ in taken for part in drifts])
    metrics |= {
        "drift/lag": float(step - 1 - min(c.policy_version for g in groups for c in g.completions)),
        "tokens/step": float(trained),
        "tokens/total": float(run.progress.tokens),
        "throughput/samples": float(len(tokens)),
        "curriculum/left_over": float(len(run.progress.judged)),
        "prompts/dropped": float(run.office.dropped),
    }
    metrics |= _judged(groups)
    if run.config.advantages.hicra is not None:
        metrics["plan/credit"] = planning.effect(groups)
    if run.config.advantages.guard is not None:
        metrics |= advantages.withheld(groups)
    metrics |= run.pool.metrics() | contracts.numbers("curriculum: metrics()", run.curriculum.metrics()) | evaluation
    metrics |= run.judge.metrics() if run.judge is not None else {}
    with run.stages("diagnostics"):
        seen = StepRecord(step, tuple(groups), tokens, metrics)
        for diagnostic in run.diagnostics:
            metrics |= blame.observed(diagnostic, seen)  # into the record's own, where the next diagnostic finds them
    report_losses(run, step)
    account(run, step)
    times = run.stages.take()
    times["time/step_s"] = math.fsum(times.values())
    times |= run.gradients.cost()  # inside time/train_s
    times |= run.pool.engine_metrics()
    metrics |= times | {"throughput/tokens_per_s": trained / max(times["time/step_s"], 1e-9)}
    begun = time.monotonic()
    for diagnostic in run.diagnostics:
        with blame.plugin("diagnostic", diagnostic, "events"):
            events = list(diagnostic.events())
        for event in events:
            run.event(event)
    run.directory.write_rollouts(StepRecord(step, tuple(groups), tokens, metrics))
    metrics = metrics | {"time/write_s": time.monotonic() - begun}
    run.directory.log_metrics(step, metrics)
    run.tracker.log(step, metrics)
    run.console.step(step, metrics)


def _judged(groups: Sequence[Group]) -> dict[str, float]:
    """How many groups were trained on, refused and why, and without a success."""
    refused = Counter(str(group.reject_reason) for group in groups if not group.admitted)
    return {
        "curriculum/kept": float(sum(g.admitted for g in groups)),
        "curriculum/rejected": float(sum(not g.admitted for g in groups)),
        "curriculum/too_hard": float(sum(bool(g.outcomes) and max(g.outcomes) <= 0 for g in groups)),
    } | {f"curriculum/rejected@{reason}": float(count) for reason, count in sorted(refused.items())}


def account(run: Run, step: int) -> None:
    """Write down what the curriculum and its gates decided since the last step, and their events."""
    rows: list[dict[str, Any]] = []
    for judge in (run.curriculum, *run.gates):
        if isinstance(judge, Accountable):
            rows += [{"step": step} | row for row in judge.decisions()]
            for event in judge.events():
                run.event(dataclasses.replace(event, step=step))
    run.directory.write_curriculum(step, rows)


def diagnosis(run: Run) -> None:
    """Rewrite `diagnosis.json` from what the run has written so far."""
    path = run.directory.path
    lines, events = jsonl.read(path / "metrics.jsonl"), load_run(path).events
    diagnose.write(path / diagnose.FILE, diagnose.diagnosis(run.diagnostics, lines, events))


def report_losses(run: Run, step: int) -> bool:
    """Engine replacements since the last call, as events; whether there were any."""
    losses = run.pool.losses()
    for loss in losses:
        evidence = {"engine": loss.engine, "cause": loss.cause, "detail": loss.detail, "groups_redone": loss.redone}
        run.event(
            Event(step, "engine_restarted", "warning", evidence, "nothing is lost; look into the cause if it recurs")
        )
    return bool(losses)
