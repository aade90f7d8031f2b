"""What happens to the code of one job, inside. The code shares this interpreter and may meddle with all of it:
whatever is written here is only ever data to the process that asked."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

RESULTS = 3  # file descriptor that results are written to
DEEPEST = 50  # lists inside of lists


def run(job: Mapping[str, Any]) -> NoReturn:
    """Run a job and end the process. A JSON line a call, {"value": ...} or {"raised": ...}; first how the code went."""
    sys.setrecursionlimit(5_000)
    main = "calls" not in job
    space: dict[str, Any] = {"__name__": "__main__" if main else "solution", "__builtins__": __builtins__}
    told = _attempt(lambda: exec(compile(job["code"], "solution.py", "exec"), space), main)
    _tell(told)
    if "raised" not in told:
        for call in job.get("calls", ()):
            _tell(_attempt(lambda call=call: _answer(call, space), False))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed or replaced by the code
            continue
    os._exit(0)


def _attempt(call: Any, main: bool) -> dict[str, Any]:
    try:
        return {"value": call()}
    except SystemExit as error:
        return {"value": None} if main and not error.code else {"raised": f"SystemExit: {error.code}"}
    except BaseException as error:  # the code's own business: the process that asked only wants to know
        return {"raised": f"{type(error).__name__}: {error}"[:500]}


def _answer(call: Mapping[str, Any], space: Mapping[str, Any]) -> Any:
    """What a call returns, or whether a statement passes."""
    if "check" in call:
        exec(compile(call["check"], "test.py", "exec"), dict(space))
        return True
    first, *rest = call["call"].split(".")
    target = space[first]
    for name in rest:
        target = getattr(target() if isinstance(target, type) else target, name)
    return plain(target(*call.get("args", ()), **call.get("kwargs", {})))


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON holds it. Tuples are lists; sets, complex numbers and bytes are marked as what they are."""
    if depth > DEEPEST:
        raise ValueError("the result is nested too deeply")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 10**300 else {"<int>": hex(value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"<float>": repr(float(value))}
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return {"<set>": sorted((plain(item, depth + 1) for item in value), key=lambda item: json.dumps(item))}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item, depth + 1) for item in value]
    return {f"<{type(value).__name__}>": repr(value)[:1000]}


def _tell(told: Mapping[str, Any]) -> None:
    try:
        line = json.dumps(told if "raised" in told else {"value": told["value"]})
    except (TypeError, ValueError, RecursionError) as error:
        line = json.dumps({"raised": f"{type(error).__name__}: {error}"[:500]})
    data = (line + "\n").encode()
    while data:
        data = data[os.write(RESULTS, data) :]
