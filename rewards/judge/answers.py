"""A judge's answer read as data: found as JSON, held against a schema, never evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rltrain.types import Score, Unanswered

LONGEST = 20_000  # characters of an answer that are read
OBJECTS = 100  # opening braces that are tried


class Unreadable(Exception):
    """An answer without a verdict, or with two that differ."""


def verdict(answer: str | Unanswered, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The answer's JSON object that the schema accepts. Unreadable where there is none, or two that differ.

    An answer may repeat what it judges: were the first object or the last one taken, a completion could hope to be
    quoted there. Only what the schema names is kept.
    """
    assert not isinstance(answer, Unanswered), answer
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)
    found = [item for item in _objects(answer) if validator.is_valid(item)]
    named = [{name: item[name] for name in schema["required"]} for item in found]
    if not named:
        raise Unreadable(f"no JSON object as asked for in {_short(answer)}")
    if any(item != named[0] for item in named):
        raise Unreadable(f"two verdicts in {_short(answer)}")
    return named[0]


def failed(reward: str, why: Unanswered | Unreadable) -> Score:
    """The score of a completion about which the judge said nothing of use: an error with a type, no zero."""
    kind, told = (why.kind, why.message) if isinstance(why, Unanswered) else ("Unreadable", str(why))
    return Score(error=f"Judge{kind}: reward {reward!r}: {told}")


def _objects(answer: str) -> Iterator[dict[str, Any]]:
    """JSON objects in a text, outermost ones from left to right; numbers that JSON does not have are refused."""
    decoder = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)
    text, end = answer[-LONGEST:], 0
    for opened in list(re.finditer(r"\{", text))[-OBJECTS:]:
        if opened.start() >= end:
            try:
                item, end = decoder.raw_decode(text, opened.start())
            except (ValueError, RecursionError):
                continue
            yield item


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _short(answer: str) -> str:
    text = " ".join(answer.split())
    return repr(text if len(text) <= 120 else f"{text[:60]} ... {text[-55:]}")
