"""The phase detector on simulated runs whose truth is known: false alarms, misses, onset, intervals, confidence.

    python -m benchmarks.phase_simulation [--runs N] [--online N] [--seed N] [--family build|unseen] [--out FOLDER]

Two families of generators (`phase_generators.py`): the one the detector was built on, with other seeds, and one of
other shapes, noise and courses. Each null cell has `--runs` runs, each cell with a phase an eighth of that at each of
the rises over noise 1, 2, 3, 5, 10; `--online` of each null cell, and a twelfth of that at each rise of the others,
are also judged as they go, every 5th step. Oracles (`phase_oracles.py`) stand beside: one knows the shape of the rise
and fits onset and width by least squares; one is told the width as well, which alone halves the error of an onset
(Cramer-Rao, ramp in white noise); and one is told everything but whether there is a rise at all.

Prints the tables, writes `phase_simulation.json` and the reliability plot to `benchmarks/results` or `--out`. A trial
of the benchmark itself is `--runs 2 --online 1 --out trial`; for work on the detector there is `--family build`.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import phase_oracles
from benchmarks.phase_generators import BUILD, RISES, UNSEEN, Cell, Run, simulate
from benchmarks.phase_tables import plot, show
from diagnostics.phase.detector import DIVERSITY, RISEN, diversity_rise, retrospective
from diagnostics.phase.verdict import Verdict
from rltrain.manifest import manifest

RESULTS = Path(__file__).parent / "results"
STRIDE = 5  # online, every 5th step is judged
SEEN_FROM = 3.0  # rise over noise from which on a phase has to be found
FAMILIES = {"build": BUILD, "unseen": UNSEEN}


@dataclass(frozen=True)
class Outcome:
    """What the detector made of a run."""

    cell: str
    rise: float
    truth: str
    length: int
    state: str
    confidence: float
    planning: float  # probability of a phase 2
    error: float | None  # of the onset, steps, where planning was called
    covered: bool | None
    width: float | None
    oracle: float | None  # error of the oracle that knows the shape
    oracle_width: float | None  # error of the one that knows shape and width
    oracle_sees: bool | None  # whether the one that knows all finds the rise
    online: int | None = None  # first step at which planning was called; -1 never; None not judged online
    delay: float | None = None  # that step minus the onset
    moved: float | None = None  # onset as called first, minus onset in retrospect


def main(arguments: list[str] | None = None) -> None:
    """Run both families, print, write."""
    parser = argparse.ArgumentParser(prog="benchmarks.phase_simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="of each null cell")
    parser.add_argument("--online", type=int, default=100, help="of each null cell, judged as they go as well")
    parser.add_argument("--seed", type=int, default=2, help="the detector was built on others")
    parser.add_argument("--family", choices=FAMILIES, help="one of the two alone")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        for number, (name, cells) in enumerate(FAMILIES.items()):
            if asked.family not in (None, name):
                continue
            bar = bars.add_task(name, total=sum(count for _, _, count in plan(cells, asked.runs)))
            outcomes = family(cells, asked.runs, asked.online, [asked.seed, number], lambda b=bar: bars.advance(b))
            found[name] = summary(outcomes)
    for name, figures in found.items():
        show(name, figures)
    settings = {"runs": asked.runs, "online": asked.online, "seed": asked.seed, "evidence": RISEN, "stride": STRIDE}
    keep({"settings": settings, "families": found}, asked.out)


def keep(found: dict[str, Any], folder: Path) -> None:
    """The raw numbers and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    plot({name: of["reliability"] for name, of in found["families"].items()}, folder / "phase_reliability.png")
    path = folder / "phase_simulation.json"
    path.write_text(json.dumps(found | {"manifest": manifest()}, indent=1) + "\n", encoding="utf-8")
    print(f"raw numbers: {path}")


def plan(cells: Sequence[Cell], runs: int) -> list[tuple[Cell, float, int]]:
    """Cell, rise over noise, number of runs."""
    null = [(cell, 0.0, runs) for cell in cells if cell.shape is None]
    return null + [(cell, rise, max(1, runs // 8)) for cell in cells if cell.shape for rise in RISES]


def family(
    cells: Sequence[Cell], runs: int, online: int, seed: Sequence[int], tick: Callable[[], None]
) -> list[Outcome]:
    """Every run of a family, judged."""
    outcomes = []
    for number, (cell, rise, count) in enumerate(plan(cells, runs)):
        for i in range(count):
            rng = np.random.default_rng([*seed, number, i])
            outcomes.append(judged(simulate(rng, cell, rise), watched=i < (online if rise == 0 else online // 12)))
            tick()
    return outcomes


def judged(run: Run, watched: bool) -> Outcome:
    """The verdict on a whole run beside the truth, and, if watched, the first call on the way."""
    verdict = retrospective(run.steps, run.metrics)
    called = verdict.onset_step is not None and run.onset is not None
    values: dict[str, Any] = dict.fromkeys(("error", "covered", "width", "oracle", "oracle_width", "oracle_sees"))
    if run.onset is not None:
        values["oracle"] = float(phase_oracles.onset(run) - run.onset)
        values["oracle_width"] = float(phase_oracles.onset(run, [run.width]) - run.onset)
        values["oracle_sees"] = phase_oracles.seen(run)
    if called:
        low, high = verdict.interval
        values |= {"error": float(verdict.onset_step - run.onset), "covered": bool(low <= run.onset <= high)}
        values["width"] = float(high - low)
    if watched:
        values |= first_call(run, verdict)
    planning = chance_of_planning(verdict)
    return Outcome(run.cell, run.rise, run.truth, len(run.steps), verdict.state, verdict.confidence, planning, **values)


def chance_of_planning(verdict: Verdict) -> float:
    """As the verdict has it, whatever state it names."""
    if "apart_log_bayes_factor" in verdict.evidence:
        return verdict.confidence
    return float(0.5 * (1 + np.tanh(0.5 * verdict.evidence.get("diversity_rise_log_bayes_factor", 0.0))))


def first_call(run: Run, last: Verdict) -> dict[str, Any]:
    """When planning is called first if every 5th step is judged without what comes after it."""
    for n in range(STRIDE, len(run.steps) + 1, STRIDE):
        rise = diversity_rise(run.steps[:n], run.metrics[DIVERSITY][:n])
        if rise is None or rise.log_bayes_factor < RISEN:
            continue  # the verdict is not planning, whatever execution does
        verdict = retrospective(run.steps[:n], {name: values[:n] for name, values in run.metrics.items()})
        if verdict.state == "planning":
            step = int(run.steps[n - 1])
            moved = None if last.onset_step is None else float(verdict.onset_step - last.onset_step)
            return {"online": step, "delay": None if run.onset is None else float(step - run.onset), "moved": moved}
    return {"online": -1}


# --- figures -------------------------------------------------------------------------------------


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Every figure of a family."""
    null = [o for o in outcomes if o.rise == 0]
    phase = [o for o in outcomes if o.rise > 0]
    strong = [o for o in phase if o.rise >= SEEN_FROM]
    return {
        "runs": len(outcomes),
        "null": {cell: alarms(of) for cell, of in grouped(null, lambda o: o.cell).items()},
        "phase": {
            cell: {str(rise): onsets(some) for rise, some in grouped(of, lambda o: o.rise).items()}
            for cell, of in grouped(phase, lambda o: o.cell).items()
        },
        "by_rise": {str(rise): onsets(of) for rise, of in grouped(phase, lambda o: o.rise).items()},
        "null_total": alarms(null),
        "from_3_on": onsets(strong),
        "from_3_on_by_cell": {cell: onsets(of) for cell, of in grouped(strong, lambda o: o.cell).items()},
        "all_phase": onsets(phase),
        "reliability": reliability(outcomes),
        "states_by_truth": {truth: states(of) for truth, of in grouped(outcomes, true_course).items()},
        "states": {cell: states(of) for cell, of in grouped(outcomes, lambda o: f"{o.cell}, {o.rise:g}").items()},
    }


def states(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """How often each state was said looking back, as a share."""
    return {state: len(some) / len(outcomes) for state, some in grouped(outcomes, lambda o: o.state).items()}


def true_course(outcome: Outcome) -> str:
    """What a run's state is held against; of rises those that have to be found are one."""
    if outcome.rise == 0:
        return outcome.truth
    return f"{outcome.truth}, {'3 or more' if outcome.rise >= SEEN_FROM else f'{outcome.rise:g}'}"


def alarms(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """False alarms of null runs: looking back, and at any time on the way."""
    watched = [o for o in outcomes if o.online is not None]
    back, ever = sum(o.state == "planning" for o in outcomes), sum(o.online >= 0 for o in watched)
    return {
        "runs": len(outcomes),
        "false_alarms": back,
        "rate": back / len(outcomes),
        "rate_high": wilson(back, len(outcomes)),
        "watched": len(watched),
        "online_false_alarms": ever,
        "online_rate": ever / max(1, len(watched)),
        "online_rate_high": wilson(ever, len(watched)),
    }


def onsets(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Misses, onset error beside the oracle's on the same runs, interval coverage and online delay."""
    called = [o for o in outcomes if o.state == "planning"]
    watched = [o for o in outcomes if o.online is not None]
    caught = [o for o in watched if o.online >= 0]
    agreeing = sum((o.online >= 0) == (o.state == "planning") for o in watched)
    ours, theirs = mean(abs(o.error) for o in called), mean(abs(o.oracle) for o in called)
    told = mean(abs(o.oracle_width) for o in called)
    return {
        "runs": len(outcomes),
        "missed": 1 - len(called) / len(outcomes),
        "oracle_missed": 1 - mean(o.oracle_sees for o in outcomes),
        "error": ours,
        "oracle_error": theirs,
        "ratio": ours / theirs if theirs else None,
        "oracle_width_error": told,
        "ratio_width": ours / told if told else None,
        "median_error": median(abs(o.error) for o in called),
        "median_oracle_error": median(abs(o.oracle) for o in called),
        "bias": mean(o.error for o in called),
        "coverage": mean(o.covered for o in called),
        "interval_width": mean(o.width for o in called),
        "watched": len(watched),
        "online_missed": 1 - len(caught) / max(1, len(watched)),
        "called_before_onset": mean(o.delay < 0 for o in caught),
        "delay": median(o.delay for o in caught),
        "online_agrees": agreeing / max(1, len(watched)),
        "onset_moved": median(abs(o.moved) for o in caught if o.moved is not None),
    }


def reliability(outcomes: Sequence[Outcome]) -> list[dict[str, float]]:
    """Share of runs with a phase among those given about the same probability of one.

    A stated probability is at even odds beforehand, so runs with and without a phase count as if equally many.
    """
    phases = sum(o.rise > 0 for o in outcomes)
    weight = {True: 1.0, False: phases / max(1, len(outcomes) - phases)}
    edges = [0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 1.0001]
    rows = []
    for low, high in itertools.pairwise(edges):
        inside = [o for o in outcomes if low <= o.planning < high]
        if inside:
            weights = [weight[o.rise > 0] for o in inside]
            said = np.average([o.planning for o in inside], weights=weights)
            was = np.average([o.rise > 0 for o in inside], weights=weights)
            rows.append({"said": float(said), "was": float(was), "runs": len(inside)})
    return rows


def grouped(outcomes: Iterable[Outcome], key: Callable[[Outcome], Any]) -> dict[Any, list[Outcome]]:
    groups: dict[Any, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return groups


def wilson(hits: int, count: int, z: float = 1.645) -> float:
    """Upper end of the two-sided 90% interval of a rate."""
    if not count:
        return 1.0
    p = hits / count
    middle, spread = p + z * z / (2 * count), z * np.sqrt(p * (1 - p) / count + z * z / (4 * count**2))
    return float((middle + spread) / (1 + z * z / count))


def mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values else None


def median(values: Iterable[float]) -> float | None:
    values = list(values)
    return float(np.median(values)) if values else None


if __name__ == "__main__":
    main()
