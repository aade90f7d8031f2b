"""Finding the answer in a completion; shared by the rewards."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, get_args

Extract = Literal["whole", "last_line", "answer", "after_answer", "answer_is", "boxed", "tags", "last_number"]
Final = Literal["final", "whole", "last_line", "answer", "after_answer", "answer_is", "boxed", "tags", "last_number"]
FINAL: tuple[Extract, ...] = ("boxed", "tags", "answer", "answer_is", "last_number")  # in which `final` looks

_MARK = r"answer(?:\*\*|__)?[ \t]{0,3}[:=][ \t]{0,3}(?:\*\*|__)?"
_ANSWER = re.compile(rf"{_MARK}[ \t]*\n?[ \t]*([^\n]+)", re.IGNORECASE)
_AFTER = re.compile(_MARK, re.IGNORECASE)
_ANSWER_IS = re.compile(r"\banswer(?:\s+\S{1,20}){0,8}?\s+(?:is|are|equals)(?:\s*+:)?\s++([^\n]+)", re.IGNORECASE)
_HASHES = re.compile(r"^\s{0,9}####[ \t]{0,9}([^\n]+)", re.MULTILINE)
_LAST_NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?\s?[$\u20ac\u00a3]?(?:\d[\d,]*\d|\d)?(?:\.\d+|(?<=\d))(?:/\d+|e[-+]?\d+)?%?", re.I
)
_THOUGHTS = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_SAYS_HOW = re.compile(r"(?:not|found|obtained|given|calculated|computed|determined|derived|clear)\b[^\d\\$=]*$", re.I)
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_BRACE = re.compile(r"\\boxed\s{0,3}\{|[{}]")


def extract_answer(text: str, extract: str) -> str | None:
    """The part of a completion that is its answer, or None where there is none.

    `whole` all of it; `last_line` the last that is not blank; `answer` what follows the last "Answer:" in its
    line (or in the next, if there is nothing) or the last "####"; `after_answer` all that follows it; `answer_is`
    what follows "the answer is"; `boxed` the last \\boxed{...}; `tags` the last <answer>...</answer>;
    `last_number` the last number.

    >>> extract_answer("I add them up. Answer: 12", "answer")
    '12'
    >>> extract_answer("So it is \\boxed{\\frac{1}{2}}", "boxed")
    '\\frac{1}{2}'
    """
    if extract == "whole":
        found = [text]
    elif extract == "last_line":
        found = text.strip().rsplit("\n", 1)[-1:]
    elif extract == "answer":
        found = _ANSWER.findall(text) or _HASHES.findall(text)
    elif extract == "after_answer":
        found = _AFTER.split(text)[1:]
    elif extract == "answer_is":
        found = _ANSWER_IS.findall(text)
    elif extract == "last_number":
        found = _LAST_NUMBER.findall(text)
    elif extract == "boxed":
        found = boxed(text)
    elif extract == "tags":
        found = _tagged(text)
    else:
        raise ValueError(f"extract: expected one of {', '.join(get_args(Extract))}, got {extract!r}")
    return found[-1].strip() or None if found else None


def final_answer(text: str, extract: Final) -> tuple[Extract, str] | None:
    """The answer and the rule that found it; `final` tries boxed, tags, "Answer:", "the answer is", the last number.

    With `final`, nothing that is thought between <think> and </think> counts.

    >>> final_answer("So 40 + 2. The answer is 42.", "final")
    ('answer_is', '42.')
    """
    if extract != "final":
        found = extract_answer(text, extract)
        return None if found is None else (extract, found)
    text = spoken(text)
    for rule in FINAL:
        found = extract_answer(text, rule)
        if found is not None and not (rule == "answer_is" and _SAYS_HOW.match(found)):
            return rule, found
    return None


def spoken(text: str) -> str:
    """What stands behind a completion's thoughts; nothing, where they were never ended.

    >>> spoken("<think>6 or 7?</think>It is 7.")
    'It is 7.'
    """
    marks = list(_THOUGHTS.finditer(text))
    if not marks:
        return text
    return text[marks[-1].end() :] if marks[-1][1] else ""


def boxed(text: str) -> list[str]:
    """The contents of each \\boxed{...}, inner braces included; an unclosed one is left out."""
    contents, opened = [], []
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append(brace)
        elif opened and len((begin := opened.pop())[0]) > 1:
            contents.append(text[begin.end() : brace.start()])
    return contents


def _tagged(text: str) -> list[str]:
    """What is between each <answer> and the </answer> next to it."""
    tags = list(_TAG.finditer(text))
    return [text[one.end() : two.start()] for one, two in pairwise(tags) if two[1] and not one[1]]


def undressed(answer: str) -> str:
    """An answer without what Markdown and prose put around it: emphasis, back-ticks, `$`, a final full stop.

    >>> undressed("**42**.")
    '42'
    """
    answer = answer.strip().strip("*_`").strip()
    return answer.removesuffix(".").strip("*_`$ ")
