"""How often the format classifier agrees with labels set by hand: `python -m benchmarks.formats` (a second).

Two files of 160 completions each, labelled after docs/labels.md by two people who saw neither the rules nor
each other's file. The rules were built on `formats_build`; `formats_heldout` was only ever scored.
The target is 0.95 held out. `python -m benchmarks.formats FILE.jsonl` scores a file of your own.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.tell import keep
from diagnostics.formats import FORMATS, RuleFormats
from rltrain.types import FormatClassifier

LABELS = Path(__file__).parent / "labels"
HALVES = ("formats_build", "formats_heldout")
TARGET = 0.95


def read(path: Path) -> list[tuple[str, str]]:
    """(completion, label) of each line."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if unknown := {row["format"] for row in rows} - set(FORMATS):
        raise ValueError(f"{path.name}: labels {sorted(unknown)}; expected one of {', '.join(FORMATS)}")
    return [(row["completion"], row["format"]) for row in rows]


def score(rows: Iterable[tuple[str, str]], classifier: FormatClassifier) -> dict[str, Any]:
    """Accuracy with its 95% interval (Wilson) and what was taken for what."""
    pairs = Counter((label, classifier.format(text)) for text, label in rows)
    total = sum(pairs.values())
    right = sum(n for (label, given), n in pairs.items() if label == given)
    low, high = wilson(right, total)
    mistaken = {f"{label} -> {given}": n for (label, given), n in sorted(pairs.items()) if label != given}
    per_label = {
        name: [pairs[name, name], sum(n for (label, _), n in pairs.items() if label == name)] for name in FORMATS
    }
    return {
        "accuracy": right / total,
        "interval": [low, high],
        "completions": total,
        "mistaken": mistaken,
        "right_of": per_label,
    }


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927)."""
    share, spread = hits / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * (share * (1 - share) / total + spread / (4 * total)) ** 0.5 / (1 + spread)
    return middle - half, min(1.0, middle + half)


def table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a label, one column a file."""
    grid = Table("label", *results, title="format classifier: right of labelled")
    for name in FORMATS:
        grid.add_row(name, *(f"{r['right_of'][name][0]} of {r['right_of'][name][1]}" for r in results.values()))
    grid.add_section()
    grid.add_row(
        "all", *(f"{r['accuracy']:.3f} ({r['interval'][0]:.3f}-{r['interval'][1]:.3f})" for r in results.values())
    )
    return grid


def main(files: Sequence[str]) -> None:
    """Score the files given, or the two halves."""
    paths = [Path(file) for file in files] or [LABELS / f"{name}.jsonl" for name in HALVES]
    results = {path.stem: score(read(path), RuleFormats()) for path in paths}
    Console().print(table(results))
    for name, result in results.items():
        print(f"{name}: label -> given, times: {result['mistaken'] or 'no mistake'}")
    if not files:
        keep("formats", {"target": TARGET, "files": results})


if __name__ == "__main__":
    main(sys.argv[1:])
