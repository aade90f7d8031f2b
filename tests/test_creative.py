"""Creative diversity: counted by hand, an alarm on a planted loss and none on noise, the state, and what kinds show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import completion, group, record

from benchmarks import creative_diversity as bed
from diagnostics.creative import DiversityWatch, Values, values, variety
from diagnostics.entropy import EntropyDiagnostic
from rltrain.metrics import undeclared


def creative(ticket, texts=("a b c", "a b d")):
    made = group(ticket, (1.0,) * len(texts), "haiku", completions=tuple(completion(text, 3) for text in texts))
    return dataclasses.replace(made, task=dataclasses.replace(made.task, kind="creative"))


def test_variety_by_hand():
    assert variety(["so it is", "so it is"]) == 0.0
    assert variety(["one two three", "four five six"]) == 1.0
    assert variety(["a b c", "a b d"]) == pytest.approx(2 / 3)  # (a b) is shared, of three
    assert variety(["yes", "no"]) == 1.0 and variety(["yes", "yes"]) == 0.0 and variety(["yes"]) is None


def test_values_are_of_creative_groups_alone():
    found = values(record(1, group(1), creative(2), creative(3, ("x y", "x y")), planning=2.0, execution=0.5))
    assert found.variety == [pytest.approx(2 / 3), 0.0]
    assert found.entropy == [pytest.approx((2 * 2.0 + 0.5) / 3)] * 2
    assert values(record(1, group(1))) == Values([], [])


def test_kinds_and_variety_are_metrics():
    diagnostic = EntropyDiagnostic(min_planning_tokens=1)
    metrics = diagnostic.observe(record(1, group(1), creative(2), planning=2.0, execution=1.0))
    assert undeclared(metrics) == []
    assert metrics["entropy/mean@structured"] == pytest.approx((2 * 2 + 3) / 5)
    assert metrics["entropy/mean@creative"] == pytest.approx((2 * 2 + 1) / 3)
    assert metrics["entropy/variety"] == pytest.approx(2 / 3)
    assert "entropy/variety" not in diagnostic.observe(record(2, group(1)))


def alarms(setting, seed, watch=None):
    watch = watch or DiversityWatch()
    return [event for step, found in bed.said(setting, seed) for event in watch.observe(step, found)]


def setting(course, groups=4):
    return bed.Setting(course.__name__, course, groups, course in (bed.at_once, bed.slowly))


@pytest.mark.parametrize("course", [bed.at_once, bed.slowly])
def test_a_loss_is_told_once_a_signal_and_not_before_it_begins(course, monkeypatch):
    monkeypatch.setattr(bed, "STEPS", 250)
    found = alarms(setting(course), 0)
    assert {event.name for event in found} == {"creative_diversity_lost"}
    signals = [event.evidence["signal"] for event in found]
    assert signals[0] == "entropy" and len(set(signals)) == len(signals)  # of so many words, texts differ for long
    for event in found:
        assert bed.BEGINS < event.step < bed.BEGINS + 140 and event.evidence["onset_step"] > bed.BEGINS - 20
        assert 0.2 < event.evidence["lost"] < 1 and event.evidence["now"] < event.evidence["before"]


def test_texts_that_become_alike_are_told_though_their_tokens_are_open():
    watch, rng, found = DiversityWatch(), np.random.default_rng(0), []
    for step in range(1, 91):
        level = 0.9 if step < 40 else 0.4
        found += watch.observe(step, Values([2.0] * 4, np.clip(level + 0.1 * rng.normal(size=4), 0, 1).tolist()))
    (event,) = found
    assert event.evidence["signal"] == "variety" and 40 <= event.step < 80 and event.evidence["lost"] > 0.4


@pytest.mark.parametrize("course", [bed.steady, bed.opens, bed.narrows, bed.jitters])
def test_noise_and_small_losses_are_no_alarm(course, monkeypatch):
    monkeypatch.setattr(bed, "STEPS", 150)
    assert [event for seed in range(4) for event in alarms(setting(course, 2), seed)] == []


def test_nothing_is_lost_where_there_was_nothing():
    watch = DiversityWatch(baseline=4)
    assert all(watch.observe(step, Values([0.0], [0.0])) == [] for step in range(30))


def test_the_state_goes_on_as_if_nothing_had_happened(monkeypatch):
    monkeypatch.setattr(bed, "STEPS", 140)
    course, watch, told = setting(bed.at_once), DiversityWatch(), []
    for step, found in bed.said(course, 3):
        told += watch.observe(step, found)
        fresh = DiversityWatch()
        fresh.load_state_dict(watch.state_dict())
        watch = fresh
    assert told == alarms(course, 3) and told


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"drop 1\.5; expected above 0 and below 1"):
        EntropyDiagnostic(drop=1.5)
    assert np.isfinite(bed.judged(setting(bed.steady, 2), 0)["lost"])
