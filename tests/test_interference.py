"""Tasks with and against each other: cosines, shares, the direction of a rare task, turns that do not come."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import synthetic

from diagnostics.interference import InterferenceDiagnostic
from diagnostics.interference.measures import along, between, cosine
from rltrain.metrics import undeclared
from rltrain.types import Diagnostic


class Planned:
    """Gradients decided beforehand, one mapping a step; the arguments it was asked with."""

    def __init__(self, steps):
        self._steps, self.asked = iter(steps), None

    def watch(self, layers, *, every, neurons):
        self.asked = tuple(layers), every, neurons

    def by_source(self):
        return next(self._steps)


def part(*even, odd=None):
    """(2, N): the even tickets' half and the odd ones', alike unless given."""
    half = np.array(even, np.float32)
    return np.stack([half, half if odd is None else np.array(odd, np.float32)])


def step(number, **counts):
    groups = [
        synthetic.group(ticket=100 * number + i, source=source, outcomes=(1.0,) * count)
        for i, (source, count) in enumerate(counts.items())
    ]
    return synthetic.record(number, *groups)


def test_cosines_and_shares_are_those_of_the_vectors():
    rng = np.random.default_rng(0)
    parts = {name: rng.normal(size=(2, 50)).astype(np.float32) for name in "abc"}
    found = between(parts)
    a, b, g = parts["a"].sum(0), parts["b"].sum(0), sum(p.sum(0) for p in parts.values())
    assert found["interference/cosine@a~b"] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-6)
    assert found["interference/reliability@c"] == pytest.approx(cosine(*parts["c"]), abs=1e-6)
    assert found["interference/gradient_share@a"] == pytest.approx(a @ g / (g @ g), abs=1e-6)
    assert sum(value for name, value in found.items() if "share" in name) == pytest.approx(1, abs=1e-6)
    assert sorted(name for name in found if "cosine" in name) == [
        f"interference/cosine@{p}" for p in ("a~b", "a~c", "b~c")
    ]


def test_signal_and_interference_are_taken_apart():
    memory = {"rare": np.array([1.0, 0.0]), "gone": np.array([0.0, 1.0])}
    found = along({"rare": part(1, 1), "often": part(-3, 0)}, memory)
    assert found["interference/signal@rare"] == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert found["interference/others@rare"] == pytest.approx(-1, abs=1e-6)
    assert "interference/signal@gone" not in found  # not in this step, and still it is known what the others do to it
    assert found["interference/others@gone"] == pytest.approx(2 / np.hypot(4, 2), abs=1e-6)


def test_what_has_no_direction_is_left_out():
    nothing, nan = part(0, 0), part(1, np.nan)
    assert between({}) == {} and between({"a": nothing}) == {}
    diagnostic = InterferenceDiagnostic(gradients=Planned([{"a": nan, "b": part(1, 0)}]))
    found = diagnostic.observe(step(1, a=2, b=2))
    assert found["interference/gradient_share@b"] == 1 and "interference/gradient_share@a" not in found


def test_turns_and_frequencies_are_counted_without_gradients():
    diagnostic = InterferenceDiagnostic(max_gap=3)
    assert isinstance(diagnostic, Diagnostic)
    diagnostic.observe(step(1, a=6, b=2))
    found = [diagnostic.observe(step(n, a=4)) for n in range(2, 6)]
    assert [f["interference/gap@b"] for f in found] == [1, 2, 3, 4] and found[-1]["interference/gap@a"] == 0
    assert found[-1]["interference/frequency@b"] == pytest.approx(2 / 24)
    assert found[-1]["interference/completions@a"] == 4 and "interference/completions@b" not in found[-1]
    [event] = diagnostic.events()
    assert (event.name, event.step, event.evidence) == ("task_starved", 4, {"task": "b", "last_step": 1, "gap": 3})
    assert ["only while a run trains" in note for note in diagnostic.notes()] == [True]
    assert not undeclared([*found[-1], *(stem for panel in diagnostic.panels for stem in panel.metrics)])


def rare_run(others, steps=60, **arguments):
    """A task of one in twenty in a run whose common task pulls along (1) or against (-1) it, with noise."""
    rng = np.random.default_rng(3)

    def gradients():
        for n in range(steps):
            noise = rng.normal(0, 0.3, 2)
            found = {"common": part(others + noise[0], 1 + noise[1])}
            yield found | ({"rare": part(1.0, 0.1)} if n % 2 == 0 else {})

    diagnostic = InterferenceDiagnostic(gradients=Planned(gradients()), every=1, **arguments)
    events = []
    for n in range(steps):
        diagnostic.observe(step(n + 1, common=19, **({"rare": 1} if n % 2 == 0 else {})))
        events += diagnostic.events()
    return events


def test_a_rare_task_that_the_others_undo_is_told_once():
    [event] = rare_run(-1.0)
    assert event.name == "task_overruled" and event.evidence["task"] == "rare"
    assert event.evidence["others"] < 0 < event.evidence["signal"] and event.evidence["onset_step"] <= event.step
    assert rare_run(1.0) == [] and rare_run(0.0) == []
    assert rare_run(-1.0, rare=0.01) == []  # not rare by that measure


def test_kinds_are_sums_of_their_sources():
    record = step(1, a=2, b=2, c=2)
    groups = tuple(
        dataclasses.replace(
            g, task=dataclasses.replace(g.task, kind="creative" if g.task.source == "c" else "structured")
        )
        for g in record.groups
    )
    probe = Planned([{"a": part(1, 0), "b": part(0, 1), "c": part(1, 1)}])
    found = InterferenceDiagnostic(by="kind", gradients=probe).observe(dataclasses.replace(record, groups=groups))
    assert found["interference/cosine@creative~structured"] == pytest.approx(1, abs=1e-6)


def test_a_resumed_run_goes_on_with_what_it_remembers():
    planned = [{"a": part(*np.random.default_rng(n).normal(size=4)), "b": part(1, 0, 0, n)} for n in range(6)]
    whole, first = (InterferenceDiagnostic(gradients=Planned(planned)) for _ in range(2))
    for n in range(6):
        if n == 3:
            second = InterferenceDiagnostic(gradients=Planned(planned[3:]))
            second.load_state_dict(first.state_dict())
            first = second
        assert whole.observe(step(n + 1, a=2, b=1)) == first.observe(step(n + 1, a=2, b=1))


def test_arguments_are_checked_and_handed_on():
    probe = Planned([])
    InterferenceDiagnostic(layers="*.q_proj", every=7, neurons=None, gradients=probe)
    assert probe.asked == (("*.q_proj",), 7, None)
    for wrong in ({"every": 0}, {"by": "colour"}, {"rare": 1.0}, {"decay": 2.0}, {"max_gap": 0}, {"neurons": 0}):
        with pytest.raises(ValueError, match=r"interference diagnostic: .*expected"):
            InterferenceDiagnostic(**wrong)
