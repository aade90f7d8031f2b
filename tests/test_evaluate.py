"""Held-out evaluation: the figures that a run records."""

import dataclasses

import pytest

from rltrain import evaluate
from tests import synthetic


def formed(number, row, forms, source="sums"):
    return dataclasses.replace(synthetic.group(number, row, source), formats=forms)


def test_outcome_pass_rates_and_forms():
    groups = [formed(0, (0.0, 1.0), ("prose", "json")), formed(1, (1.0, 1.0), ("prose", "prose"), source="haiku")]
    found = evaluate.summarize(groups)
    assert found["eval/outcome"] == pytest.approx(0.75)
    assert (found["eval/outcome@sums"], found["eval/outcome@haiku"]) == (0.5, 1.0)
    assert (found["eval/pass_at@1"], found["eval/pass_at@2"]) == (0.75, 1.0)
    assert (found["eval/format_share@prose"], found["eval/format_share@json"]) == (0.75, 0.25)


def test_how_far_the_forms_went_from_those_of_the_start():
    before = evaluate.form_shares([formed(0, (0.0, 1.0), ("prose", "json")), formed(1, (1.0, 1.0), ("prose", "prose"))])
    after = evaluate.form_shares([formed(0, (0.0, 1.0), ("json", "table"))])
    assert before == {"prose": 0.75, "json": 0.25} and evaluate.form_distance(before, before) == 0.0
    assert evaluate.form_distance(after, before) == evaluate.form_distance(before, after) == 0.75


def test_a_failed_score_did_not_pass():
    found = evaluate.summarize([formed(0, (None, 1.0), ("prose", "prose"))])
    assert found["eval/outcome"] == 0.5


def test_nothing_judged_is_no_figure():
    assert evaluate.summarize([]) == {}


def test_the_paired_difference_needs_a_common_prompt():
    with pytest.raises(ValueError, match="no prompt in common"):
        evaluate.paired_difference({"a": [1.0]}, {"b": [1.0]})
