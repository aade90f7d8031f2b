"""How fast a tagger is, for `benchmarks/tagger.py`: tokens a second of CPU time, tagger alone and with masks.

Texts are made solutions, cut to the lengths of completions, one by one and as many at once as a group has; tokens are
those of the built-in model's tokenizer, or 4 characters each where it is not there. Decoding is not counted.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
from rich.table import Table

from benchmarks.made_solutions import solutions
from rltrain.collect import planning_mask, planning_spans
from rltrain.types import Completion, Tagger

LENGTHS = (200, 1000, 8000)  # characters of a completion, about
GROUPS = (1, 8)  # completions that are tagged by one call: a run tags a group at once
CHARACTERS = 2_000_000  # of each speed measurement
ROUNDS = 5


def speed(tagger: Tagger) -> dict[str, dict[str, float]]:
    """Tokens a second by length of the completions; medians of rounds in turn, the first of which does not count."""
    found: dict[str, dict[str, float]] = {}
    for length, size in itertools.product(LENGTHS, GROUPS):
        made = completions(length)
        groups = [[one.text for one in made[i : i + size]] for i in range(0, len(made), size)]
        tokens = sum(len(one.offsets) for one in made)
        tagging, masking = [], []
        for _ in range(ROUNDS + 1):
            begun = time.process_time()
            spans = [of for group in groups for of in planning_spans(group, tagger)]
            between = time.process_time()
            for one, of in zip(made, spans, strict=True):
                planning_mask(one, of)
            tagging.append(between - begun)
            masking.append(time.process_time() - begun)
        found[f"{length} characters, {size} at once"] = {
            "tagger": tokens / statistics.median(tagging[1:]),
            "with masks": tokens / statistics.median(masking[1:]),
            "characters a token": sum(len(one.text) for one in made) / tokens,
        }
    return found


def speed_table(measured: Mapping[str, Mapping[str, float]]) -> Table:
    """One line a length."""
    table = Table("completions of", "tagger", "with masks", "characters a token", title="tokens a second, one core")
    for label, row in measured.items():
        figures = (f"{row[key]:,.0f}" for key in ("tagger", "with masks"))
        table.add_row(label, *figures, f"{row['characters a token']:.2f}")
    return table


def completions(length: int) -> list[Completion]:
    """Texts of about this many characters, 2 million in all, cut into tokens."""
    parts = [one.text for one in solutions(400, seed=5)]
    whole = "\n".join(parts * (1 + CHARACTERS // sum(map(len, parts))))[:CHARACTERS]
    cut = _tokenizer()
    made = []
    for start in range(0, len(whole), length):
        text = whole[start : start + length]
        ends = cut(text)
        zeros = np.zeros(len(ends))
        made.append(Completion(zeros.astype(np.int32), zeros.astype(np.float32), ends, text, "stop", 0, "", ""))
    return made


def _tokenizer() -> Callable[[str], np.ndarray]:
    """Text -> ends of its tokens (T,)."""
    from rltrain.models import load_tokenizer

    try:
        tokenizer = load_tokenizer("smollm2-135m")
    except (ValueError, OSError):
        return lambda text: np.minimum(np.arange(4, len(text) + 4, 4), len(text)).astype(np.int32)
    return lambda text: np.array(
        [end for _, end in tokenizer(text, return_offsets_mapping=True)["offset_mapping"]], np.int32
    )
