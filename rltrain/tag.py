"""`rltrain tag FILE`: what the tagger and the format classifier say about each text of a JSONL file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rltrain import plugins
from rltrain.config.root import TAGGER
from rltrain.records.trl_table import written_in
from rltrain.types import FormatClassifier, Tagger

KEYS = ("text", "completion")


def main(path: Path, tagger: str | None, formats: str, lexicon: Path | None) -> None:
    """Print `{"spans": [[start, end], ...], "format": "..."}` for each line. ValueError names a bad one."""
    finds, names = finder(tagger, lexicon), plugins.built(formats, "rltrain.formats", {})
    try:
        for text in texts(path):
            print(json.dumps(judged(text, finds, names)))
    except BrokenPipeError:  # `| head` has seen enough; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def finder(tagger: str | None, lexicon: Path | None) -> Tagger:
    """The tagger of this name; without one `lexicon` where a lexicon is given, else the default of the config."""
    tagger = tagger or (TAGGER if lexicon is None else "lexicon")
    return plugins.built(tagger, "rltrain.taggers", {} if lexicon is None else {"path": str(lexicon)})


def judged(text: str, tagger: Tagger, formats: FormatClassifier) -> dict[str, Any]:
    """Planning spans in characters, end exclusive, and the format's name."""
    return {"spans": [list(span) for span in tagger.spans(text)], "format": formats.format(text)}


def texts(path: Path) -> Iterator[str]:
    """The text of each line: `text` or `completion`, of chat messages the assistant's; blank lines are none."""
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _text(line, f"{path}, line {number}")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected UTF-8 text") from None


def _text(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # brackets may be nested without end
        raise ValueError(f"{where}: no JSON ({error})") from None
    if not isinstance(row, Mapping) or not any(key in row for key in KEYS):
        keys = ", ".join(row) if isinstance(row, Mapping) else type(row).__name__
        raise ValueError(f"{where}: expected an object with 'text' or 'completion', got {keys or 'nothing'}")
    value = next(row[key] for key in KEYS if key in row)
    text = written_in(value)
    if text is None:
        raise ValueError(f"{where}: expected a text or a list of chat messages, got {type(value).__name__}")
    return text
