"""The directory of a run, as the run writes it. `read.py` reads it back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rltrain.records import jsonl
from rltrain.records.made import absent, take_back
from rltrain.records.read import MARKS, load_run, step_files
from rltrain.records.writer import Writer, failed, write_table
from rltrain.types import Event, StepRecord

WRITTEN_OVER = ("report.html", "diagnosis.json", "model")  # a person's own files may have these names


class RunDir:
    """Writes a run's files. Metrics and events are on disk when a call returns; tables follow in the background.

    Any call raises OSError when this or an earlier write failed (a full disk); the files are then whole.
    """

    def __init__(self, path: Path):
        self.path = path
        self._writer = Writer()

    @classmethod
    def create(cls, path: str | Path, config_text: str, manifest: Mapping[str, Any]) -> RunDir:
        """Start a run in a directory that holds none. ValueError if it does.

        OSError if it cannot be made, and nothing of it is then left behind.
        """
        path = Path(path)
        made = absent(path)
        try:
            if taken(path):
                raise FileExistsError
            path.mkdir(parents=True, exist_ok=True)
            with open(path / "config.yaml", "x", encoding="utf-8") as file:  # of two that race, one gets it
                made += [path / "config.yaml", path / "manifest.json"]
                file.write(config_text)
            run = cls(path)
            run._manifest(dict(manifest))
        except (FileExistsError, NotADirectoryError):
            raise ValueError(
                f"run directory {str(path)!r} is taken; give another run.name or run.dir, "
                "or go on with that run by --resume"
            ) from None
        except (OSError, KeyboardInterrupt) as error:
            take_back(made)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise failed(path, error, "give another run.dir, or free space there, and start again") from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """Go on with a run. ValueError if there is none."""
        return cls(load_run(path).path)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints live; made by whoever saves the first."""
        return self.path / "checkpoints"

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """One flat line; NaN and infinities are written as null."""
        self._append("metrics.jsonl", {"step": step} | dict(metrics) | {"step": step})

    def log_event(self, event: Event) -> None:
        """One line."""
        self._append("events.jsonl", {field.name: getattr(event, field.name) for field in fields(event)})

    def write_rollouts(self, record: StepRecord) -> None:
        """Hand a step to the writer, which makes `rollouts/step_00012.parquet` of it."""
        from rltrain.records.table import rollout_table

        path = self.path / "rollouts" / f"step_{record.step:05d}.parquet"
        self._writer.submit(lambda: write_table(path, lambda: rollout_table(record)))

    def write_curriculum(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Hand a step's decisions to the writer; columns are the rows' keys. No rows, no file."""
        from rltrain.records.table import decision_table

        if rows:
            path = self.path / "curriculum" / f"step_{step:05d}.parquet"
            self._writer.submit(lambda: write_table(path, lambda: decision_table(rows)))

    def rewrite_config(self, text: str) -> None:
        """Replace `config.yaml`: a resumed run may be longer than it was."""
        jsonl.replace(self.path / "config.yaml", text)

    def update_manifest(self, **entries: Any) -> None:
        """Add or replace entries of `manifest.json`."""
        self._manifest(load_run(self.path).manifest | entries)

    def cut(self, step: int) -> None:
        """Drop everything after `step` from metrics, events, rollouts and curriculum, torn lines included."""
        self.flush()
        for name in ("metrics.jsonl", "events.jsonl"):
            jsonl.keep(self.path / name, lambda row: isinstance(row.get("step"), int) and row["step"] <= step)
        for folder in (self.path / "rollouts", self.path / "curriculum"):
            for number, path in step_files(folder):
                if number > step:
                    path.unlink()
            for torn in folder.glob(".*.tmp"):
                torn.unlink()

    def flush(self) -> None:
        """Wait until every table is on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and end the writer."""
        self._writer.close()

    def _append(self, name: str, value: Mapping[str, Any]) -> None:
        self._writer.check()
        try:
            jsonl.append(self.path / name, value)
        except OSError as error:
            raise failed(self.path / name, error) from error

    def _manifest(self, entries: Mapping[str, Any]) -> None:

        path = self.path / "manifest.json"
        try:
            jsonl.replace(path, json.dumps(jsonl.plain(entries), indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise failed(path, error) from error


def taken(path: str | Path) -> bool:
    """Whether the directory holds a run or anything a run would write over, or the path is a file."""
    path = Path(path)
    return path.is_file() or any((path / mark).exists() for mark in (*MARKS, *WRITTEN_OVER))


def next_name(root: str | Path, stem: str) -> str:
    """Reserve the next free `<stem>-001`, ... under `root` by making its directory; two that race get two names."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    while True:
        name = f"{stem}-{max(_numbers(root, stem), default=0) + 1:03d}"
        try:
            (root / name).mkdir()
            return name
        except FileExistsError:
            continue  # someone else took it in between; the next look counts it


def newest(root: str | Path, stem: str) -> Path | None:
    """The run `<stem>-NNN` with the highest number, or None."""
    runs = {number: path for number, path in _numbers(Path(root), stem).items() if taken(path)}
    return runs[max(runs)] if runs else None


def _numbers(root: Path, stem: str) -> dict[int, Path]:
    """Number -> path of everything called `<stem>-NNN`."""
    if not root.is_dir():
        return {}
    matches = ((re.fullmatch(re.escape(stem) + r"-(\d{3,})", path.name), path) for path in root.iterdir())
    return {int(match[1]): path for match, path in matches if match}
