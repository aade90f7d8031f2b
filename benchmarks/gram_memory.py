"""Memory of `rltrain grams mine` on as many and as long completions as it reads (a few minutes).

    python -m benchmarks.gram_memory [CHARACTERS ...]        default 8000 20000

Writes 4,000 made completions of 1,000 problems into a parquet file, 200 steps of 20: words by Zipf's law from 50,000,
and sentences that are said again and again (three in ten, or nineteen in twenty: then nearly every n-gram is a phrase).
Then runs the command on it in a process of its own and reads from the system what that process took: the largest
resident memory (target: at most 2 GB) and the seconds of one core. Writes benchmarks/results/gram_memory.json.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from rich.console import Console
from rich.table import Table

from benchmarks.taken import taken
from benchmarks.tell import keep
from diagnostics.grams.mine import MOST_SOLUTIONS

CHARACTERS, AGAIN = (8_000, 20_000), (0.3, 0.95)
WORDS, STOCK, PROBLEMS, STEP = 50_000, 500, 1_000, 20
TARGET = 2.0  # GB


def main(arguments: list[str] | None = None) -> None:
    """Measure each length asked for, and keep what was found."""
    parser = argparse.ArgumentParser(prog="benchmarks.gram_memory", description="rltrain grams mine on long texts.")
    parser.add_argument("characters", nargs="*", type=int, default=CHARACTERS, help="of a completion")
    found = []
    for characters in parser.parse_args(arguments).characters:
        for again in AGAIN:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "long.parquet"
                write(path, characters, again)
                found.append({"characters": characters, "again": again} | mined(path))
    table = Table("characters", "sentences said again", "grams", "GB", "seconds", title="rltrain grams mine")
    for one in found:
        table.add_row(f"{one['characters']:,}", f"{one['again']:.0%}", str(one["grams"]), f"{one['peak_gb']:.2f}",
                      f"{one['cpu_s']:.0f}")  # fmt: skip
    Console().print(table)
    keep("gram_memory", {"target_gb": TARGET, "met": all(one["peak_gb"] <= TARGET for one in found), "runs": found})


def write(path: Path, characters: int, again: float) -> None:
    """As many completions as are read at most, all of them correct."""
    rng = np.random.default_rng(0)
    words = ["".join(chr(97 + c) for c in rng.integers(26, size=length)) for length in _lengths(rng)]
    chances = np.cumsum(1 / np.arange(1, WORDS + 1))
    stock = [_sentence(rng, words, chances) for _ in range(STOCK)]
    texts = ["".join(_text(rng, words, chances, stock, characters, again))[:characters] for _ in range(MOST_SOLUTIONS)]
    number = np.arange(MOST_SOLUTIONS)
    columns = {"step": number // STEP, "prompt": [f"problem {i % PROBLEMS}" for i in number], "completion": texts}
    parquet.write_table(pa.table(columns | {"outcome": np.ones(MOST_SOLUTIONS)}), path, compression="zstd")


def _lengths(rng: np.random.Generator) -> np.ndarray:
    """(WORDS,) letters of each word, the more the rarer it is."""
    return 1 + (np.log2(np.arange(2, WORDS + 2)) / 2).astype(int) + rng.integers(4, size=WORDS)


def _sentence(rng: np.random.Generator, words: list[str], chances: np.ndarray) -> str:
    drawn = np.searchsorted(chances, rng.random(rng.integers(5, 20)) * chances[-1])
    sum_of = f", so {rng.integers(99)} + {rng.integers(99)}" if rng.random() < 0.3 else ""
    return f"{' '.join(words[i] for i in drawn)}{sum_of}."


def _text(
    rng: np.random.Generator, words: list[str], chances: np.ndarray, stock: list[str], characters: int, again: float
) -> Iterator[str]:
    written = 0
    while written < characters:
        said = rng.random() < again
        sentence = stock[int(STOCK * rng.random() ** 2)] if said else _sentence(rng, words, chances)
        yield sentence + ("\n" if rng.random() < 0.2 else " ")
        written += len(sentence) + 1


def mined(path: Path) -> dict[str, Any]:
    """What the command took: GB at most, seconds of one core; and the grams it found."""
    used = taken("grams", "mine", str(path), "--out", str(path.with_name("lexicon.txt")))
    return {"peak_gb": used.peak_gb, "cpu_s": used.cpu_s, "grams": int(used.said.split()[0])}


if __name__ == "__main__":
    main()
