"""1 where the right option of a multiple choice was chosen."""

from __future__ import annotations

import re

from rewards.extraction import Final, final_answer, undressed
from rltrain.types import Completion, Task

_LETTER = re.compile(r"(?:(?:option|choice)\s+)?[(\[]?([A-Z])[)\]]?(?:[.:)\s].*)?", re.IGNORECASE | re.DOTALL)
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]*)\}")
_STANDING = re.compile(r"(?<![\w'])\(?([A-Z])\)?(?![\w'])")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# completions that score 1, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "What is the capital of France? A London, B Rome, C Paris, D Bonn.",
        "answer": "C",
        "meta": {"choices": ["London", "Rome", "Paris", "Bonn"]},
        "completion": "It is not Rome.\nAnswer: (C) Paris",
    },
)


def choice(task: Task, completion: Completion, *, extract: Final = "final", column: str = "choices") -> float | None:
    """1.0 if the option named last is the task's, else 0.0; None for a task without an answer.

    `task.answer` is a letter, or the text of one of the options in `task.meta[column]`. In the completion, "C",
    "(c)", "C. Paris", "option C" and, where the options are known, "Paris" are the same. `extract` as in `math`;
    where it finds nothing but prose, the only capital letter that stands alone in the last line counts. ValueError
    for an answer that is no option.
    """
    if task.answer is None:
        return None
    options = [str(option) for option in task.meta.get(column, ())]
    expected = _chosen(task.answer, options)
    if expected is None or (options and LETTERS.index(expected) >= len(options)):
        raise ValueError(f"task {task.key!r}: answer {task.answer!r} is neither a letter nor one of {options}")
    found = final_answer(completion.text, extract)
    by_number = extract == "final" and found is not None and found[0] == "last_number"
    if found is not None and not by_number:
        return float(_chosen(found[1], options) == expected)
    text = completion.text.strip()
    if (chosen := _chosen(text, options)) is not None and len(text) < 200:
        return float(chosen == expected)
    standing = set(_STANDING.findall(text.rsplit("\n", 1)[-1])) - {"I", "A"}
    return float(standing == {expected})


def _chosen(text: str, options: list[str]) -> str | None:
    """The letter of the option a text names, or None."""
    plain = " ".join(undressed(_TEXT.sub(r"\1", text)).split())
    texts = [" ".join(option.split()).casefold() for option in options]
    if plain.casefold() in texts:
        return LETTERS[texts.index(plain.casefold())]
    match = _LETTER.fullmatch(plain)
    return match[1].upper() if match else None
