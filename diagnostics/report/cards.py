"""Cards: a picture with the words that go with it. The page and the dashboard show the same ones."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from diagnostics.report import figures, samples
from diagnostics.report.figures import VIEWS, X, panel
from diagnostics.report.panels import CURRICULA, Resolve, by_area, installed, panels_of, present
from diagnostics.report.series import stems_of
from rltrain.metrics import METRICS
from rltrain.metrics.metric import Metric
from rltrain.records import RunFiles
from rltrain.types import Panel

# Other places of the pages that show cards; no panel's title may lead there.
PLACES = ("main", "theme", "figures", "tokens", "rollouts", "completions", "comparison", "events")


class Card(NamedTuple):
    """A picture of some runs and what there is to say about it; all words are text, not HTML."""

    anchor: str
    title: str
    how_to_read: str
    lies: str  # when it says what is not so
    figures: list[dict[str, Any]]  # plotly's JSON; none where it was not asked for or there is nothing to show
    terms: list[Metric]  # the metrics it shows that the runs have
    samples: dict[str, str]  # how large a sample each of them rests on, in words, by stem
    missing: list[str]  # what it would show if the runs had it
    detail: bool  # a panel of single curves; False for the pictures of `VIEWS`


def cards(
    runs: Sequence[RunFiles],
    x: X = "step",
    *,
    panels: Sequence[Panel] | None = None,
    resolve: Resolve = installed,
    only: Collection[str] | None = None,
) -> list[Card]:
    """The pictures of `VIEWS`, then those the runs' plugins ask for, then every other declared metric by area.

    `panels`: instead of those of the diagnostics and curricula in the runs' configs, which `resolve` finds.
    `only`: anchors to draw; the other cards come without figures, which is fast.
    """
    stems = list(dict.fromkeys(stem for run in runs for stem in stems_of(run.metrics)))
    if panels is None:
        panels, _ = run_panels(runs, resolve)
    shown = present(panels, stems)
    drawn = {metric for each in shown for metric in each.metrics}
    made = [_view(view, runs, x, stems, only) for view in VIEWS]
    taken = {*PLACES, *(card.anchor for card in made)}
    for each in (*shown, *by_area(stems, drawn)):
        card = _panel(each, runs, x, stems, only, taken)
        taken.add(card.anchor)
        made.append(card)
    return made


def run_panels(runs: Sequence[RunFiles], resolve: Resolve = installed) -> tuple[list[Panel], list[str]]:
    """The panels of the runs' diagnostics and curricula, and notes on those not found."""
    found, missing = panels_of((spec for run in runs for spec in run.diagnostics), resolve)
    chosen, absent = panels_of((spec for run in runs for spec in run.curricula), resolve, CURRICULA)
    return found + chosen, missing + absent


def _view(
    view: figures.View, runs: Sequence[RunFiles], x: X, stems: Collection[str], only: Collection[str] | None
) -> Card:
    drawn = [_json(figure) for figure in view.draw(runs, x)] if only is None or view.name in only else []
    terms = [METRICS[name] for name in view.metrics if name in stems and name in METRICS]
    missing = figures.missing(view, runs)
    return Card(view.name, view.title, view.how_to_read, view.lies, drawn, terms, _samples(terms, runs), missing, False)


def _panel(
    each: Panel,
    runs: Sequence[RunFiles],
    x: X,
    stems: Collection[str],
    only: Collection[str] | None,
    taken: Collection[str],
) -> Card:
    anchor = _anchor(each.title, taken)
    drawn = [_json(figure) for figure in panel.figures(each, runs, x)] if only is None or anchor in only else []
    terms = [METRICS[name] for name in each.metrics if name in stems and name in METRICS]
    return Card(anchor, each.title, each.how_to_read, "", drawn, terms, _samples(terms, runs), [], True)


def _samples(terms: Sequence[Metric], runs: Sequence[RunFiles]) -> dict[str, str]:
    return {metric.stem: told for metric in terms if (told := samples.words(metric, runs))}


def _anchor(title: str, taken: Collection[str]) -> str:
    """A name for a place in the page, of plain letters, that no other has."""
    wanted = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title.lower())
    free = (name for i in range(len(taken) + 1) if (name := wanted + (f"-{i + 1}" if i else "")) not in taken)
    return next(free)


def _json(figure: Any) -> dict[str, Any]:
    return json.loads(figure.to_json())
