"""Reads a run directory, also one that is being written or was cut off by a crash."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rltrain.records import about, damage, jsonl, tidy
from rltrain.records.lines import Columns, Tail, events_of
from rltrain.types import Event

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import pyarrow as pa

MARKS = ("config.yaml", "manifest.json", "metrics.jsonl")
"""A directory with any of these is a run."""
QUICK = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a list of 200 runs reads as many configs


class RunFiles:
    """What a run left behind. Each part is read when asked for and kept; a missing file is empty."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.resolve().name
        self._lines, self._told = Tail(path / "metrics.jsonl"), Tail(path / "events.jsonl")
        self._columns = Columns()
        self._unread: dict[Path, str] = {}  # tables that were looked at in vain, and why

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row a step: `step` and a column for each metric, NaN where a step has none."""
        self._columns = Columns()
        self._columns.add(self._lines.read()[0])
        return self._columns.frame()

    @cached_property
    def events(self) -> list[Event]:
        """The run's events, in the order they were written."""
        return events_of(self._told.read()[0])

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config as plain values; empty where it cannot be read, and `notes` then says so."""
        return self._config[0]

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, seeds, hardware, digests; empty where it cannot be read, and `notes` then says so."""
        return self._manifest[0]

    @property
    def notes(self) -> list[str]:
        """What of the run is missing or cannot be read, in words for a person; of its tables, what was asked for."""
        steps, _ = self.metrics["step"].tolist(), self.events  # reading tells what of their files is damaged
        completions = self.rollout_steps()
        unread = {f"{p.parent.name}/{p.name}": why for p, why in self._unread.items() if p.exists()}
        return [
            *(words for name, words in damage.ABSENT.items() if not (self.path / name).exists()),
            *(words for _, found in (self._config, self._manifest, self._diagnosis) for words in found),
            *(words for tail in (self._lines, self._told) for words in tail.notes()),
            *self._columns.notes("metrics.jsonl"),
            *([] if self._lines.error else damage.no_lines(steps, completions)),
            *damage.no_completions(completions),
            *damage.unread(unread),
        ]

    @property
    def planned_steps(self) -> int | None:
        """`training.steps` of the config, where it is there."""
        training = self.config.get("training")
        steps = training.get("steps") if isinstance(training, dict) else None
        return steps if isinstance(steps, int) else None

    @property
    def diagnostics(self) -> list[str]:
        """The specs of the config's diagnostics."""
        listed = self.config.get("diagnostics")
        given = listed if isinstance(listed, list) else []
        return [str(spec["use"]) for spec in given if isinstance(spec, dict) and "use" in spec]

    @property
    def curricula(self) -> list[str]:
        """The specs of the config's curriculum, of what it nests and of its gates."""

        def nested(given: Any) -> list[str]:
            if not isinstance(given, dict):
                return []
            gates = given.get("gates")
            parts = [given.get("inner"), *(gates if isinstance(gates, list) else [])]
            return [str(given["use"]), *(spec for part in parts for spec in nested(part))] if "use" in given else []

        return nested(self.config.get("curriculum"))

    @cached_property
    def _config(self) -> tuple[dict[str, Any], list[str]]:
        return _mapping(self.path / "config.yaml", lambda text: yaml.load(text, QUICK) or {}, "YAML")

    @cached_property
    def _manifest(self) -> tuple[dict[str, Any], list[str]]:
        return _mapping(self.path / "manifest.json", json.loads, "JSON")

    @property
    def diagnosis(self) -> dict[str, Any]:
        """The verdicts of `diagnosis.json` without their series; empty where there are none or the file is torn."""
        return self._diagnosis[0]

    @cached_property
    def _diagnosis(self) -> tuple[dict[str, Any], list[str]]:
        found, notes = _mapping(self.path / "diagnosis.json", json.loads, "JSON")
        return {key: value for key, value in found.items() if key != "series"}, notes

    def rollout_steps(self) -> list[int]:
        """The steps whose completions are there."""
        return [step for step, _ in step_files(self.path / "rollouts")]

    def rollouts(self, steps: Iterable[int] | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a completion of the given steps (default: all), in the rollout schema.

        `columns`: only these are read; one that a file does not have is empty.
        `attrs["replaced"]`: characters of completions that no file can hold, U+FFFD now.
        """
        from rltrain.records.table import COLUMNS

        frame = self._tables("rollouts", steps, columns)
        return frame.reindex(columns=list(columns or COLUMNS)) if columns or frame.empty else frame

    def curriculum(self, steps: Iterable[int] | None = None) -> pd.DataFrame:
        """One row a decision of the curriculum in the given steps (default: all)."""
        return self._tables("curriculum", steps)

    # What notebooks use, see docs/notebook.md.

    def curves(self, *wanted: str) -> pd.DataFrame:
        """The metrics in long form: step, name, class, value. `wanted`: areas or names; none: all."""
        return tidy.curves(self.metrics, wanted)

    def tokens(self, steps: Iterable[int] | None = None) -> pd.DataFrame:
        """One row a token of the completions of the given steps (default: all, which may be many)."""
        return tidy.tokens(self.rollouts(steps))

    def event_table(self) -> pd.DataFrame:
        """The events: step, name, severity, evidence, advice."""
        return tidy.events(self.events)

    def figures(self, *names: str) -> dict[str, list[go.Figure]]:
        """The report's pictures by name, those that the run has something for. `names`: only these.

        ValueError for a name there is no picture of.
        """
        from rltrain import plugins

        views = {view.name: view for view in plugins.resolve("views", "rltrain.figures")}
        for name in names:
            if name not in views:
                raise ValueError(f"figures: no picture {name!r}{plugins.suggest(name, views, 'there are')}")
        drawn = {name: view.draw([self], "step") for name, view in views.items() if not names or name in names}
        return {name: figures for name, figures in drawn.items() if figures}

    def _repr_markdown_(self) -> str:
        return about.markdown(self)

    def _repr_html_(self) -> str:
        return about.page(self)

    def _tables(self, folder: str, steps: Iterable[int] | None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        from rltrain.records.table import REPLACED

        wanted = None if steps is None else set(steps)
        tables, replaced = [], 0
        for step, path in step_files(self.path / folder):
            if wanted is None or step in wanted:
                try:
                    with parquet.ParquetFile(path) as file:
                        there = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
                        table = file.read(columns=there)
                except (pa.ArrowException, OSError) as error:
                    self._unread[path] = " ".join(str(error).split())[:120]
                    warnings.warn(f"{path}: left out, it cannot be read ({error})", stacklevel=3)
                else:
                    self._unread.pop(path, None)
                    replaced += int((table.schema.metadata or {}).get(REPLACED.encode(), 0))
                    tables.append(table.replace_schema_metadata())
        frame = _joined(tables)
        frame.attrs["replaced"] = replaced
        return frame


def _joined(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Tables one below the other; of other versions, they may differ in their columns."""
    import pandas as pd

    if len({table.schema for table in tables}) == 1:
        import pyarrow as pa

        return pa.concat_tables(tables).to_pandas()
    frames = [table.to_pandas() for table in tables]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _mapping(path: Path, parse: Callable[[str], Any], language: str) -> tuple[dict[str, Any], list[str]]:
    """What a file holds, and notes on what is wrong with it; a file that is not there is empty."""
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        why = f"not valid {language}: " + " ".join(str(error).split())
    except OSError as error:
        why = jsonl.cause(error)
    else:
        if isinstance(found, dict):
            return found, []
        why = f"expected keys and values, it holds {type(found).__name__}"
    return {}, [f"{path.name} cannot be read ({why}); this is what the other files say"]


def step_files(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of the files `step_00012.parquet` of a folder, by step."""
    found = [(path.stem.removeprefix("step_"), path) for path in folder.glob("step_*.parquet")]
    return sorted((int(number), path) for number, path in found if number.isdigit())


def load_run(path: str | Path) -> RunFiles:
    """The files of the run at `path`. ValueError if there is no run, or one that may not be looked into."""
    path = Path(path)
    try:
        if not path.is_dir():
            raise ValueError(f"run {str(path)!r}: no such directory; give that of a run, for example runs/NAME")
        if not any((path / mark).exists() for mark in MARKS):
            runs = [child.name for child in sorted(path.iterdir()) if any((child / mark).exists() for mark in MARKS)]
            hint = f"; runs in it: {', '.join(runs[:5])}" if runs else ""
            raise ValueError(f"run {str(path)!r}: not a run, it has none of {', '.join(MARKS)}{hint}")
    except OSError as error:
        why = jsonl.cause(error)
        raise ValueError(f"run {str(path)!r}: cannot be looked into ({why}); ask its owner for the right") from None
    return RunFiles(path)
