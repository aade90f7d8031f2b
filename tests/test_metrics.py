"""The metric table: complete, immutable, and the page made from it current."""

from pathlib import Path

import pytest

from rltrain.metrics import AREAS, METRICS, area, markdown, stem, undeclared

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


def test_every_metric_says_what_it_is():
    for name, metric in METRICS.items():
        assert name == metric.stem and name.count("/") == 1 and "@" not in name, name
        assert all(part.strip() for part in metric), name
        assert area(name) in AREAS, name


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
