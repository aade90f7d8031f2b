"""The law of reward against entropy: the ceiling's interval holds what was planted, whatever the noise is like."""

from __future__ import annotations

import numpy as np
import pytest

from diagnostics.law import FEWEST, POINTS, fit
from diagnostics.noise import noise_of
from diagnostics.student import student_t

A, B = 0.3, 0.9  # the law that is planted: its ceiling is 0.6


def planted(n=60, noise=0.01, seed=0):
    entropy = 0.8 * np.exp(-np.arange(n) / 25) + 0.2
    return entropy, B - A * np.exp(entropy) + noise * np.random.default_rng(seed).standard_normal(n)


def lasting(rng: np.random.Generator, n: int, left: float) -> np.ndarray:
    """(n,) noise of variance 1 of which the share `left` is there a step later."""
    values = rng.standard_normal(n)
    for step in range(1, n):
        values[step] = left * values[step - 1] + np.sqrt(1 - left**2) * values[step]
    return values


def simulated(rng, n, *, noise=0.05, left=0.0, share=1.0, off=0.0, shared=0.0, wander=0.0, decay=25.0):
    """Entropy and outcome of a run.

    noise: of the outcome; `share` of its variance lasts with `left` of it a step later. off: noise of the measured
    entropy, of which `shared` is the correlation with the white noise of the outcome. wander: the same that lasts.
    """
    entropy = 0.8 * np.exp(-np.arange(n) / decay) + 0.2
    of_step, own = rng.standard_normal((2, n))
    white = shared * of_step + np.sqrt(1 - shared**2) * own
    error = np.sqrt(share) * lasting(rng, n, left) + np.sqrt(1 - share) * white if left else white
    measured = entropy + off * of_step + wander * lasting(rng, n, 0.8)
    return measured, B - A * np.exp(entropy) + noise * error


def covered(runs: int, **how) -> tuple[float, float]:
    """Share of runs of which a ceiling is given, and of these the share whose interval holds it."""
    rng = np.random.default_rng(0)
    found = [one for _ in range(runs) if (one := fit(*simulated(rng, **how))) is not None]
    return len(found) / runs, float(np.mean([one.low <= B - A <= one.high for one in found]))


def test_the_planted_ceiling_is_found():
    found = fit(*planted(noise=0.0))
    assert (found.a, found.b, found.ceiling) == pytest.approx((0.3, 0.9, 0.6))
    assert found.low == pytest.approx(found.high) and found.steps == 60


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"off": 0.05},
        {"off": 0.1},
        {"off": 0.1, "noise": 0.02},
        {"off": 0.1, "shared": -0.6},  # hard prompts: more entropy and a lower outcome at once
        {"left": 0.5},
        {"left": 0.8},
        {"left": 0.8, "off": 0.05},
        {"left": 0.95, "share": 0.3, "off": 0.05},  # most of it white, the rest hardly to be seen
        {"off": 0.05, "decay": 5.0},  # over in a few steps
        {"off": 0.05, "decay": 100.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [20, 60, 200])
def test_the_interval_holds_the_ceiling_about_as_often_as_it_says(n, how):
    """By least squares and the residuals' lag-1 correlation in 2% where entropy is noisy, in 62% where noise lasts."""
    given, share = covered(150, n=n, **how)
    assert share >= 0.9, f"{share:.2f} of {given:.2f}"
    fallen = how.get("decay", 25.0) < 2 * n
    assert given >= (0.95 if n >= 60 else 0.3 if fallen else 0.0)


def test_the_ceiling_of_noisy_entropy_is_no_lower():
    rng = np.random.default_rng(1)
    found = [fit(*simulated(rng, 200, off=0.1, decay=100.0)).ceiling for _ in range(100)]
    assert np.mean(found) == pytest.approx(0.6, abs=0.01)  # 0.56 by least squares


def test_what_it_cannot_count():
    """Entropy that wanders without the outcome: the ceiling comes out low, as the metric's `lies` says."""
    rng = np.random.default_rng(2)
    found = [fit(*simulated(rng, 60, wander=0.2)) for _ in range(100)]
    assert 0.55 < np.mean([one.ceiling for one in found if one]) < 0.595


def test_of_a_long_run_neighbours_are_averaged():
    rng = np.random.default_rng(3)
    entropy, outcome = simulated(rng, 4 * POINTS + 3, off=0.1, decay=800.0)
    found = fit(entropy, outcome)
    assert found.low <= 0.6 <= found.high and found.high - found.low < 0.03 and found.steps == 4 * POINTS + 3


def test_nothing_is_said_without_evidence():
    rng = np.random.default_rng(0)
    flat = [fit(1 + 0.05 * rng.standard_normal(60), rng.standard_normal(60)) for _ in range(500)]
    apart = [fit(1 + 0.05 * lasting(rng, 60, 0.95), 0.5 + 0.05 * lasting(rng, 60, 0.95)) for _ in range(500)]
    assert sum(found is not None for found in flat) < 25  # 2.5 % by right
    assert sum(found is not None for found in apart) < 25  # two walks that have nothing to do with each other
    entropy, outcome = planted()
    assert fit(entropy[:8], outcome[:8]) is None and fit(entropy[:8], outcome[:8], 8) is not None
    assert fit(entropy[: FEWEST - 1], outcome[: FEWEST - 1], 2) is None
    assert fit(entropy, np.full(60, np.nan)) is None
    assert fit(np.ones(60), outcome) is None
    assert fit(entropy, -outcome) is None  # reward falls with entropy: not this mechanism


def test_steps_that_are_not_known_do_not_count():
    entropy, outcome = planted()
    odd = [np.nan, np.inf, 1e9, -1e9, 1.0]
    assert fit([*entropy, *odd], [*outcome, 0.5, 0.5, 0.5, 0.5, np.nan]) == fit(entropy, outcome)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_outcomes_that_do_not_move_have_no_ceiling(level):
    assert fit(planted()[0], np.full(60, level)) is None


def test_a_ceiling_above_every_outcome_is_none():
    entropy = np.linspace(1.2, 1.0, 60)
    noise = 0.01 * np.random.default_rng(2).standard_normal(60)
    assert fit(entropy, 2.2 - 0.6 * np.exp(entropy) + noise) is None  # all outcomes below 0.6, ceiling 1.6
    assert fit(entropy, 1.2 - 0.3 * np.exp(entropy) + noise).ceiling == pytest.approx(0.9, abs=0.1)


def test_the_error_of_a_mean_is_that_of_its_noise():
    """Of 400 steps whose noise lasts with 0.8: (1 + 0.8) / (1 - 0.8) = 9 times the variance of white noise."""
    rng, mean = np.random.default_rng(4), np.full(400, 1 / 400)
    white = [noise_of(rng.standard_normal(400)).error(mean) for _ in range(50)]
    slow = [noise_of(lasting(rng, 400, 0.8)).error(mean) for _ in range(50)]
    assert np.median(white) == pytest.approx(1 / 20, rel=0.15)
    assert np.median(slow) == pytest.approx(3 / 20, rel=0.15)


@pytest.mark.parametrize("freedom, table", [(3, 3.1824), (4, 2.7764), (6, 2.4469), (10, 2.2281), (120, 1.9799)])
def test_the_percentiles_are_those_of_the_tables(freedom, table):
    assert student_t(freedom) == pytest.approx(table, rel=2e-3)
