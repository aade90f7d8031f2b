"""How long the traces are, against how hard the tasks are: a table and a picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rltrain.records import jsonl

if TYPE_CHECKING:
    from rltrain.augment.work import Journal

BINS = 6  # rows of the table where there are more levels


class Entry(NamedTuple):
    """A trace that was judged."""

    task: str
    level: float | None
    outcome: float | None
    words: int
    reason: str | None  # None: it was kept


class Row(NamedTuple):
    """Traces of tasks that are about as hard."""

    low: float
    high: float
    prompts: int
    traces: int
    kept: list[int]  # words of each

    @property
    def label(self) -> str:
        """The levels it holds."""
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


def entries(journal: Journal) -> list[Entry]:
    """All that was judged so far."""
    return [
        Entry(row["id"], row.get("level"), row.get("outcome"), row["words"], row.get("reason"))
        for path in (journal.kept, journal.left_out)
        for row in jsonl.read(path)
    ]


def tell(found: Sequence[Entry], out: Path) -> None:
    """Print the table and the counts, and draw the picture beside the file."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    reasons = Counter(entry.reason.split(":")[0] for entry in found if entry.reason)
    kept = sum(entry.reason is None for entry in found)
    told = "; ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    console.print(
        f"{kept:,} of {len(found):,} traces kept in {out}" + (f" (left out: {told})" if told else ""), soft_wrap=True
    )
    what, hardness = difficulty(found)
    if not (rows := by_difficulty(found, hardness)):
        console.print("no level is known and nothing was judged, so length is not told against difficulty")
        return
    table = Table(what, "prompts", "traces", "kept", "words, median", title="trace length against difficulty")
    for row in rows:
        length = f"{median(row.kept):g}" if row.kept else "-"
        table.add_row(row.label, str(row.prompts), str(row.traces), str(len(row.kept)), length)
    console.print(table)
    rank = correlation([(hardness[e.task], e.words) for e in found if e.reason is None and e.task in hardness])
    console.print(f"rank correlation of {what} and length (Spearman): {'-' if rank is None else f'{rank:.2f}'}")
    picture = out.with_suffix(".html")
    draw(rows, what, picture)
    console.print(f"picture {picture}", soft_wrap=True)


def difficulty(found: Sequence[Entry]) -> tuple[str, dict[str, float]]:
    """What stands for difficulty, and task -> its value: the level where all have one, else the share wrong."""
    if found and all(entry.level is not None for entry in found):
        return "level", {entry.task: float(entry.level or 0.0) for entry in found}
    judged: dict[str, list[float]] = {}
    for entry in found:
        if entry.outcome is not None:
            judged.setdefault(entry.task, []).append(1.0 - entry.outcome)
    return "share wrong", {task: sum(wrong) / len(wrong) for task, wrong in judged.items()}


def by_difficulty(found: Sequence[Entry], hardness: dict[str, float]) -> list[Row]:
    """A row a level, or BINS rows with about as many tasks each where there are more levels."""
    values = sorted(set(hardness.values()))
    if not values:
        return []
    if len(values) > BINS:
        order = sorted(hardness.values())
        cuts = sorted({order[round(i * (len(order) - 1) / BINS)] for i in range(BINS)})
    else:
        cuts = values
    rows = []
    for low, above in zip(cuts, [*cuts[1:], math.inf], strict=True):
        tasks = {task: value for task, value in hardness.items() if low <= value < above}
        traces = [entry for entry in found if entry.task in tasks]
        kept = [entry.words for entry in traces if entry.reason is None]
        rows.append(Row(low, max(tasks.values()), len(tasks), len(traces), kept))
    return rows


def correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where one side does not vary."""
    if len({x for x, _ in pairs}) < 2 or len({y for _, y in pairs}) < 2:
        return None
    ranks = [_ranks(np.array(side, float)) for side in zip(*pairs, strict=True)]
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values_N: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def draw(rows: Sequence[Row], what: str, path: Path) -> None:
    """A box a row: the kept traces' lengths. One self-contained HTML file."""
    import plotly.graph_objects as go

    boxes: list[Any] = [go.Box(y=row.kept, name=row.label, marker_color="#1f77b4", showlegend=False) for row in rows]
    layout = {"template": "simple_white", "title": "Trace length against difficulty"}
    figure = go.Figure(boxes, layout | {"xaxis_title": what, "yaxis_title": "words of a trace"})
    figure.update_xaxes(type="category")
    figure.update_yaxes(rangemode="tozero")
    figure.write_html(path, include_plotlyjs=True)
