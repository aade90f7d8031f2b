"""What a table lacks, in words, and of how many rows or files that is true."""

from __future__ import annotations


def note(notes: dict[str, int], text: str, count: int = 1) -> None:
    """Count so many more things of which a note is true."""
    notes[text] = notes.get(text, 0) + count
