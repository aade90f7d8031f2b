"""Structured first, creative first, or both at once: what is kept, and was it foreseen? (five minutes on one core)

    python -m benchmarks.curriculum_order [--seeds 5]

A transformer of 0.1 million parameters and two tasks. Structured: a sum modulo 31, one right answer. Creative: four
letters about a pair of numbers; they are accepted where consonants and vowels take turns (one string in sixteen),
and a judge that likes variety gives each accepted string 1 over how often the group has it. SFT shows both, half of
the strings accepted, and sums that are all right at first, which is how they are learned, and a third of them in the
end. Training on each task alone gives the transfer matrix, by which `rltrain.bwt.transfer` forecasts what each order
ends with; the orders are run by the staged curriculum, without replay, and once with. Creative diversity is the entropy
of a completion's tokens, and the share of different strings.
"""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.curriculum_harm import interval
from benchmarks.learners import Columns, answered, number
from benchmarks.tell import bar, keep
from benchmarks.tiny_policy import Policy, logprobs, sampled, taught
from curricula.staged import Staged
from rltrain.advantages import assign
from rltrain.bwt import transfer

SIDE, NUMBERS, LETTERS = 16, 31, 10  # letters: even ones are consonants, odd ones vowels
END, SUM, WRITE = NUMBERS + LETTERS, NUMBERS + LETTERS + 1, NUMBERS + LETTERS + 2
PROMPT, ANSWER = 3, 4
TASKS = ("structured", "creative")
MARKS = dict(zip(TASKS, (SUM, WRITE), strict=True))
PRETRAINING, STEPS, BATCH, SAMPLES, RATE, HELD_OUT = 1000, 80, 16, 16, 3e-4, 64
RIGHT, ACCEPTED = 0.35, 0.5  # in the texts of SFT
LEARNED = 0.7  # share of SFT after which not all sums are right
PAIRS = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2)


def examples(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches (256, PROMPT + ANSWER) for SFT, half of each task."""
    for step in count():
        pairs = PAIRS[rng.integers(len(PAIRS), size=256)]
        truth, sums = pairs.sum(1) % NUMBERS, np.arange(256) < 128
        right = RIGHT if step > LEARNED * PRETRAINING else 1.0
        told = np.where(rng.random(256) < right, truth, (truth + rng.integers(1, NUMBERS, 256)) % NUMBERS)
        letters = rng.integers(LETTERS, size=(256, ANSWER))
        taken = 2 * (letters // 2) + np.arange(ANSWER) % 2
        letters = NUMBERS + np.where((rng.random(256) < ACCEPTED)[:, None], taken, letters)
        answers = np.where(sums[:, None], np.column_stack([told, np.full((256, 3), END)]), letters)
        yield np.column_stack([np.where(sums, SUM, WRITE), pairs, answers])


def pretrained(seed: int) -> Policy:
    """A policy that does both by half."""
    torch.manual_seed(seed)
    return taught(Policy(WRITE + 1, PROMPT + ANSWER), examples(np.random.default_rng(seed)), PRETRAINING, PROMPT)


def accepted(completions: np.ndarray) -> np.ndarray:
    """(...,) bool of completions (..., ANSWER): consonants and vowels in turn."""
    letters = completions - NUMBERS
    return ((letters >= 0) & (letters < LETTERS) & (letters % 2 == np.arange(ANSWER) % 2)).all(-1)


def outcomes(task: str, pairs: np.ndarray, completions: np.ndarray) -> np.ndarray:
    """(B, G) outcomes of completions (B, G, ANSWER) for pairs (B, 2)."""
    if task == "structured":
        return ((completions[..., 0] == pairs.sum(1)[:, None] % NUMBERS) & (completions[..., 1] == END)).astype(float)
    good, found = accepted(completions), np.zeros(completions.shape[:2])
    for i, group in enumerate(completions.tolist()):
        counts = Counter(map(tuple, group))
        found[i] = [good[i, j] / counts[tuple(text)] for j, text in enumerate(group)]
    return found


def answers(policy: Policy, task: str, pairs: np.ndarray) -> np.ndarray:
    """(B, SAMPLES, ANSWER) completions."""
    prompts = torch.tensor(np.column_stack([np.full(len(pairs), MARKS[task]), pairs]))
    ids = sampled(policy, prompts.repeat_interleave(SAMPLES, 0), ANSWER)
    return ids[:, PROMPT:].numpy().reshape(len(pairs), SAMPLES, ANSWER)


def look(policy: Policy, held_out: np.ndarray) -> dict[str, Any]:
    """Outcomes on held-out prompts of both tasks, and how varied the creative ones are."""
    found: dict[str, Any] = {task: outcomes(task, held_out, answers(policy, task, held_out)).mean(1) for task in TASKS}
    written = answers(policy, "creative", held_out)
    ids = np.column_stack(
        [np.full(len(held_out) * SAMPLES, WRITE), held_out.repeat(SAMPLES, 0), written.reshape(-1, 4)]
    )
    with torch.no_grad():
        log_p = policy(torch.tensor(ids)[:, :-1])[:, PROMPT - 1 :]
        entropy = -(log_p.exp() * log_p).sum(-1).mean()
    strings = {tuple(text) for text in written[accepted(written)].tolist()}
    return found | {"entropy": float(entropy), "strings": len(strings) / (len(held_out) * SAMPLES)}


def trained(
    start: Policy, stages: Sequence[str], seed: int, *, replay: float = 0.0, order: str = "fixed"
) -> Iterator[Policy]:
    """Yields the policy at the end of each stage of `STEPS` steps; with one stage, of a single one."""
    torch.manual_seed(seed)
    policy, places = copy.deepcopy(start), np.random.default_rng(seed).permutation(len(PAIRS))[HELD_OUT:]
    table = Columns(np.repeat(stages, len(places)).tolist(), kinds=np.repeat(stages, len(places)).tolist())
    curriculum = Staged(
        table, seed=seed, stages=list(stages), order=order, replay=replay, min_groups=1, max_groups=STEPS * BATCH,
        window=10**6,
    )  # fmt: skip
    optimizer = torch.optim.Adam(policy.parameters(), lr=RATE)
    for step in range(STEPS * len(stages)):
        tasks = curriculum.sample(BATCH)
        pairs = PAIRS[places[[number(task) % len(places) for task in tasks]]]
        said = np.empty((BATCH, SAMPLES, ANSWER), int)
        judged = np.empty((BATCH, SAMPLES))
        for name in sorted({task.source for task in tasks}):
            own = [i for i, task in enumerate(tasks) if task.source == name]
            said[own] = answers(policy, name, pairs[own])
            judged[own] = outcomes(name, pairs[own], said[own])
        made = [answered(task, judged[i].tolist(), step, i) for i, task in enumerate(tasks)]
        prompts = np.column_stack([[MARKS[task.source] for task in tasks], pairs]).repeat(SAMPLES, 0)
        ids = torch.tensor(np.column_stack([prompts, said.reshape(-1, ANSWER)]))
        curriculum.observe(made)
        pushed = [a.value for g in assign(made, {}, scale="none", combine="sum_then_normalize") for a in g.advantages]
        optimizer.zero_grad()
        log_p = logprobs(policy, ids, PROMPT)
        (-(torch.tensor(pushed, dtype=torch.float32)[:, None] * log_p).mean()).backward()
        optimizer.step()
        if (step + 1) % STEPS == 0:
            yield policy


def measured(start: Policy, held_out: np.ndarray, seed: int) -> tuple[transfer.Measured, dict[str, Any]]:
    """The transfer matrix by training on each task alone, and what that does to creative diversity."""
    before, after, looks = look(start, held_out), [], {}
    for task in TASKS:
        (policy,) = trained(start, [task], seed)
        looks[task] = look(policy, held_out)
        after.append(np.concatenate([looks[task][name] for name in TASKS]))
    rows = np.concatenate([before[name] for name in TASKS])
    of = np.repeat(np.arange(len(TASKS)), len(held_out))
    return transfer.Measured(TASKS, of, np.stack([rows] * 2), np.stack(after)), {"before": before} | looks


ORDERS: Mapping[str, dict[str, Any]] = {
    "structured first": {"stages": TASKS},
    "creative first": {"stages": TASKS[::-1]},
    "both at once": {"stages": TASKS, "order": "interleave"},
    "structured first, replay .2": {"stages": TASKS, "replay": 0.2},
    "creative first, replay .2": {"stages": TASKS[::-1], "replay": 0.2},
}


def one(seed: int, start: Policy, name: str, forecast: Mapping[str, float] | None) -> dict[str, float]:
    """An order's figures: held-out outcomes, what the first task kept, diversity, the forecast and its error."""
    held_out = PAIRS[np.random.default_rng(seed).permutation(len(PAIRS))[:HELD_OUT]]
    given, looks = ORDERS[name], []
    for policy in trained(start, given["stages"], seed, **{k: v for k, v in given.items() if k != "stages"}):
        looks.append(look(policy, held_out))
    found = {task: float(looks[-1][task].mean()) for task in TASKS}
    if "first" in name:
        first = given["stages"][0]
        found["kept of the first"] = found[first] - float(looks[0][first].mean())
    found |= {"entropy": looks[-1]["entropy"], "strings": looks[-1]["strings"]}
    if forecast:
        found |= {f"forecast of {task}": forecast[task] for task in TASKS}
        found["forecast error"] = float(np.mean([abs(found[task] - forecast[task]) for task in TASKS]))
    return found


def run(seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """All rows of a seed."""
    start = pretrained(seed)
    held_out = PAIRS[np.random.default_rng(seed).permutation(len(PAIRS))[:HELD_OUT]]
    matrix, looks = measured(start, held_out, seed)
    for name, seen in looks.items():
        yield name if name == "before" else f"{name} alone", {key: float(np.mean(value)) for key, value in seen.items()}
    found, proposed = transfer.means(matrix), transfer.propose(matrix, seed=seed)
    moved = {f"{i} to {j}": float(found.transfer[a, b]) for a, i in enumerate(TASKS) for b, j in enumerate(TASKS)}
    first = {"structured first proposed": float(proposed["order"][0] == TASKS[0]), "sure": proposed["sure"]}
    yield "transfer", moved | first
    for name, given in ORDERS.items():
        order = [TASKS.index(task) for task in given["stages"]]
        ends = transfer.forecast(order, found) if len(given) == 1 else None
        yield name, one(seed, start, name, None if ends is None else dict(zip(TASKS, map(float, ends), strict=True)))


def main(arguments: list[str] | None = None) -> None:
    """Run all seeds and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.curriculum_order", description="The order of two tasks.")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each order")
    seeds = parser.parse_args(arguments).seeds
    rows, runs, cells = 4 + len(ORDERS), [{} for _ in range(seeds)], {}
    work = ((seed, row) for seed in range(seeds) for row in run(seed))
    for seed, (name, figures) in bar(work, "orders", seeds * rows):
        runs[seed][name] = figures
        if len(runs[seed]) == rows:
            done = runs[: seed + 1]
            cells = {row: {f: interval([r[row][f] for r in done]) for f in found} for row, found in runs[0].items()}
            keep("curriculum_order", {"seeds": len(done), "cells": cells, "runs": done})
    grid = Table("", "figure", "mean", "95% interval", title="structured and creative: order, retention, diversity")
    for name, cell in cells.items():
        for figure, (mean, low, high) in cell.items():
            grid.add_row(name, figure, f"{mean:.3f}", f"{low:.3f} to {high:.3f}")
    Console(width=120).print(grid)


if __name__ == "__main__":
    main()
