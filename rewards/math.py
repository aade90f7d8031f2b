"""1 where the answer is mathematically the task's answer, however either is written."""

from __future__ import annotations

import re
from collections import deque

from rewards.equivalence import equal, readable
from rewards.extraction import Final, boxed, extract_answer, final_answer
from rltrain.types import Completion, Task

_FORMULA = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_SENTENCE = re.compile(r"(?<=[^\s\d.])\.\s|(?<=\d)\.\s+(?=[A-Z])|,\s+(?:because|since|as|so)\b")
_NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?")
_GLOSS = re.compile(r"(.*[^\s=(])\s*\((?:or |i\.e\.,? |about )?([^()]+)\)\W*")  # 66 (sixty-six)
# 3 clips + 4 clips = 7 clips
_SUM = re.compile(r"(?!.*(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z]))([^=<>]*\d[^=<>]*)=\s*([^=<>]+)")
_EITHER = re.compile(r"\}[^\w{}]{0,9}\bor\b[^\w{}]{0,9}(?:[a-z]\s?=\s?)?\\boxed")  # 41 or 42
_PARTIAL = re.compile(r"[{^_\u221a\u03c0\u00b2\u00b3]")  # a number beside one of them is part of something
LONGEST = 2_000  # characters of an extracted answer; longer ones are no answer
# completions that score 1, for `rltrain plugin check`
EXAMPLES = (
    {"prompt": "What is half of 3?", "answer": "\\frac{3}{2}", "completion": "Half of 3 is $\\boxed{1.5}$."},
    {"prompt": "Solve the inequality.", "answer": "(-\\infty, 2)", "completion": "So x < 2.\nAnswer: $x < 2$"},
)


def math(task: Task, completion: Completion, *, extract: Final = "final") -> dict[str, float] | None:
    r"""1.0 if the completion's answer equals `task.answer` as mathematics, else 0.0; None for a task without one.

    Understood are numbers, fractions, percentages, units, LaTeX and plain expressions, equations, lists, tuples,
    sets, intervals and words. `extract` says where the answer is: `final` looks for \boxed{}, <answer>, "Answer:",
    "the answer is" and at last for the last number; each can be asked for by name. The part `by_<rule>` tells which
    found it. ValueError where the task's own answer cannot be read.

    For the task answer "\frac{1}{2}", "So it is $\boxed{0.5}$." gives 1.0, and so do "Answer: 50%" and "2/4".
    """
    if task.answer is None:
        return None
    found = final_answer(completion.text, extract)
    if found is None:
        return {"value": 0.0}
    rule, answer = found
    right = len(answer) <= LONGEST and any(equal(form, task.answer) for form in _forms(answer, rule, completion.text))
    if not right and not readable(task.answer):
        raise ValueError(f"task {task.key!r}: the answer {task.answer!r} cannot be read as mathematics; mend the row")
    return {"value": float(right), f"by_{rule}": 1.0}


def _forms(answer: str, rule: str, text: str) -> list[str]:
    """The answer, and where prose surrounds it what can only be meant: first sentence, only formula, only number."""
    if rule == "last_number":
        return _around(answer, text[-LONGEST:])
    forms = [answer]
    if rule == "boxed":
        line = next(filter(boxed, reversed(text.splitlines())), "")
        if len(together := boxed(line)) < 2:
            return forms
        either = _EITHER.search(line) and not all(equal(one, answer) for one in together)
        return [*([] if either else forms), ", ".join(together)]
    first = _SENTENCE.split(answer, maxsplit=1)[0].replace("**", "")
    forms += [form for form in (first, answer.strip("*_ ")) if form != answer]
    formulas = [next(filter(None, groups)) for groups in _FORMULA.findall(answer)]
    if len(formulas) == 1:
        forms.append(formulas[0])
    elif not formulas and re.search(r"[a-z]{2,} ", first) and len(numbers := _NUMBER.findall(first)) == 1:
        forms.append(numbers[0])
    if (gloss := _GLOSS.fullmatch(first)) and equal(gloss[1], gloss[2]):
        forms.append(gloss[1])
    if worked := _SUM.fullmatch(first):
        forms.append(worked[2])
    return forms


def _around(number: str, text: str) -> list[str]:
    """The last number of a text, or what it is part of: the formula or the word that it stands in."""
    formula = next(iter(deque(_FORMULA.finditer(text), maxlen=1)), None)
    inner = next(filter(None, formula.groups())) if formula is not None else ""
    if number.lstrip("$ ") in inner and extract_answer(text[formula.end() :], "last_number") is None:
        return [inner, inner.rpartition("=")[2], *([] if _PARTIAL.search(inner) else [number])]
    word = next((word for word in reversed(text.split()) if number in word), number).strip(".,;:!?*_`\"'")
    return [word] if _PARTIAL.search(word) else [number]
