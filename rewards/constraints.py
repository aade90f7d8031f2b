"""Creative writing under rules that can be counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from rltrain.types import Completion, Task

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_SENTENCE_END = re.compile(r"[.!?]+[\"'\u201d\u2019)]*(?=\s|$)")
_FUNCTION_WORDS = (
    "a about above across after again against all along also although always am among an and another any are around "
    "as at away back be because been before behind below beneath beside between both but by can could did do does "
    "down during each even ever every few for from had has have he her here him his how i if in inside into is it its "
    "just like many may me might more most much must my near never no nor not now of off on once one only onto or "
    "other our out outside over own she should since so some soon still such than that the their them then there "
    "these they this those though through till to together too toward towards under until up upon us very was we "
    "were what when where which while who whom whose why will with within without would yet you your"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
ENOUGH_FUNCTION_WORDS = 2  # different ones, besides those that make lists
COPIED = 0.5  # share of a completion that may be one run of words of the prompt
# completions that score 1, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "Write one sentence of 6 to 20 words with the words river and lamp.",
        "meta": {"words": ["river", "lamp"], "min_words": 6, "max_words": 20, "sentences": 1},
        "completion": "The lamp on the boat lit the dark river.",
    },
)


def constraints(task: Task, completion: Completion) -> dict[str, float] | None:
    """The share of the task's rules that are kept, times how much the text is prose of its own; in [0, 1].

    Rules, as far as `task.meta` has them: each of `words` is used (a plural counts), the number of words is in
    [`min_words`, `max_words`], the number of sentences is `sentences`; the last two fall off gradually. Against
    degenerate texts the share is multiplied by the least of three terms: `variety` (no word pair and no content
    word twice), `prose` (different function words, so no bare list) and `own` (not copied from the
    prompt). None for a task with no such rules.

    For words ["river", "lamp"], 6 to 20 words and one sentence: "The lamp on the boat lit the dark river." gives
    1.0, "River lamp." 0.0, "We walked to the river." 0.71.
    """
    rules = {"words", "min_words", "max_words", "sentences"} & task.meta.keys()
    if not rules:
        return None
    text = completion.text.strip()
    words = _WORD.findall(text.lower())
    if not words:
        return {"value": 0.0}
    kept: list[float] = []
    parts: dict[str, float] = {}
    if wanted := list(task.meta.get("words", ())):
        used = [float(_used(word.lower(), words)) for word in wanted]
        parts["words"] = sum(used) / len(used)
        kept += used
    if rules & {"min_words", "max_words"}:
        parts["length"] = _within(len(words), task.meta.get("min_words", 0), task.meta.get("max_words", len(words)))
        kept.append(parts["length"])
    if "sentences" in rules:
        parts["sentences"] = _sentences(text, task.meta["sentences"])
        kept.append(parts["sentences"])
    prompt = " ".join(message["content"] for message in task.prompt if message["role"] == "user")
    quality = {
        "variety": _variety(words),
        "prose": min(1.0, len(FUNCTION_WORDS.intersection(words) - {"and", "or"}) / ENOUGH_FUNCTION_WORDS),
        "own": _own(words, _WORD.findall(prompt.lower())),
    }
    return {"value": sum(kept) / len(kept) * min(quality.values()), **parts, **quality}


def _used(word: str, words: Sequence[str]) -> bool:
    return any(form in words for form in (word, f"{word}s", f"{word}es"))


def _within(count: int, low: int, high: int) -> float:
    """1 inside the range, falling to 0 at no words and at twice the most."""
    if count < low:
        return count / low
    return max(0.0, 1.0 - (count - high) / high) if count > high else 1.0


def _sentences(text: str, wanted: int) -> float:
    """1 for the wanted number, the ratio otherwise; half of it when the text breaks off."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    complete = bool(ends) and ends[-1] == len(text)
    count = len(ends) + (not complete)
    return min(count, wanted) / max(count, wanted) * (1.0 if complete else 0.5)


def _variety(words: Sequence[str]) -> float:
    """1 where no word pair and no content word comes twice; 0 from a repeated half on."""
    pairs = list(pairwise(words))
    content = [word for word in words if word not in FUNCTION_WORDS]
    different = min((len(set(some)) / len(some) for some in (pairs, content) if some), default=0.0)
    return max(0.0, 2 * different - 1)


def _own(words: Sequence[str], prompt: Sequence[str]) -> float:
    """1 unless much of the text is one run of words of the prompt; 0 where all of it is."""
    run = SequenceMatcher(None, words, prompt, autojunk=False).find_longest_match().size
    return min(1.0, (1.0 - run / len(words)) / (1.0 - COPIED))
