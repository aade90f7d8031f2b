"""The tables of docs/formats-and-shortcuts.md are those of the committed results, to the last figure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/formats-and-shortcuts.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
Figures = Mapping[str, Any]

ROWS = {  # what the page calls a run: what the benchmark does
    "bandit": {
        "bandit, no KL": "no KL",
        "bandit, KL 0.01": "KL 0.01",
        "bandit, KL 0.1": "KL 0.1",
        "bandit, less accurate form rewarded": "less accurate form rewarded",
        "bandit, equal accuracies": "control: equal accuracies",
    },
    "planted": {
        "planted, at once, 32 x 16 a step": "planted, at once, 32 x 16 a step",
        "planted, ramp of 10 steps, 32 x 16": "planted, ramp of 10, 32 x 16 a step",
        "planted, ramp of 40 steps, 32 x 16": "planted, ramp of 40, 32 x 16 a step",
        "planted, at once, 8 x 8 a step": "planted, at once, 8 x 8 a step",
        "planted, ramp of 20 steps, 8 x 8": "planted, ramp of 20, 8 x 8 a step",
        "planted, at once, 4 x 16 a step": "planted, at once, 4 x 16 a step",
        "planted, ramp of 20 steps, 4 x 16": "planted, ramp of 20, 4 x 16 a step",
    },
    "transformer": {
        "transformer, no KL": "transformer, no KL",
        "transformer, KL 0.05": "transformer, KL 0.05",
        "transformer, KL 0.2": "transformer, KL 0.2",
        "transformer, equal accuracies": "transformer, control: equal accuracies",
    },
}
WRONG = {"less accurate form rewarded": "rightly"}


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))


COLLAPSE = {bed: read(f"format_collapse_{bed}")["cells"] for bed in ROWS}
PLANTED = COLLAPSE["planted"]


def shown() -> Iterator[tuple[str, ...]]:
    """The rows of all tables of the page, without bold."""
    for line in PAGE.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield tuple(cell.strip().replace("**", "") for cell in line.strip("|").split("|"))


SHOWN = set(shown())


def quartiles(of: list[float] | None) -> str:
    return " ".join(f"{value:.0f}" for value in of or ())


def within(cell: Figures) -> str:
    """As a share, or as a count where the runs are few."""
    if cell["alarm_within"] is None:
        return ""
    both = cell["alarms"] - cell["false_alarms"]
    told = f"{cell['alarm_within']:.0%}" if cell["runs"] > 5 else f"{cell['alarm_within'] * both:.0f} of {both}"
    return told if cell["oracle_within"] is None else f"{told} ({cell['oracle_within']:.0%})"


def collapse_row(name: str, bed: str, cell: Figures) -> tuple[str, ...]:
    onset = f", at {cell['true_onset']:.0f}" if cell["true_onset"] else ""
    share = f" (share {cell['share']:.2f})".replace("0.", ".") if name == "bandit, KL 0.1" else ""
    wrong = f"{cell['wrong_winner']} of {cell['runs']}, {WRONG.get(ROWS[bed][name])}" if cell["wrong_winner"] else "0"
    return (
        name,
        f"{cell['collapsed']} of {cell['runs']}{onset}{share}",
        f"{cell['alarms']}, {cell['false_alarms']}, {cell['missed']}",
        f"{cell['effective']:.2f}",
        quartiles(cell["alarm_lateness"]),
        within(cell),
        wrong,
    )


def test_every_collapse_is_told_as_the_page_says():
    expected = {collapse_row(name, bed, COLLAPSE[bed][of]) for bed, rows in ROWS.items() for name, of in rows.items()}
    assert expected - SHOWN == set()


def test_what_is_said_of_all_planted_runs():
    short = [cell for name, cell in PLANTED.items() if "0.80" in name or "0.85" in name]
    taken = [cell for cell in PLANTED.values() if cell["collapsed"]]
    assert sum(cell["false_alarms"] for cell in short) == sum(cell["wrong_winner"] for cell in taken) == 0
    assert f"raised no alarm in {sum(cell['runs'] for cell in short)} runs" in TEXT
    assert f"none of the {sum(cell['runs'] for cell in taken)} planted takeovers" in TEXT
    for batches, said in ((("32 x 16",), "{} of {} runs with 512"), (("8 x 8", "4 x 16"), "{} of {} with 64")):
        cells = [cell for name, cell in PLANTED.items() if "0.88" in name and any(batch in name for batch in batches)]
        assert said.format(sum(c["false_alarms"] for c in cells), sum(c["runs"] for c in cells)) in TEXT


def test_shares_that_stop_short():
    def false(level: str, way: str, batch: str) -> str:
        return str(PLANTED[f"planted, {way} to 0{level} and no further, {batch} a step"]["false_alarms"])

    kinds = [(way, batch) for batch in ("32 x 16", "8 x 8", "4 x 16") for way in ("at once", "ramp of 30")]
    expected = {(level, *(false(level, *kind) for kind in kinds)) for level in (".80", ".85", ".88")}
    assert expected - SHOWN == set()


def test_prompts_that_differ():
    expected = set()
    for batch in ("8 x 8", "4 x 16", "1 x 16", "1 x 8"):
        cell = PLANTED[f"planted, prompts differ, at once, {batch} a step"]
        false = [
            str(PLANTED[f"planted, prompts differ, at once to {level} and no further, {batch} a step"]["false_alarms"])
            for level in ("0.85", "0.80")
        ]
        late, off = quartiles(cell["alarm_lateness"]), quartiles(cell["onset_error"])
        expected.add((batch, f"{cell['alarms']} of {cell['runs']}", late, off, *false))
    assert expected - SHOWN == set()


def test_takeovers_among_the_first_steps():
    expected = set()
    for after in (2, 1):
        for batch in ("32 x 16", "8 x 8", "4 x 16"):
            cell = PLANTED[f"planted, from .30 after step {after}, {batch} a step"]
            told = f"{cell['alarms'] - cell['false_alarms']} of {cell['collapsed']}"
            late, off = quartiles(cell["alarm_lateness"]), quartiles(cell["onset_error"])
            expected.add((str(after), batch, told, late, off))
    assert expected - SHOWN == set()


def test_the_shortcut_toy():
    names = {
        "hard prompts only": "hard only",
        "95% hard": "95% hard",
        "hard only, mean-only advantages": "hard only, mean-only advantages",
        "clean: easy only": "clean: easy only",
        "clean: half hard": "clean: half hard",
        "clean: the shortcut never better": "clean: shortcut never better",
    }
    cells, expected = read("shortcut_toy")["cells"], set()
    for name, of in names.items():
        cell = cells[of]
        harmed = f"{cell['harmed']} of {cell['runs']}" + (f", {cell['harm_step']:.0f}" if cell["harmed"] else "")
        in_time, skipping = (
            f"{cell[key]} of {cell['harmed']}" if cell["harmed"] else "" for key in ("in_time", "skipping_in_time")
        )
        if not cell["with_alarm"]:
            in_time = f"no alarm in {cell['runs']}"
        fired = sorted(cell["by_detector"].items(), key=lambda one: one[1][1])
        detectors = ", ".join(
            f"{detector} {step:.0f}" + (f" ({runs} runs)" if runs < cell["runs"] else "")
            for detector, (runs, step) in fired
        )
        expected.add((name, f"{cell['control_at_end']:.3f}".lstrip("0"), harmed, in_time, skipping, detectors))
    assert expected - SHOWN == set()


def test_the_classifier():
    found = read("formats")["files"]["formats_heldout"]
    low, high = found["interval"]
    assert f"Agreement **{found['accuracy']:.3f}** (95% interval {low:.3f} to {high:.3f}; target 0.95)" in TEXT
    assert f"{found['completions']} completions held out" in TEXT
    assert f"on the building half {read('formats')['files']['formats_build']['accuracy']:.3f}" in TEXT
