"""What is wrapped around a whole completion: a layout of tags, a JSON value, a fence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

FENCE = re.compile(r"^[ \t]*(```|~~~)[ \t]*([\w+#-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
NO_CODE = {"text", "txt", "markdown", "md", "csv", "tsv", "yaml", "yml", "toml", "ini", "diff", "log", "plain", "none"}
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)(?:\s[^<>\n]*)?>|\[(/?)([A-Za-z][\w-]*)\]")
_PIPED = re.compile(r"<\|(?:begin|start)_\w+\|>")
_HTML = {"html", "body", "head", "div", "span", "script", "style", "ul", "ol", "li", "h1", "h2", "h3", "svg", "form"}
_CELLS = {"table", "thead", "tbody", "tr", "td", "th"}
_INLINE = {"p", "b", "i", "em", "strong", "br", "sup", "sub", "u", "a", "s", "hr", "img"}  # dress of text, no layout
_LANGUAGES = {
    "python",
    "py",
    "javascript",
    "js",
    "typescript",
    "java",
    "cpp",
    "c",
    "bash",
    "sh",
    "shell",
    "sql",
    "rust",
}
_OPENING = re.compile(r"(?:^|[:!.]\s)\s*[{\[]", re.M)  # "Sure, here it is:" may stand before a value
_HEADED = re.compile(r"^\[([A-Z][\w -]{2,20})\]", re.M)
_SONG = re.compile(r"verse|chorus|bridge|intro|outro|hook|refrain", re.I)


class _Tag(NamedTuple):
    name: str
    closes: bool
    start: int
    end: int


def wrapper(body: str) -> str | None:
    """`tags`, `json`, `code` or `table` when that is what the whole is wrapped in."""
    if tagged := _tags(body):
        return tagged
    fences = list(FENCE.finditer(body))
    inner = fences[0][3].strip() if len(fences) == 1 and _mostly(fences[0][3], body) else body
    language = fences[0][2].lower() if inner is not body else ""
    value = inner if inner[:1] in '{["' else _after_greeting(inner)
    return "json" if language.startswith("json") or _is_json(value) else None


def _after_greeting(text: str) -> str:
    """The text from its first bracket at the head of a line, or behind a colon; all of it without one."""
    opening = _OPENING.search(text)
    if not opening:
        return text
    start = opening.end() - 1
    return text[start:] if start <= 100 or (start <= 300 and _mostly(text[start:], text)) else text


def fenced_text(body: str) -> str | None:
    """What a single fence around nearly the whole holds, when its language says that it is no code."""
    fence = FENCE.match(body)
    alone = fence and fence[2].lower() in NO_CODE and not body[fence.end() :].strip()
    return fence[3] if fence and alone else None


def _mostly(part: str, whole: str) -> bool:
    return 2 * len(part.strip()) >= len(whole)


def _tags(body: str) -> str | None:
    """`tags` for a layout of tags, `code` for an HTML page or marked code, `table` for an HTML table."""
    if body.lower().startswith("<!doctype html"):
        return "code"
    if _PIPED.match(body):
        return "tags"
    found = [_Tag((m[2] or m[4]).lower(), bool(m[1] or m[3]), m.start(), m.end()) for m in _TAG.finditer(body)]
    if found and found[0].closes and _is_layout(found[0]) and found[0].start:  # opened by the prompt's template
        return "tags"
    heads = [name for name in _HEADED.findall(body) if not _SONG.match(name)]
    if len(set(heads)) > 1 and not re.search(r"^\w+ ?= ?\S", body, re.M) and body[0] == "[":
        return "tags"
    first = next((tag for tag in found if not tag.closes), None)
    if first is None or first.start > 80 or first.name in _INLINE:
        return None
    closing = next((tag for tag in found if tag.name == first.name and tag.closes), None)
    if first.name in _CELLS:
        return "table" if closing or sum(tag.name in _CELLS for tag in found) > 2 else None
    if first.name in _HTML:
        return "code"
    if body[first.start] == "[" and not closing:
        return None
    if _marks_code(first, body[first.end : closing.start if closing else None], found):
        return "code"
    covered = sum(len(part) for part in _covered(found, body))
    wrapped = 2 * covered >= len(body) if closing else first.start == 0  # cut off before its end
    return "tags" if wrapped else None


def _is_layout(tag: _Tag) -> bool:
    """Whether a tag is neither HTML nor the name of a language."""
    return tag.name not in _HTML | _CELLS | _INLINE | _LANGUAGES and tag.name != "code"


def _marks_code(tag: _Tag, inside: str, found: list[_Tag]) -> bool:
    """Whether a tag says no more than that code stands in it."""
    if tag.name in _LANGUAGES or "code" in tag.name.split("-"):
        return True
    fenced = "".join(match[3] for match in FENCE.finditer(inside))
    return len(found) <= 2 and bool(fenced) and _mostly(fenced, inside)


def _covered(found: list[_Tag], body: str) -> Iterator[str]:
    """The stretches of text between an outer tag and its end."""
    end = 0
    for i, tag in enumerate(found):
        if tag.closes or tag.start < end:
            continue
        match = next((other for other in found[i + 1 :] if other.name == tag.name and other.closes), None)
        if match:
            end = match.end
            yield body[tag.start : end]


def _is_json(text: str) -> bool:
    """One JSON object or list, or lines of them; also when broken, as long as it looks like nothing else."""
    if re.match(r'"[^"\n]{1,60}"\s*:\s', text):  # its braces were forgotten
        return True
    if text[:1] not in ("{", "["):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        pass
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(line[:1] in "{[" and line[-1:] in "}]" for line in lines):
        return all('"' in line for line in lines)
    opens = re.match(r"\{\s*(?:[\"']|[A-Za-z_]\w*\s*:\s)|\[\s*(?:[\"']|\{\s*[\"'\w]|-?\d[\d.]*\s*,)", text)
    return bool(opens)
