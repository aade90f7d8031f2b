"""`rltrain diagnose`: the diagnostics over rollouts that already exist; and `diagnosis.json` of a running one.

A diagnostic that has a verdict says it by a method `diagnosis() -> dict`: its entries become entries of
`diagnosis.json` (`phase`, `format`, `shortcuts`, ...). One that could not measure all of it says so by a method
`notes() -> list[str]`. All others speak through their series and events.
"""

from __future__ import annotations

import dataclasses
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rltrain.config import Config, PluginSpec
from rltrain.config.root import DIAGNOSTICS
from rltrain.records import jsonl
from rltrain.terminal import printable
from rltrain.types import Diagnostic, Event, Scorer, StepRecord, Tagger

if TYPE_CHECKING:
    from rltrain.records.rebuild import Read

FILE = "diagnosis.json"


def diagnosis(
    diagnostics: Iterable[Diagnostic],
    lines: Iterable[Mapping[str, Any]],
    events: Iterable[Event],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """`lines`: metrics of a step with `step`. Series are by metric name: the steps that have it, and its values there.

    Arrays, not lists: ten million rollouts can be a hundred thousand steps.
    """
    series: dict[str, tuple[array, array]] = {}
    for line in lines:
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                steps, values = series.setdefault(name, (array("q"), array("d")))
                steps.append(line["step"])
                values.append(value)
    found: dict[str, Any] = {"series": series, "events": [jsonl.plain(vars_of(event)) for event in events]}
    told = list(notes)
    for diagnostic in diagnostics:
        found |= getattr(diagnostic, "diagnosis", dict)()
        told += getattr(diagnostic, "notes", list)()
    return found | {"notes": told}


def vars_of(event: Event) -> dict[str, Any]:
    """An event as a mapping."""
    return {"step": event.step, "name": event.name, "severity": event.severity} | {
        "evidence": dict(event.evidence),
        "advice": event.advice,
    }


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Replace the file at once, so that a reader never sees half of it."""
    jsonl.replace(path, _parts(found))


def _parts(found: Mapping[str, Any]) -> Iterator[str]:
    """The file's text: a line a series, as pairs [step, value], then the verdicts."""
    lead = '{\n "series": {'
    for name, (steps, values) in found["series"].items():
        yield f"{lead}\n  {jsonl.encode(name)}: {json.dumps(list(zip(steps, values, strict=True)))}"
        lead = ","
    yield "\n }" if found["series"] else lead + "}"
    for name, value in found.items():
        if name != "series":
            yield f",\n {jsonl.encode(name)}: {json.dumps(jsonl.plain(value), indent=1, ensure_ascii=False)}"
    yield "\n}\n"


class Wish(NamedTuple):
    """What a person may ask for besides."""

    also: Sequence[str] = ()  # diagnostics
    scorer: str | None = None  # a model for those that ask for one
    tagger: str | None = None  # name, or by `lexicon` a file: planning phrases are looked for anew
    lexicon: Path | None = None
    formats: str | None = None  # name of a classifier: formats are named anew
    outcome: str | None = None  # column that is the task's result


def main(path: Path, out: Path | None, wish: Wish) -> None:
    """Run the diagnostics over the rollouts at a path; writes diagnosis.json and report.html to `out`.

    The usual ones, those a run's own config names, and those that are wished for.
    ValueError where there is nothing to read, and for a diagnostic or a model that is not there.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rltrain import blame, plugins
    from rltrain.manifest import manifest
    from rltrain.records import RunDir, load_run, trl_table
    from rltrain.records.outcome import outcome
    from rltrain.records.rebuild import step_records
    from rltrain.records.rows import check, tables

    files = tables(path)
    out = out or (path if path.is_dir() else path.parent) / "diagnosis"
    notes: dict[str, int] = {}
    config = _config(path, notes)
    tagger, read, anew = _instruments(wish, config, notes)
    lent = {"tagger": tagger, "scorer": _scorer(wish.scorer, config), "policy": None, "gradients": None}
    by_name = _diagnostics(config.diagnostics if config else (), wish.also, lent, notes)
    diagnostics = list(by_name.values())
    rows, history = check(files), trl_table.history(path, notes)
    logs, sampled = trl_table.logs(history), trl_table.Sampled(files, history)
    rewards = trl_table.logged_rewards(history)
    result = outcome(files, wish.outcome, notes, rewards)
    listed = json.dumps([{"use": name} for name in by_name])  # the report draws their panels
    directory = RunDir.create(out, f"# made by rltrain diagnose {path}\ndiagnostics: {listed}\n", manifest())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("completions", total=rows)
        for record in step_records(files, read, notes, outcome=result, anew=anew, logged=rewards):
            metrics = dict(logs.get(record.step, {}))
            if sampled.is_new(record, notes):
                metrics |= _drift(record, config)
                record = dataclasses.replace(record, metrics=metrics)  # where each diagnostic finds those before it
                for diagnostic in diagnostics:
                    metrics |= blame.observed(diagnostic, record)
                    for event in diagnostic.events():
                        directory.log_event(event)
            directory.log_metrics(record.step, metrics)
            progress.advance(bar, sum(len(group.completions) for group in record.groups))
    directory.flush()
    lines, events = jsonl.read(out / "metrics.jsonl"), load_run(out).events
    if not rows:
        notes["there is not one completion"] = len(files)
    told = [f"{text} ({count} completion(s) or file(s))" for text, count in notes.items()]
    found = diagnosis(diagnostics, lines, events, told)
    write(out / FILE, found)
    directory.close()
    plugins.resolve("html", "rltrain.reports")([out], out / "report.html", resolve=plugins.resolve)
    for text in found["notes"]:
        print(f"note: {printable(text, 500)}")
    print(f"verdicts   {out / FILE}\nreport     {out / 'report.html'}   open it in a browser")


def _drift(record: StepRecord, config: Config | None) -> dict[str, float]:
    """drift/* where the tables hold the log-probs of both sides; under the run's own correction where that is known."""
    if not record.tokens:
        return {}
    from rltrain.correction import step_drift

    if config is None:
        return uncorrected(step_drift(record, "none", 1.0))
    return step_drift(record, config.training.correction, config.training.correction_cap)


def uncorrected(drift: Mapping[str, float]) -> dict[str, float]:
    """drift/* without what only a correction of ours would say."""
    cut = ("drift/truncated_frac", "drift/capped_mean", "drift/capped_ess")
    return {name: value for name, value in drift.items() if name not in cut}


def _instruments(wish: Wish, config: Config | None, notes: dict[str, int]) -> tuple[Tagger, Read, list[str]]:
    """The tagger, what reads completions, and the columns that are not taken from the files.

    Those of the run where nothing else is asked for; they read what the files do not say.
    """
    from rltrain import plugins, tag
    from rltrain.collect import read

    marked, named = wish.tagger or wish.lexicon, wish.formats
    tagger = None if marked or config is None else _built(config.tagger, "rltrain.taggers", notes)
    formats = None if named or config is None else _built(config.formats, "rltrain.formats", notes)
    tagger = tagger or tag.finder(wish.tagger, wish.lexicon)
    formats = formats or plugins.built(named or "rules", "rltrain.formats", {})

    anew = [*(["planning"] if marked else []), *(["format"] if named else [])]
    return tagger, lambda completions: read(completions, tagger, formats), anew


def _built(spec: PluginSpec, group: str, notes: dict[str, int]) -> Any:
    """A plugin of the run's config; None with a note where it is no longer there."""
    from rltrain import plugins

    try:
        return plugins.built(spec.use, group, spec.args)
    except ValueError as error:
        notes[f"the run's {group.partition('.')[2]} {spec.use} cannot be built, the default reads: {error}"] = 1
        return None


def _config(path: Path, notes: dict[str, int]) -> Config | None:
    """The config of a run directory; None elsewhere, and with a note where it cannot be read."""
    from rltrain.config import load

    own = path / "config.yaml"
    try:
        return load(own) if own.is_file() else None
    except ValueError as error:  # of another version, or of another program
        notes[f"config.yaml is not read: {str(error).splitlines()[0]}"] = 1
        return None


def _diagnostics(
    of_run: Sequence[PluginSpec], also: Sequence[str], lent: Mapping[str, Any], notes: dict[str, int]
) -> dict[str, Diagnostic]:
    """By name: the usual, with the run's arguments if any; its own; those asked for. ValueError for these."""
    from rltrain import plugins

    specs = {name: PluginSpec(use=name) for name in DIAGNOSTICS} | {spec.use: spec for spec in of_run}
    asked = {name: PluginSpec(use=name) for name in also if name not in specs}
    last = specs.pop("phase")  # it judges the others' figures
    made: dict[str, Diagnostic] = {}
    for spec in (*specs.values(), *asked.values(), last):
        try:
            made[spec.use] = plugins.built(spec.use, "rltrain.diagnostics", spec.args, **lent)
        except ValueError as error:
            if spec not in of_run:
                raise
            notes[f"the run's diagnostic {spec.use} is left out: {error}"] = 1  # its file may be gone
    return made


def _scorer(model: str | None, config: Config | None) -> Scorer | None:
    """The scorer of `--scorer`, which writes prompts as the run did."""
    if model is None:
        return None
    from rltrain.forced import FrozenScorer

    template = config.model.prompt_template if config else None
    return FrozenScorer(model, system=config.model.system if config else None, template=template)
