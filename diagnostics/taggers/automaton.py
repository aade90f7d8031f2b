"""Many patterns of words matched at once: a word that begins none costs one look into a dictionary.

The patterns are one automaton over words. Its states are sets of places in the patterns and are made when a text
first leads there (a lazy subset construction, as in Thompson 1968): their number is that of the different
beginnings that texts really have, and a lexicon is read in no time.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from diagnostics.taggers.lexicon import ANY, LONGEST, SHORTEST, Pattern, spellings

GAP = 4  # characters that may stand between two words: spaces, commas, emphasis marks
APOSTROPHES = "'\u2019\u02bc"
_STRAY = re.compile(rf"[{APOSTROPHES}](?:(?<![^\W_].)|(?![^\W_]))")  # quotation marks: not between two letters


class State:
    """A set of places in the patterns, and where each word leads from there."""

    __slots__ = ("accepts", "next", "otherwise", "places")

    def __init__(self, places: frozenset[int], accepts: bool):
        self.places = places
        self.accepts = accepts
        self.next: dict[str, State] | None = None  # None until a text comes here
        self.otherwise: State | None = None  # where a word leads that is not in `next`


class Automaton:
    """Finds the longest match of any pattern at every word."""

    def __init__(self, patterns: Iterable[Pattern]):
        self._edges: list[dict[str, set[int]]] = []  # place -> word -> places
        self._empty: list[set[int]] = []  # place -> places it reaches without a word
        self._last: set[int] = set()  # places where a pattern ends
        self._states: dict[frozenset[int], State] = {}
        self._letters = _Letters()
        self._start = self._state([self._add(pattern) for pattern in patterns])

    def matches(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) in characters of the longest match at each word that has one, in order."""
        words, first = split(text, self._letters), self._ways(self._start)
        begins = [i for i, word in enumerate(words) if word in first]
        ends = list(itertools.accumulate(map(len, words), lambda end, length: end + 1 + length)) if begins else []
        for i in begins:
            last = self._longest(words, i)
            if last:
                yield ends[i] - len(words[i]), ends[last]

    def _longest(self, words: Sequence[str], i: int) -> int:
        """The last word of the longest match that begins at word `i`; 0 for none."""
        state, best, length, gap = self._ways(self._start)[words[i]], 0, 1, 1
        for j in range(i + 1, len(words)):
            word = words[j]
            if not word:  # one more character that is in no word
                gap += 1
                if gap > GAP:
                    break
                continue
            following = (state.next or self._ways(state)).get(word)
            if following is None:
                following = state.otherwise
                if following is None or word[0].isdigit():
                    break
            state, length, gap = following, length + 1, 1
            if length > LONGEST:
                break
            if state.accepts and length >= SHORTEST:
                best = j
        return best

    def _ways(self, state: State) -> dict[str, State]:
        """Where each word leads from a state, found out when a text first comes here."""
        if state.next is None:
            edges = [self._edges[place] for place in state.places]
            anything = set().union(*(edge.get(ANY, ()) for edge in edges))
            words = {word for edge in edges for word in edge} - {ANY}
            state.next = {word: self._state(anything.union(*(edge.get(word, ()) for edge in edges))) for word in words}
            state.otherwise = self._state(anything) if anything else None
        return state.next

    def _add(self, pattern: Pattern) -> int:
        """A chain of places for a pattern; its first one."""
        start = here = self._place()
        for element in pattern:
            after = self._place()
            for alternative in element:
                place = here
                if not alternative:
                    self._empty[here].add(after)
                for k, word in enumerate(alternative):
                    target = after if k == len(alternative) - 1 else self._place()
                    for spelling in spellings(word):
                        self._edges[place].setdefault(spelling, set()).add(target)
                    place = target
            here = after
        self._last.add(here)
        return start

    def _place(self) -> int:
        self._edges.append({})
        self._empty.append(set())
        return len(self._edges) - 1

    def _state(self, places: Iterable[int]) -> State:
        """The state of these places and all they reach without a word; made once."""
        reached, waiting = set(), list(places)
        while waiting:
            place = waiting.pop()
            if place not in reached:
                reached.add(place)
                waiting += self._empty[place]
        key = frozenset(reached)
        if key not in self._states:
            self._states[key] = State(key, bool(key & self._last))
        return self._states[key]


def split(text: str, letters: dict[int, int]) -> list[str]:
    """The words of a text in lower case, with an empty one for every further character between two words.

    Joined by spaces they are as long as the text, so that positions can be counted from them.
    """
    text = _STRAY.sub(" ", lower(text)) if "'" in text or "\u2019" in text or "\u02bc" in text else lower(text)
    return text.translate(letters).split(" ")


class _Letters(dict[int, int]):
    """For `str.translate`: letters, digits and apostrophes stay, everything else is a space."""

    def __missing__(self, code: int) -> int:
        letter = chr(code)
        self[code] = kept = code if letter.isalnum() or letter in APOSTROPHES else ord(" ")
        return kept


def lower(text: str) -> str:
    """Lower case without moving a character: the few letters whose lower case is longer stay."""
    small = text.lower()
    if len(small) != len(text):
        small = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    return small
