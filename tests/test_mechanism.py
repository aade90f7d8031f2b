"""The entropy mechanism: finds what was planted, says nothing where there is nothing, survives a restart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import synthetic

from diagnostics.mechanism import EntropyMechanism, covariance_metrics, fit
from diagnostics.student import student_t
from rltrain.metrics import undeclared


def planted(n=60, a=0.25, b=0.95, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    entropy = 1.2 * np.exp(-np.arange(n) / 25) + 0.2
    return entropy, b - a * np.exp(entropy) + noise * rng.standard_normal(n)


def test_the_planted_ceiling_is_found():
    found = fit(*planted(noise=0.0), 12)
    assert (found.a, found.b, found.ceiling) == pytest.approx((0.25, 0.95, 0.70))
    assert found.low == pytest.approx(found.high)


def test_the_interval_covers_the_ceiling_about_as_often_as_it_says():
    found = [fit(*planted(noise=0.03, seed=seed), 12) for seed in range(300)]
    assert all(found)
    covered = np.mean([f.low <= 0.70 <= f.high for f in found])
    assert 0.91 <= covered <= 0.99


def test_nothing_is_said_without_evidence():
    rng = np.random.default_rng(0)
    flat = [fit(1 + 0.05 * rng.standard_normal(60), rng.standard_normal(60), 12) for _ in range(1000)]
    assert sum(found is not None for found in flat) < 45  # 2.5 % by right
    entropy, outcome = planted()
    assert fit(entropy[:8], outcome[:8], 12) is None
    assert fit(entropy, np.full(60, np.nan), 12) is None
    assert fit(np.ones(60), outcome, 12) is None
    assert fit(entropy, -outcome, 12) is None  # reward falls with entropy: not this mechanism


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_outcomes_that_do_not_move_have_no_ceiling(level):
    assert fit(planted()[0], np.full(60, level), 12) is None


def test_a_ceiling_above_every_outcome_is_none():
    entropy = np.linspace(1.2, 1.0, 60)
    noise = 0.01 * np.random.default_rng(2).standard_normal(60)
    assert fit(entropy, 2.2 - 0.6 * np.exp(entropy) + noise, 12) is None  # all outcomes below 0.6, ceiling 1.6
    assert fit(entropy, 1.2 - 0.3 * np.exp(entropy) + noise, 12).ceiling == pytest.approx(0.9, abs=0.1)


def test_covariance_is_numpys():
    rng = np.random.default_rng(1)
    advantage, logp = rng.standard_normal(5000), rng.standard_normal(5000)
    found = covariance_metrics(advantage, logp)
    assert found["entropy/covariance"] == pytest.approx(np.cov(advantage, logp, bias=True)[0, 1], abs=1e-12)
    assert found["entropy/covariance_top"] > found["entropy/covariance"]
    assert covariance_metrics(np.array([np.nan]), np.array([0.0])) == {}


def falling(step: int):
    """A record whose entropy has fallen to e^(-step / 4) of what it was."""
    record = synthetic.record(step)
    tokens = {
        key: dataclasses.replace(arrays, entropy=np.full_like(arrays.entropy, np.exp(-step / 4)))
        for key, arrays in record.tokens.items()
    }
    return dataclasses.replace(record, tokens=tokens)


def test_spent_entropy_is_told_once_and_a_restart_changes_nothing():
    whole, broken = EntropyMechanism(), EntropyMechanism()
    events, series = [], []
    for step in range(1, 20):
        series.append(whole.observe(falling(step)))
        events += whole.events()
        again = EntropyMechanism()
        again.load_state_dict(broken.state_dict())
        broken = again
        assert broken.observe(falling(step)) == series[-1]
        broken.events()
    assert [event.name for event in events] == ["entropy_spent"]
    assert events[0].evidence["spent"] >= 0.9
    assert undeclared({name for metrics in series for name in metrics}) == []
    assert "entropy/spent" in series[-1] and "entropy/spent" not in series[0]


def test_a_trainers_own_entropy_stands_in_where_there_are_no_tokens():
    """TRL's logs beside its completions."""
    diagnostic, said = EntropyMechanism(), {}
    for step, (entropy, outcome) in enumerate(zip(*planted(noise=0.001), strict=True), 1):
        record = synthetic.record(step, synthetic.group(outcomes=(outcome, outcome)))
        said = diagnostic.observe(dataclasses.replace(record, tokens={}, metrics={"entropy/mean": entropy}))
    assert said["entropy/ceiling"] == pytest.approx(0.70, abs=0.01) and said["entropy/spent"] > 0.5
    assert EntropyMechanism().observe(dataclasses.replace(record, tokens={})) == {}


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="expected at least 4 and 1"):
        EntropyMechanism(min_steps=2)


@pytest.mark.parametrize("freedom, table", [(6, 2.4469), (10, 2.2281), (30, 2.0423), (120, 1.9799)])
def test_the_percentiles_are_those_of_the_tables(freedom, table):
    assert student_t(freedom) == pytest.approx(table, rel=1e-3)
