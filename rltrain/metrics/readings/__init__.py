"""How to read each metric, and when it says what is not so: shown beside its declaration; like ones share an entry."""

from __future__ import annotations

from collections.abc import Mapping

from rltrain.metrics.readings.answers import ANSWERS
from rltrain.metrics.readings.learning import LEARNING
from rltrain.metrics.readings.machine import MACHINE


def readings() -> Mapping[str, dict[str, str]]:
    """Stem -> `reading` and `lies` of its metric."""
    entries = ((stems, words) for table in (LEARNING, ANSWERS, MACHINE) for stems, words in table.items())
    return {stem: {"reading": reading, "lies": lies} for stems, (reading, lies) in entries for stem in stems.split()}
