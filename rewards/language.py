"""The share of a completion's letters that belong to the wanted script."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rltrain.types import Completion, Task

SCRIPTS = {
    "latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "cyrillic": "\u0400-\u052f",
    "hebrew": "\u0590-\u05ff",
    "arabic": "\u0600-\u06ff\u0750-\u077f",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
    "hangul": "\u1100-\u11ff\uac00-\ud7a3",
    "han": "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002a6df",
    "kana": "\u3040-\u30ff",
}
_LETTER = re.compile(r"[^\W\d_]")
_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\(.*?\\\)|\\\[.*?\\\]|\\[a-zA-Z]+|https?://\S+|<[^<>\n]*>",
    re.DOTALL,
)


def language(task: Task, completion: Completion, *, script: str | Sequence[str] = "latin") -> float | None:
    """The share of letters in the wanted script or scripts, in [0, 1]; None without letters. Meant as `role: shaping`.

    Code, formulas, tags and addresses are left out. Against answers that mix languages (DeepSeek-R1, section 2.3.2,
    rewards the share of words of the target language); it tells scripts apart and no languages of one script.
    Japanese is `[han, kana]`.
    """
    wanted = [script] if isinstance(script, str) else list(script)
    if unknown := set(wanted) - SCRIPTS.keys():
        raise ValueError(f"script: {', '.join(sorted(unknown))} unknown; expected of {', '.join(SCRIPTS)}")
    letters = _LETTER.findall(_NOT_PROSE.sub(" ", completion.text))
    if not letters:
        return None
    inside = re.compile(f"[{''.join(SCRIPTS[name] for name in wanted)}]")
    return sum(map(bool, map(inside.match, letters))) / len(letters)
