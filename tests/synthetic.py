"""Steps and runs made of nothing, for the tests of what a run leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rltrain.records import RunDir
from rltrain.types import Advantage, Completion, Group, Score, StepRecord, Task, TokenArrays


def completion(text: str = "so we need to add: 4", pieces: int = 5, finish: str = "stop") -> Completion:
    """A completion of `pieces` tokens, cut anywhere in the text."""
    ends = np.linspace(0, len(text), pieces + 1).astype(np.int32)[1:]
    return Completion(
        token_ids=np.arange(pieces, dtype=np.int32),
        logprobs=np.full(pieces, -0.5, np.float32),
        offsets=ends,
        text=text,
        finish_reason=finish,
        policy_version=1,
        weight_digest="d1",
        engine="engine-0",
    )


def group(ticket: int = 0, outcomes=(0.0, 1.0), source: str = "sums", admitted: bool = True, **parts) -> Group:
    """A group with one completion for each outcome; None is a failed score."""
    completions = parts.pop("completions", tuple(completion() for _ in outcomes))
    scores = tuple(
        Score(error="TimeoutError: 10 s")
        if o is None
        else Score(values={"exact": o, "format": 0.5}, parts={"digits": 1.0}, outcome=o, total=o + 0.05)
        for o in outcomes
    )
    defaults = {
        "advantages": tuple(Advantage(o or 0.0, 0.5, 1.0) for o in outcomes),
        "planning": tuple(np.arange(len(c.token_ids)) < 2 for c in completions),
        "planning_bonus": tuple(np.zeros(len(c.token_ids), np.float32) for c in completions),
        "formats": tuple("prose" for _ in completions),
    }
    return Group(
        ticket=ticket,
        task=Task(f"{source}/{ticket}", source, "structured", ({"role": "user", "content": "1 + 3?"},), "4"),
        prompt_ids=np.arange(3, dtype=np.int32),
        completions=completions,
        scores=scores,
        admitted=admitted,
        reject_reason=None if admitted else "zero variance",
        **(defaults if admitted else {}) | parts,
    )


def record(step: int = 1, *groups: Group, planning: float = 2.0, execution: float = 1.0) -> StepRecord:
    """A step in which planning tokens have one entropy and execution tokens another."""
    groups = groups or (group(),)
    tokens = {}
    for g in groups:
        for i, c in enumerate(g.completions if g.admitted else ()):
            ones = np.ones(len(c.token_ids), np.float32)
            entropy = np.where(g.planning[i], planning, execution).astype(np.float32)
            tokens[g.ticket, i] = TokenArrays(-0.5 * ones, entropy, ones, ones.astype(bool), ones)
    return StepRecord(step, tuple(groups), tokens, {})


def run(path: Path, steps: int = 12, seed: int = 0, config: str = "run:\n  seed: 0\n") -> RunDir:
    """A finished run with curves, an evaluation at both ends, and an event."""
    from rltrain.types import Event

    rng = np.random.default_rng(seed)
    made = RunDir.create(path, config, {"seed": seed})
    for step in range(steps + 1):
        share, noise = step / steps, rng.normal(0, 0.03, 8)
        metrics = {"eval/outcome": 0.1 + 0.5 * share, "eval/outcome@sums": 0.1 + 0.6 * share, "eval/length": 30.0}
        if step:
            metrics = ({} if step < steps else metrics) | {
                "reward/mean": 0.1 + 0.5 * share + noise[0],
                "reward/mean@sums": 0.1 + 0.6 * share + noise[1],
                "reward/mean@haiku": 0.2 + 0.3 * share + noise[2],
                "reward/outcome": 0.1 + 0.5 * share + noise[3],
                "reward/outcome_all": 0.1 + 0.5 * share + noise[3],
                "entropy/mean": 2 - share + noise[4],
                "entropy/planning": 2.2 - 0.5 * share + noise[5],
                "entropy/execution": 1.9 - share + noise[6],
                "entropy/gap": 0.3 + 0.5 * share,
                "entropy/gap_low": 0.2 + 0.5 * share,
                "entropy/gap_high": 0.45 + 0.5 * share,
                "entropy/planning_tokens": 300.0,
                "entropy/execution_tokens": 2000.0,
                "format/share@prose": 1 - share,
                "format/share@answer_only": share,
                "length/mean": 40 - 20 * share,
                "loss/total": float("nan") if step == 3 else noise[7],
                "tokens/step": 640,
                "throughput/tokens_per_s": 500 + 100 * noise[0],
                "time/step_s": 4.0,
                "time/rollout_s": 1.5,
                "time/train_s": 2.0,
                "time/publish_s": 0.4,
            }
        made.log_metrics(step, metrics)
    made.log_event(
        Event(5, "engine_restarted", "warning", {"engine": "engine-0"}, "nothing to do; see <b>pool/restarts</b>")
    )
    made.close()
    return made
