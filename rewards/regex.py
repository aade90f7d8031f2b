"""1 where a regular expression is found in the answer."""

from __future__ import annotations

import re

from rewards.extraction import Final, final_answer
from rltrain.types import Completion, Task

# completions that score 1, for `rltrain plugin check`
EXAMPLES = ({"prompt": "Name the colour of a clear sky.", "answer": "^blue[.]?$", "completion": "blue."},)


def regex(
    task: Task,
    completion: Completion,
    *,
    pattern: str | None = None,
    extract: Final = "whole",
    whole: bool = False,
    ignore_case: bool = False,
) -> float | None:
    """1.0 if the pattern is found, else 0.0; None where neither `pattern` nor `task.answer` gives one.

    `whole`: the extracted part must match from its first to its last character. `.` matches line ends too. A pattern
    that runs away on some text ends at the reward's `timeout_s`, and costs that sample an error. ValueError for a
    pattern that does not compile.
    """
    wanted = task.answer if pattern is None else pattern
    if wanted is None:
        return None
    try:
        compiled = re.compile(wanted, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    except re.error as error:
        raise ValueError(f"pattern {wanted!r}: no regular expression ({error})") from None
    found = final_answer(completion.text, extract)
    if found is None:
        return 0.0
    return float((compiled.fullmatch if whole else compiled.search)(found[1]) is not None)
