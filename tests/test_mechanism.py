"""The entropy mechanism: finds what was planted, says nothing where there is nothing, survives a restart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import synthetic

from diagnostics.mechanism import EntropyMechanism, covariance_metrics
from rltrain.metrics import undeclared


def planted(n=60, a=0.25, b=0.95, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    entropy = 1.2 * np.exp(-np.arange(n) / 25) + 0.2
    return entropy, b - a * np.exp(entropy) + noise * rng.standard_normal(n)


def test_covariance_is_numpys():
    rng = np.random.default_rng(1)
    advantage, logp = rng.standard_normal(5000), rng.standard_normal(5000)
    found = covariance_metrics(advantage, logp)
    assert found["entropy/covariance"] == pytest.approx(np.cov(advantage, logp, bias=True)[0, 1], abs=1e-12)
    assert found["entropy/covariance_top"] > found["entropy/covariance"]
    assert covariance_metrics(np.array([np.nan]), np.array([0.0])) == {}


def at(step: int, entropy: float, *groups):
    """A record whose tokens have this entropy."""
    record = synthetic.record(step, *groups)
    for arrays in record.tokens.values():
        arrays.entropy[:] = entropy
    return record


def falling(step: int):
    """A record whose entropy has fallen to e^(-step / 4) of what it was."""
    return at(step, np.exp(-step / 4))


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


def test_entropy_that_hovers_where_it_is_spent_is_told_once():
    rng, diagnostic, events = np.random.default_rng(0), EntropyMechanism(), []
    levels = np.concatenate([np.geomspace(1, 0.1, 10), np.full(190, 0.1)]) * (1 + 0.1 * rng.standard_normal(200))
    assert (np.diff(np.sign(levels[10:] - 0.1)) != 0).sum() > 40  # across the level again and again
    for step, level in enumerate([*levels, 0.5, 0.05], 1):
        diagnostic.observe(at(step, level))
        events += diagnostic.events()
    assert [event.step for event in events] == [events[0].step, 202]  # and anew, once it had come back
    assert events[0].step <= 20


def test_the_outcome_is_of_all_samples():
    """A filter that drops what all solve keeps the outcome of what it lets in below 7/8."""
    diagnostic = EntropyMechanism()
    for step, (entropy, outcome) in enumerate(zip(*planted(n=30, noise=0.001), strict=True), 1):
        kept, dropped = synthetic.group(0, (0.0, 1.0)), synthetic.group(1, (2 * outcome - 0.5,) * 2, admitted=False)
        said = diagnostic.observe(at(step, entropy, kept, dropped))
    assert said["entropy/ceiling"] == pytest.approx(0.70, abs=0.01)


def test_a_trainers_own_entropy_stands_in_where_there_are_no_tokens():
    """TRL's logs beside its completions."""
    diagnostic, said = EntropyMechanism(), {}
    for step, (entropy, outcome) in enumerate(zip(*planted(noise=0.001), strict=True), 1):
        record = synthetic.record(step, synthetic.group(outcomes=(outcome, outcome)))
        said = diagnostic.observe(dataclasses.replace(record, tokens={}, metrics={"entropy/mean": entropy}))
    assert said["entropy/ceiling"] == pytest.approx(0.70, abs=0.01) and said["entropy/spent"] > 0.5
    assert EntropyMechanism().observe(dataclasses.replace(record, tokens={})) == {}


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="expected at least 8 and 1"):
        EntropyMechanism(min_steps=2)
