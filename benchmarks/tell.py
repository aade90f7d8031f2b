"""How a benchmark of verdicts shows that it works, and where it keeps what it found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

RESULTS = Path(__file__).parent / "results"
T = TypeVar("T")


def keep(name: str, found: Mapping[str, Any]) -> Path:
    """Write what was found, with machine and versions, to `benchmarks/results/<name>.json`."""
    from rltrain.manifest import manifest

    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**found, "manifest": manifest()}, indent=2) + "\n", encoding="utf-8")
    print(f"figures: {path.relative_to(RESULTS.parent.parent)}")
    return path


def bar(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """The items, with a progress bar on stderr."""
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=label)
