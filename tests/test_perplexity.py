"""Perplexity relative to the start: by hand, over a resume, per source, and with numbers that are none."""

import dataclasses
import math

import numpy as np
import pytest
from synthetic import group, record

from diagnostics.perplexity import PerplexityDiagnostic, logprob_sums
from diagnostics.taggers import LexiconTagger
from rltrain.metrics import undeclared
from rltrain.types import Diagnostic, StepRecord


def step(number=1, *groups, planning=-1.0, execution=-0.5):
    """A step whose planning tokens have one log-probability and whose execution tokens another."""
    made = record(number, *groups)
    for g in made.groups:
        for i in range(len(g.completions) if g.admitted else 0):
            made.tokens[g.ticket, i].train_logprob[:] = np.where(g.planning[i], planning, execution)
    return made


def diagnostic(**arguments):
    return PerplexityDiagnostic(**{"min_planning_tokens": 4} | arguments)


def test_the_start_is_one_and_what_follows_is_relative_to_it():
    ppl = diagnostic()
    first, second = ppl.observe(step(1)), ppl.observe(step(2, planning=-0.8, execution=-0.1))
    assert first["ppl/planning_rel"] == first["ppl/execution_rel"] == 1.0
    assert second["ppl/planning_rel"] == pytest.approx(math.exp(0.8) / math.exp(1.0), abs=1e-6)
    assert second["ppl/execution_rel"] == pytest.approx(math.exp(0.1) / math.exp(0.5), abs=1e-6)
    assert second["ppl/planning_logprob"] == pytest.approx(-0.8) and second["ppl/planning_tokens"] == 4
    assert second["ppl/execution_logprob@sums"] == pytest.approx(-0.1)


def test_each_source_has_its_own_start():
    ppl = diagnostic()
    ppl.observe(step(1))
    late = ppl.observe(step(2, group(1), group(2, source="haiku"), planning=-0.5))
    assert late["ppl/planning_rel@haiku"] == 1.0
    assert late["ppl/planning_rel@sums"] == pytest.approx(math.exp(-0.5))


def test_a_start_grows_until_it_has_tokens_enough():
    ppl = diagnostic(min_planning_tokens=6)
    assert "ppl/planning_rel" not in ppl.observe(step(1, planning=-1.0))  # 4 planning and 6 execution tokens
    assert ppl.observe(step(1, execution=-0.1))["ppl/execution_rel"] == pytest.approx(math.exp(-0.4))
    full = ppl.observe(step(2, group(1), group(2), planning=-3.0))
    assert full["ppl/planning_rel"] == pytest.approx(math.exp(3.0 - 1.0))  # the start was full after two steps


def test_too_few_tokens_and_nothing_is_related():
    ppl = diagnostic(min_planning_tokens=5)
    ppl.observe(step(1)), ppl.observe(step(2))
    metrics = ppl.observe(step(3))
    assert "ppl/planning_rel" not in metrics and metrics["ppl/planning_tokens"] == 4
    assert metrics["ppl/execution_rel"] == 1.0


def test_numbers_that_are_none_do_not_count():
    broken = step(1)
    broken.tokens[0, 0].train_logprob[:] = [np.nan, -1.0, -np.inf, np.inf, -0.5]
    metrics = diagnostic().observe(broken)
    assert (metrics["ppl/planning_tokens"], metrics["ppl/execution_tokens"]) == (3, 4)
    assert all(math.isfinite(value) for value in metrics.values())
    far = diagnostic()
    far.observe(step(1, planning=-1e-3))
    assert math.isfinite(far.observe(step(2, planning=-1e30))["ppl/planning_rel"])


@pytest.mark.parametrize("empty", [StepRecord(1, (), {}, {}), step(1, group(1, admitted=False))])
def test_nothing_trained_is_nothing_said(empty):
    assert diagnostic().observe(empty) == {}


def test_untrained_completions_are_left_out():
    made = step(1)
    without = dataclasses.replace(made, tokens={key: value for key, value in made.tokens.items() if key[1] == 0})
    assert logprob_sums(without)["sums"].tolist() == [[-2.0, 2.0], [-1.5, 3.0]]


def test_a_resumed_run_has_the_same_curve():
    whole, before, after = diagnostic(), diagnostic(), diagnostic()
    steps = [step(i, planning=-1 / i, execution=-0.5 / i) for i in range(1, 7)]
    expected = [whole.observe(s) for s in steps]
    begun = [before.observe(s) for s in steps[:3]]
    after.load_state_dict(before.state_dict())
    assert begun + [after.observe(s) for s in steps[3:]] == expected
    assert after.events() == []


def test_other_phrases_begin_a_new_start_and_say_so(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("wir suchen\n")
    before, after = diagnostic(tagger=LexiconTagger()), diagnostic(tagger=LexiconTagger(path))
    before.observe(step(1))
    after.load_state_dict(before.state_dict())
    assert after.observe(step(8, planning=-0.1))["ppl/planning_rel"] == 1.0
    [event] = after.events()
    assert (event.step, event.name, event.severity) == (8, "perplexity_restarted", "warning")
    assert event.evidence["hash_before"] == LexiconTagger().hash != event.evidence["hash_now"]
    assert after.events() == []


def test_everything_said_is_declared_and_shown():
    ppl = diagnostic()
    assert isinstance(ppl, Diagnostic)
    assert not undeclared(ppl.observe(step(1)))
    assert not undeclared(stem for panel in ppl.panels for stem in panel.metrics)


def test_a_bad_argument_is_named():
    with pytest.raises(ValueError, match="min_planning_tokens 0"):
        PerplexityDiagnostic(min_planning_tokens=0)
