"""The picture of `benchmarks.two_phase`: perplexity, entropy, plan diversity, pass@k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PLANNING, EXECUTION, OTHER = "tab:orange", "tab:blue", "tab:green"


def draw(runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line a seed; bands in the third panel are the 90% intervals of onsets, where a phase 2 was called."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, ((perplexity, entropy), (diversity, passed)) = pyplot.subplots(2, 2, figsize=(10, 7), dpi=120)
    for run in runs:
        once = {"label": "_" if run is not runs[0] else None}
        lines(perplexity, run, {"ppl/planning_rel": PLANNING, "ppl/execution_rel": EXECUTION}, once)
        lines(entropy, run, {"entropy/planning": PLANNING, "entropy/execution": EXECUTION}, once)
        lines(diversity, run, {"plan/variety": OTHER}, once)
        if run["phase"]["interval"]:
            diversity.axvspan(*run["phase"]["interval"], color=OTHER, alpha=0.1)
        curves(passed, run["pass"], once)
    perplexity.axhline(0.8, color="0.7", linestyle="--")
    perplexity.set(xlabel="step", ylabel="perplexity relative to the start", ylim=(0, None))
    entropy.set(xlabel="step", ylabel="token entropy, nats", ylim=(0, None))
    diversity.set(xlabel="step", ylabel="variety of plans")
    passed.set(xlabel="k", ylabel="pass@k, held out", xscale="log", ylim=(0, 1.02))
    passed.set_xscale("log", base=2)
    for axes in (perplexity, entropy, diversity, passed):
        axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


def lines(axes: Any, run: Mapping[str, Any], colours: Mapping[str, str], once: Mapping[str, str | None]) -> None:
    """Series of a run against its steps."""
    for name, colour in colours.items():
        values = run["series"][name]
        axes.plot(range(1, 1 + len(values)), values, color=colour, alpha=0.7, linewidth=1, label=once["label"] or name)


def curves(axes: Any, figures: Mapping[str, Any], once: Mapping[str, str | None]) -> None:
    """pass@k of both policies."""
    ks = [int(name.removeprefix("pass@")) for name in figures if name.startswith("pass@")]
    for policy, style, name in (("base", ":", "after SFT"), ("run", "-", "after GRPO")):
        values = [figures[f"pass@{k}"][policy] for k in ks]
        axes.plot(ks, values, style, color=OTHER, marker=".", label=once["label"] or name)
