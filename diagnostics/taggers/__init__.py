"""Taggers of planning phrases: a lexicon that anyone can edit, and a network learned from labelled passages."""

from __future__ import annotations

import hashlib
from pathlib import Path

from diagnostics.taggers.automaton import Automaton
from diagnostics.taggers.lexicon import parse, read_lexicon, read_lines, version_of
from diagnostics.taggers.network import NetworkTagger

__all__ = ["LEXICON", "LexiconTagger", "NetworkTagger", "read_lexicon"]
LEXICON = Path(__file__).parent.with_name("lexicon.txt")


class LexiconTagger:
    """Marks the phrases of a lexicon file; `lexicon.py` says how one is written.

    A comment `# version: ...` names the lexicon. Diagnostics keep `version` and `hash` in every checkpoint.
    """

    def __init__(self, path: str | Path | None = None):
        path = Path(path) if path else LEXICON
        lines = read_lines(path)
        patterns = parse(lines, path)
        self.version = version_of(lines)  # what the file says about itself
        self.hash = hashlib.sha256("\n".join(sorted(patterns)).encode()).hexdigest()[:12]  # what it really marks
        self._automaton = Automaton(patterns.values())

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of the planning phrases in characters, in order, merged where they overlap or touch.

        Phrases touch when nothing but space is between them, as their tokens do.
        """
        found: list[tuple[int, int]] = []
        for start, end in self._automaton.matches(text):
            if found and (start <= found[-1][1] or text[found[-1][1] : start].isspace()):
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((start, end))
        return found
