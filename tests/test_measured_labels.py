"""The figures of docs/labels.md are those of the committed results."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/labels.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
REPRESENTATIONS = {
    "the words around it (what is used)": "words around (ours)",
    "its own words and those around": "own words and around",
    "its own words": "own words",
    "its own characters": "own characters",
}


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))


def test_the_tagger_s_tables_are_those_of_the_results():
    found, curve = read("tagger")["taggers"]["network"]["agreement"]["planning_heldout"], read("tagger_curve")["curve"]
    for move, (touched, spans, covered, characters) in found["moves"].items():
        assert f"| {move} | {spans - touched} of {spans} | {1 - covered / characters:.0%} |" in PAGE
    for row in curve:
        assert f"| {row['passages']:,} | {row['unseen']:.3f} | {row['building']:.3f} |" in PAGE
    carried = read("tagger_carry")
    low, high = carried["interval"]
    assert f"from {carried['passages']:,} passages, reaches {carried['f1']:.3f} on them" in TEXT
    assert f"(95% interval {low:.3f} to {high:.3f}; the shipped one {carried['shipped']:.3f})" in TEXT
    low, high = found["interval"]
    assert f"its F1 is {found['f1']:.2f} (95% interval {low:.2f} to {high:.2f}" in PAGE
    same = found["written otherwise"]
    assert f"in lower case it marks the same characters to an F1 of {same['lower case']:.3f}, in capitals" in TEXT
    assert f"in capitals of {same['capitals']:.3f}" in TEXT


def test_how_fast_the_tagger_is():
    speed = read("tagger")["taggers"]["network"]["speed"]

    def millions(size: int, at_once: int) -> str:
        return f"{speed[f'{size} characters, {at_once} at once']['tagger'] / 1e6:.2f}"

    assert f"it marks {millions(1000, 8)} and {millions(8000, 8)} million tokens a second in groups of eight" in TEXT
    assert f"**{millions(200, 8)} in groups of eight of 200**" in TEXT
    single = f"{millions(200, 1)} million at 200 characters, {millions(1000, 1)} at 1,000, {millions(8000, 1)} at 8,000"
    assert f"one text at a time {single}" in TEXT


def test_what_mining_finds():
    found = read("gram_mining")
    for said, name in REPRESENTATIONS.items():
        of = (
            found["agreement"][f"{corpus}, whole phrases"] for corpus in ("made solutions", "labelled passages (build)")
        )
        row = " | ".join(f"{mean(one['f1'] for one in corpus[name]):.2f}" for corpus in of)
        assert f"| {said} | {row} |" in PAGE
    robust = found["robustness"]
    whole, worst = mean(one["mean"] for one in robust), min(one["worst"] for one in robust)
    assert f"correlates {whole:.2f} with the whole one (worst draw {worst:.2f})" in TEXT


def test_what_mining_takes():
    for run in read("gram_memory")["runs"]:
        figures = f"{run['peak_gb']:.2f} | {run['cpu_s']:.0f}"
        assert f"| {run['characters']:,} | {run['again']:.0%} | {figures} |" in PAGE
