"""Creative prompts that rules can score, made without a data set."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rltrain.tables import Row

NOUNS = (  # concrete, short, known to the smallest models
    "apple bell bird boat book bread bridge brush bucket cake candle castle cat chair cheese child clock cloud coat "
    "coin cook crown desk dog door dragon drum farmer feather field fire fish flag flower forest fox friend garden "
    "gate ghost glove goat gold hammer hat hill honey horse house island jar key king kite ladder lake lamp leaf "
    "letter lion map market mirror monkey moon mountain mouse ocean owl painter paper pencil piano pirate planet "
    "pocket queen rabbit rain ring river road robot rope rose sailor salt school shadow shell ship shoe silver snow "
    "song soup spoon star stone storm story street summer sword table teacher thief tiger tower train tree valley "
    "village violin wagon wall water whale wheel wind window winter wizard wolf"
)


class WordConstraints(Sequence):
    """ "Write one sentence with the words river, lamp and goat": between `fewest` and `most` words to use, in a
    sentence of `min_words` to `max_words` words. The reward `constraints` scores it; `level` counts the words.

    The answer is one sentence that keeps all rules, for trying rewards; there are many others.
    """

    name = "word_constraints"

    def __init__(
        self,
        size: int = 1000,
        seed: int = 0,
        fewest: int = 2,
        most: int = 4,
        min_words: int = 8,
        max_words: int = 20,
        suffix: str = "",
    ):
        if not 1 <= fewest <= most <= 5:
            raise ValueError(f"word_constraints: expected 1 <= fewest <= most <= 5, got {fewest} and {most}")
        if not 1 <= min_words <= min(20, max_words) or max_words < 3 * most + 1:
            raise ValueError(
                f"word_constraints: expected 1 <= min_words <= 20, min_words <= max_words and max_words >= "
                f"{3 * most + 1} for {most} words, got min_words {min_words}, max_words {max_words}"
            )
        self._size, self._seed, self._suffix = size, seed, suffix
        self._count, self._length = (fewest, most), (min_words, max_words)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < self._size:
            raise IndexError(index)
        rng = random.Random(f"{self._seed}:{index}")
        words = rng.sample(NOUNS.split(), rng.randint(*self._count))
        low, high = self._length
        listed = f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
        noun = "words" if len(words) > 1 else "word"
        return {
            "prompt": f"Write one sentence with the {noun} {listed}. Use {low} to {high} words.{self._suffix}",
            "answer": _reference(words, low),
            "level": float(len(words)),
            "words": words,
            "sentences": 1,
            "min_words": low,
            "max_words": high,
        }


def _reference(words: Sequence[str], at_least: int) -> str:
    """A plain sentence with the words, filled up to the wanted length."""
    places = ("saw", "near", "behind", "under", "beside")
    filling = "while everyone else in town was still asleep after such long and happy days of play"
    told = ["We", *(part for place, word in zip(places, words, strict=False) for part in (place, "the", word))]
    return " ".join(told + filling.split()[: max(0, at_least - len(told))]) + "."
