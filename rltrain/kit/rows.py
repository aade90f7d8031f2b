"""Rows a person writes, as tasks and completions; shared by `try` and `plugin check`."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rltrain import contracts, plugins, scoring
from rltrain.config import RewardSpec
from rltrain.judging import BoundReward
from rltrain.types import Completion, Group, Task

KEYS = ("prompt", "completion", "answer", "meta", "level", "kind")
JUDGED = ("completion", "completions")  # what a reward takes, by one name or the other
SOURCE = "rows"
LENDERS = {"judge": "--judge URL --judge-model NAME, or --judge-model MODEL alone", "scorer": "--scorer MODEL"}
Kind = Literal["reward", "curriculum", "diagnostic"]
GROUPS: dict[Kind, str] = {
    "reward": "rltrain.rewards",
    "curriculum": "rltrain.curricula",
    "diagnostic": "rltrain.diagnostics",
}


def reward(
    use: str, arguments: Sequence[str], *, role: str, timeout_s: float, lent: Mapping[str, object] = {}
) -> BoundReward:
    """The reward a person names: a spec, an installed name, or NAME for NAME.py in this directory.

    `arguments` are `key=value`, values as in YAML; `lent` goes to rewards that name it as a parameter. ValueError where
    it does not resolve or they do not bind.
    """
    spec = RewardSpec(use=find(use)[1], role=role, timeout_s=timeout_s, args=dict(map(argument, arguments)))
    _expect_lent(spec, lent)
    [bound] = scoring.bind([spec], lent)
    return bound


def find(use: str) -> tuple[Kind, str]:
    """What kind of plugin a person means, and its spec: installed under this name, NAME.py here, or a spec.

    A class that samples tasks is a curriculum, one with the methods of a diagnostic is that, a function that takes a
    seed makes a curriculum; every other function is a reward. ValueError where it does not resolve, or is a class of
    neither kind.
    """
    for kind, group in GROUPS.items():
        if use in {found.name for found in plugins.installed(group)}:
            return kind, use
    if ":" not in use and Path(f"{use}.py").is_file():
        module = plugins.resolve(f"{use}.py:__dict__", "rltrain.rewards")
        use = f"{use}.py:{class_name(use) if use not in module and class_name(use) in module else use}"
    found = plugins.resolve(use, "rltrain.rewards")
    if callable(getattr(found, "sample", None)) or _makes_a_curriculum(found):
        return "curriculum", use
    if not inspect.isclass(found):
        return ("diagnostic" if callable(getattr(found, "observe", None)) else "reward"), use
    absent = {kind: contracts.lacking(found, GROUPS[kind]) for kind in ("curriculum", "diagnostic")}
    if set(absent["diagnostic"]) <= {"panels"}:  # which an object may have without its class
        return "diagnostic", use
    told = "; ".join(f"a {kind}, but has no {', no '.join(names)}" for kind, names in absent.items())
    raise ValueError(
        f"plugin {use!r}: class {found.__name__} could be {told}; a reward is a function {scoring.FORMS}. "
        "`rltrain new reward|curriculum|diagnostic NAME` writes one that works"
    )


def _makes_a_curriculum(found: Any) -> bool:
    """Whether it is a function to be called as a curriculum's factory is."""
    given = contracts.signature(found) if inspect.isfunction(found) else None
    return given is not None and "seed" in given.parameters and not given.parameters.keys() & {*JUDGED}


def class_name(name: str) -> str:
    """`easy_first` as `EasyFirst`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _expect_lent(spec: RewardSpec, lent: Mapping[str, object]) -> None:
    """ValueError where a reward asks for a judge or a scorer and none is lent."""
    call = plugins.resolve(spec.use, "rltrain.rewards")
    asked = inspect.signature(call).parameters.keys() - lent.keys() - spec.args.keys() if callable(call) else set()
    for name, option in LENDERS.items():
        if name in asked:
            raise ValueError(f"reward {spec.use!r} asks for a {name}: give {option}")


def argument(text: str) -> tuple[str, Any]:
    """A `key=value` of the command line. ValueError where it is none."""
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"argument {text!r}: expected key=value, for example tolerance=0.01")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"argument {text!r}: the value is no YAML ({error})") from None
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise ValueError(f"argument {text!r}: expected a finite number")
    return name, parsed


def read(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a JSONL file. ValueError names the line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected UTF-8 text") from None
    rows = [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ValueError(f"{path}: no rows; expected one JSON object a line with at least 'completion'")
    return rows


def _row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: no JSON ({error})") from None
    return checked(row, where)


def given(task: str, answer: str | None, completion: str) -> dict[str, Any]:
    """The row that the command line spells: `task` is a prompt, or a JSON object with the fields of a row."""
    row: dict[str, Any] = {"prompt": task}
    if task.lstrip().startswith("{"):
        try:
            row = dict(json.loads(task))
        except ValueError as error:
            raise ValueError(f"--task: no JSON ({error}); expected a prompt, or an object as in a file") from None
    return row | {"completion": completion} | ({} if answer is None else {"answer": answer})


def checked(row: Any, where: str) -> Mapping[str, Any]:
    """The row, if it is one; ValueError says what is wrong with it."""
    if not isinstance(row, Mapping):
        raise ValueError(f"{where}: expected an object with 'completion', got {type(row).__name__}")
    for key in row:
        if key not in KEYS:
            advice = plugins.suggest(key, KEYS, "a row has")
            raise ValueError(f"{where}: no field {key!r}{advice}; what a reward looks up goes into 'meta'")
    if not isinstance(row.get("completion"), str):
        raise ValueError(f"{where}: expected 'completion' as text, got {row.get('completion')!r:.80}")
    if not isinstance(row.get("meta") or {}, Mapping):
        raise ValueError(f"{where}: expected 'meta' as an object, got {row['meta']!r:.80}")
    if row.get("kind", "structured") not in ("structured", "creative"):
        raise ValueError(f"{where}: expected 'kind' structured or creative, got {row['kind']!r:.80}")
    return row


def task(row: Mapping[str, Any], number: int) -> Task:
    """The task of a row; an answer that is no text is written as JSON."""
    prompt = row.get("prompt") or ""
    messages = tuple(prompt) if isinstance(prompt, list) else ({"role": "user", "content": str(prompt)},)
    if not all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in messages):
        raise ValueError(f"row {number}: expected 'prompt' as text or chat messages, got {prompt!r:.80}")
    answer = row.get("answer")
    if answer is not None and not isinstance(answer, str):
        answer = json.dumps(answer)
    kind, level = row.get("kind", "structured"), row.get("level")
    return Task(f"{SOURCE}/{number}", SOURCE, kind, messages, answer, level, dict(row.get("meta") or {}))


def group(some: Task, texts: Sequence[str], number: int = 0) -> Group:
    """A group as an engine would hand it over; a word of up to four characters is a token."""
    return Group(number, some, np.zeros(4, np.int32), tuple(map(_completion, texts)))


def _completion(text: str) -> Completion:
    ends = np.minimum(np.arange(4, len(text) + 4, 4), len(text)).astype(np.int32)
    ids = np.arange(len(ends), dtype=np.int32) % 1000
    return Completion(ids, np.full(len(ends), -1.0, np.float32), ends, text, "stop", 0, "", "kit")
