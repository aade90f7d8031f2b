"""1 where the completion is JSON that a schema accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rltrain.types import Completion, Task

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
LONGEST = 200_000  # characters that are parsed
# completions that score 1, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "Give a person's name and age as JSON.",
        "meta": {"schema": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
        "completion": 'Here it is:\n```json\n{"name": "Ada", "age": 36}\n```',
    },
)


def json_schema(
    task: Task, completion: Completion, *, schema: Mapping[str, Any] | None = None, column: str = "schema"
) -> dict[str, float] | None:
    """1.0 if the completion is JSON valid against the schema, else 0.0; the part `parses`: whether it is JSON at all.

    The schema is the argument or `task.meta[column]`, in the draft its `$schema` names (default: 2020-12); references
    out of the schema are not followed. The JSON is the whole completion or its last fenced block. Numbers that JSON
    does not have (NaN) and keys that come twice are refused. None where there is no schema, ValueError where it is
    none.
    """
    wanted = task.meta.get(column) if schema is None else schema
    if wanted is None:
        return None
    validator = _validator(json.dumps(wanted, sort_keys=True))
    text = completion.text.strip()
    if fences := _FENCE.findall(text):
        text = fences[-1][1]
    if len(text) > LONGEST:
        return {"value": 0.0, "parses": 0.0}
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
        return {"value": float(validator.is_valid(value)), "parses": 1.0}
    except (ValueError, RecursionError):  # no JSON, or one that is nested beyond all use
        return {"value": 0.0, "parses": 0.0}


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Any:
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    wanted = json.loads(schema)
    kind = validator_for(wanted)
    try:
        kind.check_schema(wanted)
    except SchemaError as error:
        raise ValueError(f"schema: {error.message} at {error.json_path}; expected a JSON schema") from None
    return kind(wanted, registry=Registry())


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found
