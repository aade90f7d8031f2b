"""Finds planning phrases by a lexicon: fast, repeatable, and open to anyone who can edit a text file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

LEXICON = Path(__file__).with_name("lexicon.txt")
BETWEEN = r"[\W_]{1,4}"  # what may stand between two words: spaces, commas, emphasis marks
APOSTROPHE = "['\u2019\u02bc]?"
END = ""  # of a phrase, in the tree of letters


class LexiconTagger:
    """Marks the phrases of a lexicon file: one phrase of 2 to 8 words a line, `#` starts a comment.

    A comment `# version: ...` names the lexicon. Diagnostics keep `version` and `hash` in every checkpoint.
    """

    def __init__(self, path: str | Path | None = None):
        lines = _lines(Path(path) if path else LEXICON)
        phrases = _phrases(lines, path or LEXICON)
        self.version = _version(lines)  # what the file says about itself
        self.hash = hashlib.sha256("\n".join(phrases).encode()).hexdigest()[:12]  # what it really marks
        self._pattern = compile_phrases(phrases)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of the planning phrases in characters, in order, merged where they overlap or touch.

        Phrases touch when nothing but space is between them, as their tokens do.
        """
        found: list[tuple[int, int]] = []
        for match in self._pattern.finditer(" " + _lower(text)):
            start, end = match.start(1) - 1, match.end(1) - 1
            if found and (start <= found[-1][1] or text[found[-1][1] : start].isspace()):
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((start, end))
        return found


def read_lexicon(path: Path) -> list[str]:
    """The phrases of a file: lower case, single spaces, sorted, each once. ValueError names a bad line."""
    return _phrases(_lines(path), path)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"lexicon {str(path)!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"lexicon {str(path)!r}: expected UTF-8 text") from None


def _version(lines: Sequence[str]) -> str | None:
    """The first `# version: ...`; None for a file that names none."""
    found = (re.match(r"#\s*version:\s*(\S.*)", line, re.IGNORECASE) for line in lines)
    return next((match[1].strip() for match in found if match), None)


def _phrases(lines: Sequence[str], path: str | Path) -> list[str]:
    phrases = set()
    for number, line in enumerate(lines, 1):
        words = _lower(line.partition("#")[0].replace("\u2019", "'")).split()
        if not words:
            continue
        if not 2 <= len(words) <= 8 or not all(re.search(r"\w", word) for word in words):
            raise ValueError(f"{path}, line {number}: expected 2 to 8 words, got {line.strip()!r}")
        phrases.add(" ".join(words))
    if not phrases:
        raise ValueError(f"lexicon {str(path)!r}: it has no phrase")
    return sorted(phrases)


def compile_phrases(phrases: Sequence[str]) -> re.Pattern[str]:
    """One pattern for lower-case text behind a space, whose group 1 is the longest phrase that starts at a word.

    It begins with what stands before a word, which the regex engine looks for faster than for anything else, and
    phrases are a tree of letters, so that a word that starts none is left after a comparison or two. The
    look-ahead lets phrases overlap: "now we need to find" is both "now we need to" and "we need to find".
    """
    tree: dict = {}
    for phrase in phrases:
        node = tree
        for symbol in [*" ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", phrase)), END]:
            node = node.setdefault(symbol, {})
    return re.compile(rf"[\W_](?=({_branches(tree)}))")


def _branches(tree: dict) -> str:
    """The pattern of a tree of letters; longer phrases are tried before shorter ones."""
    chain = ""
    while len(tree) == 1 and END not in tree:
        [(symbol, tree)] = tree.items()
        chain += _pattern_of(symbol)
    options = [_pattern_of(symbol) + _branches(rest) for symbol, rest in sorted(tree.items(), reverse=True) if symbol]
    options += [r"(?![^\W_])"] if END in tree else []
    return chain + (f"(?:{'|'.join(options)})" if len(options) > 1 else options[0])


def _pattern_of(symbol: str) -> str:
    return {" ": BETWEEN, "'": APOSTROPHE}.get(symbol) or re.escape(symbol)


def _lower(text: str) -> str:
    """Lower case without moving a character: the few letters whose lower case is longer stay."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    return lower
