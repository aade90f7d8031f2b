"""The simulated runs the phase detector is measured on: their noise, their shapes, what oracles make of them."""

import json

import numpy as np
import pytest
import torch

from benchmarks import phase_courses, phase_oracles, phase_unseen
from benchmarks.phase_generators import BUILD, RISES, SHAPES, UNSEEN, Run, simulate, written
from benchmarks.phase_simulation import FAMILIES, judged, main, plan, summary, wilson
from diagnostics.phase.changepoint import log_twice_normal
from diagnostics.phase.detector import DIVERSITY, ENTROPY

NOISES = {  # all that is drawn in a null run of standard deviation 1
    **{name: getattr(phase_courses, name) for name in ("changing", "moving_average", "wandering", "wiggle", "bursts")},
    **{name: getattr(phase_courses, name) for name in ("cycling", "long_memory", "two_scales", "switching")},
    **{name: getattr(phase_unseen, name) for name in ("seasonal", "passing", "averaged", "zigzag")},
    "volatile": phase_courses.ar(None, phase_unseen.volatile),
    "laplace": phase_courses.ar(None, phase_courses.laplace),
}


def test_the_runs_are_what_they_say():
    for number, cell in enumerate((*BUILD, *UNSEEN)):
        run = simulate(np.random.default_rng(number), cell, 3.0)
        again = simulate(np.random.default_rng(number), cell, 3.0)
        assert all(np.array_equal(run.metrics[name], again.metrics[name]) for name in run.metrics)
        assert (run.onset is None) == (cell.shape is None) == (run.rise == 0)


@pytest.mark.parametrize("name", NOISES)
def test_noise_has_the_size_it_says_and_no_trend(name):
    rng = np.random.default_rng(0)
    drawn = np.array([NOISES[name](rng, 240) for _ in range(150)])
    assert np.mean(drawn**2) == pytest.approx(1.0, abs=0.15)
    early, middle, late = (part.mean(1) for part in np.split(drawn, 3, axis=1))
    for left, right in ((early, middle), (middle, late), (early, late)):
        moved = right - left  # the mean of 150 runs: 4 standard errors
        assert abs(moved.mean()) < 4 * moved.std() / np.sqrt(len(moved))


@pytest.mark.parametrize("width", [1, 7, 60])
@pytest.mark.parametrize("name", SHAPES)
def test_a_rise_begins_at_its_onset(name, width):
    course = SHAPES[name](width)(np.arange(400), 100)
    assert np.all((course[:101] > -1e-9) & (course[:101] < 0.0501))  # without a corner: where 5% is done
    assert course[101] > course[100] and np.all(course[101:] >= course[100])
    assert course[100 + width + 10] > 0.6 and course.max() < 1.6  # creeping goes on
    moved = SHAPES[name](width)(np.arange(400), 110)
    assert np.allclose(moved[10:], course[:-10])  # the oracles move it along


def test_what_no_rise_of_plans_is():
    """More variety for want of sureness, and phrases that are only counted more often."""
    cells, jumps = {cell.name: cell for cell in UNSEEN}, []
    for seed in range(20):
        run = simulate(np.random.default_rng(seed), cells["falls apart late"])
        n = len(run.steps)
        assert run.metrics[ENTROPY][-5:].mean() > run.metrics[ENTROPY][n // 5 : n * 3 // 10].mean() + 0.1
        assert run.metrics[DIVERSITY][-5:].mean() > run.metrics[DIVERSITY][: n * 3 // 10].mean() + 3
        measured = simulate(np.random.default_rng(seed), cells["length jumps alone"]).metrics[DIVERSITY]
        n = len(measured)
        jumps.append(abs(measured[-n // 5 :].mean() - measured[: n // 5].mean()))
    assert np.mean(jumps) < 1.0  # 2 for the entropy of the shares as they are counted


def test_noise_is_shared_where_it_says():
    [cell] = (cell for cell in UNSEEN if cell.extra == "shared")
    runs = [simulate(np.random.default_rng(seed), cell).metrics for seed in range(40)]
    found = [np.corrcoef(np.diff(run[DIVERSITY][40:]), np.diff(run[ENTROPY][40:]))[0, 1] for run in runs]
    assert min(found) < -0.2 and max(found) > 0.2 and np.mean(np.abs(found)) > 0.3


def test_logs_are_written_as_they_say():
    values = {DIVERSITY: np.arange(12) / 4, ENTROPY: np.r_[np.zeros(6), np.ones(6)]}
    rounded, averaged = written("rounded", values), written("averaged", values)
    assert np.array_equal(rounded[DIVERSITY], np.round(values[DIVERSITY]))
    assert averaged[ENTROPY][5:].tolist() == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1])
    assert averaged[DIVERSITY] is values[DIVERSITY] and written(None, values) is values


def test_the_benchmark_runs_on_one_family_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(FAMILIES, "unseen", tuple(cell for cell in UNSEEN if cell.extra in ("shared", "swells")))
    main(["--family", "unseen", "--runs", "1", "--online", "1", "--out", str(tmp_path)])
    assert "unseen" in capsys.readouterr().out and (tmp_path / "phase_reliability.png").exists()
    found = json.loads((tmp_path / "phase_simulation.json").read_text())["families"]
    assert list(found) == ["unseen"] and found["unseen"]["runs"] == 1 + len(RISES)
    assert len({cell.name for cell in (*BUILD, *UNSEEN)}) == len(BUILD) + len(UNSEEN)
    assert sum(count for cell, _, count in plan(UNSEEN, 200) if cell.shape) == 1000


def test_the_oracles_and_the_tables_are_right():
    [cell] = (cell for cell in BUILD if cell.name == "ramp, missing steps")
    run = simulate(np.random.default_rng(1), cell, 10.0)
    for shape in SHAPES.values():
        bare = run.metrics | {DIVERSITY: 10 * shape(20)(run.steps, run.onset)}
        made = run.__class__(**(vars(run) | {"metrics": bare, "shape": shape}))
        assert abs(phase_oracles.onset(made, [20]) - run.onset) <= 1  # the step itself may be missing
    assert phase_oracles.seen(run)
    outcomes = [judged(run, watched=True), judged(simulate(np.random.default_rng(2), BUILD[0]), watched=True)]
    figures = summary(outcomes)
    assert figures["null_total"]["false_alarms"] == 0 and figures["from_3_on"]["missed"] == 0
    assert figures["from_3_on"]["online_agrees"] == 1 and outcomes[0].delay > 0
    assert wilson(0, 100) == pytest.approx(0.0263, abs=1e-3)


def test_no_test_sees_a_small_rise_in_much_noise():
    """The power of the oracle that knows all, against the normal distribution: white noise, a step in the middle."""
    rng, steps, found = np.random.default_rng(3), np.arange(100), []
    shape = phase_courses.ramp
    for _ in range(300):
        x = rng.normal(size=100)
        y = {DIVERSITY: x + 0.4 * shape(1)(steps, 49)}
        found.append(phase_oracles.seen(Run("", 0.4, "", 49, steps, y, x, np.zeros(100), shape, 1)))
    assert np.mean(found) == pytest.approx(0.478, abs=0.08)  # 1 - Phi(2.054 - 0.4 * sqrt(25))


def test_knowing_the_width_halves_the_error_of_an_onset():
    """Fisher information of onset, width, level and size of a ramp in white noise: why one oracle is out of reach."""
    steps, width = np.arange(400.0), 60.0

    def mean(onset, wide, level, size):
        return level + size * np.clip((steps - onset) / wide, 0.0, 1.0)

    at = np.array([150.0, width, 0.0, 3.0])
    slopes = np.array([(mean(*(at + d)) - mean(*(at - d))) / 2e-4 for d in 1e-4 * np.eye(4)])
    information = slopes @ slopes.T
    unknown = np.linalg.inv(information)[0, 0]
    told = np.linalg.inv(np.delete(np.delete(information, 1, 0), 1, 1))[0, 0]
    assert np.sqrt(unknown / told) == pytest.approx(2.0, rel=0.1)


def test_the_logarithm_of_the_normal_distribution_holds_far_out():
    at = np.r_[np.linspace(-40, -3, 200), np.linspace(-3, 6, 200)]
    true = torch.special.log_ndtr(torch.from_numpy(at)).numpy() + np.log(2)
    assert np.abs(log_twice_normal(at) - true).max() < 0.06
    assert np.abs(log_twice_normal(at) - true)[(at < -3.5) | (at > -2)].max() < 0.005
