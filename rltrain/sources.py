"""Where tasks come from: generators, files, Hugging Face datasets, Python callables.

A source is a sequence of rows. A row is a mapping with `prompt` (a string or chat messages) and, where
known, `answer`, `level`, `id` and `meta`; whatever else it holds is added to the meta. A plain list of rows
is a source; beyond that a source may have a `name`, and `declared()`: a row of the columns it promises,
made without reading or downloading anything.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rltrain import plugins
from rltrain.tables import Columns, Lines, Missing, ParquetRows, Row, Unreachable, expect_text

KEPT_ENTRIES = 50_000  # generated entries are kept up to here; beyond, memory counts for more than time


class ReasoningGym:
    """Tasks of one reasoning-gym generator, e.g. `chain_sum`; its own scorer is the reward `reasoning_gym`.

    `parameters` are the generator's own (`min_terms: 2`). `suffix` is put behind each question, to ask for
    an answer format. `level` is the one difficulty parameter that varies, if there is just one.
    """

    def __init__(self, generator: str, size: int = 1000, seed: int = 0, suffix: str = "", **parameters: Any):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of a dependency, once per installation
            from reasoning_gym.factory import DATASETS, create_dataset

        expect_text("reasoning_gym", generator=generator, suffix=suffix)
        if generator not in DATASETS:
            raise ValueError(
                f"reasoning_gym: no generator {generator!r}{plugins.suggest(generator, DATASETS, 'there are')}"
            )
        valid = {f.name for f in fields(DATASETS[generator][1])} - {"seed", "size"}
        for name in parameters:
            if name not in valid:
                raise ValueError(f"{generator}: no parameter {name!r}{plugins.suggest(name, valid, 'it takes')}")
        try:
            self._dataset = create_dataset(generator, size=size, seed=seed, **parameters)
        except (AssertionError, TypeError) as error:  # how its configurations refuse a value
            raise ValueError(f"{generator}: {error} (parameters: {parameters}, size: {size})") from error
        self.name, self._size, self._seed, self._suffix = generator, size, seed, suffix
        self._about = {"generator": generator, "parameters": parameters}
        self._kept: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Row:
        entry = self._kept.get(index)
        if entry is None:
            with _python_seeded(self._seed + index):  # two generators draw from the global one
                entry = self._dataset[index]
            if len(self._kept) < KEPT_ENTRIES:
                self._kept[index] = entry
        return {
            "prompt": entry["question"] + self._suffix,
            "answer": entry["answer"],
            "level": _level(entry["metadata"]),
            "entry": entry,
            **self._about,
        }


class File:
    """Rows of a JSONL or Parquet file. `prompt`, `answer`, `level`, `id` name its columns.

    A prompt column holds strings or lists of chat messages. `answer: null` for tasks without answers.
    """

    def __init__(
        self,
        path: str,
        prompt: str = "prompt",
        answer: str | None = "answer",
        level: str | None = None,
        id: str | None = None,
        suffix: str = "",
    ):
        expect_text("file", path=path, prompt=prompt, suffix=suffix, optional=dict(answer=answer, level=level, id=id))
        self.path = Path(path)
        self.name = self.path.stem
        self._columns = Columns(prompt, answer, level, id, suffix)

    @cached_property
    def _records(self) -> Sequence[Mapping[str, Any]]:
        readers = {".jsonl": Lines, ".json": Lines, ".ndjson": Lines, ".parquet": ParquetRows}
        if self.path.suffix not in readers:
            raise ValueError(f"file {self.path}: expected one of {', '.join(readers)}, got {self.path.suffix!r}")
        if not self.path.is_file():
            folder = self.path.parent
            beside = [p.name for p in folder.iterdir()] if folder.is_dir() else []
            raise Missing(f"file {self.path}: no such file{plugins.suggest(self.path.name, beside, f'{folder} has')}")
        records = readers[self.path.suffix](self.path)
        if len(records):
            self._columns.check(records.columns, str(self.path))
        return records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Row:
        return self._columns.row(self._records[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._columns.row, self._records)

    def declared(self) -> Row:
        """A row of the declared columns; the file is not read."""
        return self._columns.row(self._columns.placeholder(self.name))


@dataclass(frozen=True)
class _Ready:
    """What is known of a public dataset: where it is, its columns, one row of it."""

    dataset: str
    config: str | None
    columns: Columns
    sample: Row


READY = {
    "gsm8k": _Ready(
        "openai/gsm8k",
        "main",
        Columns("question", "answer", after="####"),
        {
            "question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
            "May. How many clips did Natalia sell altogether in April and May?",
            "answer": "Natalia sold 48/2 = 24 clips in May.\nAltogether she sold 48+24 = 72 clips.\n#### 72",
        },
    ),
    "math": _Ready(
        "nlile/hendrycks-MATH-benchmark",
        None,
        Columns("problem", "answer", "level"),
        {
            "problem": "What is the value of $x$ if $\\frac{x}{2} + 1 = 4$?",
            "solution": "Subtracting $1$ gives $\\frac{x}{2} = 3$, so $x = \\boxed{6}$.",
            "answer": "6",
            "subject": "Algebra",
            "level": 1,
            "unique_id": "train/algebra/0.json",
        },
    ),
}


class Hub:
    """A Hugging Face dataset: `gsm8k`, `math`, a hub id, or a local directory `datasets` can load.

    `mapping` takes the columns of a ready dataset for a copy of it; `prompt`, `answer`, `level`, `id` name
    columns otherwise, and without `prompt` they change those of a ready one. Nothing is fetched before the
    first row is asked for, and nothing at all `offline`.
    """

    def __init__(
        self,
        dataset: str,
        split: str = "train",
        mapping: str | None = None,
        config: str | None = None,
        prompt: str | None = None,
        answer: str | None = "answer",
        level: str | None = None,
        id: str | None = None,
        suffix: str = "",
        offline: bool = False,
    ):
        columns = {"prompt": prompt, "answer": answer, "level": level, "id": id}
        expect_text("hub", dataset=dataset, split=split, suffix=suffix, optional=columns | {"config": config})
        if mapping is not None and mapping not in READY:
            raise ValueError(f"hub: no mapping {mapping!r}{plugins.suggest(mapping, READY, 'there are')}")
        known = READY.get(mapping or dataset)
        self._dataset, self._split, self._offline = dataset, split, offline
        self._config, self._sample = config, None
        self._columns = Columns(prompt or "prompt", answer, level, id, suffix)
        self.name = dataset.rstrip("/").split("/")[-1]
        if known is not None and prompt is None:
            self._columns = _changed(known.columns, answer, level, id).with_suffix(suffix)
            if mapping is None:
                self._columns.check(known.sample, f"hub: dataset {dataset}")
            self._sample = known.sample if set(self._columns.named.values()) <= known.sample.keys() else None
        if known is not None and mapping is None:
            self._dataset, self._config = known.dataset, config or known.config

    @cached_property
    def _records(self) -> Any:
        local = Path(self._dataset).is_dir()
        if self._offline and not local:
            raise Unreachable(f"dataset {self._dataset}: nothing is downloaded here")
        from datasets import load_dataset

        try:
            records = load_dataset(self._dataset, self._config, split=self._split)
        except OSError as error:  # covers no network, no such dataset and no access
            raise Unreachable(
                f"dataset {self._dataset}: {error}. Download it where there is a network, and give its directory "
                "as `dataset`, or use the source `file`"
            ) from error
        self._columns.check(records.column_names, f"{self._dataset}, split {self._split}")
        return records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Row:
        return self._columns.row(self._records[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._columns.row, self._records)

    def declared(self) -> Row:
        """A row of the declared columns; nothing is downloaded."""
        return self._columns.row(self._sample or self._columns.placeholder(self.name))


def _changed(columns: Columns, answer: str | None, level: str | None, id: str | None) -> Columns:
    """The columns of a ready dataset with those that were asked for in place of its own."""
    if answer != "answer":
        columns = replace(columns, answer=answer, after="")
    return replace(columns, level=level or columns.level, id=id or columns.id)


class Python(Sequence):
    """Rows that a callable returns; `function` is a spec (`module:attr`, `path/to/file.py:attr`)."""

    def __init__(self, function: str, seed: int = 0, **arguments: Any):
        expect_text("python", function=function)
        target = plugins.resolve(function, "rltrain.tasks")
        if plugins.bind(target, arguments, given={"seed"} - arguments.keys()):
            arguments = {"seed": seed, **arguments}
        self.name = function.rpartition(":")[2]
        self._rows = list(target(**arguments))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]


@contextmanager
def _python_seeded(seed: int) -> Iterator[None]:
    """Seed Python's global generator for a while and leave it as it was."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _level(metadata: Mapping[str, Any]) -> float | None:
    """The entry's value of the one difficulty parameter that varies, else the one that there is."""
    difficulty = metadata.get("difficulty")
    given = difficulty if isinstance(difficulty, Mapping) else {"difficulty": difficulty}
    ranges = {k: v for k, v in given.items() if isinstance(v, Sequence) and len(v) == 2 and v[0] != v[1]}
    numbers = [metadata.get(k) for k in ranges] or list(given.values())
    level = numbers[0] if len(numbers) == 1 else None
    return float(level) if isinstance(level, int | float | np.number) else None
