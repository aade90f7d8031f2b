"""How a lexicon is written and read.

# version: 3                           a comment; this one names the lexicon
we need to find                        a phrase: 2 to 8 words, without case and punctuation
(so|now|) we (need|have) to *          one of several, or nothing; `*` is any one word
@doubt = wait|hold on|hmm              a name for alternatives,
(@doubt|) let me re-read               used in brackets
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

SHORTEST, LONGEST = 2, 8  # words of a phrase
ANY = "*"
Pattern = tuple[tuple[tuple[str, ...], ...], ...]
"""One element after another; an element is one of several alternatives, each a sequence of words."""

_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")
_PARTS = re.compile(r"\(([^()]*)\)|([^()]+)|(.)")
WORD = re.compile(r"[^\W_]+(?:['\u2019\u02bc][^\W_]+)*")


def read_lexicon(path: Path) -> list[str]:
    """The lines that mark something: lower case, single spaces, names replaced, sorted. ValueError names a bad one."""
    return sorted(parse(read_lines(path), path))


def read_lines(path: Path) -> list[str]:
    """The lines of a file. ValueError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"lexicon {str(path)!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"lexicon {str(path)!r}: expected UTF-8 text") from None


def version_of(lines: Sequence[str]) -> str | None:
    """The first `# version: ...`; None for a file that names none."""
    found = (re.match(r"#\s*version:\s*(\S.*)", line, re.IGNORECASE) for line in lines)
    return next((match[1].strip() for match in found if match), None)


def parse(lines: Sequence[str], path: Path) -> dict[str, Pattern]:
    """Line -> pattern, each once. ValueError names a bad line."""
    names: dict[str, str] = {}
    patterns: dict[str, Pattern] = {}
    for number, line in enumerate(lines, 1):
        bare = " ".join(line.partition("#")[0].translate(_APOSTROPHES).lower().split())
        name, equals, alternatives = (part.strip() for part in bare.partition("="))
        try:
            if bare.startswith("@") and equals:
                names[name] = _replaced(alternatives, names)
            elif bare:
                replaced = _replaced(bare, names)
                patterns[replaced] = _pattern(replaced)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}, got {line.strip()!r}") from None
    if not patterns:
        raise ValueError(f"lexicon {str(path)!r}: it has no phrase")
    return patterns


def _replaced(line: str, names: Mapping[str, str]) -> str:
    def alternatives(match: re.Match[str]) -> str:
        if match[0] not in names:
            raise ValueError(f"expected a name that is defined above ({', '.join(names) or 'none is'})")
        return names[match[0]]

    return re.sub(r"@\w+", alternatives, line)


def _pattern(line: str) -> Pattern:
    elements: list[tuple[tuple[str, ...], ...]] = []
    for inside, outside, stray in _PARTS.findall(line):
        if stray:
            raise ValueError("expected every bracket to be closed")
        if outside or "|" not in inside:
            elements += [((word,),) for word in _words(outside or inside)]
        else:
            elements.append(tuple(dict.fromkeys(tuple(_words(one)) for one in inside.split("|"))))
    for element in elements:
        if any(alternative[:1] == (ANY,) for alternative in element):
            raise ValueError(f"expected a phrase that begins with a word and not with {ANY}")
        if () not in element:
            break
    lengths = [[len(alternative) for alternative in element] for element in elements]
    least, most = sum(map(min, lengths)), sum(map(max, lengths))
    if most < SHORTEST or least > LONGEST or (least == most and not SHORTEST <= least <= LONGEST):
        raise ValueError(f"expected {SHORTEST} to {LONGEST} words")
    return tuple(elements)


def _words(text: str) -> list[str]:
    """Words as the automaton reads them: "double-check" is two."""
    found = []
    for piece in text.split():
        words = [ANY] if piece == ANY else WORD.findall(piece)
        if not words:
            raise ValueError(f"expected words, brackets and {ANY}")
        found += words
    return found


def spellings(word: str) -> set[str]:
    """A word with each apostrophe there is, and with none: let's, let\u2019s, lets."""
    return {word.replace("'", sign) for sign in ("'", "\u2019", "\u02bc", "")}
