"""`rltrain diagnose`: the diagnostics over rollouts that already exist; and `diagnosis.json` of a running one.

A diagnostic that has a verdict says it by a method `diagnosis() -> dict`: its entries become entries of
`diagnosis.json` (`phase`, `format`, `shortcuts`, ...). All others speak through their series and events.
"""

from __future__ import annotations

import dataclasses
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rltrain.config.root import DIAGNOSTICS
from rltrain.records import jsonl
from rltrain.types import Diagnostic, Event

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
    for diagnostic in diagnostics:
        verdict = getattr(diagnostic, "diagnosis", None)
        if verdict is not None:
            found |= verdict()
    return found | {"notes": list(notes)}


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


def main(path: Path, out: Path | None) -> None:
    """Run all diagnostics over the rollouts at a path; writes diagnosis.json and report.html to `out`.

    ValueError where there is nothing to read.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rltrain import plugins
    from rltrain.collect import planning_mask
    from rltrain.manifest import manifest
    from rltrain.records import RunDir, load_run
    from rltrain.records.rebuild import step_records
    from rltrain.records.rows import check, tables

    files = tables(path)
    out = out or (path if path.is_dir() else path.parent) / "diagnosis"
    tagger, formats = plugins.built("lexicon", "rltrain.taggers", {}), plugins.built("rules", "rltrain.formats", {})
    diagnostics = [plugins.built(name, "rltrain.diagnostics", {}, tagger=tagger) for name in DIAGNOSTICS]
    notes: dict[str, int] = {}

    def read(completion):
        return planning_mask(completion, tagger.spans(completion.text)), formats.format(completion.text)

    rows = check(files)
    listed = json.dumps([{"use": name} for name in DIAGNOSTICS])  # the report draws their panels
    directory = RunDir.create(out, f"# made by rltrain diagnose {path}\ndiagnostics: {listed}\n", manifest())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("completions", total=rows)
        for record in step_records(files, read, notes):
            metrics: dict[str, float] = {}
            record = dataclasses.replace(record, metrics=metrics)  # where each diagnostic finds those before it
            for diagnostic in diagnostics:
                metrics |= diagnostic.observe(record)
                for event in diagnostic.events():
                    directory.log_event(event)
            directory.log_metrics(record.step, metrics)
            progress.advance(bar, sum(len(group.completions) for group in record.groups))
    directory.flush()
    lines, events = jsonl.read(out / "metrics.jsonl"), load_run(out).events
    told = [f"{text} ({count} completion(s) or file(s))" for text, count in notes.items()]
    write(out / FILE, diagnosis(diagnostics, lines, events, told))
    directory.close()
    plugins.resolve("html", "rltrain.reports")([out], out / "report.html", resolve=plugins.resolve)
    for text in told:
        print(f"note: {text}")
    print(f"verdicts   {out / FILE}\nreport     {out / 'report.html'}   open it in a browser")
