"""What at least half of the lines of a completion are: code, rows of a table, items of a list."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable

from diagnostics.formats.sentences import is_sentence
from diagnostics.formats.wrappers import FENCE, NO_CODE

_NUMBERED = re.compile(
    r"^(?:\*\*|#+\s*)?(?:\(?\d{1,3}[.)](?:\s|\*)|\d{1,3}\ufe0f?\u20e3|\d{1,3}\u3001|[\u2460-\u2473]|step\s+\d+\b|"
    r"(?:first|second|third|fourth|fifth|next|then|finally|last)(?:ly)?(?:\s+step)?\s*[,:]|"
    r"\(?[a-h]\)\s|(?:ii|iii|iv|vi{0,3})[.)]\s)",
    re.I,
)
_COUNTED = re.compile(r"^(?:\*\*|#+\s*)?([^\W\d_]{3,12}) (\d{1,2})\b\s*[:.)\u2013-]")  # "Paso 2:", "Schritt 2:"
_BULLET = re.compile(r"^[-*+\u2022\u2013\u25cf\u25aa\u25e6\u2023\u2043\u00b7\u2192]\s+\S")
_KEYWORDS = (
    r"(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:{]|(?:from\s+\S+\s+)?import\s+[\w{*.]|return\b.{0,80}$|"
    r"(?:if|elif|for|while|with|except|else|try|switch)\b.*[:{]\s*$|#include\b|#!|(?:const|let|var)\s+\w+\s*=|"
    r"(?:public|private|static|void|int|float|double|char|bool)\s+[\w<>\[\]*]++.*[;({]\s*$|"
    r"(?:function|func|fn|pub|impl)\b.*[{:(]\s*$|(?:package|module) [\w.]+$|(?:raise|assert|yield|await)\s|"
    r"(?:raise|pass|break|continue|end|fi|done)$|puts\s|require\s['\"]|\(def\w*\s|"
    r"\\(?:documentclass|usepackage|section)\b|(?:select|insert|update|delete)\s.+\b(?:from|into|set)\b|"
)
_SHAPES = (
    r"(?:print|console\.log|printf|System\.out\.\w+)\s*\(|[\w.\[\]'\"]+\s*(?:[-+*/|&]?=)\s*[^=].*[;(\[{]\s*$|"
    r"[\w.]+\([^()]*\);?\s*$|[})\]]+[;,]?\s*$|(?=.*[=(){}<>\[\]]|\S+(?: \S+){0,3}$).*;\s*$|.*\{$|@\w[\w.]*(?:\(.*\))?$|"
    r"//|/\*|\*/|\w[\w.]*\s*<-\s*\S|\w+(?:, \w+)*\s*:=\s*\S|\w+ :: \w|[A-Z][a-z]+-[A-Z]\w+ -|"
    r"[a-z_]\w*(?:\.\w+)* = (?:[\w.]*\w\.\w+\(|[\[{\"'])|[\[({].* for \w+(?:, ?\w+)* in \w.*[\])}]$|"
    r"[A-Za-z_][\w.]*\((?=.*(?:\w\.\w+\(|['\"]|\w=\w|lambda )).*[)\]]$"
)
_CODE = re.compile(rf"^\s*(?:{_KEYWORDS}{_SHAPES})")
_CAPITALS = re.compile(  # SQL and build files, whose words are English ones in capitals
    r"^\s*(?:SELECT|FROM|WHERE|(?:LEFT |RIGHT |INNER |OUTER |FULL |CROSS )*JOIN|GROUP BY|ORDER BY|HAVING|LIMIT|VALUES|"
    r"UNION|INSERT INTO|UPDATE|SET|DELETE FROM|(?:CREATE|ALTER|DROP) \w+|WITH \w+ AS|AND|OR|ON|END|"
    r"WORKDIR|COPY|RUN|EXPOSE|CMD|ENTRYPOINT|ENV|ADD|ARG|USER|VOLUME)\b[^a-z]?(?!.*[.!?]$)"
)
_SHELL = re.compile(
    r"^\s*(?:\$ \S|(?:sudo )?(?:git|pip3?|npm|npx|docker|kubectl|curl|wget|apt(?:-get)?|brew|conda|chmod|mkdir|ssh|tar|"
    r"sed|awk|grep|xargs|find|ls|cd|rm|cp|mv|cat|echo|export|python3?|node|make)\s+(?:-|\S*[./~$*=]|\w+\s+-|install\b|"
    r"run\b|clone\b|commit\b|push\b|['\"]))"
)
_COMMENT = re.compile(r"^\s*(?:#|--|%)\s*\w")
_ASSIGNMENT = re.compile(r"^\s*[A-Za-z_][\w.]*(?:\[[^\]]*\])?\s*[-+*/:]?=\s*\S")
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_GAP = re.compile(r"\S {2,}\S")
_RULE_MARKS = set(" \t|+:=-\u2500\u253c\u252c\u2534\u2502\u250c\u2510\u2514\u2518\u251c\u2524")
_LATEX_RULE = re.compile(r"^\s*\\(?:hline|(?:begin|end)\{tabular|toprule|midrule|bottomrule)")
_LOG = re.compile(r"^\W?(?:\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\d\d:\d\d:\d\d|(?:INFO|WARN(?:ING)?|ERROR|DEBUG|TRACE)\b)")
_DIFF = re.compile(r"^(?:@@ .* @@|diff --git |\+\+\+ \S)")
_TREE = re.compile(r"[\u251c\u2514]\u2500+ ")


def majority(body: str, lines: list[str]) -> str | None:
    """The structure that at least half of the lines have; `other` for logs, diffs, trees and settings."""
    if any(_DIFF.match(line) for line in lines) or _half(_LOG, lines) or _half(_TREE, lines, anywhere=True):
        return "other"
    if _is_settings(lines):
        return "other"
    fences = [[line for line in match[3].splitlines() if line.strip()] for match in FENCE.finditer(body)]
    fenced = sum(map(len, fences))
    if 2 * fenced >= len(lines) - 2 * len(fences) and fenced and _fenced_code(body):
        return "code"
    if 2 * _code_lines(lines) >= len(lines):
        return "code"
    if 2 * _table_rows(lines) >= len(lines):
        return "table"
    return _list(lines)


def _half(pattern: re.Pattern[str], lines: list[str], anywhere: bool = False) -> bool:
    hits = sum(bool(pattern.search(line) if anywhere else pattern.match(line)) for line in lines)
    return hits > 1 and 2 * hits >= len(lines)


def _fenced_code(body: str) -> bool:
    """Whether the fences hold code, and no table or text."""
    inside = [line for match in FENCE.finditer(body) for line in match[3].splitlines() if line.strip()]
    named = any(match[2] and match[2].lower() not in NO_CODE for match in FENCE.finditer(body))
    return named or 3 * _code_lines(inside) >= len(inside) > 0


def _code_lines(lines: list[str]) -> int:
    """Lines of source code. Assignments and comments count only beside a line that is code for sure."""
    sure = [_is_code(line) for line in lines]
    if not any(sure):
        return 0
    beside = (_ASSIGNMENT.match(line) or _COMMENT.match(line) for line in lines)
    return sum(known or bool(also) for known, also in zip(sure, beside, strict=True))


def _is_code(line: str) -> bool:
    if _CAPITALS.match(line) or _SHELL.match(line):
        return not is_sentence(line)
    return bool(_CODE.match(line)) and not is_sentence(_QUOTED.sub("''", line))


def _table_rows(lines: list[str]) -> int:
    """Rows of a table with pipes, tabs, commas or aligned columns; at least two of about one shape."""
    splits: tuple[tuple[Callable[[str], int], int], ...] = (  # cells of a row, and how many may be missing
        (lambda line: line.count("|") + line.count("\u2502") if "|" in line.strip()[1:] or "\u2502" in line else 0, 2),
        (lambda line: line.strip().count("\t"), 1),
        (lambda line: line.count("&") if line.rstrip().endswith("\\\\") else 0, 0),
        (lambda line: _commas(line, ","), 0),
        (lambda line: _commas(line, ";"), 0),
        (lambda line: len(_GAP.findall(line.strip())) if "  " in line else 0, 1),
    )
    items = sum(bool(_item(line.strip())) for line in lines)
    if 2 * items >= len(lines) and not any(_is_rule(line) for line in lines):
        return 0  # items of a list may have commas or gaps alike
    best = 0
    for cells, missing in splits:
        counts = [cells(line) for line in lines]
        common = max(set(counts) - {0}, key=counts.count, default=0)
        rows = [bool(n and common) and abs(n - common) <= missing for n in counts]
        if counts.count(common) >= 2 and common:
            best = max(best, sum(row or _is_rule(line) for row, line in zip(rows, lines, strict=True)))
    return best


def _commas(line: str, separator: str) -> int:
    """Separators between the cells of a CSV row: nothing but the comma, or short cells behind it."""
    if separator not in line:
        return 0
    line = _QUOTED.sub("x", line.strip())
    if line.endswith(separator) or is_sentence(line) or line[:1] in "{[(":
        return 0
    if f"{separator} " not in line:
        return line.count(separator)
    cells = line.split(separator)
    short = all(0 < len(cell.split()) <= 3 for cell in cells)
    return len(cells) - 1 if short and (len(cells) > 2 or any(c.strip()[:1].isdigit() for c in cells)) else 0


def _is_rule(line: str) -> bool:
    """A line drawn under a head or around a table."""
    drawn = any(mark in line for mark in ("---", "===", "\u2500\u2500"))
    return bool(_LATEX_RULE.match(line)) or (drawn and set(line) <= _RULE_MARKS)


def _is_settings(lines: list[str]) -> bool:
    """YAML or TOML: keys in small letters, some of them with nothing behind, or sections in brackets."""
    keyed = sum(bool(re.match(r"^\s*(?:- )?[a-z_][\w.-]*\s*(?::(?:\s|$)|=\s)", line)) for line in lines)
    items = sum(bool(re.match(r"^\s+- \S", line)) for line in lines)
    parents = any(
        re.match(r"^\s*(?:(?!(?:else|try|finally)\b)[a-z_][\w.-]*:\s*$|\[[\w.-]+\]$)", line) for line in lines
    )
    sections = sum(line.strip().startswith("[") for line in lines)
    return parents and keyed > 1 and 4 * (keyed + items + sections) >= 3 * len(lines)


def _list(lines: list[str]) -> str | None:
    """`numbered_steps` or `bullets`, by the outer level; a line under an item belongs to it."""
    indents = [len(line) - len(line.lstrip()) for line in lines]
    counted = _counted(lines)
    kinds = ["numbered_steps" if i in counted else _item(line.strip()) for i, line in enumerate(lines)]
    if len([kind for kind in kinds if kind]) < 2:
        return None
    outer_indent = min(indent for indent, kind in zip(indents, kinds, strict=True) if kind)
    outer = [kind for indent, kind in zip(indents, kinds, strict=True) if kind and indent <= outer_indent + 1]
    inside, current = 0, False
    for indent, kind in zip(indents, kinds, strict=True):
        current = bool(kind) or (current and indent > outer_indent)
        inside += current
    numbered = outer.count("numbered_steps")
    # A numbered step may be a paragraph: "Step 1: ..." and then its lines.
    stepped = numbered >= 2 and outer[0] == "numbered_steps" and 3 * numbered >= len(lines)
    if 2 * inside < len(lines) and not stepped:
        return None
    return "numbered_steps" if 2 * numbered >= len(outer) else "bullets"


def _counted(lines: list[str]) -> set[int]:
    """Lines that count up behind one word, in whatever language: `Paso 1:`, `Paso 2:`."""
    found = [(i, match[1].lower(), int(match[2])) for i, line in enumerate(lines) if (match := _COUNTED.match(line))]
    counts_up = len(found) > 1 and all(b[1] == a[1] and b[2] > a[2] for a, b in itertools.pairwise(found))
    return {i for i, _, _ in found} if counts_up else set()


def _item(line: str) -> str | None:
    if _NUMBERED.match(line):
        return "numbered_steps"
    emoji = len(line) > 2 and unicodedata.category(line[0]) == "So" and line[1] in " \ufe0f"
    return "bullets" if emoji or _BULLET.match(line) else None
