"""The metric table: complete, immutable, and the page made from it current."""

import re
from pathlib import Path

import pytest

from rltrain.metrics import AREAS, METRICS, area, markdown, stem, undeclared

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "metrics.md"


def test_every_metric_says_what_it_is():
    for name, metric in METRICS.items():
        assert name == metric.stem and name.count("/") == 1 and "@" not in name, name
        assert all(part.strip() for part in metric[:-1]), name
        assert area(name) in AREAS, name


def test_an_estimate_names_what_counts_its_sample():
    """The rest are counts themselves, settings of the trainer, times, or numbers of the loop that nothing samples."""
    counts = {count for metric in METRICS.values() for count in metric.sample}
    assert counts <= set(METRICS)
    units = {METRICS[count].unit for count in counts}
    assert units == {"completions", "tokens", "prompts", "groups", "steps", "phrases"}
    areas = {"reward", "drift", "entropy", "plan", "phase", "ppl", "format", "shortcut", "length", "continuous"}
    areas |= {"infogain", "interference", "eval"}
    without = {name for name, m in METRICS.items() if area(name) in areas and not m.sample and name not in counts}
    assert without == {
        "reward/failed", "drift/lag", "entropy/nonfinite_tokens", "plan/distinct_grams",
        "interference/cosine", "interference/gap",  # of a pair, each with a count of its own; and a count of steps
    }  # fmt: skip


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        METRICS["x/y"] = None
    with pytest.raises(AttributeError):
        METRICS["reward/mean"].unit = "apples"


def test_names_with_a_class_belong_to_their_stem():
    assert stem("reward/mean@chain_sum") == "reward/mean"
    assert stem("eval/pass_at@8") == "eval/pass_at"
    assert undeclared(["step", "reward/mean@a@b", "loss/totl", "loss/totl", "x"]) == ["loss/totl", "x"]


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: python -m rltrain.metrics > docs/metrics.md"


def source() -> str:
    """All code but the table and what draws it."""
    files = (path for room in ("rltrain", "curricula", "diagnostics") for path in (ROOT / room).rglob("*.py"))
    return "\n".join(path.read_text() for path in files if not {"metrics", "report"} & set(path.parts))


def test_a_part_of_the_time_is_a_stage_of_a_run():
    stages = set(re.findall(r"stages?\(\"(\w+)\"\)", source()))
    declared = {name.removeprefix("time/").removesuffix("_s") for name in METRICS if area(name) == "time"}
    assert stages <= declared
    assert declared - stages == {"step", "write", "gradients"}  # the whole, and two that are measured otherwise


def test_no_metric_is_declared_that_nothing_measures():
    code = source().lower()
    parts = {name: name.partition("/")[2].removesuffix("_s") for name in METRICS if name not in code}
    assert [name for name, part in parts.items() if not re.search(rf"\b{part}\b", code)] == []
