"""The tables of docs/phases.md are those of the committed results, to the last figure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from diagnostics.phase.detector import DIVERSITY, NAMES, retrospective

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/phases.md").read_text(encoding="utf-8")
Figures = Mapping[str, Any]


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))


SIMULATED = read("phase_simulation")["families"]


def tables() -> Iterator[tuple[str, ...]]:
    """The rows of all tables of the page, without bold."""
    for line in PAGE.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield tuple(cell.strip().replace("**", "") for cell in line.strip("|").split("|"))


SHOWN = {name: cells for name, *cells in tables()}
DIFFERENCES = [cells for name, *cells in tables() if name == "difference, paired 95%"]


def percents(of: Mapping[str, Figures], key: str, *rises: str, join: str = "; ") -> str:
    return join.join(f"{of[rise][key]:.1%}" for rise in rises)


@pytest.mark.parametrize(("column", "family"), [(1, "build"), (2, "unseen")])
def test_the_simulated_runs(column, family):
    of = SIMULATED[family]
    null, all_null, rises, late = of["null"], of["null_total"], of["by_rise"], of["from_3_on"]
    worst, rate = max(((name, cell["rate"]) for name, cell in null.items()), key=lambda one: one[1])
    going = max(cell["online_rate"] for cell in null.values())
    expected = {
        "false alarms looking back, all null runs": f"{all_null['rate']:.1%} of {all_null['runs']:,}",
        "the same, worst cell (200 runs each)": f"{rate:.1%}: {worst}",
        "false alarms on the way, all null runs": f"{all_null['online_rate']:.1%} of {all_null['watched']:,}",
        "missed at a rise of 3, 5, 10 together": f"{late['missed']:.1%}",
        "missed at 3; at 5; at 10": percents(rises, "missed", "3.0", "5.0", "10.0"),
        "not called at 1; at 2": percents(rises, "missed", "1.0", "2.0"),
        "missed at 1; 2; 3 by a test that is told course and noise, 2% false alarms":
            percents(rises, "oracle_missed", "1.0", "2.0", "3.0"),
        "onset, mean error / that of least squares with the shape known, from 3 on":
            f"{late['error']:.2f} / {late['oracle_error']:.2f} = {late['ratio']:.2f}",
        "the same at 3; at 5; at 10": "; ".join(f"{rises[rise]['ratio']:.2f}" for rise in ("3.0", "5.0", "10.0")),
        "the same, width of the rise known too":
            f"{late['error']:.2f} / {late['oracle_width_error']:.2f} = {late['ratio_width']:.2f}",
        "90% interval covers the onset, from 3 on": f"{late['coverage']:.1%}",
        "the same at 10": f"{rises['10.0']['coverage']:.1%}",
        "mean width of the interval, from 3 on": f"{late['interval_width']:.1f} steps",
        "first call behind the onset, median, from 3 on": f"{late['delay']:.0f} steps",
        "called on the way just as in the end, from 3 on": f"{late['online_agrees']:.1%}",
    }  # fmt: skip
    assert {name: SHOWN[name][column] for name in expected} == expected
    assert SHOWN["the same, worst cells (100 runs each)"][column].startswith(f"{going:.0%}")
    assert f"{of['runs']:,} are of" in PAGE


def test_what_it_costs():
    text = " ".join(PAGE.split())
    runs = {run["rows"]: run for run in read("diagnose_scale")["runs"]}
    small, million, ten = (runs[rows]["peak_gb"] for rows in (20_000, 1_000_000, 10_000_000))
    assert (
        f"20,000 completions takes {small:.2f} GB at most" in text and f"all per-token arrays) {million:.2f} GB" in text
    )
    assert f"one of ten million {ten:.2f} GB and {runs[10_000_000]['cpu_s'] / 60:.0f} minutes" in text
    spent = [run["seconds"] for run in read("two_phase")["runs"]]
    inside = f"{read('20261124-080519')['figures']['diagnostics_share']:.2%} of"
    assert inside in text and inside in (ROOT / "docs/reading-a-run.md").read_text(encoding="utf-8")
    assert f"took {sum(sum(of.values()) for of in spent) / 60:.1f} minutes on two cores" in text


def test_what_taking_gradients_apart_costs():
    text = " ".join((ROOT / "docs/probes.md").read_text(encoding="utf-8").split())
    first, all_layers = (read("probe_cost")["layers"][name] for name in ("first MLP", "every MLP"))
    share = first["hooks_share"]
    assert f"{first['hooks_s']:.2f} s of a step's {first['step_s']:.1f} s of forward and backward, {share:.1%}" in text
    assert f"{share / 10:.2%} of all at `every: 10`" in text
    assert f"{all_layers['hooks_s']:.1f} s of {all_layers['step_s']:.1f} s" in text
    assert f"{all_layers['beside_plain']:.1f} times as long" in text


STATES = ("consolidating", "planning", "stalled", "undecided")


def test_what_was_said_against_what_moved():
    shown = {
        name: cells for name, *cells in tables() if name in SIMULATED["build"]["states_by_truth"] or "risen by" in name
    }
    for truth in SIMULATED["build"]["states_by_truth"]:
        of = [SIMULATED[family]["states_by_truth"].get(truth) for family in ("build", "unseen")]
        cells = ["; ".join(f"{found.get(state, 0):.1%}" for found in of if found) for state in STATES]
        assert shown[truth.replace("risen, ", "risen by ")] == cells
    assert len(shown) == len(SIMULATED["build"]["states_by_truth"])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_state_machine(seed):
    run = read("two_phase")["runs"][seed]
    start, end, gap, passed = run["start"], run["end"], run["gap"], run["pass"]
    half, solved = run["half_fall_step"], run["solved_in_any_sample"]
    phase = retrospective(range(1, 1 + len(run["series"][DIVERSITY])), {name: run["series"][name] for name in NAMES})
    plan, execution = "reward/part@solved/plan", "reward/part@solved/execution"

    def course(name: str) -> str:
        return f"{start[name]:.2f} → {end[name]:.2f}"

    expected = {
        "perplexity of execution, first ten steps": f"{run['perplexity_at_start']['execution']:.2f}",
        "perplexity of planning, first ten steps": f"{run['perplexity_at_start']['planning']:.2f}",
        "half of the fall, execution; planning": f"step {half['execution']}; {half['planning']}",
        "entropy of execution, nats": course("entropy/execution"),
        "entropy of planning, nats": course("entropy/planning"),
        "steps with planning above execution (lowest gap)": f"{gap['above']:.1%} ({gap['lowest']:.3f})",
        "actions right; moves right, given the action": f"{course(plan)}; {course(execution)}",
        "solved in some of 256 samples by SFT alone; by GRPO alone": f"{solved['base only']}; {solved['run only']}",
        "label": run["label"],
        "variety of plans": course("plan/variety"),
        "confidence of the last; onset of planning": f"{phase.confidence:.2f}; none",
    }
    for k, difference in zip(("pass@1", "pass@64"), DIFFERENCES, strict=True):
        expected[k] = f"{passed[k]['base']:.3f} → {passed[k]['run']:.3f}"
        assert difference[seed] == "{mean:+.3f} [{low:+.3f}, {high:+.3f}]".format(**passed[k]["difference"])
    assert {name: SHOWN[name][seed] for name in expected} == expected
    assert phase.onset_step is None
    stretches = (f"{part.state} {part.start}\N{EN DASH}{part.end}" for part in phase.segments)
    assert SHOWN["phase, with hindsight"][seed] == ", ".join(stretches)
