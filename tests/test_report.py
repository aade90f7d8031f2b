"""The report: one file, every declared curve, true sentences, and text that stays text."""

import json
import re
from html.parser import HTMLParser
from importlib.metadata import entry_points

import pytest
from synthetic import run

from benchmarks.planted_run import write
from diagnostics.report.figures.panel import figures
from diagnostics.report.html import default_place, loaded, write_report
from diagnostics.report.panels import CURRICULA, by_area, panels_of
from diagnostics.report.series import curves, stems_of
from diagnostics.report.summary import evaluations, sentences
from diagnostics.report.verdicts import verdict
from rltrain import cli
from rltrain.metrics import METRICS, stem
from rltrain.records import RunDir, load_run
from rltrain.types import Event, Panel

CONFIG = "training: {steps: 12}\ndiagnostics: [{use: reward}, {use: entropy}]\n"


class Page(HTMLParser):
    """Elements, links and drawn figures of a report."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.links, self.plots, self.text, self.handlers = set(), [], [], "", []
        self.feed(text[: text.index('<script type="application/json"')])
        self.figures = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.S)[1])

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.links += [found[name] for name in ("href", "src") if name in found]
        self.handlers += [name for name in found if name.startswith("on")]
        if "data-figure" in found:
            self.plots.append(int(found["data-figure"]))

    def handle_data(self, data):
        self.text += data


def report(tmp_path, *runs, **options) -> Page:
    out = write_report([made.path for made in runs], tmp_path / "report.html", **options)
    return Page(out.read_text(encoding="utf-8"))


def titles(page: Page) -> list[str]:
    return [figure["layout"]["title"]["text"] for figure in page.figures]


# --- the whole file ------------------------------------------------------------------------------


def test_every_declared_metric_of_the_run_is_drawn_and_explained(tmp_path):
    made = run(tmp_path / "quick-001", config=CONFIG)
    made.log_metrics(13, {"mine/secret": 1.0})
    page = report(tmp_path, made)
    assert page.plots == list(range(len(page.figures)))
    named = " ".join(trace.get("name") or "" for figure in page.figures for trace in figure["data"]) + " ".join(
        titles(page)
    )
    for metric in {stem(name) for name in load_run(made.path).metrics.columns} & set(METRICS):
        assert metric in named or metric.endswith(("_low", "_high")), metric
        assert METRICS[metric].meaning in page.text, metric
    assert "mine/secret" not in named
    assert titles(page)[0] == "Planning against execution"  # the pictures first, then single curves
    assert {"reward/mean", "reward/outcome, reward/outcome_all", "reward/mean by source"} <= set(titles(page))


def test_the_file_stands_alone(tmp_path):
    page = report(tmp_path, run(tmp_path / "a", config=CONFIG))
    assert all(link.startswith("#") for link in page.links)
    text = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in text and "Plotly" in text and not list(tmp_path.glob(".*.tmp"))
    assert "prefers-color-scheme: dark" in text


def test_text_of_a_run_stays_text(tmp_path):
    bad = "</script><img src=x onerror=alert(1)>"
    made = run(tmp_path / "a$title <b>", 3, config=f"name: '{bad}'\n")
    made.log_metrics(4, {f"reward/mean@{bad}": 0.5, "reward/mean@\ud800": 0.1})
    made.log_event(Event(4, bad, "error", {bad: bad}, bad))
    page = report(tmp_path, made)
    assert "img" not in page.tags and "b" not in page.tags and page.handlers == []
    assert bad in page.text and "a$title <b>" in page.text
    assert any("&lt;img" in trace.get("name", "") for figure in page.figures for trace in figure["data"])


def test_several_runs_share_their_figures(tmp_path):
    runs = [run(tmp_path / name, config=CONFIG, seed=i) for i, name in enumerate("ab")]
    page = report(tmp_path, *runs)
    reward = page.figures[titles(page).index("reward/mean")]
    assert [trace["name"] for trace in reward["data"]] == ["a · reward/mean", "b · reward/mean"]
    assert len({trace["line"]["color"] for trace in reward["data"]}) == 2


def test_a_run_without_a_step_has_a_report(tmp_path):
    page = report(tmp_path, RunDir.create(tmp_path / "a", CONFIG, {}))
    assert page.figures == [] and "No step has been written yet." in page.text


def test_no_run_no_report(tmp_path):
    with pytest.raises(ValueError, match="no run given"):
        write_report([], tmp_path / "x.html")
    with pytest.raises(ValueError, match="no such directory"):
        write_report([tmp_path / "none"], tmp_path / "x.html")


def test_no_place_for_a_report_is_wrong_input_and_leaves_nothing(tmp_path):
    made = run(tmp_path / "a", 1)
    with pytest.raises(ValueError, match=r"a directory; expected a file, for example .*a/report\.html"):
        write_report([made.path], made.path)
    with pytest.raises(ValueError, match=r"no directory '.*none'; make it, or give another file"):
        write_report([made.path], tmp_path / "none" / "x.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and not list(tmp_path.rglob(".*.tmp"))


def test_a_place_that_may_not_be_written_is_wrong_input_with_another_to_give(tmp_path, capsys):
    made = run(tmp_path / "a")
    assert cli.main(["report", str(made.path), "--out", "/sys/report.html"]) == 2  # not even for root
    said = capsys.readouterr().err
    assert "'/sys/report.html': cannot be written" in said and "--out report.html" in said


def test_a_damaged_config_is_a_note_in_the_report(tmp_path):
    made = run(tmp_path / "a")
    (made.path / "config.yaml").write_text("training: {steps: 5")
    page = report(tmp_path, made)
    assert "config.yaml cannot be read" in page.text and "reward/mean" in titles(page)


def test_the_answers_stand_at_the_top_in_sentences(tmp_path):
    truth = write(tmp_path / "planted", 60, groups=3, samples=4)
    page = report(tmp_path, load_run(tmp_path / "planted"))
    since = f"90% interval {truth.phase - 1} to {truth.phase + 1}, detected at step {truth.phase + 8}"
    assert f"Planning since step {truth.phase} ({since}), 97% sure: the variety of plans has risen" in page.text
    assert "One form of answers took over (boxed_latex, from 20% to 90% of answers), at step 40." in page.text
    assert f"120 of 400 prompts were set aside as too hard at step {truth.quarantine}." in page.text
    assert f"An engine was replaced (engine-1: EngineDied), at step {truth.restart}." in page.text
    assert "One form has taken over. Raise beta, or go back (step 40)." in page.text
    assert page.text.index("What phase") < page.text.index("What is wrong") < page.text.index("What to do next")


def test_a_run_without_a_verdict_says_so(tmp_path):
    told = verdict(load_run(run(tmp_path / "a", 3).path))
    assert told["phase"].startswith("The phase of learning is not known") and told["wrong"] == [
        "An engine was replaced, at step 5."
    ]
    made = RunDir.create(tmp_path / "b", "", {})
    made.log_metrics(1, {"phase/state": 1.0, "phase/confidence": 0.8})
    told = verdict(load_run(made.path))
    assert told["phase"].startswith("Consolidating since step 1, 80% sure: execution")
    assert told["wrong"] == ["Nothing: no warning and no error in 1 step."]
    assert told["todo"][0].startswith("Nothing to do: procedures are becoming routine")


def test_events_of_one_name_are_one_finding(tmp_path):
    made = RunDir.create(tmp_path / "a", "", {})
    for step in (3, 5, 9):
        made.log_event(Event(step, "mine_own", "warning", {}, "do this"))
    made.log_event(Event(4, "format_collapse", "error", {}, "nothing to do"))
    told = verdict(load_run(made.path))
    assert told["wrong"] == ["One form of answers took over, at step 4.", "Mine own, 3 times, from step 3 to 9."]
    assert told["todo"] == ["Do this (step 9)."]


def test_a_comparison_has_a_file_of_its_own(tmp_path, capsys):
    runs = [run(tmp_path / "runs" / name, 3, config=CONFIG, seed=i).path for i, name in enumerate("abcd")]
    own = write_report(runs[:1])
    assert own == runs[0] / "report.html"
    before = own.read_bytes()
    assert cli.main(["report", str(runs[0]), str(runs[1])]) == 0
    assert str(tmp_path / "runs" / "report-a-and-b.html") in capsys.readouterr().out
    assert own.read_bytes() == before and (tmp_path / "runs" / "report-a-and-b.html").is_file()
    assert default_place(loaded(runs)).name == "report-a-and-b-and-c-and-1-more.html"


def test_runs_of_one_name_are_told_apart_and_one_run_counts_once(tmp_path):
    runs = [run(tmp_path / name / "q", 2).path for name in "ab"]
    assert [files.name for files in loaded([*runs, runs[0]])] == ["a/q", "b/q"]


def test_runs_are_aligned_by_steps_or_tokens(tmp_path):
    runs = [run(tmp_path / name, config=CONFIG, seed=i) for i, name in enumerate("ab")]
    text = write_report([made.path for made in runs], tmp_path / "r.html").read_text()
    tokens = json.loads(re.search(r'id="tokens">(.*?)</script>', text, re.S)[1])
    assert len(tokens) == len(Page(text).figures) and 'aria-label="Align the runs by" >' in text
    assert tokens[0]["layout"]["xaxis"]["title"]["text"] == "completion tokens trained"
    alone = write_report([runs[0].path], tmp_path / "s.html").read_text()
    assert 'aria-label="Align the runs by" hidden>' in alone


def test_runs_with_different_tasks_are_compared_with_a_warning(tmp_path):
    for name, source in (("a", "sums"), ("b", "haiku")):
        made = RunDir.create(tmp_path / name, f"tasks: [{{use: {source}}}]\n", {})
        for step in range(1, 30):
            made.log_metrics(
                step, {"reward/outcome_all": 0.5, f"reward/outcome_all@{source}": 0.5, "length/mean": step}
            )
    page = report(tmp_path, *(load_run(tmp_path / name) for name in "ab"))
    assert "The tasks of a and b differ (only in a: sums; only in b: haiku)" in page.text
    assert "tasks.0.use" in page.text and "aligned by steps alone" in page.text
    assert "length/mean" in page.text and "not told from 0" in page.text


def test_many_events_are_listed_by_weight(tmp_path):
    made = RunDir.create(tmp_path / "a", "", {})
    for step in range(600):
        made.log_event(Event(step, "tick" if step else "alarm", "info" if step else "error", {}, ""))
    page = report(tmp_path, made)
    assert "200 more of lesser weight are in events.jsonl." in page.text and "alarm" in page.text


def test_plots_can_be_reached_and_read_without_a_mouse(tmp_path):
    text = write_report([run(tmp_path / "a", config=CONFIG).path], tmp_path / "r.html").read_text()
    body = text[: text.index('<script type="application/json"')]
    assert '<a class="skip" href="#main">' in body and 'id="main"' in body
    plots = re.findall(r"<div class=plot [^>]*>", body)
    assert plots and all("tabindex=0" in plot and "role=img" in plot and 'aria-label="' in plot for plot in plots)
    ids = re.findall(r' id="([^"]+)"', text[: text.index("<script>")])
    assert len(ids) == len(set(ids)) and all(link[1:] in ids or link == "#comparison" for link in Page(text).links)


def test_it_is_installed_as_the_html_report():
    (point,) = entry_points(group="rltrain.reports", name="html")
    assert point.load() is write_report


# --- panels --------------------------------------------------------------------------------------


def test_panels_come_from_the_diagnostics_of_the_config():
    panels, notes = panels_of(["entropy", "diagnostics.reward:RewardDiagnostic", "entropy", "nope", "no.such:thing"])
    names = [panel.title for panel in panels]
    assert names[0] == "Planning and execution entropy" and "Reward and outcome" in names
    assert len(names) == len(set(names)) and len(notes) == 2 and "nope" in notes[0]


OWN = """
from rltrain.types import Panel


class Mine:
    panels = [Panel("A panel of my own", ("loss/total",), "line", "Down is good.")]
"""


def test_panels_of_a_diagnostic_given_by_its_file_are_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "torn.py").write_text("class Mine:")
    specs = ["mine.py:Mine", "torn.py:Mine", "gone.py:Mine", "mine.py:Yours"]
    listed = "".join(f"  - {{use: '{spec}'}}\n" for spec in specs)
    made = run(tmp_path / "a", config=f"diagnostics:\n{listed}")
    assert cli.main(["report", str(made.path)]) == 0
    page = Page((made.path / "report.html").read_text())
    assert "A panel of my own" in page.text and "Down is good." in page.text
    for spec in specs[1:]:
        assert f"No panels of the diagnostic {spec}" in page.text


def test_curricula_may_have_panels_too():
    panels, notes = panels_of(["curricula.difficulty:Difficulty", "curricula.uniform:Uniform"], group=CURRICULA)
    assert [panel.title for panel in panels][:2] == ["Pools", "Flow between the pools"] and notes == []
    _, notes = panels_of(["nope"], group=CURRICULA)
    assert "the curriculum nope" in notes[0]


def test_the_curricula_of_a_config_are_found_nested(tmp_path):
    text = "curriculum: {use: staged, inner: {use: mixture, inner: {use: difficulty}}, gates: [{use: mine}]}\n"
    assert load_run(run(tmp_path / "a", config=text).path).curricula == ["staged", "mixture", "difficulty", "mine"]
    assert load_run(run(tmp_path / "b", config="curriculum: 3\n").path).curricula == []


def test_what_no_panel_drew_is_drawn_by_area():
    panels = by_area(["loss/total", "reward/mean", "time/step_s", "mine/x"], ["reward/mean"])
    assert [(panel.title, panel.metrics) for panel in panels] == [("Loss", ("loss/total",)), ("Time", ("time/step_s",))]


@pytest.mark.parametrize("kind", ["line", "area", "heat"])
def test_classes_are_traces_of_one_figure(tmp_path, kind):
    files = load_run(run(tmp_path / "a").path)
    (figure,) = figures(Panel("Forms", ("format/share",), kind, ""), [files])
    if kind == "heat":
        assert list(figure.data[0].y) == ["answer_only", "prose"] and len(figure.data[0].x) == 12
    else:
        assert [trace.name for trace in figure.data] == ["answer_only", "prose"]
        assert all((trace.stackgroup is not None) == (kind == "area") for trace in figure.data)


def test_a_curve_says_how_large_its_sample_was(tmp_path):
    made = RunDir.create(tmp_path / "a", "", {})
    for step, judged in enumerate((30, 32, 28), 1):
        made.log_metrics(step, {"reward/outcome": 0.5, "reward/judged": float(judged), "length/mean": 9.0})
        made.log_metrics(step, {"reward/outcome@sums": 0.4, "reward/judged@sums": 8.0, "length/completions": 32.0})
        made.log_metrics(step, {"format/share@prose": 1.0, "format/completions": 64.0, "reward/mean": 0.5})
        made.log_metrics(step, {"phase/state": 0.0, "phase/values": float(step)})
    files = load_run(made.path)
    whole, by_source = drawn(files, "reward/outcome")
    (outcome,), (again, of_sums) = whole.data, by_source.data
    assert again.text == outcome.text
    assert list(outcome.text) == ["30", "32", "28"] and outcome.hovertemplate == "%{y:.4g} (%{text} completions)"
    assert of_sums.text is None and of_sums.hovertemplate == "%{y:.4g} (8 completions)"  # its source's, not all
    (share,) = (trace for figure in drawn(files, "format/share") for trace in figure.data)
    assert share.hovertemplate == "%{y:.4g} (64 completions)"  # of a class the share is one of all
    (mean,) = (trace for figure in drawn(files, "reward/mean") for trace in figure.data)
    assert mean.hovertemplate == "%{y:.4g}"  # not counted: nothing is said
    text = report(tmp_path, made).text
    assert "Rests on: 30 (28 to 32) completions a step." in text and "Rests on: 32 completions a step." in text
    assert "Rests on: 3 steps in the end." in text


def drawn(files, metric):
    return figures(Panel("One", (metric,), "line", ""), [files])


def test_an_interval_is_a_band(tmp_path):
    files = load_run(run(tmp_path / "a").path)
    (figure,) = figures(Panel("Gap", ("entropy/gap", "entropy/gap_low", "entropy/gap_high"), "line", ""), [files])
    band, gap = figure.data
    assert band.fill == "toself" and not band.showlegend and gap.name == "entropy/gap"
    high, low = band.y[: len(gap.y)], band.y[len(gap.y) :][::-1]
    assert all(a <= b <= c for a, b, c in zip(low, gap.y, high, strict=True))


def test_events_are_marks(tmp_path):
    made = run(tmp_path / "a")
    for step in range(100):
        made.log_event(Event(step, "tick", "info", {}, ""))
    (figure,) = figures(Panel("Loss", ("loss/total",), "line", ""), [load_run(made.path)])
    assert len(figure.layout.shapes) == 40
    assert any("engine_restarted" in note.hovertext for note in figure.layout.annotations)
    assert "is an event at its step" in write_report([made.path]).read_text(), "paper and phones have no hovering"


# --- curves --------------------------------------------------------------------------------------


def test_gaps_are_seen_and_seldom_points_are_joined(tmp_path):
    made = RunDir.create(tmp_path / "a", "", {})
    for step in range(1, 10):
        made.log_metrics(
            step, {"loss/total": None if step == 5 else 1.0, "eval/outcome": 0.5 if step in (1, 9) else None}
        )
    frame = load_run(made.path).metrics
    (loss,), (outcome,) = curves(frame, "loss/total"), curves(frame, "eval/outcome")
    assert loss.values[4] is None and len(loss.values) == 9
    assert outcome.steps == [1, 9] and outcome.values == [0.5, 0.5]
    assert stems_of(frame) == ["loss/total", "eval/outcome"]


# --- words ---------------------------------------------------------------------------------------


def test_the_sentences_say_what_the_files_hold(tmp_path):
    told = sentences(load_run(run(tmp_path / "a", config=CONFIG).path))
    assert told[0] == "12 optimizer steps, 7,680 completion tokens trained, 48 s in the steps."
    assert told[1] == "Held-out outcome rose from 0.1 at step 0 to 0.6 at step 12 (+0.5)."
    assert "Planning minus execution entropy at step 12: 0.8 nats, 95% interval 0.7 to 0.95, above 0." in told
    assert "Where the time went: train 50%, rollout 38%, publish 10%." in told
    assert told[-1] == "1 warning; the last one at step 5: engine_restarted."


def test_one_evaluation_makes_no_change(tmp_path):
    made = RunDir.create(tmp_path / "a", "training: {steps: 5}\n", {})
    made.log_metrics(0, {"eval/outcome": 0.25, "plan/ratio": 0.0})
    told = sentences(load_run(made.path))
    assert told[0] == "0 optimizer steps of 5."
    assert told[1] == "Held-out outcome at step 0: 0.25; there is no second evaluation yet."
    assert any("too few planning tokens" in sentence for sentence in told) and told[-1] == "No warnings."
    (change,) = evaluations(load_run(made.path).metrics)
    assert (change.first, change.last_step) == (0.25, 0)
    made.log_metrics(1, {"entropy/gap": 0.25, "plan/ratio": 0.1})
    told = sentences(load_run(made.path))
    assert "Planning minus execution entropy at step 1: 0.25 nats; too few prompts for an interval." in told
    assert "-" in report(tmp_path, made).text


def test_a_run_that_never_made_a_step_is_not_called_healthy(tmp_path):
    told = verdict(load_run(RunDir.create(tmp_path / "a", "", {}).path))
    assert told["wrong"] == ["No optimizer step has been finished."] and "why no step was finished" in told["todo"][0]
