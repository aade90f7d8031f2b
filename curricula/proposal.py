"""The order that `rltrain bwt` proposes, and the outcomes it forecasts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from curricula.subset import sources_of
from rltrain.types import TaskTable

HOW = "`rltrain bwt CONFIG` writes it"


class Proposal(NamedTuple):
    """An order of sources, and the held-out outcome of each that it is expected to end with."""

    order: tuple[str, ...]
    forecast: Mapping[str, float]


def read(path: str | Path | None, tasks: TaskTable) -> Proposal:
    """What a `bwt.json` says of these tasks; sources that are in another part of the run are left out.

    ValueError where there is no such file, it is another file, it names a source that the run does not have, or
    one of these tasks is of a source it does not know.
    """
    if not isinstance(path, str | Path):
        raise ValueError(f"staged: order: bwt needs matrix_file, the path of a bwt.json, got {path!r}; {HOW}")
    order, forecast = _read(Path(path))
    known, here = sources_of(tasks), set(tasks.sources.tolist())
    for name in order:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"staged: {path} orders source {name!r}, which the run does not have{advice} "
                             f"Sources: {', '.join(known)}")  # fmt: skip
    if missing := sorted(here - set(order)):
        raise ValueError(f"staged: {path} does not know source {missing[0]!r}; measure again with it: {HOW}")
    return Proposal(
        tuple(n for n in order if n in here), {name: float(v) for name, v in forecast.items() if name in here}
    )


def _read(path: Path) -> tuple[Sequence[str], Mapping[str, float]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"staged: matrix_file {str(path)!r}: {error.strerror or error}; {HOW}") from None
    except ValueError as error:
        raise ValueError(f"staged: matrix_file {str(path)!r}: not valid JSON ({error}); {HOW}") from None
    order, forecast = (found.get(key) if isinstance(found, dict) else None for key in ("order", "forecast"))
    if not isinstance(order, list) or not isinstance(forecast, dict) or set(order) != set(forecast):
        raise ValueError(f"staged: matrix_file {str(path)!r}: expected `order` and a `forecast` for each in it; {HOW}")
    return order, forecast
