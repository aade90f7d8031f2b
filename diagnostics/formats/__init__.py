r"""Names the form a completion is written in, by rules in a fixed order (the guide is in docs/labels.md).

A wrapper around the whole wins (`tags`, `json`, marked `code`); then what at least half of the lines are
(`code`, `table`, `numbered_steps`, `bullets`); then `boxed_latex`; then a bare answer;
then running sentences; else `other`.
"""

from __future__ import annotations

from diagnostics.formats import lines as of_lines
from diagnostics.formats import sentences, wrappers

FORMATS = ("code", "boxed_latex", "prose", "numbered_steps", "bullets", "table", "json", "tags", "answer_only", "other")


class RuleFormats:
    """Classifies by rules; see `FORMATS` for the names."""

    def format(self, text: str) -> str:
        """The form of a completion, one of `FORMATS`; nothing at all is `other`."""
        body = text.strip()
        if not body:
            return "other"
        if form := wrappers.wrapper(body):
            return form
        inner = wrappers.fenced_text(body)
        if inner is not None:  # a fence around a table, a list or a text is no form of its own
            return self.format(inner)
        lines = [line for line in body.splitlines() if line.strip()]
        if form := of_lines.majority(body, lines):
            return form
        if sentences.is_boxed(body):
            return "boxed_latex"
        if sentences.is_answer(body, lines):
            return "answer_only"
        return "prose" if sentences.is_prose(body, lines) else "other"
