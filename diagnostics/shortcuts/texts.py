"""Marks of a shortcut that stand in the text of one completion. Pure functions of text."""

from __future__ import annotations

import re
import zlib

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


def runs(prompt: str) -> frozenset[tuple[str, ...]]:
    """All runs of six words that a prompt has."""
    words = _words(prompt)
    return frozenset(tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1))


def copied(text: str, prompt_runs: frozenset[tuple[str, ...]]) -> float:
    """Share of the words that stand in a run of six which the prompt has too; 0 for a shorter text or prompt."""
    if not prompt_runs:
        return 0.0
    words = _words(text)
    inside = [False] * len(words)
    for i in range(len(words) - RUN + 1):
        if tuple(words[i : i + RUN]) in prompt_runs:
            inside[i : i + RUN] = [True] * RUN
    return sum(inside) / len(words) if words else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def is_looped(text: str) -> bool:
    """Whether the end of a text goes round in circles: it compresses to a quarter, which no human text does."""
    tail = text[-TAIL:].encode("utf-8", "replace")
    if len(tail) < 100:
        return False
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)  # no header: short texts count too
    return len(packer.compress(tail) + packer.flush()) <= 0.25 * len(tail)
