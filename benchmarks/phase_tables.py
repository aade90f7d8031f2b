"""Tables and the reliability plot of `benchmarks.phase_simulation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def show(name: str, figures: Mapping[str, Any]) -> None:
    """Print one family."""
    console = Console(width=160)
    null = Table("cell", "runs", "false alarms", "90% bound", "watched", "online, ever", "90% bound")
    for cell, row in {**figures["null"], "all": figures["null_total"]}.items():
        null.add_row(
            cell,
            f"{row['runs']}",
            f"{row['rate']:.1%}",
            f"{row['rate_high']:.1%}",
            f"{row['watched']}",
            f"{row['online_rate']:.1%}",
            f"{row['online_rate_high']:.1%}",
        )
    console.print(f"\n[bold]{name}[/]: {figures['runs']} runs; no phase", null)
    heads = (
        "runs",
        "missed",
        "oracle",
        "error",
        "oracle",
        "ratio",
        "told",
        "ratio",
        "covered",
        "width",
        "online missed",
        "delay",
        "agrees",
    )
    phase = Table("cell", *heads)
    rows = {f"rise / noise {float(k):g}": v for k, v in figures["by_rise"].items()}
    rows |= {f"{k}, from 3 on": v for k, v in figures["from_3_on_by_cell"].items()}
    for cell, row in {**rows, "all from 3 on": figures["from_3_on"]}.items():
        phase.add_row(
            cell,
            f"{row['runs']}",
            f"{row['missed']:.1%}",
            f"{row['oracle_missed']:.1%}",
            *(number(row[key]) for key in ("error", "oracle_error", "ratio", "oracle_width_error", "ratio_width")),
            "-" if row["coverage"] is None else f"{row['coverage']:.1%}",
            number(row["interval_width"]),
            f"{row['online_missed']:.1%}",
            number(row["delay"]),
            f"{row['online_agrees']:.1%}",
        )
    console.print(
        "with a phase (missed beside what the oracle misses that is told all; error, the oracle's, that of the one told"
        " the width, interval width, delay: in steps)",
        phase,
    )
    said = ("consolidating", "planning", "stalled", "undecided")
    states = Table("truth", *said)
    for truth, row in figures["states_by_truth"].items():
        states.add_row(truth, *(f"{row.get(state, 0):.1%}" for state in said))
    console.print("what was said, looking back", states)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def plot(rows: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Said against was, one line a family; the area of a point is its number of runs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 5), dpi=120)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="as it should be")
    for name, found in rows.items():
        colour = {"build": "tab:blue", "unseen": "tab:orange"}[name]
        said, was = [row["said"] for row in found], [row["was"] for row in found]
        axes.plot(said, was, color=colour, label=f"generators: {name}")
        axes.scatter(said, was, s=[3 + row["runs"] / 5 for row in found], color=colour, alpha=0.5)
    axes.set(
        xlabel="probability of a phase 2, as stated", ylabel="share of runs with one, at even odds", aspect="equal"
    )
    axes.legend(loc="upper left", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
