"""`report.html`: one self-contained file about one run, or about several side by side."""

from __future__ import annotations

import errno
import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from diagnostics.report import compare, parts, viewer
from diagnostics.report.cards import Card, cards, run_panels
from diagnostics.report.figures import style
from diagnostics.report.panels import Resolve, installed
from diagnostics.report.text import as_html
from rltrain.records import RunFiles, jsonl, load_run
from rltrain.types import Panel

HERE = Path(__file__).parent
MOST_NAMES = 3  # of runs in a file's name


def write_report(
    runs: Sequence[Path],
    out: Path | None = None,
    panels: Sequence[Panel] | None = None,
    *,
    resolve: Resolve = installed,
) -> Path:
    """Write the report of some runs to `out` and return it.

    `out`: by default `report.html` in the run; of several, a file beside the first one, named after them.
    `panels` are drawn in place of those of the diagnostics and curricula in the runs' configs, which `resolve` finds;
    every other declared metric follows by area. ValueError if a path holds no run or `out` is no place for a file that
    may be written, OSError if the disk refuses.
    """
    if not runs:
        raise ValueError("report: no run given; expected at least one run directory")
    files = loaded(runs)
    out = default_place(files) if out is None else Path(out)
    if out.is_dir():
        raise ValueError(f"report {str(out)!r}: a directory; expected a file, for example {out / 'report.html'}")
    if not out.parent.is_dir():
        raise ValueError(f"report {str(out)!r}: no directory {str(out.parent)!r}; make it, or give another file")
    notes = compare.unlike(files)
    if panels is None:
        panels, missing = run_panels(files, resolve)
        notes += missing
    try:
        jsonl.replace(out, jsonl.clean(_page(files, panels, notes)))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        hint = "give a file of your own, for example --out report.html"
        raise ValueError(f"report {str(out)!r}: cannot be written ({jsonl.cause(error)}); {hint}") from None
    return out


def loaded(paths: Sequence[Path]) -> list[RunFiles]:
    """The runs, each once, under names that differ. ValueError where there is no run."""
    files = list({path.resolve(): load_run(path) for path in map(Path, paths)}.values())
    names = [run.name for run in files]
    for run in files:
        if names.count(run.name) > 1:
            run.name = "/".join(run.path.resolve().parts[-2:])
    again = [run.name for run in files]
    for number, run in enumerate(files, 1):
        if again.count(run.name) > 1:
            run.name = f"{run.name} ({number})"
    return files


def default_place(files: Sequence[RunFiles]) -> Path:
    """`report.html` in the one run; of several a file of its own, so that no run's report is overwritten."""
    if len(files) == 1:
        return files[0].path / "report.html"
    names = [run.path.resolve().name for run in files]
    more = [f"{len(names) - MOST_NAMES}-more"] if len(names) > MOST_NAMES else []
    return files[0].path.resolve().parent / f"report-{'-and-'.join([*names[:MOST_NAMES], *more])}.html"


def _page(runs: Sequence[RunFiles], panels: Sequence[Panel], notes: Sequence[str]) -> str:
    from plotly.offline import get_plotlyjs

    several = len(runs) > 1
    shown = [card for card in cards(runs, panels=panels) if card.figures or card.missing]
    drawings: list[Any] = []
    sections = []
    for card in shown:
        sections.append((card, parts.card(card, len(drawings))))
        drawings += card.figures
    switch = several and all(style.tokens_at(run) is not None for run in runs)
    moved = [figure for card in cards(runs, "tokens", panels=panels) for figure in card.figures] if switch else []
    if several and not switch:
        notes = [*notes, "Not every run has counted its tokens: they are aligned by steps alone."]
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=" and ".join(as_html(run.name, 80) for run in runs),
        style=(HERE / "page.css").read_text(encoding="utf-8") + viewer.style(),
        summary="".join(parts.summary(run, several) for run in runs),
        notes="".join(f"<p class=note>{html.escape(note)}</p>" for note in notes),
        evaluation="".join(parts.evaluation(run, several) for run in runs),
        comparison=parts.comparison(runs),
        switch="" if moved else "hidden",
        links=_links([card for card in shown if not card.detail], [card for card in shown if card.detail], several),
        views="".join(text for card, text in sections if not card.detail),
        details="".join(text for card, text in sections if card.detail),
        events="".join(parts.events(run, several) for run in runs),
        configs="".join(map(parts.config, runs)),
        figures=_inline(drawings),
        tokens=_inline(moved),
        rollouts=_inline(viewer.embed(runs)),
        viewer=viewer.script(),
        script=(HERE / "plots.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )


def _links(views: Sequence[Card], details: Sequence[Card], several: bool) -> str:
    """The contents: pictures first, single curves folded."""

    def listed(shown: Sequence[Card]) -> str:
        return "".join(f'<li><a href="#{card.anchor}">{html.escape(card.title)}</a></li>' for card in shown)

    own = '<li><a href="#comparison">What differs</a></li>' if several else ""
    own += '<li><a href="#completions">Completions</a></li><li><a href="#events">Events</a></li>'
    folded = f"<details><summary>Every curve</summary><ul>{listed(details)}</ul></details>" if details else ""
    return f"<ul>{listed(views)}{own}</ul>{folded}"


def _inline(value: Any) -> str:
    """JSON inside a script element: no `<` that could end it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
