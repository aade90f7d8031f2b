"""1 where a completion has the asked form, whatever it says."""

from __future__ import annotations

import re
from typing import Literal

from rewards.extraction import boxed
from rltrain.types import Completion, Task

_ANSWER_LINE = re.compile(r"^[ \t]*(?:\*\*|__)?answer(?:\*\*|__)?[ \t]*:[ \t]*\S", re.IGNORECASE | re.MULTILINE)
_TAGS = re.compile(r"<think>.*?</think>\s*<answer>\s*\S.*?</answer>", re.DOTALL)


def format(
    task: Task,
    completion: Completion,
    *,
    style: Literal["answer", "boxed", "tags"] = "answer",
    pattern: str | None = None,
) -> float:
    r"""1.0 if the form is kept, else 0.0. Meant as `role: shaping` with a small weight.

    `answer`: one line begins with "Answer:", and it is the last; `boxed`: one \boxed{...} that is not empty;
    `tags`: <think>...</think><answer>...</answer> and nothing else. `pattern` is a regular expression to be
    found instead (`.` matches line ends too; write `^...$` for the whole completion).

    "2 and 2 are 4.\nAnswer: 4" keeps `answer`; "Answer: 4. Is there more?\nYes." does not.
    """
    text = completion.text.strip()
    if pattern is not None:
        return float(re.search(pattern, text, re.DOTALL) is not None)
    if style == "answer":
        lines = _ANSWER_LINE.findall(text)
        return float(len(lines) == 1 and _ANSWER_LINE.match(text.rsplit("\n", 1)[-1]) is not None)
    if style == "boxed":
        return float([bool(content.strip()) for content in boxed(text)] == [True])
    if style == "tags":
        return float(_TAGS.fullmatch(text) is not None and text.count("<think>") == text.count("<answer>") == 1)
    raise ValueError(f"style: expected answer, boxed or tags, got {style!r}")
