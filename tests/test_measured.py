"""The tables of docs/curricula.md are those of the committed results, to the last figure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/curricula.md").read_text(encoding="utf-8").partition("\n## Measured\n")[2]
Rows = Iterator[tuple[str, ...]]


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))


def shown(name: str) -> list[tuple[str, ...]]:
    """Rows of the tables under the bold lead (or the sentence) that names this benchmark."""
    (section,) = [part for part in re.split(r"\n\n(?=\*\*|Cold start on|By hit rate)", PAGE) if f"`{name}" in part]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if "|" in line]
    ruled = [i for i, row in enumerate(rows) if set("".join(row)) == {"-"}]
    return [row for i, row in enumerate(rows) if i not in ruled and i + 1 not in ruled]


def span(low: float, high: float, places: int = 2) -> str:
    return f"{low:.{places}f} to {high:.{places}f}"


def gain(cells: Mapping[str, Any]) -> Rows:
    for name, cell in cells.items():
        kind, skills = re.fullmatch(r"(\w+), (\d+) skill\(s\)", name).groups()
        yield kind, skills, f"{cell['ratio']:.2f}", span(cell["low"], cell["high"])


def gain_of_the_transformer(cells: Mapping[str, Any]) -> Rows:
    for name, cell in cells.items():
        if name == "before":
            continue
        means = [f"{np.mean(cell['completions'][one]):,.0f}" for one in ("uniform", "difficulty")]
        yield *name.split(", "), *means, f"{cell['ratio']:.2f}", span(cell["low"], cell["high"])


def harm(cells: Mapping[str, Any]) -> Rows:
    for name, cell in cells.items():
        if "control" in cell:
            mean, *ends = cell["control"]
            yield name, f"{mean:.3f}", span(*ends, 3)
    for label, scale in (("mean-only", "none"), ("group standard deviation", "group")):
        yield label, *(steps(cells[f"cold start, {scale}{guard}"]) for guard in GUARDS)


GUARDS = ("", ", guard", ", strict guard")


def steps(cell: Mapping[str, Any]) -> str:
    mean, low, high = cell["steps"]
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def cold(cells: Mapping[str, Any]) -> Rows:
    for label, scale in (("mean-only", "mean-only"), ("group standard deviation", "group std")):
        yield label, *(steps(cells[f"{scale}{guard}"]) for guard in GUARDS)


def harm_of_the_transformer(cells: Mapping[str, Any]) -> Rows:
    for name, cell in cells.items():
        mean, *ends = cell["control"]
        yield name, f"{mean:.2f}", span(*ends), f"{cell['guesses'][0]:.2f}"


def rates_of_the_transformer(cells: Mapping[str, Any]) -> Rows:
    for rate in dict.fromkeys(name.partition(": ")[0] for name in cells if ": " in name):
        found = [cell["control"] for name, cell in cells.items() if name.startswith(f"{rate}: ")]
        yield rate, *(f"{mean:.2f} ({span(*ends)})" for mean, *ends in found)


def order(cells: Mapping[str, Any]) -> Rows:
    def brackets(cell: Mapping[str, Any], figure: str) -> str:
        return f"{cell[figure][0]:.2f} ({span(*cell[figure][1:])})" if figure in cell else ""

    for name, cell in cells.items():
        if name != "transfer":
            ends = [brackets(cell, figure) for figure in ("structured", "creative", "kept of the first")]
            yield name, *ends, f"{cell['entropy'][0]:.2f}", brackets(cell, "forecast error")


def calibration(cells: Mapping[str, Any]) -> Rows:
    for name, cell in cells.items():
        back = f"{cell['within_promise']:.0%} of {cell['released']}" if cell["released"] else "none was there"
        figures = f"{cell['bias']:+.3f}", f"{cell['calibration_error']:.3f}"
        yield name.replace("_", " "), *figures, back, str(cell["undecided_at_end"])


def rare(cells: Mapping[str, Any]) -> Rows:
    for width, runs in cells.items():
        yield width, *(f"{np.mean([run[way] for run in runs]):.2f}" for way in ("gap 100", "gap 1", "gap 1, floor 4"))


@pytest.mark.parametrize(
    ("lead", "name", "key", "rows"),
    [
        ("curriculum_gain`", "curriculum_gain", "cells", gain),
        ("curriculum_harm`", "curriculum_harm", "cells", harm),
        ("curriculum_transformer --only harm`", "curriculum_transformer_harm", "cells", harm_of_the_transformer),
        ("--only rates`", "curriculum_transformer_rates", "cells", rates_of_the_transformer),
        ("--only cold`", "curriculum_transformer_cold", "cells", cold),
        ("curriculum_transformer --only gain`", "curriculum_transformer_gain", "cells", gain_of_the_transformer),
        ("curriculum_order`", "curriculum_order", "cells", order),
        ("curriculum_calibration`", "curriculum_calibration", "cells", calibration),
        ("curriculum_rare`", "curriculum_rare", "kept", rare),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("curriculum") else "",
)
def test_the_tables_are_those_of_the_results(lead, name, key, rows):
    assert shown(lead) == list(rows(read(name)[key]))


def test_the_widths_a_rare_task_survives_from():
    text = " ".join(PAGE.split())
    survival = read("curriculum_rare")["survival"]
    for factor, sentence in (("1", "from width {} (formula {})"), ("2", "from {} ({})"), ("4", "from {} ({})")):
        low, high = min(survival[factor]["measured"]), max(survival[factor]["measured"])
        widths = str(low) if low == high else f"{low} to {high}"
        assert sentence.format(widths, survival[factor]["formula"]) in text


def test_a_million_prompts_cost_what_the_page_says():
    found = read("curriculum_scale")
    clock, work = found["batch_ms"], found["batch_cpu_ms"]
    text = " ".join(PAGE.partition("**A million prompts**")[2].split())
    for said in (f"takes {clock['median']:.1f} ms by the clock in the median and {clock['p95']:.1f} ms in the 95th",
                 f"processor's time {work['median']:.1f} ms and {work['p95']:.1f} ms",
                 f"{found['state_mb']:.0f} MB", f"in {found['save_s']:.1f} s"):  # fmt: skip
        assert said in text, said
