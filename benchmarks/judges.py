"""How a small judge judges: `python -m benchmarks.judges`, minutes on two cores (`judges NAME ...` for other models).

Eight sentences, each against three spoilt copies of itself: its words shuffled, its first half alone, one word said
again and again. The model runs on vLLM in an actor of its own, as in a run. Told are the answers that could not be
read, how often both orders agree, and how often the whole sentence wins, ties counted half. What `judge_pairwise` does
not get from a model here it will not get in a run.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.tell import keep
from rewards.judge_pairwise import judge_pairwise
from rltrain import cluster, lending
from rltrain.config import GeneratorSpec
from rltrain.types import Completion, Task

SENTENCES = (
    "The lamp on the boat lit the dark river, and the ferryman sang to keep awake.",
    "She kept her father's watch in a drawer, wound it every Sunday, and never set it.",
    "By the time the letter came, the house it was meant for had become a library.",
    "The old dog knew the way home, so we followed him through the snow without a word.",
    "He planted an oak on the day he retired, and was laughed at, and smiled.",
    "Rain fell on the empty market until a child began to dance between the stalls.",
    "The lighthouse went dark in May, and the gulls were the last to notice.",
    "Every morning the baker leaves one loaf on the wall for whoever gets there first.",
)
REQUEST = "Write one sentence that could begin a story."
TOKENS = 64


def main(names: Sequence[str]) -> None:
    """Ask each model about all pairs and print what came of it."""
    table = Table("judge", "pairs", "unreadable", "orders agree", "whole sentence wins", title="judges")
    found = {}
    for name in names or ["smollm2-135m"]:
        with cluster.session():
            found[name] = judged(name)
        row = found[name]
        cells = ("-" if row[key] is None else f"{row[key]:.0%}" for key in ("unreadable", "agree", "wins"))
        table.add_row(name, str(row["pairs"]), *cells)
    Console().print(table)
    if not names:
        keep("judges", found)


def judged(model: str) -> dict[str, Any]:
    """Shares over all pairs; `agree` and `wins` over those that could be read, None where there are none."""
    closers: list[Callable[[], None]] = []
    judge = lending.generator(GeneratorSpec(model=model, engine="vllm", max_length=2048, threads=2), closers)
    judge.ready()
    scores = []
    for sentence in SENTENCES:
        task = Task("s/0", "s", "creative", ({"role": "user", "content": REQUEST},), sentence)
        scores += judge_pairwise(task, [_said(text) for text in spoilt(sentence)], judge=judge, max_tokens=TOKENS)
    for close in closers:
        close()
    read = [score for score in scores if isinstance(score, dict)]
    return {
        "pairs": len(scores),
        "unreadable": 1 - len(read) / len(scores),
        "agree": float(np.mean([score["agree"] for score in read])) if read else None,
        "wins": float(np.mean([1 - score["value"] for score in read])) if read else None,
    }


def spoilt(sentence: str) -> list[str]:
    """Three texts that anyone would rank below the sentence."""
    words = sentence.split()
    shuffled = random.Random(sentence).sample(words, len(words))
    return [" ".join(shuffled), " ".join(words[: len(words) // 2]), " ".join(words[1:2] * len(words))]


def _said(text: str) -> Completion:
    nothing = np.zeros(0, np.int32)
    return Completion(nothing, nothing.astype(np.float32), nothing, text, "stop", 0, "", "")


if __name__ == "__main__":
    main(sys.argv[1:])
