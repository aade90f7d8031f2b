"""The pictures of a run in which it is known what happened: what was planted is in their data, at the right step."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from synthetic import group, record, run

from benchmarks.planted_curves import ENGINES, FORMS, WAVE
from benchmarks.planted_run import write
from diagnostics.law import fit
from diagnostics.report import compare
from diagnostics.report.cards import cards
from diagnostics.report.figures import VIEWS, advantage, entropy_budget, format_river, missing, palette, panel, style
from diagnostics.report.figures.curriculum_flow import COLUMNS, FILLS, histogram
from diagnostics.report.figures.reward import shade
from diagnostics.report.rollouts import groups, interval, sampled, windows
from diagnostics.report.series import curves, extremes
from rltrain.records import RunDir, load_run
from rltrain.records.phases import phases
from rltrain.types import Event, Panel

STEPS = 60
VIEW = {view.name: view for view in VIEWS}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "planted-001"
    return write(path, STEPS, groups=6, samples=8), load_run(path)


def drawn(files, name, x="step"):
    return VIEW[name].draw(files if isinstance(files, list) else [files], x)


def trace(figure, name):
    (found,) = [one for one in figure.data if one.name == name and one.showlegend is not False]
    return found


def titled(figures, title):
    (found,) = [figure for figure in figures if figure.layout.title.text == title]
    return found


# --- what was planted is drawn ------------------------------------------------------------------


def test_every_view_draws_the_planted_run_and_says_how_to_read_it(planted):
    _, files = planted
    for view in VIEWS:
        figures = view.draw([files], "step")
        assert bool(figures) == (view.name != "difference"), view.name
        for figure in figures:
            assert figure.layout.title.text and figure.layout.meta["read"] and figure.layout.height > 100, view.name
            assert all(one.meta["run"] == files.name for one in figure.data), view.name
            labelled = [axis for axis in figure.select_yaxes() if axis.title.text or axis.ticktext]
            assert len(labelled) >= len(list(figure.select_yaxes())) - 1, view.name  # all but the strip of phases


def test_the_phase_changes_where_it_was_planted(planted):
    truth, files = planted
    (figure,) = drawn(files, "phase_timeline")
    bars = {one.name: one for one in figure.data if one.type == "bar"}
    assert bars["planning"].base[0] == truth.phase and bars["planning"].meta["confidence"] == 0.97
    assert bars["consolidating"].base[0] + bars["consolidating"].x[0] == truth.phase
    lines = [shape for shape in figure.layout.shapes if shape.type == "line" and shape.line.color == palette.GREEN]
    assert [shape.x0 for shape in lines] == [truth.phase]
    spans = [
        shape
        for shape in figure.layout.shapes
        if shape.type == "rect" and shape.fillcolor == palette.faint(palette.GREEN, 0.22)
    ]
    assert spans[0].x0 < truth.phase < spans[0].x1
    plans = trace(figure, "variety of plans")
    before = np.array(plans.x) < truth.phase
    assert plans.y[before].max() < plans.y[np.array(plans.x) > truth.phase + 12].min()
    assert any(one.type == "scatter" and one.fill == "toself" for one in figure.data)  # the gap has its interval


def test_the_collapse_is_where_it_was_planted(planted):
    truth, files = planted
    river, *_ = drawn(files, "format_river")
    winner = trace(river, FORMS[0])
    assert winner.stackgroup and winner.x[int(np.argmax(winner.y >= 0.8999))] == truth.collapse
    assert truth.collapse in [shape.x0 for shape in river.layout.shapes]
    assert any(note.text and "takes over" in note.text for note in river.layout.annotations)
    bottom = [one for one in river.data if one.stackgroup == "base"]
    expected = {name: files.metrics[f"eval/format_share@{name}"].iloc[0] for name in FORMS}
    assert {one.name: float(one.y[0]) for one in bottom} == pytest.approx(expected)
    assert all(max(one.x) < winner.x[0] for one in bottom)
    total = sum(one.y for one in river.data if one.stackgroup == "steps")
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_the_base_model_is_its_evaluation_or_else_the_first_steps(planted):
    _, files = planted
    shares, where = format_river.base_shares(found := format_river.shares(files), files)
    assert sum(shares.values()) == pytest.approx(1) and where == "on the held-out prompts"
    never = load_run(files.path)
    never.metrics = files.metrics.filter(regex="^(?!eval/)")
    shares, where = format_river.base_shares(found, never)
    assert shares == pytest.approx(found.iloc[:5].mean().to_dict()) and where == "as far as the first 5 steps tell"
    assert not list(format_river.lacks(files)) and "not written" in next(iter(format_river.lacks(never)))


def test_the_wave_of_quarantine_is_where_it_was_planted(planted):
    truth, files = planted
    pools, difficulty, refused = drawn(files, "curriculum_flow")
    aside = trace(pools, "quarantined")
    jump = int(np.argmax(np.diff(aside.y)))
    assert aside.x[jump + 1] == truth.quarantine and np.diff(aside.y)[jump] == WAVE
    np.testing.assert_allclose(np.array(difficulty.data[0].z).sum(axis=0), 1, atol=1e-6)
    assert any("no success" in one.name for one in refused.data)


def test_the_restart_is_in_its_lane_at_its_step(planted):
    truth, files = planted
    figures = drawn(files, "health")
    engines = titled(figures, "Engines")
    crosses = [one for one in engines.data if one.name == "restarted"]
    assert [(one.meta["engine"], *one.x) for one in crosses] == [(ENGINES[1], truth.restart)]
    starting = next(one for one in engines.data if one.name == "starting" and one.meta["engine"] == ENGINES[1])
    assert starting.x[int(np.argmax(starting.y))] == truth.restart and starting.y.max() > 0.5
    rollout = trace(titled(figures, "Time of a step"), "rollout")
    assert rollout.x[int(np.argmax(rollout.y))] == truth.restart


def test_reward_has_its_interval_and_its_tasks(planted):
    _, files = planted
    figures = drawn(files, "reward")
    outcome = titled(figures, "Outcome and reward")
    assert trace(outcome, "outcome, all samples").y == pytest.approx(
        files.metrics["reward/outcome_all"].dropna(), abs=1e-5
    )
    bands = [one for one in outcome.data if one.fill == "toself"]
    curves = [one for one in outcome.data if one.name]
    assert {palette.faint(one.line.color) for one in curves} == {one.fillcolor for one in bands}, "a band a curve"
    assert len(bands[0].x) == 2 * STEPS / 4  # there and back over 4 steps of 6 groups together
    assert {one.name for one in titled(figures, "Outcome by task").data if one.name} == {"chain_sum", "letters"}
    assert titled(figures, "Pass/fail and nearness")


def test_words_beside_a_step_stand_where_there_is_room(planted, tmp_path):
    _, files = planted
    shutil.copytree(files.path, tmp_path / "a")
    told = files.diagnosis | {"format": {"onset_step": 2, "until_step": STEPS, "winner": "boxed"}}
    told |= {"shortcuts": [{"name": "copied", "onset_step": STEPS}, {"name": "looped", "onset_step": 1}]}
    (tmp_path / "a" / "diagnosis.json").write_text(json.dumps(told))
    run = load_run(tmp_path / "a")
    anchors = {
        note.text.strip(): note.xanchor for name in ("format_river", "advantage") for figure in drawn(run, name)
        for note in figure.layout.annotations
    }  # fmt: skip
    assert (anchors["boxed takes over"], anchors["copied"], anchors["looped"]) == ("left", "right", "left")
    assert anchors["boxed gives way"] == "right"


def test_a_column_of_difficulty_stands_over_its_steps():
    table = pd.DataFrame({"step": np.arange(1, 201), "outcome": np.arange(1, 201) > 100, "judged": 1}).astype(float)
    middles, shares = histogram(table)
    steps = np.array_split(np.arange(1, 201), len(middles))
    assert len(middles) == COLUMNS and middles.tolist() == [part.mean() for part in steps]
    np.testing.assert_allclose(shares[-1], [(part > 100).mean() for part in steps])


def test_the_signal_is_shared_out(planted):
    truth, files = planted
    source, luck, work = drawn(files, "advantage")
    np.testing.assert_allclose(sum(one.y for one in source.data), 1, atol=1e-5)
    assert truth.collapse + 2 in [shape.x0 for shape in work.layout.shapes]
    assert trace(luck, "successes that were alone").y[0] > trace(luck, "successes that were alone").y[-1]


def test_the_mass_of_a_group_counts_where_its_successes_put_it(tmp_path):
    made = RunDir.create(tmp_path / "a", "", {})
    lonely, even = group(0, (1.0, 0, 0, 0, 0, 0, 0, 0)), group(1, (1.0, 1.0, 1.0, 0.0))
    made.write_rollouts(record(1, lonely, even))
    made.close()
    steps, shares = advantage.mass(groups(load_run(made.path)))
    assert steps.tolist() == [1] and shares[:, 0].tolist() == [0, 0.25, 0, 0.75, 0]  # |advantages| are 1 and 3


def test_the_fitted_law_is_the_one_drawn(planted):
    _, files = planted
    law, course = drawn(files, "entropy_budget")
    known = files.metrics[["entropy/mean", "reward/outcome_all"]].dropna()
    expected = fit(known["entropy/mean"], known["reward/outcome_all"])
    (diamond,) = [one for one in law.data if one.marker.symbol == "diamond"]
    assert diamond.y[0] == pytest.approx(expected.ceiling) and diamond.x[0] == 0
    assert law.data[0].customdata.tolist() == sorted(law.data[0].customdata)
    ceiling = trace(course, "predicted ceiling")
    assert ceiling.y[-1] == pytest.approx(diamond.y[0], abs=0.06), "one ceiling, however it is drawn"
    assert [axis.title.text for axis in course.select_yaxes()][1:] == ["entropy<br>spent, share", "entropy, nats"]


def test_the_law_rests_on_as_many_steps_as_the_run_was_told(tmp_path):
    own = "diagnostics: [{use: entropy}, {use: mechanism, args: {min_steps: 21}}]\n"
    files = {name: load_run(run(tmp_path / name, 20, config=config).path) for name, config in (("a", ""), ("b", own))}
    assert entropy_budget.law(files["a"]) is not None and entropy_budget.law(files["b"]) is None
    (words,) = entropy_budget.lacks(files["b"])
    assert "20 steps" in words and "at least 21" in words
    broken = load_run(run(tmp_path / "c", 20, config="diagnostics: [7, {use: mechanism, args: 3}]\n").path)
    assert entropy_budget.min_steps(broken) == 12


def test_a_form_has_one_colour_in_every_figure(planted):
    _, files = planted
    river, _, accuracy = drawn(files, "format_river")
    (shares,) = panel.figures(Panel("Forms", ("format/share",), "area", ""), [files])
    own = [{one.name: one.line.color for one in figure.data if one.name} for figure in (river, accuracy, shares)]
    assert own[0] == own[1] == own[2] and len(set(own[0].values())) == len(FORMS)
    assert palette.colours(["mine", "prose"])["mine"] != palette.FORMS["prose"]


def captions(files) -> dict[str, str]:
    drawings = (figure for view in VIEWS for figure in view.draw([files], "step"))
    return {figure.layout.title.text: figure.layout.meta["read"] for figure in drawings}


def test_a_caption_speaks_of_what_is_drawn(planted, tmp_path):
    _, files = planted
    read = captions(files)
    assert "diamond" in read["Reward bought with entropy"] and "as predicted" in read["Ceiling and entropy spent"]
    read = captions(load_run(run(tmp_path / "a", 5).path))
    assert "diamond" not in read["Reward bought with entropy"] and "ceiling" not in read["Entropy"]
    assert "interval" not in read["Outcome and reward"] and "strip" not in read["Planning against execution"]


# --- gaps ----------------------------------------------------------------------------------------


def test_a_curve_has_the_gaps_that_its_steps_have(tmp_path):
    lines = [{"step": s, "loss/total": 1.0} for s in (1, 2, 3, 4, 30, 31, 32)]
    lines += [{"step": s, "eval/outcome": 0.5} for s in (0, 10, 20, 50, 60, 64)]
    lines += [{"step": s, "entropy/gap": 0.1, "entropy/gap_low": 0.0, "entropy/gap_high": 0.2} for s in (3, 4, 9, 17)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    frame = load_run(tmp_path).metrics
    found = {name: curves(frame, name)[0] for name in ("loss/total", "eval/outcome", "entropy/gap")}
    holes = {name: [s for s, v in zip(c.steps, c.values, strict=True) if v is None] for name, c in found.items()}
    assert holes == {"loss/total": [5], "eval/outcome": [30], "entropy/gap": [5, 10]}, "lost, missed, seldom there"
    band, line = panel.figures(Panel("Gap", tuple(frame.columns[-3:]), "line", ""), [load_run(tmp_path)])[0].data
    assert np.isnan(band.x).sum() == 2 and np.nanmax(np.diff(band.x)) == 1, "no area over a gap"
    assert line.mode == "lines+markers"


# --- thinning ------------------------------------------------------------------------------------


def test_a_spike_of_one_step_in_ten_thousand_stays_where_it_was():
    values = np.sin(np.arange(10_000) / 300)
    values[7777], values[4001] = 9.0, np.nan
    places, size = extremes(values, 1000)
    assert len(places) <= 1002 + 1 and size == 20
    assert {0, 4001, 7777, 9999} <= set(places.tolist())
    for start in range(0, 10_000, size):
        stretch = values[start : start + size]
        kept = values[places[(places >= start) & (places < start + size)]]
        assert np.nanmin(kept) == np.nanmin(stretch) and np.nanmax(kept) == np.nanmax(stretch)
    assert extremes(values[:1000], 1000)[0].tolist() == list(range(1000))


def test_a_stretch_without_a_value_is_a_gap():
    values = np.full(100, np.nan)
    values[:10] = 1.0
    places, _ = extremes(values, 20)
    assert np.isnan(values[places]).sum() >= 9


def test_a_long_curve_is_thinned_in_the_figure_and_says_so(tmp_path):
    lines = "".join(f'{{"step": {s}, "loss/total": {9 if s == 777 else 0}}}\n' for s in range(1, 3001))
    (tmp_path / "metrics.jsonl").write_text(lines)
    (found,) = curves(load_run(tmp_path).metrics, "loss/total")
    assert found.pooled == 6 and max(zip(found.values, found.steps, strict=True)) == (9, 777)


# --- axes and runs -------------------------------------------------------------------------------


def test_by_tokens_the_same_points_stand_at_the_tokens_trained(planted):
    _, files = planted
    steps, tokens = style.tokens_at(files)
    for view in VIEWS:
        for by_step, by_tokens in zip(view.draw([files], "step"), view.draw([files], "tokens"), strict=True):
            if "tokens" not in by_tokens.layout.xaxis.title.text:
                continue  # reward against entropy has no time
            for a, b in zip(by_step.data, by_tokens.data, strict=True):
                if a.type == "scatter" and a.stackgroup != "base":
                    assert list(b.customdata) == list(a.x), view.name
                    np.testing.assert_allclose(b.x, np.interp(a.x, steps, tokens))


def test_several_runs_have_their_colours_and_a_difference(planted, tmp_path):
    _, first = planted
    other = tmp_path / "planted-002"
    write(other, 40, groups=6, samples=8, seed=3)
    runs = [first, load_run(other)]
    for view in VIEWS:
        assert view.draw(runs, "tokens"), view.name
    figure = drawn(runs, "phase_timeline")[0]
    assert len({one.line.color for one in figure.data if one.name and "· planning tokens" in one.name}) == 2
    named = [one.name for one in figure.data if one.type == "scatter" and one.showlegend is not False]
    assert sorted(named) == sorted(set(named)) and {"planted-001", "planted-002", "planning tokens"} <= set(named)
    whole, by_task = drawn(runs, "difference")
    assert max(trace(whole, "planted-002 - planted-001").x) == 40
    assert [axis.title.text for axis in by_task.select_yaxes()] == ["chain_sum", "letters"]
    marks = {note.name: note for note in figure.layout.annotations if note.hovertext}
    one, other = (marks[run.name] for run in runs)
    assert one.font.color != other.font.color and one.yshift != other.yshift  # whose event it is can be seen


def outcomes_run(path, share, seed):
    rng = np.random.default_rng(seed)
    made = RunDir.create(path, "", {})
    for step in range(1, 5):
        made.write_rollouts(record(step, *(group(i, tuple(map(float, rng.random(8) < share))) for i in range(24))))
    made.close()
    return load_run(path)


def test_a_difference_in_outcomes_has_an_interval_that_holds_it(tmp_path):
    low, high = outcomes_run(tmp_path / "low", 0.3, 0), outcomes_run(tmp_path / "high", 0.7, 1)
    found = compare.outcomes(*compare.tables(low, high))
    assert np.all(found.low < found.value) and np.all(found.value < found.high) and np.all(found.low > 0)
    assert abs(found.value.mean() - 0.4) < 0.08
    same = compare.outcomes(*compare.tables(low, low))
    assert np.all(same.value == 0) and np.all(same.low < 0) and np.all(same.high > 0)


def learner(path, steps, tokens, share_of):
    """A run that trains so many tokens a step, and whose share of successes is `share_of` the tokens so far."""
    rng = np.random.default_rng(steps)
    made = RunDir.create(path, "", {})
    for step in range(1, steps + 1):
        share = share_of(step * tokens)
        made.write_rollouts(record(step, *(group(i, tuple(map(float, rng.random(8) < share))) for i in range(48))))
        made.log_metrics(step, {"tokens/total": step * tokens})
    made.close()
    return load_run(path)


def test_by_tokens_runs_are_compared_after_as_many_tokens(tmp_path):
    """One takes steps of twice the tokens, and both learn the same from a token."""
    small = learner(tmp_path / "small", 16, 100, lambda tokens: tokens / 2000)
    large = learner(tmp_path / "large", 10, 200, lambda tokens: tokens / 2000)
    by_step = compare.outcomes(*compare.tables(small, large))
    assert by_step.steps.tolist() == list(range(1, 11)) and by_step.value[-1] > 0.3
    found = compare.outcomes(*compare.tables(small, large, by_tokens=True))
    assert found.steps.tolist() == list(range(1, 9)), "what the first one never reached is left out"
    assert np.abs(found.value).max() < 0.12
    back = compare.outcomes(*compare.tables(large, small, by_tokens=True))
    assert back.steps.tolist() == list(range(1, 17)) and np.abs(back.value).max() < 0.15
    (figure,) = drawn([small, large], "difference", "tokens")
    assert max(trace(figure, "large - small").x) == 1600
    made = RunDir.create(tmp_path / "untold", "", {})
    made.close()
    assert not len(compare.tables(small, load_run(tmp_path / "untold"), by_tokens=True)[0])


def test_the_interval_of_a_mean_knows_that_neighbours_are_alike():
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.normal(size=400)) * 0.1
    walk, white = noise - np.mean(noise), rng.permutation(noise - np.mean(noise))
    (low, high), (low_white, high_white) = compare.block_interval(walk, 0), compare.block_interval(white, 0)
    assert high - low > 1.8 * (high_white - low_white) and low < 0 < high


def test_the_interval_over_prompts_covers_the_true_share(tmp_path):
    found = interval(groups(outcomes_run(tmp_path / "a", 0.4, 2)))
    assert found.steps.tolist() == [1, 2, 3, 4] and np.all(found.low < 0.45) and np.all(found.high > 0.35)
    assert np.all(found.high - found.low < 0.2)


def test_a_failed_judgement_is_no_reward_of_0(tmp_path):
    made = RunDir.create(tmp_path / "a", "", {})
    made.write_rollouts(record(1, *(group(i, (1.0, None, None)) for i in range(4))))
    made.close()
    found = interval(groups(load_run(made.path)), "reward")
    assert found.mean.tolist() == pytest.approx([1.05]) and found.low[0] == pytest.approx(1.05)  # as reward/mean has it


def test_windows_hold_enough_groups_and_stand_in_their_middle(tmp_path):
    table = groups(outcomes_run(tmp_path / "a", 0.4, 2))  # 4 steps of 24 groups
    pooled, size = windows(table, 48)
    assert size == 2 and pooled["step"].unique().tolist() == [1.5, 3.5]
    assert windows(table, 10)[1] == 1 and windows(table.iloc[:0], 10)[1] == 1
    assert windows(table, 72)[0]["step"].unique().tolist() == [2.5]  # a rest of one step is no window of three
    narrow, wide = interval(pooled), interval(table)
    assert (narrow.high - narrow.low).mean() < (wide.high - wide.low).mean()


def test_the_band_of_a_single_window_is_as_wide_as_the_window(tmp_path):
    made = outcomes_run(tmp_path / "a", 0.4, 1)
    (band,) = shade(made, groups(made).iloc[::6], "#000000")  # 4 groups a step, fewer than a window in all
    assert {min(band.x), max(band.x)} == {1.0, 4.0}


def test_config_differences_are_dotted_and_whole(tmp_path):
    a = load_run(run(tmp_path / "a", 1, config="training: {steps: 5, beta: 0.0}\ntasks: [{use: x}]\n").path)
    b = load_run(run(tmp_path / "b", 1, config="training: {steps: 9, beta: 0.0}\ntasks: [{use: y, n: 2}]\n").path)
    assert compare.config_changes([a, b]) == [
        ("training.steps", ["5", "9"]),
        ("tasks.0.use", ['"x"', '"y"']),
        ("tasks.0.n", ["-", "2"]),
    ]


# --- what is not there ---------------------------------------------------------------------------


def test_what_the_files_lack_is_said(tmp_path):
    files = load_run(run(tmp_path / "a", 5, config="diagnostics: [{use: entropy}]\n").path)
    for card in cards([files]):
        assert card.figures or card.missing or card.anchor == "difference", card.anchor
    told = " ".join(missing(VIEW["phase_timeline"], [files]))
    assert "no diagnosis.json" in told and "plan/variety (measured by: plan diagnostic)" in told
    assert any("no rollouts" in words for words in missing(VIEW["reward"], [files]))
    assert any("at least 12 are needed" in words for words in missing(VIEW["entropy_budget"], [files]))


def test_steps_in_which_too_few_tokens_plan_are_told(tmp_path):
    made = RunDir.create(tmp_path / "a", "diagnostics: [{use: entropy}]\n", {})
    for step, few in enumerate((40, 3, 5, 50), start=1):
        known = {"entropy/planning": 1.0} if few > 31 else {}
        made.log_metrics(step, {"entropy/execution": 0.5, "entropy/planning_tokens": float(few)} | known)
    made.close()
    told = " ".join(missing(VIEW["phase_timeline"], [load_run(tmp_path / "a")]))
    assert "in 2 of 4 steps too few tokens plan to compare them with the others, 4 in the median" in told


def test_only_the_cards_asked_for_are_drawn(planted):
    _, files = planted
    found = {card.anchor: card for card in cards([files], only={"reward"})}
    assert found["reward"].figures and not found["health"].figures and found["health"].title
    assert len(found) == len(cards([files], only=()))


def test_steps_after_the_last_verdict_are_judged_by_themselves(planted, tmp_path):
    truth, files = planted
    shutil.copytree(files.path, tmp_path / "a")
    made = RunDir.open(tmp_path / "a")
    for step in range(STEPS + 1, STEPS + 6):
        made.log_metrics(step, {"phase/state": 2.0, "phase/confidence": 0.9})
    made.log_metrics(STEPS + 6, {"phase/state": 3.0, "phase/confidence": 0.6})
    found = phases(load_run(tmp_path / "a"))
    assert [(part.state, part.start, part.end) for part in found.segments[-2:]] == [
        ("planning", truth.phase, STEPS + 6),
        ("stalled", STEPS + 6, STEPS + 6),
    ]
    (tmp_path / "a" / "diagnosis.json").write_text('{"phase": {"state": "planning", "segm')  # torn
    again = phases(load_run(tmp_path / "a"))
    assert again.judged is None and again.segments[-1].state == "stalled"


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "events.jsonl", "config.yaml", "diagnosis.json", "rollouts", "curriculum"]
)
@pytest.mark.parametrize("harm", ["torn", "gone", "other"])
@pytest.mark.filterwarnings("ignore:.*left out, it cannot be read")
def test_a_harmed_run_is_shown_as_far_as_it_goes(planted, tmp_path, name, harm):
    _, files = planted
    path = shutil.copytree(files.path, tmp_path / "a") / name
    targets = sorted(path.glob("*"))[-3:] if path.is_dir() else [path]
    for target in targets:
        text = target.read_bytes()
        target.write_bytes({"torn": text[: len(text) // 2], "gone": b"", "other": b"[1, 2]\n\xff\n"}[harm])
    if harm == "gone":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = cards([load_run(tmp_path / "a")], only=VIEW)
    shown = {card.anchor for card in found if card.figures}
    if name != "metrics.jsonl":
        assert {"phase_timeline", "reward", "format_river", "health", "entropy_budget"} <= shown


def test_rollouts_of_an_older_version_lack_columns(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    made = RunDir.create(tmp_path / "a", "", {})
    made.log_metrics(1, {"reward/mean": 0.5})
    (made.path / "rollouts").mkdir()
    old = pa.table({"step": [1] * 8, "group": [0, 0, 1, 1, 2, 2, 3, 3], "outcome": [0.0, 1.0] * 4, "mine": [1] * 8})
    parquet.write_table(old, made.path / "rollouts" / "step_00001.parquet")
    files = load_run(made.path)
    assert files.rollouts(columns=("step", "entropy")).columns.tolist() == ["step", "entropy"]
    assert interval(groups(files)).mean.tolist() == [0.5]
    assert all(view.draw([files], "step") is not None for view in VIEWS)


def test_steps_are_sampled_evenly_with_both_ends():
    assert sampled(list(range(1000)), 5) == [0, 250, 500, 749, 999] and sampled([3, 4], 5) == [3, 4]


def test_an_engines_lane_without_times_shows_who_made_the_completions(planted, tmp_path):
    _, files = planted
    path = shutil.copytree(files.path, tmp_path / "a")
    lines = (path / "metrics.jsonl").read_text().replace('"engine/', '"mine/')
    (path / "metrics.jsonl").write_text(lines)
    engines = titled(drawn(load_run(path), "health"), "Engines")
    assert {one.meta["engine"] for one in engines.data} == set(ENGINES)
    assert any("who made the completions" in words for words in missing(VIEW["health"], [load_run(path)]))


def test_hostile_names_stay_text_in_figures(tmp_path):
    bad = "<img src=x onerror=alert(1)>"
    made = run(tmp_path / "a", 14)
    lines = [{f"format/share@{bad}": 0.5, f"reward/outcome_all@{bad}": 0.1, "reward/outcome_all@b": 0.2}] * 3
    for step, line in enumerate(lines, 15):
        made.log_metrics(step, line | {f"engine/generating_s@{bad}": 1.0})
    made.log_event(Event(15, bad, "error", {"engine": bad}, bad))
    made.log_event(Event(16, "format_collapse", "warning", {"onset_step": 16, "winner": bad}, bad))
    files = load_run(made.path)
    for view in VIEWS:
        for figure in view.draw([files], "step"):
            shown = figure.to_dict()
            shown["data"] = [
                {k: v for k, v in one.items() if k not in ("meta", "stackgroup", "legendgroup")}
                for one in shown["data"]
            ]
            assert "<img" not in str(shown), view.name


def test_a_panel_of_classes_is_thinned_at_common_steps(tmp_path):
    from diagnostics.report.figures.panel import figures

    lines = "".join(
        f'{{"step": {s}, "format/share@a": {s / 3000}, "format/share@b": {1 - s / 3000}}}\n' for s in range(3000)
    )
    (tmp_path / "metrics.jsonl").write_text(lines)
    (figure,) = figures(Panel("Forms", ("format/share",), "area", ""), [load_run(tmp_path)])
    a, b = figure.data
    assert list(a.x) == list(b.x) and np.allclose(a.y + b.y, 1, atol=1e-5)


def test_the_law_needs_steps(tmp_path):
    files = load_run(run(tmp_path / "a", 5).path)
    assert entropy_budget.law(files) is None and drawn(files, "entropy_budget")


@pytest.mark.parametrize("ground", ["#f7f8fa", "#1b1e23"], ids=["light", "dark"])
def test_the_pools_differ_for_one_to_whom_red_and_green_are_one(ground):
    """Deuteranopia as in Machado, Oliveira and Fernandes (2009)."""
    matrix = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    under = np.array([int(ground[i : i + 2], 16) for i in (1, 3, 5)])
    seen = {}
    for name, fill in FILLS.items():
        *colour, opacity = map(float, fill.removeprefix("rgba(").removesuffix(")").split(","))
        shown = opacity * np.array(colour) + (1 - opacity) * under
        seen[name] = 255 * np.clip(matrix @ (shown / 255) ** 2.2, 0, 1) ** (1 / 2.2)
    for one, other in itertools.combinations(seen, 2):
        assert np.abs(seen[one] - seen[other]).max() > 30, (one, other)
