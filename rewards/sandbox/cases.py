"""Tests of a programming task: what goes into the sandbox, and what stays outside to compare with."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.sandbox.runner import plain

_NAME = re.compile(r"\w+(?:\(\))?(?:\.\w+)*")  # f, Solution.f, Solution().f
CLOSE = 1e-6  # relative difference of numbers that are equal


@dataclass(frozen=True)
class Call:
    """A function called with arguments; `expected` never leaves this process."""

    inside: Mapping[str, Any]  # {"call": name, "args": [...], "kwargs": {...}}
    expected: Any

    def passed(self, told: Mapping[str, Any]) -> bool:
        """Whether what came back is what was expected."""
        return "value" in told and alike(told["value"], self.expected)


@dataclass(frozen=True)
class Check:
    """A statement that must not raise and cannot be taken apart. It runs beside the code, which may deceive it."""

    inside: Mapping[str, Any]  # {"check": source}

    def passed(self, told: Mapping[str, Any]) -> bool:
        """Whether it did not raise."""
        return told.get("value") is True


@dataclass(frozen=True)
class Program:
    """A program fed with text; `expected` is what it has to print, white space at line ends aside."""

    stdin: str
    expected: str

    def passed(self, output: str) -> bool:
        """Whether the output is the expected one, numbers compared as numbers."""
        given, wanted = (text.rstrip().split("\n") for text in (output, self.expected))
        return len(given) == len(wanted) and all(map(_same_line, given, wanted))


def read(rows: Sequence[Any], function: str | None = None) -> list[Call | Check | Program]:
    """The tests of a task. A row is {"call", "args", "kwargs", "expected"}, {"stdin", "expected"} or an assert as text.

    `assert f(1, 2) == 3` with literal arguments becomes a call, so that its 3 stays outside; other asserts are
    checks. `function` names the function of rows that have "args" and no "call". ValueError for anything else.
    """
    return [_read(row, function) for row in rows]


def _read(row: Any, function: str | None) -> Call | Check | Program:
    if isinstance(row, str):
        return _from_assert(row)
    if isinstance(row, Mapping) and "expected" in row and "stdin" in row:
        return Program(str(row["stdin"]), str(row["expected"]))
    name = row.get("call", function) if isinstance(row, Mapping) else None
    if name and "expected" in row:
        inside = {"call": name, "args": plain(row.get("args", [])), "kwargs": plain(row.get("kwargs", {}))}
        return Call(inside, plain(row["expected"]))
    raise ValueError(
        f"test {row!r:.200}: expected {{call, args, expected}}, {{stdin, expected}} or the text of an assert statement"
    )


def _from_assert(text: str) -> Call | Check:
    try:
        body = ast.parse(text.strip()).body
    except SyntaxError as error:
        raise ValueError(f"test {text!r:.200}: no Python ({error.msg})") from None
    if len(body) == 1 and isinstance(body[0], ast.Assert) and isinstance(test := body[0].test, ast.Compare):
        call, expected = test.left, test.comparators[0]
        plain_call = isinstance(call, ast.Call) and _NAME.fullmatch(ast.unparse(call.func))
        if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is) and plain_call:
            try:
                args = [_json(ast.literal_eval(argument)) for argument in call.args]
                kwargs = {str(word.arg): _json(ast.literal_eval(word.value)) for word in call.keywords}
                inside = {"call": ast.unparse(call.func).replace("()", ""), "args": args, "kwargs": kwargs}
                return Call(inside, plain(ast.literal_eval(expected)))
            except ValueError:  # not literals: it is checked where the code is
                pass
    return Check({"check": text})


def _json(value: Any) -> Any:
    """An argument that JSON carries as it is; ValueError for tuples, sets and other types it would change."""
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{type(value).__name__} is not JSON's")


def alike(given: Any, expected: Any) -> bool:
    """Whether two JSON values are equal, floating-point numbers nearly."""
    if isinstance(given, Mapping) and isinstance(expected, Mapping):
        return given.keys() == expected.keys() and all(alike(given[key], expected[key]) for key in expected)
    if isinstance(given, list) and isinstance(expected, list):
        return len(given) == len(expected) and all(map(alike, given, expected))
    if isinstance(given, int | float) and isinstance(expected, int | float):
        if isinstance(given, int) and isinstance(expected, int):
            return given == expected
        try:
            return math.isclose(given, expected, rel_tol=CLOSE, abs_tol=1e-9)
        except OverflowError:  # a whole number beyond all floating-point numbers
            return False
    return type(given) is type(expected) and given == expected


def _same_line(given: str, wanted: str) -> bool:
    one, other = given.split(), wanted.split()
    return len(one) == len(other) and all(map(_same_word, one, other))


def _same_word(given: str, wanted: str) -> bool:
    if given == wanted or "." not in wanted or len(given) > 40:
        return given == wanted
    try:
        return math.isclose(float(given), float(wanted), rel_tol=CLOSE, abs_tol=1e-9)
    except ValueError:
        return False
