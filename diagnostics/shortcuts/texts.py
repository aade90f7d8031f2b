"""Marks of a shortcut that stand in the text of one completion. Pure functions of text."""

from __future__ import annotations

import re
import zlib
from collections import Counter

RUN = 6  # words in a row that count as copied
TAIL = 600  # characters at the end that are looked at for loops
_UNIT = re.compile(r"\n+|(?<=[.!?;])\s+")
_ANSWER = re.compile(
    r"(?:\\boxed\s*\{|<answer>|####|\banswer\s*(?:is|:|=)*\s*|\bresult\s*(?:is|:|=)+\s*|[\"']answer[\"']\s*:\s*)"
    r"[\s*$`\"']*([^\s*$`\"'{}<>]*[\w)%])",
    re.I,
)
_CALCULATION = re.compile(r"\d.*(?:[-+*/^%=<>\u00d7\u00f7]|\\times|\\frac|\\div).*\d")
_WORD = re.compile(r"[^\W_]+")


def answers(text: str) -> list[str]:
    """The answers a text states, in order: boxed, tagged, or behind the word `answer`; else its last word."""
    found = [match.rstrip(".,;:!").lower() for match in _ANSWER.findall(text)]
    if found:
        return found
    words = text.split()
    return [words[-1].strip(".,;:!?*`$()").lower()] if words else []


def is_repeated(stated: list[str]) -> bool:
    """Whether the final answer is stated three times or more."""
    return len(stated) > 2 and stated.count(stated[-1]) > 2


def steps(text: str) -> int:
    """Lines and sentences that work something out: a calculation, or three words; the stated answer is none."""
    return sum(_is_step(unit) for unit in _UNIT.split(text) if unit.strip())


def _is_step(unit: str) -> bool:
    if _CALCULATION.search(unit):
        return True
    if _ANSWER.search(unit):
        return False
    return len(_WORD.findall(unit)) >= 3


def copied(text: str, prompt: str) -> float:
    """Share of the words that stand in a run of six which the prompt has too; 0 for a shorter text or prompt."""
    words, of_prompt = _words(text), _words(prompt)
    known = {tuple(of_prompt[i : i + RUN]) for i in range(len(of_prompt) - RUN + 1)}
    inside = [False] * len(words)
    for i in range(len(words) - RUN + 1):
        if tuple(words[i : i + RUN]) in known:
            inside[i : i + RUN] = [True] * RUN
    return sum(inside) / len(words) if words else 0.0


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def is_looped(text: str) -> bool:
    """Whether the end of a text goes round in circles: it compresses to a quarter, which no human text does."""
    tail = text[-TAIL:].encode("utf-8", "replace")
    if len(tail) < 100:
        return False
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)  # no header: short texts count too
    return len(packer.compress(tail) + packer.flush()) <= 0.25 * len(tail)


def most_common(answer_lists: list[list[str]]) -> str | None:
    """The final answer most completions of a group agree on; None when they state none."""
    finals = Counter(stated[-1] for stated in answer_lists if stated and stated[-1])
    return finals.most_common(1)[0][0] if finals else None
