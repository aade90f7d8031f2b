"""Format diversity: figures by hand, fingerprints, the collapse alarm and its silence, the wrong winner, resume."""

import dataclasses
import functools
import json
import math
from collections import Counter

import numpy as np
import pytest
from synthetic import completion, group, record

from benchmarks import format_bandit, format_collapse, format_planted
from diagnostics.format_diversity import FormatDiagnostic
from diagnostics.format_diversity.alarm import Seen, _gains, push
from diagnostics.format_diversity.contest import Contest
from diagnostics.format_diversity.course import course, known
from diagnostics.format_diversity.curve import Curve, averaged, driven_curve, logit, logit_curve, plateau_curve
from diagnostics.format_diversity.fingerprint import Structures, fingerprint
from diagnostics.format_diversity.measures import Row, accuracy, accuracy_of, distance, rows, standardised
from diagnostics.sequential import effective, entropy
from rltrain.metrics import METRICS, undeclared
from rltrain.types import Advantage, Diagnostic, StepRecord

TEXTS = {
    "code": "def f(x):\n    return x + 1",
    "prose": "She has three apples and buys four more. That makes seven in all.",
    "boxed_latex": "We add them and get $\\boxed{7}$",
    "json": '{"answer": 7}',
}
WINNERS = [((0.2, 0.6), True), ((0.0, 1.0), True), ((0.6, 0.2), False), ((0.4, 0.4), False)]  # accuracies, wrong
written = functools.cache(completion)
ODD = (
    "~~ 3 ~~ 4 ~~",
    "1: a\n2: b\n3: c\n4: d\n5: e",
    ">>> x\n<<< y\n>>> z",
    "a=1; b=2; c=3\n" * 6,
    "((((()))))\n[[[]]]",
)


def step(number, *formats, outcomes=None, key="sums", texts=None):
    """A step with one group for each sequence of formats."""
    groups = []
    for i, names in enumerate(formats):
        said = texts[i] if texts else [TEXTS[name] for name in names]
        made = group(
            i,
            tuple(outcomes[i] if outcomes else [0.0] * len(names)),
            completions=tuple(map(written, said)),
            formats=tuple(names),
        )
        groups.append(dataclasses.replace(made, task=dataclasses.replace(made.task, key=f"{key}/{i}")))
    return record(number, *groups)


def batch(number, rng, shares, accuracies=None, groups=16, size=8):
    """A step sampled from shares of the forms in TEXTS."""
    names = rng.choice(list(TEXTS)[: len(shares)], (groups, size), p=shares)
    outcomes = rng.random(names.shape) < (
        np.vectorize(dict(zip(TEXTS, accuracies, strict=False)).get)(names) if accuracies else 0.3
    )
    return step(number, *names.tolist(), outcomes=outcomes.astype(float).tolist())


def events(diagnostic, steps):
    found = []
    for made in steps:
        diagnostic.observe(made)
        found += diagnostic.events()
    return found


# --- figures -------------------------------------------------------------------------------------


def test_shares_entropy_and_effective_numbers_by_hand():
    made = step(1, ["code", "code", "prose", "prose"], ["code"] * 4, outcomes=[[1, 0, 1, 1], [0, 0, 0, 1]])
    metrics = FormatDiagnostic().observe(made)
    assert (metrics["format/share@code"], metrics["format/share@prose"]) == (0.75, 0.25)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert metrics["format/entropy"] == pytest.approx(entropy)
    assert metrics["format/effective"] == pytest.approx(math.exp(entropy))
    assert metrics["format/effective_in_group"] == pytest.approx(math.exp(math.log(2) / 2))
    assert (metrics["format/accuracy@code"], metrics["format/judged@code"]) == (pytest.approx(2 / 6), 6)
    assert metrics["format/accuracy@prose"] == 1.0 and metrics["format/unclassified"] == 0.0


def test_the_accuracy_of_an_unknown_form_is_its_own():
    labels = ("other:0", "other:3", "other:3", "other:3")
    both = Row("a", "s", ("other",) * 4, labels, (0, 3, 3, 3), (0.0, 1.0, 0.0, None))
    assert (accuracy_of([both], "other:3"), accuracy_of([both], "other:0")) == (0.5, 0.0)
    assert accuracy([both])["format/accuracy@other"] == pytest.approx(1 / 3) and accuracy_of([both], "code") is None


def test_a_small_group_shows_fewer_forms_than_are_in_use_as_the_reading_says():
    rng, shares = np.random.default_rng(0), [0.5, 0.3, 0.2]
    reading = METRICS["format/effective_in_group"].lies
    assert f"of {effective(shares):.1f} forms in use (shares .5, .3, .2)" in reading
    for words, size in (("four completions show {:.1f}", 4), ("eight {:.1f}", 8), ("sixteen {:.1f}", 16)):
        groups = [Row("", "", (), tuple(of), (), ()) for of in rng.choice(list("abc"), (20_000, size), p=shares)]
        in_group = math.exp(np.mean([entropy(list(Counter(row.labels).values())) for row in groups]))
        assert words.format(in_group) in reading


def test_everything_said_is_declared_and_shown():
    diagnostic = FormatDiagnostic(baseline_steps=1)
    assert isinstance(diagnostic, Diagnostic)
    said = {}
    for number in range(1, 4):
        said |= diagnostic.observe(step(number, ["code", "other"], texts=[[TEXTS["code"], ODD[0]]]))
    assert not undeclared(said) and all(isinstance(value, float) for value in said.values())
    stems = {stem for panel in diagnostic.panels for stem in panel.metrics}
    assert not undeclared(stems) and {"format/base_distance_same", "format/structures_other"} <= set(said)


@pytest.mark.parametrize("made", [StepRecord(1, (), {}, {}), record(1, group(1, formats=()))])
def test_nothing_to_rest_on_is_nothing_said(made):
    assert FormatDiagnostic().observe(made) == {}


def test_failed_scores_and_empty_texts_and_groups_of_one_are_counted():
    made = record(1, group(1, (None,), completions=(completion(""),), formats=("other",)))
    metrics = FormatDiagnostic().observe(made)
    assert metrics["format/share@other"] == 1.0 and not any("accuracy" in name for name in metrics)
    assert all(math.isfinite(value) for value in metrics.values()) and "format/effective_in_group" not in metrics


def test_outcomes_that_are_no_numbers_count_as_unknown():
    metrics = FormatDiagnostic().observe(step(1, ["code"] * 4, outcomes=[[math.nan, math.inf, 1.0, 0.0]]))
    assert (metrics["format/accuracy@code"], metrics["format/judged@code"]) == (0.5, 2)


def test_rejected_groups_count():
    rejected = group(1, (0.0, 0.0), admitted=False, formats=("code", "prose"))
    assert FormatDiagnostic().observe(record(1, rejected))["format/completions"] == 2


def test_distance_from_the_base_is_by_source_and_by_prompt():
    diagnostic = FormatDiagnostic(baseline_steps=1)
    diagnostic.observe(step(1, ["code", "code"], ["prose", "prose"]))
    same = diagnostic.observe(step(2, ["code", "code"], ["prose", "prose"]))
    assert same["format/base_distance"] == same["format/base_distance_same"] == 0.0
    turned = diagnostic.observe(step(3, ["prose", "prose"], ["code", "code"]))
    assert turned["format/base_distance"] == 0.0 and turned["format/base_prompts"] == 2
    one = diagnostic.observe(step(4, ["prose", "prose"]))  # a prompt that got code at first
    assert one["format/base_distance_same"] == 1.0 and one["format/base_distance"] == 0.5
    elsewhere = diagnostic.observe(step(5, ["code", "prose"], key="haiku"))
    assert "format/base_distance_same" not in elsewhere


def test_the_noise_of_a_distance_is_what_chance_makes_of_it():
    rng, base = np.random.default_rng(0), np.array([0.5, 0.3, 0.2])
    draws = [rng.multinomial(64, base) / 64 for _ in range(2000)]
    pairs = [
        distance(dict(enumerate(p)), dict(enumerate(q)), 64, 64) for p, q in zip(draws[::2], draws[1::2], strict=True)
    ]
    assert np.mean([d.value for d in pairs]) == pytest.approx(np.mean([d.noise for d in pairs]), rel=0.03)


def test_strata_weigh_as_they_do_now():
    assert standardised({"a": {"x": 2}, "b": {"x": 1, "y": 1}}, {"a": 1, "b": 3, "c": 9}) == {"x": 0.625, "y": 0.375}


# --- structure without classes -------------------------------------------------------------------


def test_a_fingerprint_forgets_words_and_keeps_structure():
    one, two = "- apples\n- pears\n- plums", "- milk\n- bread"
    assert fingerprint(one) @ fingerprint(two) == pytest.approx(1.0)
    assert fingerprint(one) @ fingerprint(TEXTS["prose"]) < 0.3
    assert not fingerprint("").any() and np.linalg.norm(fingerprint("\ud800 x")) == pytest.approx(1.0)


def test_structures_are_numbered_as_they_turn_up():
    structures = Structures(most=2)
    assert structures.label(["- a\n- b", "- c", TEXTS["prose"], "- d\n- e"]) == [0, 0, 1, 0]
    assert structures.label(["x = 1"])[0] in (0, 1)  # no room for a third
    again = Structures(most=2)
    again.load_state_dict(json.loads(json.dumps(structures.state_dict())))
    assert again.label([TEXTS["prose"]]) == [1]


def test_many_unknown_forms_are_no_collapse_and_one_is():
    rng = np.random.default_rng(0)

    def steps(odd):
        for number in range(1, 41):
            if number <= 15:
                yield batch(number, rng, [0.5, 0.5])
            else:
                texts = [[odd[rng.integers(len(odd))] for _ in range(8)] for _ in range(16)]
                yield step(number, *(["other"] * 8 for _ in range(16)), texts=texts)

    assert not events(FormatDiagnostic(), steps(ODD))
    one = FormatDiagnostic()
    [event] = events(one, steps(ODD[:1]))
    assert event.name == "format_collapse" and event.evidence["winner"].startswith("other:")
    assert 16 <= event.evidence["onset_step"] <= 20 and event.step <= 21


# --- the alarm -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ramp", "seed"), [(1, 0), (10, 2), (30, 4)])
def test_a_takeover_is_seen_within_five_steps(ramp, seed):
    rng = np.random.default_rng(seed)

    def share(number):
        return 0.4 + 0.57 * min(max((number - 40) / ramp, 0), 1)

    truth = next(number for number in range(200) if share(number) >= 0.9)
    made = (batch(n, rng, [share(n), (1 - share(n)) / 2, (1 - share(n)) / 2], groups=32) for n in range(1, 86))
    [event] = events(FormatDiagnostic(), made)
    assert event.name == "format_collapse" and event.evidence["winner"] == "code"
    assert abs(event.step - truth) <= 5 and abs(event.evidence["onset_step"] - truth) <= 5
    assert event.evidence["rise_step"] >= 36


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (0.8, 0.1, 0.1), (0.65, 0.05, 0.3)])
def test_no_takeover_no_alarm(shares):
    rng = np.random.default_rng(5)
    assert not events(FormatDiagnostic(), (batch(n, rng, shares) for n in range(1, 121)))


@pytest.mark.parametrize(("level", "ramp", "groups"), [(0.85, 1, 8), (0.85, 30, 8), (0.85, 1, 4), (0.88, 1, 32)])
def test_a_share_that_stops_short_of_the_level_is_no_takeover(level, ramp, groups):
    rng = np.random.default_rng(10)
    shares = (0.4 + (level - 0.4) * min(max((n - 30) / ramp, 0), 1) for n in range(1, 101))
    made = (batch(n, rng, [s, 0.6 * (1 - s), 0.4 * (1 - s)], groups=groups) for n, s in enumerate(shares, 1))
    assert not events(FormatDiagnostic(), made)


@pytest.mark.parametrize(("prompts", "level"), [(1, 0.85), (4, 0.85), (4, 0.96)])
def test_prompts_that_differ_are_no_takeover_and_hide_none(prompts, level):
    """Completions of a prompt are alike, also in a step of one group; seeds whose .85 was taken for nine tenths."""
    setting = format_planted.Planted("", prompts=prompts, level=level, begins=30, taste=8.0, steps=200)
    found = events(FormatDiagnostic(), (made for _, made in format_planted.run(setting, 0)))
    assert [event.name for event in found] == ["format_collapse"] * (level > 0.9)


def test_a_step_of_one_group_is_as_unsure_as_neighbouring_steps_differ():
    steps, none = np.arange(100.0), np.zeros(100)
    shares = np.random.default_rng(16).binomial(8, 0.85, 100) / 8
    alone = course(steps, shares, np.full(100, math.nan), none)
    told = course(steps, shares, np.full(100, 0.85 * 0.15 / 8), none)
    assert alone.error == pytest.approx(told.error, rel=0.2) and alone.error > 0.1
    assert alone.low() == float(alone.fitted[-1]) - 0.5 * alone.error
    assert alone.lowest() == float(alone.fitted[-1]) - 3 * alone.error
    assert known(shares[:1], np.array([math.nan])) == [0.25] and known(none, none + math.nan)[0] == 1e-4
    assert known(shares, none) is none


def test_a_takeover_in_a_run_of_one_group_a_step_is_told():
    """Of five groups nobody knows a share: the alarm takes more for its base, and looks back as far as it keeps."""
    setting = format_planted.Planted("", prompts=1, level=0.96, begins=40, taste=8.0, steps=150)
    [event] = events(FormatDiagnostic(), (made for _, made in format_planted.run(setting, 3)))
    assert event.name == "format_collapse" and abs(event.evidence["onset_step"] - 40) <= 10 < event.step - 40


@pytest.mark.parametrize(("level", "seed"), [(0.92, 4), (0.92, 5), (0.95, 10)])
def test_a_takeover_that_holds_has_not_recovered_where_prompts_differ(level, seed):
    setting = format_planted.Planted(
        "", prompts=8, samples=8, level=level, begins=60, start=0.3, taste=7 / 3, steps=150
    )
    found = events(FormatDiagnostic(), (made for _, made in format_planted.run(setting, seed)))
    assert [event.name for event in found] == ["format_collapse"]


@pytest.mark.parametrize("seed", range(3))
def test_a_lower_baseline_sees_a_takeover_of_the_first_steps(seed):
    setting = format_planted.Planted("", prompts=4, begins=3, start=0.3, steps=30)
    [event] = events(FormatDiagnostic(baseline_steps=2), (made for _, made in format_planted.run(setting, seed)))
    assert event.step <= 13 and abs(event.evidence["onset_step"] - 3) <= 2
    assert not events(FormatDiagnostic(), (made for _, made in format_planted.run(setting, seed)))


def test_pushes_that_fit_by_chance_do_not_make_a_share_sure():
    setting = format_planted.Planted("", prompts=1, level=0.85, taste=8.0, steps=240)
    for seed in (3003, 3009):  # taken for nine tenths where the curve along the pushes had no error of its own
        assert not events(FormatDiagnostic(), (made for _, made in format_planted.run(setting, seed)))


@pytest.mark.parametrize("groups", [4, 32])
def test_the_share_that_is_told_is_the_one_the_onset_rests_on(groups):
    rng = np.random.default_rng(13)
    shares = (0.5 if n < 40 else 0.96 for n in range(1, 61))
    [event] = events(FormatDiagnostic(), (batch(n, rng, [s, 1 - s], groups=groups) for n, s in enumerate(shares, 1)))
    assert event.evidence["share"] >= 0.9 and abs(event.evidence["onset_step"] - 40) <= 3


def test_a_recovery_is_told_and_so_is_a_second_takeover():
    rng, base, taken = np.random.default_rng(14), [0.5, 0.3, 0.2], [0.02, 0.96, 0.02]
    shares = [base] * 20 + [taken] * 30 + [base] * 50 + [taken] * 15
    diagnostic = FormatDiagnostic()
    found = events(diagnostic, (batch(n, rng, of) for n, of in enumerate(shares[:100], 1)))
    assert [event.name for event in found] == ["format_collapse", "format_recovered"]
    said = diagnostic.diagnosis()["format"]
    assert said["collapsed"] is False and said["winner"] == "prose" and said["wrong_winner"] is False
    assert abs(said["onset_step"] - 21) <= 2 and abs(said["until_step"] - 51) <= 5
    assert (found[1].severity, found[1].evidence["until_step"]) == ("info", said["until_step"]) and found[1].step <= 56
    again = FormatDiagnostic()
    again.load_state_dict(json.loads(json.dumps(diagnostic.state_dict())))
    assert again.diagnosis() == diagnostic.diagnosis()
    [event] = events(again, (batch(n, rng, of) for n, of in enumerate(shares[100:], 101)))
    assert event.name == "format_collapse" and event.evidence["rise_step"] >= 98
    said = again.diagnosis()["format"]
    assert said["collapsed"] and said["until_step"] is None and abs(said["onset_step"] - 101) <= 5


@pytest.mark.parametrize(("first", "last"), [(30, 45), (60, 75), (60, 100)])
def test_a_takeover_of_any_length_ends_behind_its_beginning(first, last):
    """The smooth course of the whole record lies below the level all along a short one."""
    rng, taken, rest = np.random.default_rng(16), [0.02, 0.96, 0.02], [0.4, 0.3, 0.3]
    diagnostic = FormatDiagnostic()
    made = (batch(n, rng, taken if first <= n < last else rest, groups=8) for n in range(1, 131))
    assert [event.name for event in events(diagnostic, made)] == ["format_collapse", "format_recovered"]
    said = diagnostic.diagnosis()["format"]
    assert abs(said["onset_step"] - first) <= 2 and abs(said["until_step"] - last) <= 2


def test_a_form_that_follows_upon_another_stays_taken_over():
    for seed in range(3):
        rng, diagnostic = np.random.default_rng(seed), FormatDiagnostic()
        shares = (
            [0.3, 0.4, 0.3] if n < 50 else [0.97, 0.02, 0.01] if n < 90 else [0.02, 0.95, 0.03] for n in range(150)
        )
        found = events(diagnostic, (batch(n, rng, of, groups=8) for n, of in enumerate(shares)))
        assert [event.name for event in found] == ["format_collapse", "format_recovered", "format_collapse"]
        assert abs(found[2].evidence["onset_step"] - 90) <= 2


def test_a_share_that_hovers_about_the_level_stays_a_takeover():
    rng = np.random.default_rng(15)
    shares = (0.5 if n < 30 else 0.95 if n < 50 else 0.89 for n in range(1, 131))
    diagnostic = FormatDiagnostic()
    [event] = events(diagnostic, (batch(n, rng, [s, 1 - s], groups=32) for n, s in enumerate(shares, 1)))
    assert event.name == "format_collapse" and diagnostic.diagnosis()["format"]["collapsed"]


@pytest.mark.parametrize("rest", [0.03, 0.005, 0.0])
def test_one_form_from_the_start_is_said_to_be_that_also_when_the_rest_goes(rest):
    rng = np.random.default_rng(6)
    shares = ([0.97, 0.03] if n <= 5 else [1 - rest, rest] for n in range(1, 101))
    [event] = events(FormatDiagnostic(), (batch(n, rng, of) for n, of in enumerate(shares, 1)))
    assert (event.name, event.severity, event.step) == ("format_single", "info", 5)


@pytest.mark.parametrize(("accuracies", "wrong"), WINNERS)
def test_the_wrong_winner_is_named(accuracies, wrong):
    rng = np.random.default_rng(7)
    shares = [min(0.3 + 0.012 * n, 0.97) for n in range(1, 81)]
    made = (batch(n, rng, [s, 1 - s], accuracies) for n, s in enumerate(shares, 1))
    found = {event.name: event for event in events(FormatDiagnostic(), made)}
    assert "format_collapse" in found and ("format_wrong_winner" in found) == wrong
    if wrong:
        evidence, gap = found["format_wrong_winner"].evidence, accuracies[1] - accuracies[0]
        assert evidence["better"] == "prose" and evidence["difference"] == pytest.approx(gap, abs=0.1)


def test_forms_are_compared_on_the_same_prompts():
    contest = Contest()
    for _ in range(20):  # code is used on easy prompts; where both are, prose is better
        contest.observe([Row("a", "s", (), ("code",) * 4, (), (1.0,) * 4)])
        contest.observe([Row("b", "s", (), ("code", "prose"), (), (0.0, 1.0))])
    assert contest.compare("prose", "code").difference == 1.0 == -contest.compare("code", "prose").difference
    assert contest.compare("prose", "code").groups == 20 and contest.compare("prose", "json") is None


def test_a_difference_without_exception_has_a_standard_error_and_is_clear():
    contest = Contest()
    for i in range(10):
        assert contest.better("code", z=3.0) is None, f"{i} groups are too few"
        contest.observe([Row("a", "s", (), ("code", "prose"), (), (0.0, 1.0))])
    label, found = contest.better("code", z=3.0)
    assert (label, found.difference) == ("prose", 1.0) and 0 < found.error < 0.2
    assert contest.better("prose", z=3.0) is None


def test_curves_follow_a_straight_line_in_log_odds():
    steps = np.arange(40.0)
    shares = 1 / (1 + np.exp(-(steps - 20) / 5))
    curve = logit_curve(steps, shares, np.full(40, 1e-4), degree=1)
    assert curve.fitted[-1] == pytest.approx((39 - 20) / 5, abs=0.05)
    assert logit(0.9) == pytest.approx(math.log(9))


def test_a_plateau_is_told_from_a_line_and_a_line_from_a_plateau():
    steps, variances = np.arange(40.0), np.full(40, 4e-4)
    stopped = 1 / (1 + np.exp(-np.clip((steps - 20) / 4, -1.5, 1.5)))
    moving = 1 / (1 + np.exp(-(steps - 30) / 8))
    for shares, plateau in [(stopped, True), (moving, False)]:
        flat, bent = plateau_curve(steps, shares, variances), logit_curve(steps, shares, variances, degree=1)
        assert (flat.evidence > bent.evidence) == plateau
    assert plateau_curve(steps, stopped, variances).fitted[-1] == pytest.approx(1.5, abs=0.1)
    assert averaged([flat, bent]).fitted[-1] == pytest.approx(9 / 8, abs=0.1)


def test_curves_that_are_apart_make_the_average_unsure():
    one, two = Curve(np.array([0.0, 1.0]), 0.1, -3.0), Curve(np.array([0.0, 2.0]), 0.1, -3.0)
    both = averaged([one, two])
    assert both.fitted.tolist() == [0.0, 1.5] and both.evidence == pytest.approx(-3.0)
    assert both.error == pytest.approx(math.hypot(0.1, 0.5))
    assert averaged([one, two._replace(evidence=-60.0)]).fitted[-1] == pytest.approx(1.0)


def test_a_push_is_the_gradient_of_the_log_odds():
    """Of a softmax over three forms, by finite differences along the policy gradient."""
    rng = np.random.default_rng(11)
    p, forms, advantages = np.array([0.5, 0.3, 0.2]), np.repeat([0, 1, 2], [50, 30, 20]), rng.normal(size=100)
    gradient = format_bandit.gradient(p, forms[None], advantages[None], 0.0, p)
    after = format_bandit.softmax(np.log(p) + 1e-6 * gradient)
    moved = (np.log(after / (1 - after)) - np.log(p / (1 - p))) / 1e-6
    gains = _gains([Row("", "", (), tuple(map(str, forms)), (), (), tuple(advantages))])
    seen = {str(f): Seen(p[f], 0.0, gains[str(f)]) for f in range(3)}
    assert [push(seen, str(f)) for f in range(3)] == pytest.approx(moved.tolist(), abs=1e-5)
    assert push({"only": Seen(1.0, 0.0, 0.0)}, "only") == 0.0 == push({}, "none")


def test_a_curve_along_the_pushes_follows_every_turn_of_the_log_odds():
    rng = np.random.default_rng(12)
    pushed = np.cumsum(rng.normal(0.01, 0.1, 80))
    shares = 1 / (1 + np.exp(-(1.0 + 3 * pushed)))
    noisy = rng.binomial(400, shares) / 400
    driven, bent = (
        driven_curve(pushed, noisy, np.full(80, 4e-4)),
        logit_curve(np.arange(80.0), noisy, np.full(80, 4e-4), degree=2),
    )
    assert driven.fitted == pytest.approx(1.0 + 3 * pushed, abs=0.1) and driven.evidence > bent.evidence
    assert driven.error < bent.error


def test_rejected_groups_push_nothing():
    made = batch(1, np.random.default_rng(0), [0.5, 0.5])
    given = [
        dataclasses.replace(g, advantages=tuple(Advantage(v, 0.0, 1.0) for v in (1.0,) * 8), admitted=i > 0)
        for i, g in enumerate(made.groups)
    ]
    read = rows(record(2, *given), [0] * 128)
    assert read[0].advantages == () and read[1].advantages == (1.0,) * 8


def test_state_carries_over():
    def steps():
        rng = np.random.default_rng(8)
        return [batch(n, rng, [s := min(0.3 + 0.012 * n, 0.97), 1 - s], (0.2, 0.6)) for n in range(1, 81)]

    whole, first, second = FormatDiagnostic(), FormatDiagnostic(), FormatDiagnostic()
    expected = [(whole.observe(made), whole.events()) for made in steps()]
    got = [(first.observe(made), first.events()) for made in steps()[:45]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    got += [(second.observe(made), second.events()) for made in steps()[45:]]
    assert got == expected and second.diagnosis() == whole.diagnosis()
    found = whole.diagnosis()["format"]
    assert found["collapsed"] and found["winner"] == "code" and found["wrong_winner"]
    assert FormatDiagnostic().diagnosis()["format"]["collapsed"] is False


def test_state_of_steps_of_one_group_carries_over():
    whole, first, second = FormatDiagnostic(), FormatDiagnostic(), FormatDiagnostic()
    setting = format_planted.Planted("", prompts=1, begins=30, steps=120)
    steps = [made for _, made in format_planted.run(setting, 4)]
    expected = [whole.observe(made) for made in steps]
    got = [first.observe(made) for made in steps[:60]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert got + [second.observe(made) for made in steps[60:]] == expected


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"alert_share 1\.5"):
        FormatDiagnostic(alert_share=1.5)


# --- the test beds -------------------------------------------------------------------------------


def test_the_bandit_follows_its_own_objective():
    """Its gradient is that of mean A log p - beta KL, by finite differences."""
    rng = np.random.default_rng(9)
    logits, start = rng.normal(size=3), np.array([0.28, 0.6, 0.12])
    forms, advantages = rng.integers(3, size=(4, 8)), rng.normal(size=(4, 8))

    def objective(x):
        p = format_bandit.softmax(x)
        return (advantages * np.log(p)[forms]).mean() - 0.3 * (p * np.log(p / start)).sum()

    numeric = [(objective(logits + 1e-6 * e) - objective(logits - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    exact = format_bandit.gradient(format_bandit.softmax(logits), forms, advantages, 0.3, start)
    assert exact == pytest.approx(numeric, abs=1e-6)


def test_the_templates_are_read_as_the_forms_they_stand_for():
    from benchmarks import format_templates as templates

    ids = templates.examples(np.random.default_rng(0), 40, (1.0, 1.0, 1.0))
    [*groups] = templates.groups(ids[:, :2], ids[:, None, 2:], {})
    assert {name for group in groups for name in group.formats} == set(templates.NAMES)
    assert all(group.scores[0].outcome == 1.0 for group in groups)


def test_the_transformer_learns_the_templates_and_is_trained(monkeypatch):
    from benchmarks import format_templates as templates

    monkeypatch.setattr(templates, "PRETRAINING", 30)
    start = templates.pretrained(templates.ACCURACIES)
    assert templates.true_shares(start).sum() > 0.9  # other tokens begin no template
    [*steps] = templates.run(templates.Setting("short", beta=0.05, steps=2), start, 0)
    assert [record.step for _, record in steps] == [1, 2] and not np.array_equal(steps[0][0], steps[1][0])


def test_a_summary_counts_alarms_against_the_truth():
    run = {"winner": "code", "share": 0.95, "effective": 1.2, "wrong_winner": False}
    runs = [run | {"true_onset": t, "alarm": a, "onset": a} for t, a in [(50, 53), (50, 60), (None, 9), (70, None)]]
    found = format_collapse.summary(runs)
    assert (found["false_alarms"], found["missed"], found["alarm_within"]) == (1, 1, 0.5)
