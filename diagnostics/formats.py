r"""Names the form a completion is written in, by rules in a fixed order.

A wrapper around the whole wins (`tags`, `json`, marked `code`); then what at least half of the lines are
(`code`, `table`, `numbered_steps`, `bullets`); then `boxed_latex`; then a bare answer;
then running sentences; else `other`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

FORMATS = ("code", "boxed_latex", "prose", "numbered_steps", "bullets", "table", "json", "tags", "answer_only", "other")

_FENCE = re.compile(r"^[ \t]*(```|~~~)[ \t]*([\w+#-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)(?:\s[^<>\n]*)?>|\[(/?)([A-Za-z][\w-]*)\]")
_HTML = {"html", "body", "head", "div", "span", "script", "style", "ul", "ol", "li", "h1", "h2", "h3", "svg", "form"}
_CELLS = {"table", "thead", "tbody", "tr", "td", "th"}
_INLINE = {"p", "b", "i", "em", "strong", "br", "sup", "sub", "u", "a", "s", "hr", "img"}  # dress of text, no layout
_GREETING = re.compile(r"[^\n{\[]{0,80}[:!.]\s*\n?", re.S)  # "Sure, here it is:" before a value
_NUMBERED = re.compile(
    r"^(?:\*\*|#+\s*)?(?:\(?\d{1,3}[.)](?:\s|\*)|step\s+\d+\b|(?:first|second|third|fourth|fifth|next|then|finally|last)"
    r"(?:ly)?(?:\s+step)?\s*[,:])",
    re.I,
)
_BULLET = re.compile(r"^[-*+\u2022\u2013\u25cf\u25aa]\s+\S")
_CODE = re.compile(
    r"^\s*(?:(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:{]|(?:from\s+\S+\s+)?import\s+[\w{*.]|return\b.{0,80}$|"
    r"(?:if|elif|for|while|with|except|else|try|switch)\b.*[:{]\s*$|#include\b|#!|(?:const|let|var)\s+\w+\s*=|"
    r"(?:public|private|static|void|int|float|double|char|bool)\s+[\w<>\[\]*]++.*[;({]\s*$|function\b.*\{|"
    r"(?:select|insert|update|delete)\s.+\b(?:from|into|set)\b|(?:print|console\.log|printf|System\.out\.\w+)\s*\(|"
    r"[\w.\[\]'\"]+\s*(?:[-+*/|&]?=)\s*[^=].*[;(\[{]\s*$|[\w.]+\([^()]*\);?\s*$|[})\]]+[;,]?\s*$|.*;\s*$|"
    r"(?:raise|assert|yield|await|pass|break|continue)\b|@\w+|//|/\*|\*/)"
)
_ASSIGNMENT = re.compile(r"^\s*[A-Za-z_][\w.]*(?:\[[^\]]*\])?\s*[-+*/]?=\s*\S")
_BOXED = re.compile(r"\\f?boxed\s*\{")
_FRAME = re.compile(
    r"^(?:so|therefore|thus|hence)?,?\s*(?:(?:the|my|our)\s+)?(?:(?:final|correct|right)\s+)?"
    r"(?:answer|result|solution|ans)\b\s*(?:is|=|:)*\s*",
    re.I,
)
_GAP = re.compile(r"\S {2,}\S")
_WORD = re.compile(r"[^\W\d_]{2,}")
_THREE_WORDS = re.compile(r"\b[^\W\d_]++(?:[ ,'\u2019\"()*`$-]++[^\W_]++){2}")
_FULL_STOP = re.compile(r"[.!?\u2026](?=\W|$)")


class RuleFormats:
    """Classifies by rules; see `FORMATS` for the names."""

    def format(self, text: str) -> str:
        """The form of a completion, one of `FORMATS`; nothing at all is `other`."""
        body = text.strip()
        if not body:
            return "other"
        if wrapper := _wrapper(body):
            return wrapper
        lines = [line for line in body.splitlines() if line.strip()]
        if form := _half(body, lines):
            return form
        if _BOXED.search(body):
            return "boxed_latex"
        if _is_answer(body, lines):
            return "answer_only"
        return "prose" if _is_prose(lines) else "other"


def _wrapper(body: str) -> str | None:
    """What the whole is wrapped in, if anything."""
    if tagged := _tags(body):
        return tagged
    fences = list(_FENCE.finditer(body))
    inner = fences[0][3].strip() if len(fences) == 1 and _mostly(fences[0][3], body) else body
    start = inner if inner[:1] in "{[" else _GREETING.sub("", inner, count=1).lstrip()
    language = fences[0][2].lower() if inner is not body else ""
    if language in ("json", "jsonl") or _is_json(start):
        return "json"
    return None


def _mostly(part: str, whole: str) -> bool:
    return 2 * len(part.strip()) >= len(whole)


def _tags(body: str) -> str | None:
    """`tags` for a layout of tags, `code` for an HTML page or marked code, `table` for an HTML table."""
    found = [((m[2] or m[4]).lower(), bool(m[1] or m[3]), m.start(), m.end()) for m in _TAG.finditer(body)]
    if body.lower().startswith("<!doctype html"):
        return "code"
    opened = [tag for tag in found if not tag[1]]
    if not opened or opened[0][2] > 80:
        return None
    name, _, _, start = opened[0]
    closing = [tag for tag in found if tag[0] == name and tag[1]]
    if name in _CELLS:
        return "table" if closing or sum(tag[0] in _CELLS for tag in found) > 2 else None
    if name in _HTML:
        return "code"
    if name in _INLINE or (body[opened[0][2]] == "[" and not closing):
        return None
    inside = body[start : closing[0][2]] if closing else body[start:]
    if name == "code" or (
        "```" in inside and len(found) <= 2 and _mostly("".join(m[3] for m in _FENCE.finditer(inside)), inside)
    ):
        return "code"
    covered = sum(len(part) for part in _covered(found, body))
    wrapped = 2 * covered >= len(body) if closing else opened[0][2] == 0  # cut off before its end
    return "tags" if wrapped else None


def _covered(found: list[tuple[str, bool, int, int]], body: str) -> Iterator[str]:
    """The stretches of text between an outer tag and its end."""
    end = 0
    for i, (name, closes, start, _) in enumerate(found):
        if closes or start < end:
            continue
        match = next((tag for tag in found[i + 1 :] if tag[0] == name and tag[1]), None)
        if match:
            end = match[3]
            yield body[start:end]


def _is_json(text: str) -> bool:
    """One JSON object or list, or lines of them; also when broken, as long as it looks like nothing else."""
    if text[:1] not in ("{", "["):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        pass
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(line[:1] in "{[" and line[-1:] in "}]" for line in lines):
        return all('"' in line for line in lines)
    keys = len(re.findall(r"[\"'][^\"'\n]{1,60}[\"']\s*:", text))
    return bool(re.match(r"[{\[]\s*(?:[{\[]\s*)*[\"']", text)) and (keys > 0 or text[0] == "[")


def _half(body: str, lines: list[str]) -> str | None:
    """The structure that at least half of the lines have."""
    fenced = sum(len([line for line in match[3].splitlines() if line.strip()]) + 2 for match in _FENCE.finditer(body))
    if 2 * fenced >= len(lines) and fenced > 2 and _fenced_code(body):
        return "code"
    if 2 * _code_lines(lines) >= len(lines):
        return "code"
    if 2 * _table_rows(lines) >= len(lines):
        return "table"
    return _list(lines)


def _fenced_code(body: str) -> bool:
    """Whether the fences hold code, and no table or text."""
    inside = [line for match in _FENCE.finditer(body) for line in match[3].splitlines() if line.strip()]
    named = any(
        match[2] and match[2].lower() not in ("text", "txt", "markdown", "md", "csv") for match in _FENCE.finditer(body)
    )
    return named or 3 * _code_lines(inside) >= len(inside) > 0


def _code_lines(lines: list[str]) -> int:
    """Lines of source code. Assignments count only beside a line that is code for sure."""
    sure = sum(bool(_CODE.match(line)) and not _sentence(line) for line in lines)
    return sure + (sum(bool(_ASSIGNMENT.match(line)) and not _CODE.match(line) for line in lines) if sure else 0)


def _table_rows(lines: list[str]) -> int:
    """Rows of a table with pipes, tabs, commas or aligned columns; at least two of one shape."""
    splits: tuple[Callable[[str], int], ...] = (
        lambda line: line.count("|") + line.count("\u2502") if "|" in line.strip()[1:] or "\u2502" in line else 0,
        lambda line: line.strip().count("\t"),
        lambda line: line.count(",") if ", " not in line and not _sentence(line) else 0,
        lambda line: len(_GAP.findall(line.strip())) if "  " in line else 0,
    )
    best = 0
    for cells in splits:
        counts = [cells(line) for line in lines]
        common = max(set(counts) - {0}, key=counts.count, default=0)
        rows = sum(n == common for n in counts) if common else 0
        if rows >= 2:
            best = max(best, rows + sum(_is_rule(line) and n != common for line, n in zip(lines, counts, strict=True)))
    return best


def _is_rule(line: str) -> bool:
    """A line drawn under a head or around a table."""
    return set(line) <= set(" \t|+:=-") and ("---" in line or "===" in line)


def _list(lines: list[str]) -> str | None:
    """`numbered_steps` or `bullets`, by the outer level; a line under an item belongs to it."""
    indents = [len(line) - len(line.lstrip()) for line in lines]
    kinds = [_item(line.strip()) for line in lines]
    if kinds.count(None) == len(kinds) or len([kind for kind in kinds if kind]) < 2:
        return None
    outer_indent = min(indent for indent, kind in zip(indents, kinds, strict=True) if kind)
    outer = [kind for indent, kind in zip(indents, kinds, strict=True) if kind and indent <= outer_indent + 1]
    inside, current = 0, False
    for indent, kind in zip(indents, kinds, strict=True):
        current = bool(kind) or (current and indent > outer_indent)
        inside += current
    # A numbered step may be a paragraph: "Step 1: ..." and then its lines.
    stepped = (
        outer.count("numbered_steps") >= 2
        and outer[0] == "numbered_steps"
        and 3 * outer.count("numbered_steps") >= len(lines)
    )
    if 2 * inside < len(lines) and not stepped:
        return None
    return "numbered_steps" if 2 * outer.count("numbered_steps") >= len(outer) else "bullets"


def _item(line: str) -> str | None:
    if _NUMBERED.match(line):
        return "numbered_steps"
    return "bullets" if _BULLET.match(line) else None


def _is_answer(body: str, lines: list[str]) -> bool:
    """An answer and nothing else, at most a short frame around it."""
    if len(lines) > 2:
        return False
    text = " ".join(line.strip() for line in lines).strip("*_`# ")
    bare = _FRAME.sub("", text).strip("*_`$ ")
    words = len(bare.split())
    if not re.search(r"\w", bare):
        return False
    if bare != text.strip("*_`$ "):
        return 0 < words <= 8
    equation = bare.count("=") > 1
    return words <= 5 and not equation and len(bare) <= 60 and not re.search(r"\w[.!?]\s+\w", bare) and ":" not in bare


def _is_prose(lines: list[str]) -> bool:
    """Running sentences: at least half of the characters stand in lines with one, and they do not repeat."""
    total = sum(len(line) for line in lines)
    sentences = [line for line in lines if _sentence(line) or (len(_WORD.findall(line)) >= 12 and _wordy(line))]
    if 2 * sum(map(len, sentences)) < total:
        return False
    words = [word.lower() for line in lines for word in line.split()]
    return len(words) < 40 or len(set(words)) > 0.2 * len(words) ** 0.9


def _sentence(line: str) -> bool:
    """Whether three words in a row come before a full stop."""
    return " " in line and any(_THREE_WORDS.search(part) for part in _FULL_STOP.split(line)[:-1])


def _wordy(line: str) -> bool:
    """Mostly words, as in a sentence that was cut off before its full stop."""
    return sum(map(len, _WORD.findall(line))) > 0.6 * len(line)
