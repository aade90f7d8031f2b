"""Task sources become two tables: what is trained on and what is held out.

A task's key is `<source>/<id>`: the row's own id, or a hash of its prompt. A hash of the key decides
whether it is held out, so the split stays when rows are added or reordered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from xxhash import xxh64_hexdigest, xxh64_intdigest

from rltrain import contracts, plugins
from rltrain.config import TaskSource
from rltrain.tables import Missing, Row, Unreachable, extend
from rltrain.types import Kind, Message, Task

TWIN_ROWS = 256  # what a twin takes of a source, at most
DECLARED_ROWS = 64  # rows a twin makes of a source that cannot be reached
OWN = ("prompt", "answer", "level", "id", "meta")  # keys of a row with a meaning


class Table:
    """Columns over tasks of all sources; a Task is built from its source's row when asked for."""

    def __init__(self, parts: Sequence[_Part], part: np.ndarray, place: np.ndarray):
        """Task i is kept row `place[i]` of source `part[i]`; both (N,) int."""
        self._parts, self._part, self._place = parts, part, place
        self.keys: list[str] = [parts[p].keys[i] for p, i in zip(part.tolist(), place.tolist(), strict=True)]
        self.sources = np.asarray([p.name for p in parts])[part]
        self.kinds = np.asarray([p.kind for p in parts])[part]
        self.levels = np.concatenate([p.levels[place[part == i]] for i, p in enumerate(parts)])

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Task:
        part = self._parts[self._part[index]]
        row = int(part.rows[self._place[index]])
        return _task(part.source[row], part.name, part.kind, f"source {part.name}, row {row}")


class TaskSets(NamedTuple):
    """The two tables of a run and what a person should know about them."""

    train: Table
    held_out: Table
    notes: list[str]

    @property
    def kinds(self) -> dict[str, Kind]:
        """Source -> kind, in the config's order."""
        return {part.name: part.kind for part in self.train._parts}


@dataclass(frozen=True)
class _Part:
    """One source, read through once: its distinct prompts."""

    name: str
    kind: Kind
    source: Sequence[Row]
    rows: np.ndarray  # (n,) int64, positions in the source
    keys: list[str]
    prompts: np.ndarray  # (n,) uint64, hash of the prompt
    levels: np.ndarray  # (n,) float64, NaN where unknown
    held_out: np.ndarray  # (n,) bool


def build(sources: Sequence[TaskSource], *, seed: int, twin: bool = False) -> TaskSets:
    """Read all sources. A prompt that repeats is kept once, one that is held out anywhere is not trained on.

    ValueError for a source that is missing, empty, without its columns, or named as another.
    """
    notes: list[str] = []
    parts: list[_Part] = []
    for spec in sources:
        name, source = open_source(spec, seed=seed, offline=twin)
        if name in [part.name for part in parts]:
            raise ValueError(f"tasks: two sources are called {name!r}; give one of them another `name`")
        if twin:
            source = _for_twin(name, source, notes)
        parts.append(_scan(name, spec, source, notes))
    where = np.concatenate([np.full(len(part.keys), i, np.int32) for i, part in enumerate(parts)])
    place = np.concatenate([np.arange(len(part.keys)) for part in parts])
    held_out = np.concatenate([part.held_out for part in parts])
    prompts = np.concatenate([part.prompts for part in parts])
    leaked = ~held_out & np.isin(prompts, prompts[held_out])
    for one, other in combinations(parts, 2):
        if shared := len(np.intersect1d(one.prompts, other.prompts)):
            notes.append(f"sources {one.name!r} and {other.name!r} share {shared:,} prompts")
    if leaked.any():
        notes.append(f"{leaked.sum():,} prompts are held out in one source and left out of training in another")
    train = ~held_out & ~leaked
    for i, part in enumerate(parts):
        if not (train & (where == i)).any():
            raise ValueError(
                f"source {part.name!r}: none of its {len(part.keys)} prompts is left to train on; "
                "give it more prompts or a smaller held_out"
            )
    return TaskSets(*(Table(parts, where[chosen], place[chosen]) for chosen in (train, held_out)), notes)


def sample(spec: TaskSource, *, seed: int = 0) -> Task:
    """One task of a source without a download: of a data set that is elsewhere, one of its declared columns."""
    name, source = open_source(spec, seed=seed, offline=True)
    try:
        if not len(source):
            raise ValueError(f"source {name!r} is empty")
        row = source[0]
    except Missing:
        raise
    except Unreachable:
        row = source.declared()
    return _task(row, name, spec.kind, f"source {name}")


def reach(sources: Sequence[TaskSource], *, seed: int) -> None:
    """Fetch data that is not on this machine yet. ValueError where it cannot be had."""
    for spec in sources:
        try:
            len(open_source(spec, seed=seed, offline=True)[1])
        except Unreachable:
            len(open_source(spec, seed=seed, offline=False)[1])


def open_source(spec: TaskSource, *, seed: int, offline: bool) -> tuple[str, Any]:
    """The source's name and its rows; `seed` and `offline` go to sources that ask for them."""
    factory = plugins.resolve(spec.use, "rltrain.tasks")
    lent = {name: value for name, value in (("seed", seed), ("offline", offline)) if name not in spec.args}
    asked = plugins.bind(factory, spec.args, given=lent)
    source = contracts.built(spec.use, factory, **spec.args, **{name: lent[name] for name in asked})
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
        raise ValueError(f"source {spec.use!r}: expected a sequence of rows, got {type(source).__name__}")
    return spec.name or getattr(source, "name", None) or spec.use.rpartition(":")[2], source


class _Declared(Sequence):
    """Rows made of one declared row, told apart by a number before the prompt."""

    def __init__(self, row: Row):
        self._row = row

    def __len__(self) -> int:
        return DECLARED_ROWS

    def __getitem__(self, index: int) -> Row:
        if index >= len(self):
            raise IndexError(index)
        return {**self._row, "prompt": extend(self._row["prompt"], f" ({index + 1})"), "id": str(index)}


def _for_twin(name: str, source: Any, notes: list[str]) -> Sequence[Row]:
    """At most `TWIN_ROWS` rows, or rows of the declared columns where the data is not here."""
    try:
        if len(source) > TWIN_ROWS:
            notes.append(f"source {name!r}: the twin takes the first {TWIN_ROWS} of {len(source):,} rows")
            return [source[i] for i in range(TWIN_ROWS)]
        return source
    except Unreachable as error:
        if not hasattr(source, "declared"):
            raise
        notes.append(f"source {name!r}: replaced by {DECLARED_ROWS} rows of its declared columns ({error})")
        return _Declared(source.declared())


def _scan(name: str, spec: TaskSource, source: Sequence[Row], notes: list[str]) -> _Part:
    """Read a source once for its columns; repeated prompts are dropped and noted."""
    first: dict[int, int] = {}  # hash of a prompt -> its row
    keys: dict[str, None] = {}
    levels: list[float] = []
    total = bare = 0
    for total, row in enumerate(_located(source, name), start=1):
        task = _task(row, name, spec.kind, f"source {name}, row {total - 1}")
        prompt = xxh64_intdigest(_text(task.prompt))
        if prompt in first:
            continue
        if task.key in keys:
            raise ValueError(f"source {name!r}: id {row['id']!r} is that of two different prompts")
        first[prompt] = total - 1
        keys[task.key] = None
        levels.append(np.nan if task.level is None else task.level)
        bare += not (task.answer or "").strip()
    if not total:
        raise ValueError(f"source {name!r} is empty")
    if repeats := total - len(first):
        notes.append(f"source {name!r}: {repeats:,} of {total:,} rows repeat a prompt and are left out")
    if 0 < bare < len(first):
        notes.append(f"source {name!r}: {bare:,} of {len(first):,} prompts have no answer to compare with")
    drawn = np.asarray([xxh64_intdigest(key.encode()) for key in keys], np.uint64)
    held_out = drawn < np.uint64(spec.held_out * 2**64)
    if spec.held_out and not held_out.any():
        notes.append(f"source {name!r}: {len(keys)} prompts are too few for a held-out share of {spec.held_out:g}")
    columns = np.asarray(list(first.values()), np.int64), list(keys), np.asarray(list(first), np.uint64)
    return _Part(name, spec.kind, source, *columns, np.asarray(levels, np.float64), held_out)


def _located(source: Sequence[Row], name: str) -> Iterator[Row]:
    """The rows; an error in one says which it is."""
    index = -1
    rows = iter(source) if hasattr(source, "__iter__") else (source[i] for i in range(len(source)))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Unreachable:
            raise
        except ValueError as error:
            raise ValueError(f"source {name!r}, row {index + 1}: {error}") from error
        index += 1
        yield row


def _task(row: Row, source: str, kind: Kind, where: str) -> Task:
    """A row as a Task; ValueError says what is wrong with it."""
    if not isinstance(row, Mapping) or row.get("prompt") is None:
        got = f"columns {', '.join(row)}" if isinstance(row, Mapping) else type(row).__name__
        got = "nothing in it" if isinstance(row, Mapping) and "prompt" in row else got
        raise ValueError(f"{where}: expected a mapping with `prompt`, got {got}")
    prompt, level = _messages(row["prompt"], where), row.get("level")
    if level is not None and not isinstance(level, int | float | np.number):
        raise ValueError(f"{where}: expected a number as level, got {level!r}")
    answer, own = row.get("answer"), row.get("id")
    if isinstance(answer, str):
        _whole(answer, f"{where}: the answer")
    stable = xxh64_hexdigest(_text(prompt)) if own is None else str(own)
    return Task(
        key=f"{source}/{stable}",
        source=source,
        kind=kind,
        prompt=prompt,
        answer=None if answer is None else str(answer),
        level=None if level is None else float(level),
        meta={name: value for name, value in row.items() if name not in OWN} | dict(row.get("meta") or {}),
    )


def _text(prompt: Sequence[Message]) -> bytes:
    """What is hashed of a prompt: equal exactly where the prompts are."""
    return "\x1e".join(f"{m['role']}\x1f{m['content']}" for m in prompt).encode("utf-8", "surrogatepass")


def _whole(text: str, what: str) -> None:
    """ValueError where a text holds half a surrogate pair, which no tokenizer and no file takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"{text[error.start]!a} at character {error.start + 1}"
        raise ValueError(f"{what} holds half a character ({half}); expected whole Unicode text") from None


def _messages(prompt: Any, where: str) -> tuple[Message, ...]:
    """Chat messages of a prompt, which may be a plain string."""
    messages = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else prompt
    if not isinstance(messages, Sequence | np.ndarray) or not len(messages):
        raise ValueError(f"{where}: expected a string or a list of messages as prompt, got {prompt!r}")
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str) or "role" not in message:
            raise ValueError(f"{where}: expected messages with `role` and `content`, got {message!r}")
        _whole(message["content"], f"{where}: the prompt")
    if not any(message["content"].strip() for message in messages):
        raise ValueError(f"{where}: the prompt is empty")
    return tuple({"role": str(m["role"]), "content": m["content"]} for m in messages)
