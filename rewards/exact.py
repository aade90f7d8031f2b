"""1 where the answer is the task's answer."""

from __future__ import annotations

from rewards.extraction import Extract, extract_answer, undressed
from rltrain.types import Completion, Task

# completions that score 1, for `rltrain plugin check`
EXAMPLES = ({"prompt": "Name the colour of a clear sky.", "answer": "blue", "completion": "Blue"},)


def exact(task: Task, completion: Completion, *, extract: Extract = "whole", ignore_case: bool = True) -> float | None:
    """1.0 if the extracted answer equals `task.answer`, else 0.0; None for a task without an answer.

    Runs of white space count as one space; Markdown around the answer and a final full stop may be there.
    With `extract: answer` and the task answer "blue", "The sky is... Answer: **Blue**." gives 1.0, and so does
    "Answer: red\\nAnswer: blue": the last one counts.
    """
    if task.answer is None:
        return None
    given = extract_answer(completion.text, extract)
    if given is None:
        return 0.0
    forms = {_plain(form, ignore_case) for form in (given, undressed(given))}
    return float(_plain(task.answer, ignore_case) in forms)


def _plain(text: str, ignore_case: bool) -> str:
    text = " ".join(text.split())
    return text.casefold() if ignore_case else text
