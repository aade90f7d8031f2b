"""The phase detector: sums against linear algebra, the four states, no look-ahead, bad input."""

import json
import math
import warnings
from importlib.metadata import entry_points

import numpy as np
import pytest

from benchmarks.phase_generators import counted
from diagnostics.phase import changepoint, detector
from diagnostics.phase.apart import loss_along
from diagnostics.phase.detector import (
    DIVERSITY,
    ENTROPY,
    LASTING,
    PERPLEXITY,
    RISEN,
    _weighed,
    diversity_rise,
    retrospective,
)
from diagnostics.phase.diagnostic import PhaseDiagnostic
from diagnostics.phase.noise import NOISES
from diagnostics.phase.rise import FEWEST, MOST, find_rise, thinned
from diagnostics.phase.verdict import STATES
from rltrain.metrics import undeclared
from rltrain.types import Diagnostic, StepRecord


def noise(n, phi=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    for i in range(1, n):
        x[i] = phi * x[i - 1] + np.sqrt(1 - phi**2) * x[i]
    return x


def metrics(n=160, *, onset=80, width=20, rise=5.0, fall=12.0, blur=0.0, phi=0.3, seed=0):
    """Execution gets surer over the first 40 steps, plan diversity rises from `onset` on by `rise` noise units."""
    steps = np.arange(1, n + 1)
    moved = -fall * np.clip(steps / 40, 0, 1) + blur * np.clip((steps - 60) / 60, 0, 1)
    entropy = 1.0 + 0.03 * (moved + noise(n, phi, seed + 1))
    perplexity = np.exp(0.03 * (moved + noise(n, phi, seed + 2)))
    diversity = 6.0 + 0.1 * (rise * np.clip((steps - onset) / width, 0, 1) + noise(n, phi, seed))
    return steps, {ENTROPY: entropy, PERPLEXITY: perplexity, DIVERSITY: diversity}


def ramp(times, onset, end):
    return np.clip((times - onset) / (end - onset), 0.0, 1.0)


def head(series, n):
    return {name: values[:n] for name, values in series.items()}


# --- the change point ----------------------------------------------------------------------------


def autocorrelation(noise, lags):
    """Of a wander (damped, if it cycles: Yule 1927) with white noise on top, for lags that need not be whole."""
    turn = 2 * np.pi / noise.period
    damped = np.where(lags == 0, 1.0, noise.phi**lags) if noise.phi else np.where(lags == 0, 1.0, 0.0)
    if np.isfinite(noise.period):
        shift = (1 - noise.phi**2) / (1 + noise.phi**2) / np.tan(turn)
        damped = damped * (np.cos(turn * lags) + shift * np.sin(turn * lags))
    return (1 - noise.white) * damped + noise.white * (lags == 0)


@pytest.mark.parametrize("p", range(len(NOISES)))
def test_whitened_hinges_are_generalised_least_squares(p):
    """Against the dense inverse of the correlation of the noise, with gaps in the steps."""
    rng = np.random.default_rng(p)
    n = 40
    times = np.sort(rng.choice(70, n, replace=False)).astype(float)
    y = rng.normal(size=n)
    of = changepoint.series(times, y)
    grid, with_y = of.grid, (of.grid.columns.transpose(0, 2, 1) @ of.y[..., None])[..., 0]
    uu, uy, yy = changepoint.projected(grid, grid.products, with_y, (of.y**2).sum(1))
    usual = np.median(np.diff(times))  # distance that counts as one
    correlation = autocorrelation(NOISES[p], np.abs(times[:, None] - times) / usual)
    inverse, one = np.linalg.inv(correlation), np.ones(n)
    projected = inverse - np.outer(inverse @ one, one @ inverse) / (one @ inverse @ one)
    for m in rng.choice(len(grid.onset), 5, replace=False):
        g = ramp(times, grid.knots[grid.onset[m]], grid.knots[grid.end[m]])
        dense = [g @ projected @ g, g @ projected @ y, y @ projected @ y]
        np.testing.assert_allclose([uu[p, m], uy[p, m], yy[p]], dense, rtol=1e-6, atol=1e-7)
    log_det = np.log(grid.filters.spread[:, p]).sum()
    assert log_det == pytest.approx(0.5 * np.linalg.slogdet(correlation)[1], abs=1e-8)


@pytest.mark.parametrize("noise", NOISES)
def test_memory_is_the_sum_of_the_autocorrelations(noise):
    assert noise.memory == pytest.approx(2 * autocorrelation(noise, np.arange(400)).sum() - 1, rel=1e-6)


def test_the_prior_of_all_ramps_sums_to_one():
    of = changepoint.series(np.arange(30.0), noise(30))
    assert np.exp(of.grid.prior).sum() == pytest.approx(1.0)
    assert len(of.grid.steps) - 1 - of.grid.knots[of.grid.onset].max() == changepoint.AFTER


def test_a_verdict_has_no_units():
    steps, series = metrics()
    found = find_rise(steps, series[DIVERSITY])
    other = find_rise(steps + 1000, 250.0 + 40 * series[DIVERSITY])
    assert other.log_bayes_factor == pytest.approx(found.log_bayes_factor, rel=1e-6)
    assert (other.onset - 1000, other.size) == (found.onset, pytest.approx(40 * found.size, rel=1e-6))


def test_a_slow_wander_is_no_rise():
    certain = [find_rise(np.arange(120), noise(120, 0.8, seed)).log_bayes_factor > 3.5 for seed in range(40)]
    assert sum(certain) <= 1


@pytest.mark.parametrize("every", [3, 10])
def test_the_distance_of_observations_makes_no_rise(every):
    """What wanders from one observation to the next does so as well where only each tenth step has one."""
    rng = np.random.default_rng(12)
    for _ in range(6):
        steps, wander = np.arange(1, 201), np.zeros((200, 2))
        for n in range(1, 200):
            wander[n] = 0.8 * wander[n - 1] + 0.018 * rng.normal(size=2)
        series = {ENTROPY: 0.3 + np.exp(-steps / 7) + wander[:, 0], DIVERSITY: 0.7 + wander[:, 1]}
        assert retrospective(every * steps, series).state != "planning"


def test_the_last_upswing_of_a_cycle_is_no_rise():
    """AR(2) of modulus 0.8 and period 25, each record cut where a wave has come up from its lowest to its highest."""
    first, second, certain = 1.6 * np.cos(2 * np.pi / 25), -0.64, 0
    for seed in range(30):
        x = np.zeros(300)
        for i, shock in enumerate(np.random.default_rng(seed).normal(size=298), 2):
            x[i] = first * x[i - 1] + second * x[i - 2] + shock
        cut = 130 + int(np.argmax(x[130:] - np.roll(x, 12)[130:]))
        certain += find_rise(np.arange(cut - 49), x[50 : cut + 1]).log_bayes_factor > 3.5
    assert certain <= 1


def test_one_outlier_is_no_rise():
    for at in (1, 60, 100, 119):
        y = noise(120)
        y[at:] += 12 * 0.7 ** np.arange(120 - at)
        assert find_rise(np.arange(120), y).log_bayes_factor < 3.5


@pytest.mark.parametrize("width", [1, 10, 60])
def test_the_onset_is_found(width):
    y = noise(300, 0.3) + 6 * ramp(np.arange(300), 140, 140 + width)
    found = find_rise(np.arange(300), y)
    assert found.probability > 0.99 and found.interval[0] <= 140 <= found.interval[1]
    assert abs(found.onset - 140) <= 1 + width / 5


# --- the verdict ---------------------------------------------------------------------------------


def test_the_four_states():
    steps, series = metrics()
    verdicts = {n: retrospective(steps[:n], head(series, n)) for n in (8, 30, 80, 160)}
    assert [v.state for v in verdicts.values()] == ["undecided", "consolidating", "undecided", "planning"]
    last = verdicts[160]
    assert last.interval[0] <= 80 <= last.interval[1] and abs(last.onset_step - 80) < 10
    stalled = retrospective(*metrics(rise=0.0))
    assert (stalled.state, stalled.onset_step, stalled.interval) == ("stalled", None, None)
    assert [s.state for s in stalled.segments] == ["consolidating", "stalled"]


def test_planning_may_hold_from_the_first_step():
    verdict = retrospective(*metrics(onset=1, width=60, rise=8.0, fall=0.0))
    assert verdict.state == "planning" and verdict.interval[0] == 1


def test_segments_cover_the_run_without_a_gap():
    for arguments in ({}, {"rise": 0.0}, {"rise": 0.0, "fall": 0.0}, {"onset": 1}, {"blur": 30.0}, {"rise": 2.0}):
        steps, series = metrics(**arguments)
        for n in (14, 40, 100, 160):
            verdict = retrospective(steps[:n], head(series, n))
            parts = verdict.segments
            assert (parts[0].start, parts[-1].end, parts[-1].state) == (1, n, verdict.state)
            assert [a.end for a in parts[:-1]] == [b.start for b in parts[1:]]
            assert all(0 <= part.confidence <= 1 for part in parts)
            json.dumps(verdict.as_json())


def test_a_policy_that_falls_apart_does_not_plan():
    verdict = retrospective(*metrics(fall=0.0, blur=30.0))
    assert verdict.state == "undecided" and "falls apart" in verdict.why


@pytest.mark.parametrize("decay", [8.0, 25.0])
def test_a_loss_of_execution_is_seen_beside_the_fall_before_it(decay):
    times = np.arange(200)
    execution = -15 * (1 - np.exp(-times / decay)) + noise(200, 0.3)
    assert loss_along(times, execution, 80, 140) < -1
    assert loss_along(times, execution + 4 * ramp(times, 80, 140), 80, 140) > 4
    assert abs(loss_along(times[:90], execution[:90], 80, 140)) < 1  # too early to tell
    assert loss_along(times[:82], execution[:82], 80, 88) == 0 == loss_along(times, np.ones(200), 80, 140)


def test_a_policy_that_falls_apart_after_it_had_got_surer_is_not_called_planning_on_the_way():
    for seed in range(4):
        steps = np.arange(160)
        moved = -12 * (1 - np.exp(-steps / 15)) + 10 * ramp(steps, 40, 120)
        series = {
            ENTROPY: 1.0 + 0.03 * (moved + noise(160, 0.3, seed + 10)),
            DIVERSITY: 8 * ramp(steps, 40, 120) + noise(160, 0.3, seed),
        }
        said = [retrospective(steps[:n], head(series, n)) for n in range(40, 161, 6)]
        assert "planning" not in [verdict.state for verdict in said]
        assert "falls apart" in said[-1].why


@pytest.mark.parametrize("seed", range(6))
def test_an_upswing_that_goes_away_is_not_called_and_a_rise_that_stays_is(seed):
    """Four standard deviations up within four steps, and back after two more."""
    steps, series = metrics(140, rise=0.0, seed=seed)
    lasting = series[DIVERSITY] + 0.4 * ramp(steps, 100, 104)
    passing = np.where(steps <= 106, lasting, series[DIVERSITY])

    def said(diversity):
        return [retrospective(steps[:n], head(series | {DIVERSITY: diversity}, n)).state for n in range(100, 141, 2)]

    assert "planning" not in said(passing) and said(lasting)[-1] == "planning"


@pytest.mark.parametrize("n", [160, 900])
def test_a_rise_has_no_more_evidence_than_some_observations_before(n, monkeypatch):
    """Steps without a value are no observations, and in a thinned series one observation is several values."""
    steps, series = metrics(n, onset=n - 30, width=5, rise=8.0)
    diversity = series[DIVERSITY].copy()
    diversity[-20:-10:2] = np.nan
    whole, asked = detector._weighed, []
    monkeypatch.setattr(detector, "_weighed", lambda *of: asked.append(of) or whole(*of))
    found = diversity_rise(steps, diversity)
    now, before = (whole(*of) for of in asked)
    assert now.count - before.count == LASTING and asked[1][0][-1] < steps[-1]
    assert found.log_bayes_factor == min(now.log_bayes_factor, before.log_bayes_factor) >= RISEN
    assert (found.onset, found.interval) == (now.onset, now.interval)


def test_one_execution_series_is_enough_and_none_is_not():
    steps, series = metrics()
    for name in (ENTROPY, PERPLEXITY):
        assert retrospective(steps, {k: v for k, v in series.items() if k != name}).state == "planning"
    assert retrospective(steps[:80], {ENTROPY: series[ENTROPY][:80]}).state in ("consolidating", "undecided")
    assert retrospective(steps, {}).state == "undecided"
    alone = retrospective(steps, {DIVERSITY: series[DIVERSITY]})
    assert alone.state == "undecided" and "execution has too few values" in alone.why
    assert retrospective([], {}).segments == ()


def test_bad_values_count_as_missing():
    steps, series = metrics()
    gone = np.random.default_rng(0).uniform(size=len(steps)) < 0.3
    clean = retrospective(steps[~gone], {name: values[~gone] for name, values in series.items()})
    spoilt = {name: np.where(gone, bad, series[name]) for name, bad in zip(series, (np.nan, -1.0, np.inf), strict=True)}
    found = retrospective(steps, spoilt)
    assert (found.state, found.onset_step, found.interval) == (clean.state, clean.onset_step, clean.interval)
    constant = {name: np.ones(len(steps)) for name in series}
    assert retrospective(steps, constant).state == "undecided"


def test_a_value_that_is_absurd_is_one_outlier():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        series = {name: 1 + 0.01 * rng.normal(size=200) for name in (DIVERSITY, ENTROPY)}
        series[ENTROPY][seed * 40 + 7], series[DIVERSITY][120 - seed * 20] = 10.0 ** (4 * seed + 3), -1e9
        with warnings.catch_warnings(action="error"):
            verdict = retrospective(T, series)
        assert verdict.state in ("stalled", "undecided") and math.isfinite(verdict.confidence)


def test_wrong_input_is_named():
    steps, series = metrics(40)
    with pytest.raises(ValueError, match="steps do not increase"):
        retrospective(steps[::-1], series)
    with pytest.raises(ValueError, match=r"plan/variety has 39 values; expected 40"):
        retrospective(steps, series | {DIVERSITY: series[DIVERSITY][1:]})


def test_a_long_run_is_thinned_and_its_onset_still_found():
    steps, series = metrics(10_000, onset=6_000, width=300)
    kept, means = thinned(steps, series[DIVERSITY])
    assert len(kept) <= MOST and means[0] == pytest.approx(series[DIVERSITY][:25].mean())
    verdict = retrospective(steps, series)
    assert verdict.state == "planning" and abs(verdict.onset_step - 6_000) < 150


# --- in a run ------------------------------------------------------------------------------------


def records(steps, series):
    for i, step in enumerate(steps):
        values = {name: float(column[i]) for name, column in series.items() if np.isfinite(column[i])}
        yield StepRecord(int(step), (), {}, values | {"reward/mean": i / 100, "length/mean": 10.0 + i})


def test_online_says_at_every_step_what_looking_back_says_there():
    steps, series = metrics(100, onset=60)
    series[DIVERSITY][30:34] = np.nan
    diagnostic = PhaseDiagnostic()
    for n, record in enumerate(records(steps, series), 1):
        said = diagnostic.observe(record)
        if n % 4:
            continue
        back = retrospective(steps[:n], head(series, n))
        assert said["phase/confidence"] == back.confidence
        assert said.get("phase/onset") == back.onset_step
        assert back.interval is None or (said["phase/onset_low"], said["phase/onset_high"]) == back.interval
        assert not undeclared(said)


def test_a_resumed_run_says_the_same():
    steps, series = metrics(90, onset=60, rise=8.0)
    whole, first = PhaseDiagnostic(), PhaseDiagnostic()
    told = []
    for n, record in enumerate(records(steps, series), 1):
        if n == 51:
            second = PhaseDiagnostic()
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))
            first = second
        assert whole.observe(record) == first.observe(record)
        events = whole.events()
        assert events == first.events()
        told += events
    assert whole.state_dict() == first.state_dict()
    assert [told[0].evidence["to"], told[-1].evidence["to"]] == ["consolidating", "planning"]
    assert told[-1].evidence["interval"][0] <= 60 and all(event.advice for event in told)
    assert first.diagnosis() == {"phase": retrospective(steps, series).as_json()}
    assert first.diagnosis()["phase"]["state"] == "planning"


def test_the_diagnosis_is_the_verdict_on_all_steps_so_far():
    steps, series = metrics(90, onset=60, rise=8.0)
    diagnostic = PhaseDiagnostic()
    for record in records(steps, series):
        diagnostic.observe(record)
    resumed = PhaseDiagnostic()
    resumed.load_state_dict(json.loads(json.dumps(diagnostic.state_dict())))
    found = resumed.diagnosis()["phase"]
    assert found == diagnostic.diagnosis()["phase"] == retrospective(steps, series).as_json()
    assert found["state"] == "planning" and found["interval"][0] <= found["onset_step"] <= found["interval"][1]
    assert [part["state"] for part in found["segments"]][-1] == "planning"


def two_phases(fall, n=200, noise_=0.02, seed=0):
    """Execution follows `fall` (N,), 1 to 0 and never up; diversity rises by ten deviations from step 100 to 130."""
    rng, steps = np.random.default_rng(seed), np.arange(1, n + 1)
    course = np.clip((steps - 100) / 30, 0, 1)
    return steps, {
        PERPLEXITY: np.exp(0.3 * (fall - 1) + noise_ * rng.normal(size=n)),
        ENTROPY: 0.1 + 0.3 * fall + noise_ * rng.normal(size=n),
        DIVERSITY: 0.5 + 0.01 * (rng.normal(size=n) + 10 * course),
    }


T = np.arange(200)
FALLS = {
    "straight to 90": np.clip(1 - T / 90, 0, 1),
    "straight to 110": np.clip(1 - T / 110, 0, 1),
    "exponential": np.exp(-T / 30),
    "compressed": np.exp(-((T / 30) ** 1.5)),
    "logistic": 1 / (1 + np.exp((T - 30) / 10)),
    "hyperbolic": 1 / (1 + T / 15),
    "delayed": np.exp(-np.clip(T - 20, 0, None) / 20),
}


@pytest.mark.parametrize("fall", FALLS.values(), ids=FALLS)
@pytest.mark.parametrize("noise_", [0.005, 0.02])
def test_a_fall_of_any_shape_is_no_loss(fall, noise_):
    """What the fitted falls leave of another shape must not pass for execution that gets less sure."""
    found = [retrospective(*two_phases(fall, noise_=noise_, seed=seed)) for seed in range(4)]
    assert [verdict.state for verdict in found].count("planning") >= 3


@pytest.mark.parametrize("noise_", [0.01, 0.02])
def test_what_stands_still_behind_a_clear_fall_is_stalled(noise_):
    """However well execution is measured: what the fitted ramp leaves of a decay is no noise that wanders."""
    found = []
    for seed in range(5):
        steps, series = two_phases(np.exp(-T / 15), noise_=noise_, seed=seed)
        flat = np.random.default_rng([seed, 1]).normal(size=200)
        found.append(retrospective(steps, series | {DIVERSITY: 0.5 + 0.01 * flat}).state)
    assert found.count("stalled") >= 4


def test_consolidating_is_said_only_where_it_is_likelier_than_not():
    """Diversity rises by two or three deviations: what may be planning already is not told as no planning."""
    said, rng = [], np.random.default_rng(1)
    for _ in range(60):
        n = int(rng.integers(30, 120))
        t, onset = np.arange(1, n + 1), rng.integers(10, n)
        course = np.clip((t - onset) / rng.uniform(1, 20), 0, 1) * rng.uniform(0.5, 1)
        series = {ENTROPY: np.exp(-t / rng.uniform(5, 40)) + 0.05 * rng.normal(size=n)}
        said.append(retrospective(t, series | {DIVERSITY: 0.7 + 0.1 * course + 0.03 * rng.normal(size=n)}))
    sure = [verdict.confidence for verdict in said if verdict.state == "consolidating"]
    assert len(sure) >= 5 and min(sure) > 0.5


def test_behind_a_fall_as_well_a_rise_has_to_last_five_observations():
    """A fall to step 100, a rise at 150: what is called was as likely five steps before, no more than that."""
    rng = np.random.default_rng(0)
    steps = np.arange(200)
    diversity = 0.06 * rng.normal(size=200) + np.clip(1 - steps / 100, 0, 1) + 0.6 * (steps >= 150)
    first = next(n for n in range(150, 200) if _weighed(steps[:n], diversity[:n]).log_bayes_factor >= RISEN)
    called = next(n for n in range(150, 200) if diversity_rise(steps[:n], diversity[:n]).log_bayes_factor >= RISEN)
    assert called == first + LASTING


def test_stalled_is_announced_when_it_lasts():
    steps, series = two_phases(np.exp(-T / 15))
    series |= {DIVERSITY: 0.5 + 0.01 * np.random.default_rng(7).normal(size=200)}
    diagnostic, states, events = PhaseDiagnostic(), [], []
    for record in records(steps, series):
        states.append(STATES[int(diagnostic.observe(record)["phase/state"])])
        events += [(record.step, event.evidence["to"]) for event in diagnostic.events()]
    ((told, _),) = [event for event in events if event[1] == "stalled"]
    assert states[told - LASTING : told] == ["stalled"] * LASTING != states[told - LASTING - 1 : told - 1]


def test_a_loss_that_is_one_is_still_seen():
    steps, series = two_phases(np.exp(-T / 20))
    loss = 0.2 * np.clip((T - 100) / 30, 0, 1)
    series |= {ENTROPY: series[ENTROPY] + loss, PERPLEXITY: series[PERPLEXITY] * np.exp(loss)}
    verdict = retrospective(steps, series)
    assert verdict.state == "undecided" and "falls apart" in verdict.why


@pytest.mark.parametrize(
    ("move", "now", "past"),
    [
        ({DIVERSITY: -0.1}, "plan diversity falls", "plan diversity fell"),
        ({ENTROPY: 0.3, PERPLEXITY: 0.3}, "execution gets less sure", "execution got less sure"),
    ],
)
def test_what_gets_worse_is_not_stalled_until_it_stands_still(move, now, past):
    """It gets worse from step 100 to 150, seen at 150; at 165, and at 260."""
    for seed in range(4):
        rng, steps = np.random.default_rng(seed), np.arange(1, 261)
        series = {name: 1 + 0.01 * rng.normal(size=260) for name in (DIVERSITY, ENTROPY, PERPLEXITY)}
        assert retrospective(steps, series).state == "stalled"
        course = np.clip((steps - 100) / 50, 0, 1)
        worse = series | {name: series[name] + size * course for name, size in move.items()}
        during, soon, late = (
            retrospective(steps[:n], {name: values[:n] for name, values in worse.items()}) for n in (150, 165, 260)
        )
        assert during.state == "undecided" and now in during.why
        assert soon.state == "undecided" and "too little was seen since" in soon.why and past in soon.why
        assert late.state == "stalled" and past in late.why
        assert [part.state for part in late.segments] == ["stalled", "undecided", "stalled"]
        assert 90 <= late.segments[1].start <= 110 and 140 <= late.segments[2].start <= 160


def test_what_gets_better_behind_a_loss_is_not_stalled():
    """Execution gets less sure from step 60 to 100, then surer to the end by a sixth of that."""
    steps = np.arange(1, 301)
    course = 0.3 * np.clip((steps - 60) / 40, 0, 1) - 0.05 * np.clip((steps - 100) / 200, 0, 1)
    for seed in range(4):
        noise_ = 0.01 * np.random.default_rng(seed).normal(size=(2, 300))
        series = {ENTROPY: 1 + course + noise_[0], DIVERSITY: 0.8 + noise_[1]}
        assert retrospective(steps, series).state in ("undecided", "consolidating")


def test_a_loss_that_goes_on_is_not_forgotten_behind_one_that_is_over():
    """Execution gets less sure from step 60 to 200, diversity falls from the first step to the last by 3 deviations."""
    steps = np.arange(1, 301)
    for seed in range(4):
        noise_ = 0.01 * np.random.default_rng(seed).normal(size=(2, 300))
        series = {ENTROPY: 1 + 0.3 * np.clip((steps - 60) / 140, 0, 1) + noise_[0]}
        verdict = retrospective(steps, series | {DIVERSITY: 0.8 - 0.03 * steps / 300 + noise_[1]})
        assert verdict.state == "undecided" and "plan diversity falls" in verdict.why


def test_a_sudden_loss_is_among_the_stretches():
    steps = np.arange(1, 301)
    for seed in range(4):
        noise_ = 0.01 * np.random.default_rng(seed).normal(size=(2, 300))
        verdict = retrospective(steps, {ENTROPY: 1 + noise_[0], DIVERSITY: 0.8 - 0.1 * (steps > 150) + noise_[1]})
        assert [part.state for part in verdict.segments] == ["stalled", "undecided", "stalled"]
        assert [part.start for part in verdict.segments[1:]] == [150, 151]
        assert verdict.confidence == verdict.segments[-1].confidence


def test_the_interval_of_a_long_run_covers_a_jump():
    for n, seed in ((1000, 0), (2000, 1), (5000, 2)):
        rng, steps = np.random.default_rng(seed), np.arange(n)
        series = {name: 1 + 0.01 * rng.normal(size=n) for name in (DIVERSITY, ENTROPY, PERPLEXITY)}
        verdict = retrospective(steps, series | {DIVERSITY: series[DIVERSITY] + 0.1 * (steps > n // 2)})
        assert verdict.state == "planning" and verdict.interval[0] <= n // 2 <= verdict.interval[1]
        assert verdict.interval[1] - verdict.interval[0] < 12 * n / MOST


def test_what_the_phase_lacks_is_noted():
    diagnostic = PhaseDiagnostic()
    for step in range(1, 31):
        known = {DIVERSITY: 0.5 + 0.01 * step} | ({ENTROPY: 1.0} if step < 4 else {})
        diagnostic.observe(StepRecord(step, (), {}, known))
    (note,) = diagnostic.notes()
    assert note.startswith("phase: undecided, execution is known in 3 steps (") and "plans" not in note
    for step in range(31, 61):
        diagnostic.observe(StepRecord(step, (), {}, {DIVERSITY: 0.5, ENTROPY: 1.0}))
    assert diagnostic.notes() == []


@pytest.mark.parametrize(("vocabulary", "exponent"), [(60, 1.0), (2_000, 1.1), (20_000, 1.0)])
def test_longer_completions_are_no_rise_of_diversity(vocabulary, exponent):
    """Four times as many phrases a completion, all of one distribution, of which a step sees much or little."""
    shares = np.arange(1, vocabulary + 1) ** -exponent
    for seed in range(4):
        rng = np.random.default_rng(seed)
        values = counted(rng, shares, np.linspace(2, 8, 150))
        steps = np.arange(1, 151)
        verdict = retrospective(steps, {DIVERSITY: values, ENTROPY: 1 + 0.03 * rng.standard_normal(150)})
        assert verdict.state != "planning"
        assert abs(np.corrcoef(steps, values)[0, 1]) < 0.3


def test_nothing_to_read_is_nothing_said():
    diagnostic = PhaseDiagnostic()
    nothing = {"state": "undecided", "onset_step": None, "interval": None, "confidence": 0.0, "segments": []}
    nothing["why"] = "too few steps with a value"
    assert diagnostic.diagnosis() == {"phase": nothing}
    assert isinstance(diagnostic, Diagnostic)
    assert diagnostic.observe(StepRecord(1, (), {}, {"reward/mean": 1.0})) == {}
    assert diagnostic.state_dict()["steps"] == [] and diagnostic.diagnosis()["phase"]["state"] == "undecided"
    assert not undeclared(stem for panel in diagnostic.panels for stem in panel.metrics)


def test_it_is_found_by_name():
    [found] = entry_points(group="rltrain.diagnostics", name="phase")
    assert found.load() is PhaseDiagnostic


def test_too_few_steps_are_too_few():
    assert find_rise(np.arange(FEWEST - 1), noise(FEWEST - 1)) is None
    assert find_rise(np.arange(FEWEST), noise(FEWEST)) is not None
