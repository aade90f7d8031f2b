"""The share of a task's tests that the completion's Python passes, run in a sandbox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from rewards.sandbox.cases import Call, Check, Program, read
from rewards.sandbox.pool import Limits, Sandbox, Told
from rltrain.types import Completion, Task

_FENCE = re.compile(r"^[ \t]*+```[ \t]*+(\w*+)[^\n]*+\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
LONGEST = 100_000  # characters of a program
# completions that score 1, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "Write a function add(a, b) that returns the sum.",
        "meta": {"tests": [{"call": "add", "args": [1, 2], "expected": 3}, "assert add(-1, 1) == 0"]},
        "completion": "```python\ndef add(a, b):\n    return a + b\n```",
    },
)


def code(
    task: Task,
    completion: Completion,
    *,
    column: str = "tests",
    function: str | None = None,
    partial: bool = True,
    seconds: float = 5.0,
    memory_mb: int = 256,
    unsafe: bool = False,
) -> dict[str, float] | None:
    """The share of `task.meta[column]` that passes, or with `partial: false` 1.0 for all and else 0.0.

    None without tests. The program is the last fenced block, or all of the completion. A test is `{"call", "args",
    "expected"}` (`function` names the function where `call` is left out), `{"stdin", "expected"}`, or an assert.
    Parts: `share`, `full` (all passed), `ran` (nothing was ended for its time or its output). `seconds` is for all
    calls together, and for each program. SandboxUnavailable where the machine cannot hold the code, unless `unsafe`;
    ValueError for a test that is none.

    For the test {"call": "add", "args": [1, 2], "expected": 3}: "def add(a, b): return a + b" gives 1.0.
    """
    if not task.meta.get(column):
        return None
    cases = read(task.meta[column], function)
    source = program(completion.text)
    if len(source) > LONGEST or not source.strip():
        return {"value": 0.0, "share": 0.0, "full": 0.0, "ran": 0.0}
    sandbox, limits = _sandbox(unsafe), Limits(seconds=seconds, memory_mb=memory_mb)
    passed, ran = _called(sandbox, source, [case for case in cases if not isinstance(case, Program)], limits)
    for case in cases:
        if isinstance(case, Program):
            told = _told(sandbox, {"code": source, "stdin": case.stdin}, limits)
            fine = told.ended == "done" and bool(told.results) and "raised" not in told.results[0]
            passed += fine and case.passed(told.output)
            ran = ran and told.ended == "done"
    share, full = passed / len(cases), float(passed == len(cases))
    return {"value": share if partial else full, "share": share, "full": full, "ran": float(ran)}


def program(text: str) -> str:
    """The last block marked as Python, else the last block, else the whole text.

    >>> program("First:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    blocks = _FENCE.findall(text)
    python = [block for language, block in blocks if language.lower() in ("python", "py", "python3")]
    return (python or [block for _, block in blocks] or [text])[-1]


@cache
def _sandbox(unsafe: bool) -> Sandbox:
    """A process's own warm sandbox."""
    return Sandbox(unsafe=unsafe)


def _called(sandbox: Sandbox, source: str, cases: Sequence[Call | Check], limits: Limits) -> tuple[int, bool]:
    """How many calls and checks pass, all in one run, and whether it came to its end."""
    if not cases:
        return 0, True
    told = _told(sandbox, {"code": source, "calls": [dict(case.inside) for case in cases]}, limits)
    results = told.results[1:]
    return sum(case.passed(result) for case, result in zip(cases, results, strict=False)), told.ended == "done"


def _told(sandbox: Sandbox, job: dict[str, object], limits: Limits) -> Told:
    told = sandbox.run(job, limits)
    if told.ended == "lost":
        raise RuntimeError("the sandbox's server died twice over this program; it is judged by nobody")
    return told
