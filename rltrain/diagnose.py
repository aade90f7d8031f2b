"""`rltrain diagnose`: the diagnostics over rollouts that already exist; and `diagnosis.json` of a running one.

A diagnostic that has a verdict says it by a method `diagnosis() -> dict`: its entries become entries of
`diagnosis.json` (`phase`, `format`, `shortcuts`, ...). All others speak through their series and events.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rltrain.config.root import DIAGNOSTICS, TAGGER
from rltrain.records import jsonl
from rltrain.types import Diagnostic, Event

FILE = "diagnosis.json"


def diagnosis(
    diagnostics: Iterable[Diagnostic],
    lines: Iterable[Mapping[str, Any]],
    events: Iterable[Event],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """`lines`: metrics of a step with `step`. Series are by metric name, one [step, value] a step that has it."""
    series: dict[str, list[list[float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                series.setdefault(name, []).append([line["step"], value])
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
    jsonl.replace(path, json.dumps(jsonl.plain(found), indent=1, ensure_ascii=False) + "\n")


def main(path: Path, out: Path | None) -> None:
    """Run all diagnostics over the rollouts at a path; writes diagnosis.json and report.html to `out`.

    ValueError where there is nothing to read.
    """
    from rich.progress import track

    from rltrain import plugins
    from rltrain.build import built
    from rltrain.collect import planning_mask
    from rltrain.manifest import manifest
    from rltrain.records import RunDir
    from rltrain.records.rebuild import check, step_records, tables

    files = tables(path)
    out = out or (path if path.is_dir() else path.parent) / "diagnosis"
    tagger, formats = built(TAGGER, "rltrain.taggers", {}), built("rules", "rltrain.formats", {})
    diagnostics = [built(name, "rltrain.diagnostics", {}, tagger=tagger) for name in DIAGNOSTICS]
    notes: dict[str, int] = {}

    def read(completion):
        return planning_mask(completion, tagger.spans(completion.text)), formats.format(completion.text)

    check(files)
    directory = RunDir.create(out, f"# made by rltrain diagnose {path}\n", manifest())
    events: list[Event] = []
    for record in track(step_records(files, read, notes), description="steps", total=len(files)):
        metrics: dict[str, float] = {}
        record = dataclasses.replace(record, metrics=metrics)  # where each diagnostic finds those before it
        for diagnostic in diagnostics:
            metrics |= diagnostic.observe(record)
            events += diagnostic.events()
        directory.log_metrics(record.step, metrics)
    for event in events:
        directory.log_event(event)
    directory.flush()
    lines = jsonl.read(out / "metrics.jsonl")
    told = [f"{text} ({count} completion(s) or file(s))" for text, count in notes.items()]
    write(out / FILE, diagnosis(diagnostics, lines, events, told))
    directory.close()
    plugins.resolve("html", "rltrain.reports")([out], out / "report.html")
    for text in told:
        print(f"note: {text}")
    print(f"verdicts   {out / FILE}\nreport     {out / 'report.html'}   open it in a browser")
