"""A run directory in which it is known what happened, written by the writers of a real run.

    python -m benchmarks.planted_run DIR [--steps 120] [--groups 8] [--samples 8]

Curves are those of `planted_curves`: execution settles, then the variety of plans rises; one form of answers takes
over; a wave of prompts is set aside; an engine is replaced. Completions are whole records with tokens, log-probs,
entropies, planning masks and advantages. Prints the steps.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.planted_curves import ENGINES, FORMS, PROMPTS, SOURCES, WAVE, Curves, Truth
from rltrain import diagnose
from rltrain.advantages import assign
from rltrain.records import RunDir, jsonl
from rltrain.types import Completion, Event, Group, Score, StepRecord, Task, TokenArrays

STEPS, GROUPS, SAMPLES = 120, 8, 8
PLAN = ("First I need to see what is asked.", "Wait, let me check that again.", "Another way is to go backwards.")
CONFIG = {
    "run": {"seed": 0},
    "model": {"path": "tiny", "dtype": "float32"},
    "tasks": [{"use": "reasoning_gym", "name": name, "kind": "structured"} for name in SOURCES],
    "rewards": [
        {"use": "numeric", "role": "outcome", "weight": 1.0},
        {"use": "format", "role": "shaping", "weight": 0.1},
    ],
    "rollouts": {"max_lag": 0},
    "advantages": {"scale": "group", "combine": "sum_then_normalize"},
    "curriculum": {"use": "staged", "inner": {"use": "difficulty"}},
    "training": {"steps": STEPS, "prompts_per_step": GROUPS, "updates_per_rollout": 1}
    | {"correction": "token_truncate", "correction_cap": 2.0},
    "diagnostics": [
        {"use": name}
        for name in ("reward", "entropy", "perplexity", "plan", "formats", "shortcuts", "mechanism", "phase")
    ],
}


def main(arguments: list[str] | None = None) -> None:
    """Write one, and say what is planted where."""
    parser = argparse.ArgumentParser(prog="benchmarks.planted_run", description="A run in which the truth is known.")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--groups", type=int, default=GROUPS, help="groups a step")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="completions a group")
    asked = parser.parse_args(arguments)
    print(write(asked.dir, asked.steps, asked.groups, asked.samples))


def write(path: Path, steps: int = STEPS, groups: int = GROUPS, samples: int = SAMPLES, seed: int = 0) -> Truth:
    """Write the run; the steps at which things happen in it."""
    curves = Curves(steps, seed)
    run = start(path, curves)
    for step, metrics in curves.lines():
        run.log_metrics(step, metrics)
    for step in range(1, steps + 1):
        made = record(step, curves, groups, samples)
        run.write_rollouts(made)
        run.write_curriculum(step, decisions(step, made, curves.truth))
    run.close()
    conclude(path, curves)
    return curves.truth


def start(path: Path, curves: Curves) -> RunDir:
    """The directory with config, manifest and events."""
    config = CONFIG | {"training": CONFIG["training"] | {"steps": curves.steps}}
    run = RunDir.create(path, yaml.safe_dump(config, sort_keys=False), {"planted": curves.truth._asdict(), "seed": 0})
    for event in events(curves):
        run.log_event(event)
    return run


def events(curves: Curves) -> list[Event]:
    """What a run would have said of it."""
    at, shares = curves.truth, curves.shares
    aside = {"prompts": WAVE, "first": ["chain_sum/1"], "from": "learnable", "to": "quarantined"}
    began = {"from": "consolidating", "to": "planning", "confidence": 0.96, "onset_step": at.phase}
    taken = {"onset_step": at.collapse, "winner": FORMS[0], "share": float(shares[at.collapse, 0]), "base_share": 0.2}
    lost = {"engine": ENGINES[1], "cause": "EngineDied", "detail": "exit status 1", "groups_redone": 3}
    told = (
        Event(1, "parity", "info", {"gap": 0.001, "bound": 0.01}, "nothing to do"),
        Event(at.quarantine, "quarantined", "info", aside, "they are probed again on a schedule"),
        Event(min(at.phase + 8, curves.steps), "phase_changed", "info", began, "planning-focused credit makes sense"),
        Event(at.collapse, "format_collapse", "warning", taken, "One form has taken over. Raise beta, or go back."),
        Event(at.restart, "engine_restarted", "warning", lost, "nothing is lost; look into the cause if it recurs"),
    )
    return sorted(told, key=lambda event: event.step)


def conclude(path: Path, curves: Curves) -> None:
    """`diagnosis.json` with the truth as its verdicts."""
    at, first = curves.truth, max(2, curves.steps // 10)
    segments = (("undecided", 1, first, 0.6), ("consolidating", first, at.phase, 0.95))
    segments = (*segments, ("planning", at.phase, curves.steps, 0.97))
    wide = max(1, curves.steps // 40)
    found = diagnose.diagnosis((), jsonl.read(path / "metrics.jsonl"), events(curves))
    found["phase"] = {
        "state": "planning",
        "onset_step": at.phase,
        "interval": [at.phase - wide, at.phase + wide],
        "confidence": 0.97,
        "segments": [dict(zip(("state", "start", "end", "confidence"), part, strict=True)) for part in segments],
    }
    found["format"] = {"collapsed": True, "onset_step": at.collapse, "winner": FORMS[0], "wrong_winner": False}
    found["shortcuts"] = [{"name": "skipped", "onset_step": at.collapse + 2, "evidence": {"value": 0.3}}]
    diagnose.write(path / diagnose.FILE, found)


def record(step: int, curves: Curves, groups: int, samples: int) -> StepRecord:
    """The completions of a step: right as often, in the forms and as undecided as its curves say."""
    rng = np.random.default_rng([step, 7])
    made = [_group(step * groups + i, step, i, samples, curves, rng) for i in range(groups)]
    made = assign(made, {}, scale="group", combine="sum_then_normalize")
    made = [
        group if max(group.outcomes) else replace(
            group, admitted=False, reject_reason="no success", planning=(), planning_bonus=())
        for group in made
    ]  # fmt: skip
    tokens = {
        (group.ticket, i): arrays(group, i, step, curves, rng)
        for group in made
        if group.admitted
        for i in range(len(group.completions))
    }
    return StepRecord(step, tuple(made), tokens, {})


def _group(ticket: int, step: int, place: int, samples: int, curves: Curves, rng: np.random.Generator) -> Group:
    source = SOURCES[place % 2]
    a, b = int(rng.integers(10, 99)), int(rng.integers(10, 99))
    hard = rng.normal(0, 0.25) + (0.1 if place % 2 == 0 else -0.1)
    right = rng.random(samples) < np.clip(curves.outcome[step] + hard, 0, 1)
    forms = rng.choice(len(FORMS), samples, p=curves.shares[step])
    said = [
        _text(form, a, b, a + b if ok else a + b + 1 + int(rng.integers(9)), rng)
        for form, ok in zip(forms, right, strict=True)
    ]
    completions = tuple(_completion(text, step, ENGINES[i % 2]) for i, (text, _) in enumerate(said))
    question = ({"role": "user", "content": f"What is {a} + {b}?"},)
    return Group(
        ticket=ticket,
        task=Task(f"{source}/{int(rng.integers(PROMPTS))}", source, "structured", question, str(a + b)),
        prompt_ids=np.arange(6, dtype=np.int32),
        completions=completions,
        scores=tuple(Score({"numeric": float(ok), "format": 1.0}, {}, float(ok), float(ok) + 0.1) for ok in right),
        planning=tuple(_planning(completion, head) for completion, (_, head) in zip(completions, said, strict=True)),
        planning_bonus=tuple(np.zeros(len(c.token_ids), np.float32) for c in completions),
        formats=tuple(FORMS[form] for form in forms),
    )


def _text(form: int, a: int, b: int, answer: int, rng: np.random.Generator) -> tuple[str, int]:
    """A completion in one of `FORMS`, and how many of its characters plan."""
    plan = PLAN[int(rng.integers(len(PLAN)))]
    work = f"{a} plus {b // 10 * 10} is {a + b // 10 * 10}, and {b % 10} more makes {answer}."
    texts = (
        f"{plan} {work} So the result is \\boxed{{{answer}}}.",
        f"{plan} {work} The answer is {answer}.",
        f"1. {plan}\n2. {work}\n3. The answer is {answer}.",
        f"{answer}",
    )
    return texts[form], texts[form].find(plan) + len(plan) if form < 3 else 0


def _completion(text: str, step: int, engine: str) -> Completion:
    """One token a word, with the space before it."""
    ends = [i for i, letter in enumerate(text) if letter == " " and i] + [len(text)]
    ids = np.array([hash_of(text[a:b]) for a, b in zip([0, *ends], ends, strict=False)], np.int32)
    logprobs = np.full(len(ids), -0.6, np.float32)
    return Completion(ids, logprobs, np.array(ends, np.int32), text, "stop", step - 1, f"planted-{step - 1}", engine)


def hash_of(word: str) -> int:
    """A token id; the same for a word in every process."""
    return sum(ord(letter) * 31**i for i, letter in enumerate(word)) % 32_000


def _planning(completion: Completion, end: int) -> np.ndarray:
    return completion.offsets <= end


def arrays(group: Group, i: int, step: int, curves: Curves, rng: np.random.Generator) -> TokenArrays:
    """What a trainer leaves of a completion: planning tokens are more undecided than the others."""
    count = len(group.completions[i].token_ids)
    mean = np.where(group.planning[i], curves.planning[step], curves.execution[step])
    entropy = rng.gamma(4.0, mean / 4.0).astype(np.float32)
    drift = rng.normal(0, 0.02, count).astype(np.float32)
    advantage = np.full(count, group.advantages[i].value, np.float32)
    return TokenArrays(-0.6 + drift, entropy, np.exp(drift), np.ones(count, bool), advantage)


def decisions(step: int, made: StepRecord, at: Truth) -> list[dict[str, Any]]:
    """What a curriculum would have written down: each draw, and the moves of the wave."""
    drawn = [
        {"step": step, "action": "learn", "prompt": group.task.key, "source": group.task.source}
        | {"why": "learnable, worth 0.2", "pool": "learnable", "to": "learnable", "alpha": 2.0, "beta": 3.0}
        for group in made.groups
    ]
    moved = [
        {"step": step, "action": "move", "prompt": f"{SOURCES[0]}/{i}", "source": SOURCES[0]}
        | {"why": "P(pass rate < 0.1) = 0.95", "pool": "learnable", "to": "quarantined", "alpha": 1.0, "beta": 16.0}
        for i in range(WAVE if step == at.quarantine else 0)
    ]
    return drawn + moved


if __name__ == "__main__":
    main()
