"""How often `math` agrees with labels set by hand: `python -m benchmarks.math_pairs` (a minute).

Each line of a file is an expected answer, a given one, and whether they are the same mathematics. The rules were
built on `math_build`; the others were scored before their disagreements were mended (docs/rewards.md has the
figures). The three `math_completions` hold whole completions instead of answers, so that what finds the answer is
scored too. math-verify alone, as its own page shows it, is scored beside.
`python -m benchmarks.math_pairs FILE.tsv` scores a file of your own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from math_verify import parse, verify
from rich.console import Console
from rich.table import Table

from benchmarks.formats import wilson
from benchmarks.tell import keep
from rewards.equivalence import equal
from rewards.math import math
from rltrain.types import Completion, Task

LABELS = Path(__file__).parent / "labels"
TABLES = ("math_build", "math_heldout", "math_completions", "math_completions_second", "math_completions_third")
WHOLE = "# expected\tcompletion\t"  # how a file begins whose second column is a completion
LINE_END = "\u23ce"  # in a completion
TARGET = 0.99


class Pair(NamedTuple):
    """Two answers, and whether a person takes them for the same."""

    expected: str
    given: str
    same: bool


def read(path: Path) -> list[Pair]:
    """The pairs of a file; lines that begin with # are headings."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    if odd := [row for row in rows if len(row) != 3 or row[2] not in ("0", "1")]:
        raise ValueError(f"{path.name}: {odd[0]}; expected an answer, another and 0 or 1, with tabs between")
    return [Pair(expected, given.replace(LINE_END, "\n"), same == "1") for expected, given, same in rows]


def score(pairs: Sequence[Pair], judge: Callable[[str, str], bool]) -> dict[str, Any]:
    """Agreement with its 95% interval (Wilson), and what was judged otherwise."""
    wrong = [pair for pair in pairs if judge(pair.given, pair.expected) != pair.same]
    right = len(pairs) - len(wrong)
    return {
        "agreement": right / len(pairs),
        "interval": list(wilson(right, len(pairs))),
        "pairs": len(pairs),
        "accepted_wrongly": [f"{pair.expected} | {pair.given}" for pair in wrong if not pair.same],
        "refused_wrongly": [f"{pair.expected} | {pair.given}" for pair in wrong if pair.same],
    }


def rewarded(completion: str, expected: str) -> bool:
    """What the reward says of a whole completion."""
    nothing = np.zeros(0, np.int32)
    said = Completion(nothing, nothing.astype(np.float32), nothing, completion, "stop", 0, "", "")
    score = math(Task("t/0", "t", "structured", (), expected), said)
    assert score is not None, expected
    return score["value"] == 1.0


def alone(given: str, expected: str) -> bool:
    """math-verify without us: both sides parsed as they stand, LaTeX without dollars given dollars."""
    sides = [text if "$" in text or "boxed" in text or "\\" not in text else f"${text}$" for text in (expected, given)]
    gold, target = (parse(side) for side in sides)
    return bool(verify(gold, target))


def main(arguments: Sequence[str]) -> None:
    """Score the files and print what was judged otherwise."""
    files = [Path(name) for name in arguments] or [LABELS / f"{name}.tsv" for name in TABLES]
    found: dict[str, Any] = {}
    table = Table("file", "pairs", "math", "95% interval", "math-verify alone", title=f"agreement, target {TARGET:.0%}")
    for file in files:
        pairs = read(file)
        judge = rewarded if file.read_text(encoding="utf-8").startswith(WHOLE) else equal
        ours, theirs = score(pairs, judge), score(pairs, alone)
        found[file.stem] = {"math": ours, "math_verify": theirs}
        low, high = ours["interval"]
        cells = f"{ours['agreement']:.1%}", f"{low:.1%} to {high:.1%}", f"{theirs['agreement']:.1%}"
        table.add_row(file.stem, str(len(pairs)), *cells)
        for kind in ("accepted_wrongly", "refused_wrongly"):
            for pair in ours[kind]:
                print(f"{kind}: {pair}")
    Console().print(table)
    if not arguments:
        keep("math_pairs", found)


if __name__ == "__main__":
    main(sys.argv[1:])
