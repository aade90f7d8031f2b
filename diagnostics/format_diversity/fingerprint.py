"""What a text looks like, without naming it: shapes of lines, hashed, and structures found in passing.

A classifier knows the forms it was written for. A form that nobody thought of lands in `other`, and so does
everything else that nobody thought of. The fingerprint tells those apart: it keeps how lines begin and end, what
marks they carry and how long they are, and forgets words and numbers.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DIMENSION = 64
LINES = 200  # of one text that are looked at
_MARKS = "=|:{<\\"


def fingerprint(text: str) -> np.ndarray:
    """(64,) float32 of length 1 (0 for an empty text): how often lines of which shape occur."""
    counts: Counter[str] = Counter()
    for line in text.splitlines()[:LINES]:
        if body := line.strip():
            counts.update(_shape(line, body))
    vector = np.zeros(DIMENSION, np.float32)
    for feature, count in counts.items():
        vector[zlib.crc32(feature.encode("utf-8", "surrogatepass")) % DIMENSION] += count
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector


def _shape(line: str, body: str) -> tuple[str, str, str]:
    """Three features of a line: how it begins, how it ends with which marks, how long it is."""
    indented = "_" if line[0].isspace() else ""
    begins = indented + "".join(_kind(c) for c in body[:2])
    marks = "".join(mark for mark in _MARKS if mark in body)
    length = "short" if len(body) < 25 else "middle" if len(body) < 80 else "long"
    return f"begins {begins}", f"ends {_kind(body[-1])} {marks}", f"is {length} {_kind(body[0])}"


def _kind(character: str) -> str:
    if character.isalpha():
        return "a"
    return "9" if character.isdigit() else character


class Structures:
    """Numbers the structures of a run as they turn up: a text joins the first one it is like, or begins one."""

    def __init__(self, *, alike: float = 0.75, most: int = 64):
        self._alike, self._most = alike, most
        self._leaders = np.zeros((0, DIMENSION), np.float32)

    def label(self, texts: Sequence[str]) -> list[int]:
        """The structure of each text, numbered from 0. At `most` structures a text joins the nearest."""
        known: dict[str, int] = {}
        for text in texts:
            if text not in known:
                known[text] = self._nearest(fingerprint(text))
        return [known[text] for text in texts]

    def _nearest(self, vector: np.ndarray) -> int:
        likeness = self._leaders @ vector
        best = int(likeness.argmax()) if len(likeness) else -1
        if best >= 0 and (likeness[best] >= self._alike or len(self._leaders) >= self._most):
            return best
        self._leaders = np.vstack([self._leaders, vector])
        return len(self._leaders) - 1

    def state_dict(self) -> dict[str, Any]:
        """The structures known so far."""
        return {"leaders": self._leaders.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._leaders = np.array(state["leaders"], np.float32).reshape(-1, DIMENSION)
