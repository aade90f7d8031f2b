"""How quickly rewards judge: `python -m benchmarks.rewards` (two minutes).

`math`, `format` and `length` on made completions, in a pool of two workers as in a run, beside math-verify called in a
plain loop as its own page shows it; and the time of one small judgement in the sandbox.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any, NamedTuple

import numpy as np
import ray
from math_verify import parse, verify
from rich.console import Console
from rich.table import Table

from benchmarks.tell import keep
from rewards.sandbox.pool import Limits, Sandbox
from rltrain.config import RewardSpec
from rltrain.scoring_pool import ScoringPool
from rltrain.types import Completion, Group, Task

COMPLETIONS, SAMPLES = 10_000, 8  # completions in all, and in a group
PLAIN = 1_000  # of them in the plain loop: its rate does not depend on how many
WORKERS = 2
TARGETS = {"rate_ratio": ("at least", 1.7), "sandbox_median_ms": ("at most", 30.0)}


class Said(NamedTuple):
    """An answer and ways of writing it, right and wrong."""

    answer: str
    forms: tuple[str, ...]


def answers(draw: random.Random) -> Said:
    """A third whole numbers, the rest fractions, roots, polynomials and intervals, as in sets of school mathematics."""
    a, b, c = draw.randint(2, 999), draw.randint(2, 99), draw.randint(2, 99)
    kinds = (
        Said(str(a * b), (f"{a * b}", f"{a * b:,}", f"${a * b}$", f"{a * b + 1}")),
        Said(f"\\frac{{{a}}}{{{b}}}", (f"{a}/{b}", f"\\dfrac{{{a}}}{{{b}}}", f"{a / b:.8f}", f"\\frac{{{b}}}{{{a}}}")),
        Said(f"{a}\\sqrt{{{b}}}", (f"{a}\\sqrt{{{b}}}", f"\\sqrt{{{a * a * b}}}", f"{a}*sqrt({b})", f"\\sqrt{{{b}}}")),
        Said(
            f"x^2+{b + c}x+{b * c}",
            (f"(x+{b})(x+{c})", f"x^2 + {b + c}x + {b * c}", f"{b * c}+{b + c}x+x^2", f"(x-{b})(x-{c})"),
        ),
        Said(f"[{-a}, {b})", (f"[{-a},{b})", f"{-a} \\le x < {b}", f"\\left[{-a}, {b}\\right)", f"({-a}, {b})")),
    )
    return draw.choices(kinds, (3, 2, 2, 1, 1))[0]


def groups(seed: int = 0) -> list[Group]:
    """Groups whose completions end in one of the forms, in a box."""
    draw = random.Random(seed)
    made = []
    for number in range(COMPLETIONS // SAMPLES):
        said = answers(draw)
        task = Task(f"made/{number}", "made", "structured", ({"role": "user", "content": "?"},), said.answer)
        texts = [_text(draw, draw.choice(said.forms)) for _ in range(SAMPLES)]
        made.append(Group(number, task, np.zeros(8, np.int32), tuple(map(_completion, texts))))
    return made


def _text(draw: random.Random, form: str) -> str:
    lines = [f"Step {i}: we take {draw.randint(1, 99)} and {draw.randint(1, 99)} together." for i in range(6)]
    return "\n".join([*lines, f"So the result is $\\boxed{{{form.strip('$')}}}$."])


def _completion(text: str) -> Completion:
    ids = np.zeros(len(text) // 4, np.int32)
    return Completion(ids, ids.astype(np.float32), ids, text, "stop", 0, "", "made")


def pooled(made: list[Group]) -> float:
    """Completions a second through three rewards in a warm pool."""
    specs = [
        RewardSpec(use="math"),
        RewardSpec(use="format", role="shaping", args={"style": "boxed"}),
        RewardSpec(use="length", role="shaping", args={"high": 512}),
    ]
    pool = ScoringPool(specs, WORKERS)
    drained(pool, made[-64:])
    begun = time.perf_counter()
    finished = drained(pool, made)
    took = time.perf_counter() - begun
    pool.close()
    failed = {score.error for group in finished for score in group.scores if score.error}
    assert not failed, failed
    return len(finished) * SAMPLES / took


def drained(pool: ScoringPool, made: list[Group]) -> list[Group]:
    """All groups, scored."""
    for group in made:
        pool.submit(group)
    finished: list[Group] = []
    while pool.unfinished():
        finished += pool.ready(60.0)
    return finished


def plain(made: list[Group]) -> float:
    """Completions a second by math-verify alone, one after the other."""
    pairs = [(f"${group.task.answer}$", c.text) for group in made for c in group.completions][:PLAIN]
    verify(parse(pairs[0][0]), parse(pairs[0][1]))
    begun = time.perf_counter()
    for answer, text in pairs:
        verify(parse(answer), parse(text))
    return len(pairs) / (time.perf_counter() - begun)


def judgement_ms(jobs: int = 300) -> float:
    """The median of one small judgement in a warm sandbox, in milliseconds."""
    sandbox, took = Sandbox(), []
    job = {"code": "def add(a, b):\n    return a + b", "calls": [{"call": "add", "args": [i, i]} for i in range(5)]}
    for _ in range(jobs):
        begun = time.perf_counter()
        sandbox.run(job, Limits())
        took.append(1e3 * (time.perf_counter() - begun))
    sandbox.close()
    return statistics.median(took)


def main() -> None:
    """Measure, print, keep."""
    made = groups()
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    rates = [(pooled(made), plain(made)) for _ in range(3)]  # in turns: the machine may be shared
    ray.shutdown()
    ours, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
    found: dict[str, Any] = {
        "completions_per_s": ours,
        "math_verify_per_s": theirs,
        "rate_ratio": statistics.median(one / other for one, other in rates),
        "rate_ratios": [one / other for one, other in rates],
        "sandbox_median_ms": judgement_ms(),
    }
    table = Table("figure", "found", "target", title="rewards, two workers")
    for name in ("completions_per_s", "math_verify_per_s", *TARGETS):
        table.add_row(name, f"{found[name]:.3g}", " ".join(map(str, TARGETS.get(name, ("",)))))
    Console().print(table)
    keep("rewards", found)


if __name__ == "__main__":
    main()
