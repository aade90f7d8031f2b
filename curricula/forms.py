"""Easier forms of a prompt that is too hard, made of what is known of it: begun for the learner, or turned round."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from curricula.values import number, says
from rltrain.types import REFORMULATED, Task

SHOWN = 0.5  # most of a solution that a hint gives away
LONGEST = 100  # characters of an answer that a question can be turned round on
HIDDEN = "[?]"
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?!\w|[.,]\d)")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def hinted(task: Task, column: str) -> Task | None:
    """The task with the first steps of the solution in `task.meta[column]`, at most half of them.

    Steps are its lines, or the sentences of a single one; from the one that names the answer on, in these words or as
    the same number written otherwise, none is shown. None where there is no solution of two steps. The answer and all
    else that rewards judge by stay.
    """
    solution = task.meta.get(column)
    steps = _steps(solution) if isinstance(solution, str) else []
    told = [i for i, step in enumerate(steps) if task.answer and _names(step, task.answer)]
    count = min(int(SHOWN * len(steps)), *told[:1], len(steps))
    if not count:
        return None
    hint = "\n".join(steps[:count])
    text = f"{_text(task)}\n\nThe solution begins like this:\n{hint}\n\nGo on from there."
    return _form(task, "hint", text, task.answer, task.meta)


def backward(task: Task, turn: int = 0) -> Task | None:
    """The task turned round: one of its numbers is hidden, its answer given, and the number asked for.

    After arXiv 2605.28388, which reformulates what is too hard by reasoning backward. Each `turn` hides the next of the
    numbers that occur once. None without such a number or a short answer. Rewards that judge by more than `task.answer`
    have nothing to go by: the meta is left behind.
    """
    answer, text = (task.answer or "").strip(), _text(task)
    found = list(NUMBER.finditer(text))
    times = Counter(_value(match) for match in found)
    once = [match for match in found if times[_value(match)] == 1]
    if not once or not answer or len(answer) > LONGEST or "\n" in answer:
        return None
    hidden = once[turn % len(once)]
    asked = f"{text[: hidden.start()]}{HIDDEN}{text[hidden.end() :]}\n\nA number in this text is hidden behind "
    asked += f"{HIDDEN}. The answer to the text is {answer}. Which number is hidden?"
    return _form(task, "backward", asked, hidden[0].replace(",", ""), {}, str(turn % len(once)))


def _form(task: Task, how: str, text: str, answer: str | None, meta: Mapping[str, Any], number: str = "") -> Task:
    """Another task in place of this one: its own key, and in the meta what it is a form of."""
    prompt = (*task.prompt[:-1], {**task.prompt[-1], "content": text})
    marked = {**meta, REFORMULATED: {"of": task.key, "how": how}}
    return dataclasses.replace(task, key=f"{task.key}~{how}{number}", prompt=prompt, answer=answer, meta=marked)


def _text(task: Task) -> str:
    return task.prompt[-1]["content"]


def _steps(solution: str) -> list[str]:
    lines = [line for line in solution.splitlines() if line.strip()]
    return lines if len(lines) > 1 else re.split(r"(?<=[.!?])\s+", solution.strip())


def _value(match: re.Match[str]) -> Fraction | str:
    """Numbers alike in value are alike; one too long for that is what it is spelled."""
    return Fraction(match[0].replace(",", "")) if len(match[0]) <= LONGEST else match[0]


def _names(step: str, answer: str) -> bool:
    """Whether a step says the answer: in capitals or not, its thousands set apart or not.

    Of an answer that is a number, its value suffices, however it is written: 0.5, 1/2 or 50%.
    """
    known = number(answer)
    if known is not None and says(step, known):
        return True
    step, answer = (THOUSANDS.sub("", text.strip().casefold()) for text in (step, answer))
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", step) is not None
