"""Completions without a structure: a bare answer, running sentences, or lines that are neither."""

from __future__ import annotations

import re
from collections import Counter

_BOXED = re.compile(r"\\f?boxed\s*\{")
_FRAME = re.compile(
    r"^(?:so|therefore|thus|hence)?,?\s*(?:(?:the|my|our)\s+)?(?:(?:final|correct|right)\s+)?"
    r"(?:answer|result|solution|ans)\b\s*(?:is|=|:)*\s*",
    re.I,
)
_ROOTS = re.compile(r"^\$?[A-Za-z]\w? ?= ?[^=]{1,15}(?:(?:,|;| or | and )+ ?[A-Za-z]\w? ?= ?[^=]{1,15})+$")
_WORD = re.compile(r"[^\W\d_]{2,}")
_THREE_WORDS = re.compile(r"\b[^\W\d_]++(?:[ ,'\u2019\"()*`$-]++[^\W_]++){2}")
_FULL_STOP = re.compile(r"[.!?\u2026](?=\W|$)")
_WIDE_STOP = re.compile(
    r"[\u3040-\u9fff\uac00-\ud7af]{4}[\u3040-\u9fff\uac00-\ud7af\w\uff0c\u3001 ]*[\u3002\uff01\uff1f]"
)
_WIDE = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]")
_STUTTER = re.compile(r"([^\d\W]{1,6})\1{4}")
_LABEL = re.compile(r"^\W{0,3}[^\W\d_][\w .'/()&-]{0,28}\W{0,2}(?::\W{0,2}\s|\uff1a)|^\u2014 ?\S")
_DELIMITERS = ("$$", "$", "\\[", "\\]", "```", "---")
_SHORT = 8  # words of an answer in a sentence of its own
_VERSE = (4, 72, 54)  # lines at least, longest line, mean length
_HAIKU = (3, 40)


def is_boxed(body: str) -> bool:
    r"""Whether there is a `\boxed{`, closed or cut off."""
    return bool(_BOXED.search(body))


def is_answer(body: str, lines: list[str]) -> bool:
    """An answer and nothing else, at most a short frame around it."""
    lines = [line.strip() for line in lines if line.strip() not in _DELIMITERS]
    if not 0 < len(lines) <= 2:
        return False
    text = " ".join(lines).strip("*_`# ")
    bare = _FRAME.sub("", text).strip("*_`$ ")
    words = len(bare.split()) + len(_WIDE.findall(bare)) // 3
    if not re.search(r"\w", bare):
        return 0 < len(bare) <= 4 and words == 1  # a sign: <, a tick, an emoji
    if bare != text.strip("*_`$ "):
        return 0 < words <= _SHORT
    if re.search(r"[\w\"'][.!?]\s+\w", bare) or _STUTTER.search(bare):  # two sentences; noise
        return False
    if _ROOTS.match(bare):
        return True
    if len(lines) == 1:
        return _is_short(bare, words)
    return words <= 5 and bare.count("=") <= 1 and len(bare) <= 60 and ":" not in bare


def _is_short(line: str, words: int) -> bool:
    """A value, a list of values, a key with its value, or the shortest sentence that holds one."""
    if line.count("=") > 1 or len(line) > 100:
        return False
    items = line.split(",")
    if 2 < len(items) <= 12 and all(len(item.split()) <= 3 for item in items) and ":" not in line:
        return True
    if words <= 5:
        return not re.search(r":\s*$|:.*:\s", line)
    valued = re.search(r"\d|\b(?:is|are|was|were)\b", line)
    return words <= _SHORT and bool(valued or not is_sentence(line)) and not re.search(r":\s*$|\?$", line)


def is_prose(body: str, lines: list[str]) -> bool:
    """Running sentences: at least half of the characters stand in lines with one, and they do not repeat."""
    if is_labelled(lines) or _is_verse(body, lines):
        return False
    total = sum(len(line) for line in lines)
    sentences = [line for line in lines if is_sentence(line) or (len(_WORD.findall(line)) >= 12 and _wordy(line))]
    return 2 * sum(map(len, sentences)) >= total and not _repeats(lines)


def is_sentence(line: str) -> bool:
    """Whether three words in a row come before a full stop; for scripts without spaces, four letters."""
    if _WIDE_STOP.search(line):
        return True
    return " " in line and any(_THREE_WORDS.search(part) for part in _FULL_STOP.split(line)[:-1])


def is_labelled(lines: list[str]) -> bool:
    """Speakers or keys with a colon at the head of most lines: a dialogue, a form filled in."""
    labels = sum(bool(_LABEL.match(line)) for line in lines)
    return labels > 1 and 2 * labels > len(lines)


def _is_verse(body: str, lines: list[str]) -> bool:
    """Short lines that follow each other without a blank one between."""
    least, longest, mean = _VERSE
    lengths = [len(line.strip()) for line in lines]
    if len(lines) == _HAIKU[0] and max(lengths) <= _HAIKU[1]:
        return "\n\n" not in body
    if len(lines) < least or max(lengths) > longest or sum(lengths) > mean * len(lines):
        return False
    paragraphs = [part for part in re.split(r"\n[ \t]*\n", body) if part.strip()]
    return len(lines) >= 2 * len(paragraphs)


def _repeats(lines: list[str]) -> bool:
    """A loop: fewer different words than any text of that length has, or one sentence that is half of it."""
    words = [word.lower() for line in lines for word in line.split()]
    if len(words) >= 12 and len(set(words)) <= min(0.25 * len(words), 0.2 * len(words) ** 0.9 + 2):
        return True
    said = [part.strip() for line in lines for part in _FULL_STOP.split(line) if part.strip()]
    most, times = Counter(said).most_common(1)[0] if said else ("", 0)
    return times >= 4 and 2 * times * len(most) >= sum(map(len, said))


def _wordy(line: str) -> bool:
    """Mostly words, as in a sentence that was cut off before its full stop."""
    return sum(map(len, _WORD.findall(line))) > 0.6 * len(line)
