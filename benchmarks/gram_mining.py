"""How well mined grams find planning phrases, by representation: `python -m benchmarks.gram_mining` (15 s).

On made solutions (`benchmarks/made_solutions.py`: 400 to mine from, 100 others to score on, three seeds), and on the
labelled passages of `benchmarks/labels/planning_build.jsonl` where they are there; held-out labels are not read.
Representations of an n-gram that are clustered: the words around it (what `rltrain grams mine` uses), its own
characters, its own words, own words and those around; each with and without the rule that first and last word must
belong to the phrase. Scores are over characters. The robustness check is the paper's, on a made run whose plans
grow more varied.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.made_solutions import MOVES, solutions
from benchmarks.tagger import agreement
from benchmarks.tell import bar, keep
from diagnostics.grams import clusters, ngrams, robust
from diagnostics.grams.candidates import COHERENT, Candidate, candidates
from diagnostics.grams.mine import CLUSTERS, mine, strategic
from diagnostics.grams.solutions import Solution
from diagnostics.taggers import LexiconTagger

SEEDS = (0, 1, 2)
BUILD = Path(__file__).parent / "labels" / "planning_build.jsonl"
Passage = tuple[str, list[tuple[int, int]]]


def own_characters(candidate: Candidate) -> Counter[str]:
    """3- to 5-grams of characters."""
    text = f" {' '.join(candidate.words)} "
    return Counter(text[i : i + n] for n in (3, 4, 5) for i in range(len(text) - n + 1))


def own_words(candidate: Candidate) -> Counter[str]:
    """The words themselves."""
    return Counter(candidate.words)


REPRESENTATIONS: Mapping[str, Callable[[Candidate], Mapping[str, int]]] = {
    "words around (ours)": lambda candidate: candidate.context,
    "own characters": own_characters,
    "own words": own_words,
    "own words and around": lambda candidate: own_words(candidate) + Counter(candidate.context),
}


def score(corpus: Sequence[Solution], passages: Sequence[Passage], coherent: float) -> Iterator[tuple[str, Any]]:
    """Per representation and seed, how the mined grams agree with the passages' spans."""
    names = {name: i for i, name in enumerate(dict.fromkeys(s.problem for s in corpus))}
    found = candidates(
        [ngrams.items(s.text) for s in corpus],
        [names[s.problem] for s in corpus],
        max(3, len(names) // 100),
        coherent,
    )
    for label, features in REPRESENTATIONS.items():
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            rows = clusters.vectors([features(candidate) for candidate in found], rng)
            labels = clusters.kmeans(rows, max(1, min(CLUSTERS, len(found) // 5)), rng)
            grams = [gram for cluster in strategic(found, labels, len(names)) for gram in cluster.grams]
            yield label, agreement(_tagger(grams), passages) | {"grams": len(grams)}


def _tagger(grams: Sequence[str]) -> LexiconTagger:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lexicon.txt"
        path.write_text("\n".join(grams), encoding="utf-8")
        return LexiconTagger(path)


def growing_run(seed: int, steps: int = 60, per_step: int = 40) -> list[Solution]:
    """A run whose solutions use two moves at first and all eight in the end."""
    made = []
    for step in range(steps):
        allowed = list(MOVES)[: 2 + round(6 * step / (steps - 1))]
        for one in solutions(per_step, seed=1000 * seed + step, moves=allowed):
            made.append(Solution(step, one.problem, one.text, True))
    return made


def measure() -> dict[str, Any]:
    """Both corpora, and the robustness of three made runs."""
    made = [Solution(0, one.problem, one.text, True) for one in solutions(400)]
    corpora = {"made solutions": (made, [(one.text, one.spans) for one in solutions(100, seed=9)])}
    if BUILD.is_file():
        rows = [json.loads(line) for line in BUILD.read_text(encoding="utf-8").splitlines() if line.strip()]
        texts = [Solution(0, str(i), row["text"], True) for i, row in enumerate(rows)]
        corpora["labelled passages (build)"] = (texts, [(row["text"], row["spans"]) for row in rows])
    found: dict[str, Any] = {}
    cases = [(name, coherent) for name in corpora for coherent in (COHERENT, 0.0)]
    for name, coherent in bar(cases, "mining", len(cases)):
        label = f"{name}, {'whole phrases' if coherent else 'any n-gram'}"
        for representation, figures in score(*corpora[name], coherent):
            found.setdefault(label, {}).setdefault(representation, []).append(figures)
    checks = []
    for seed in bar(SEEDS, "robustness", len(SEEDS)):
        run = growing_run(seed)
        grams = sorted({gram for cluster in mine(run[:: len(run) // 1000], seed) for gram in cluster.grams})
        checks.append(robust.check(run, sorted({s.step for s in run}), grams, seed))
    return {"agreement": found, "robustness": [check._asdict() for check in checks if check]}


def main() -> None:
    """Print the tables and keep the figures."""
    found = measure()
    table = Table("corpus", "representation", "precision", "recall", "F1", "grams", title="mean over three seeds")
    for corpus, rows in found["agreement"].items():
        for representation, runs in rows.items():
            means = [float(np.mean([run[key] for run in runs])) for key in ("precision", "recall", "f1", "grams")]
            table.add_row(corpus, representation, *(f"{value:.2f}" for value in means[:3]), f"{means[3]:.0f}")
        table.add_section()
    Console().print(table)
    table = Table("steps", "rise, nats", "correlation, mean", "worst of 20", title="30% of the grams dropped")
    for check in found["robustness"]:
        table.add_row(str(check["steps"]), *(f"{check[key]:+.2f}" for key in ("rise", "mean", "worst")))
    Console().print(table)
    keep("gram_mining", found)


if __name__ == "__main__":
    main()
