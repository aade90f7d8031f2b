"""Learns the cues of the shipped tagger: `python -m benchmarks.tagger_training` (ten minutes on one core).

A logistic regression says of each word whether it is in a planning phrase, from the grams of 1 to 4 words that hold
it or stand at most two words off (`diagnostics/taggers/cues.py`). It is fitted twice: on every gram that occurs three
times, then on those that weighed most, and rounded to whole numbers. Thresholds are chosen on the building half of
`benchmarks/labels` after a fit without it; the file is written from a fit with it. The held-out half is not read:
`python -m benchmarks.tagger` measures on it.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from benchmarks.tagger import BUILD, LABELS, Passage, agreement, marked, read
from diagnostics.taggers.cues import BESIDE, CUES, END, LONGEST, START, CueTagger, normal, pieces

TRAINING = LABELS / "planning_training.jsonl"
RAREST = 3  # a gram and place that occurs less often is left out
KEPT = 40_000  # grams and places in the file, about
PASSES = 5
PENALTY = 3e-6  # on each weight squared, for each time it is used
SCALE = 16  # of the whole numbers: weights in sixteenths of a nat
THRESHOLDS = (-1.2, -0.8, -0.4, 0.0)  # nats
CERTAIN = (0.0, 0.4, 0.8, 1.2)
Feature = tuple[tuple[str, ...], int]
"""A gram, and the place of the judged word, counted from the gram's first word."""


@dataclass(frozen=True)
class Fitted:
    """Weights in nats."""

    weights: Mapping[Feature, float]
    bias: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose thresholds, fit, write the file, print how the building half comes out."""
    parser = argparse.ArgumentParser(prog="benchmarks.tagger_training", description="Learn the tagger's cues.")
    parser.add_argument("--out", type=Path, default=CUES)
    parser.add_argument("--version", default="1")
    asked = parser.parse_args(arguments)
    training, build = read(TRAINING), read(BUILD)
    without = fit(training, "fit without the building half")
    settings = {pair: judged(without, pair, build, asked.out) for pair in itertools.product(THRESHOLDS, CERTAIN)}
    best = max(settings, key=settings.get)
    print(f"building half, unseen: F1 {settings[best]:.3f} at threshold {best[0]}, certain {best[1]} (nats)")
    asked.out.write_text(written(fit(training + build, "fit with it"), best, asked.version), encoding="utf-8")
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")


def judged(fitted: Fitted, thresholds: tuple[float, float], passages: Sequence[Passage], beside: Path) -> float:
    """F1 over characters with these thresholds."""
    draft = beside.with_suffix(".draft")
    try:
        draft.write_text(written(fitted, thresholds, "draft"), encoding="utf-8")
        return agreement(CueTagger(draft), passages)["f1"]
    finally:
        draft.unlink(missing_ok=True)


def fit(passages: Sequence[Passage], name: str) -> Fitted:
    """A fit on every feature, then one on those that weighed most."""
    words = Counter(normal(piece[0], _Everything()) for text, _ in passages for piece in pieces(text))
    known = {word for word, count in words.items() if count > 1}
    rows = [row for text, _ in passages for row in features(text, known)]
    inside = np.concatenate([labels(text, spans) for text, spans in passages])
    counts = Counter(feature for row in rows for feature in row)
    every = [feature for feature, count in counts.items() if count >= RAREST]
    wide, _ = regression(rows, inside, every, f"{name}, all")
    weight = {feature: abs(w) * counts[feature] ** 0.5 for feature, w in zip(every, wide, strict=True)}
    chosen = sorted(every, key=weight.get, reverse=True)[:KEPT]
    narrow, bias = regression(rows, inside, chosen, f"{name}, chosen")
    return Fitted(dict(zip(chosen, narrow.tolist(), strict=True)), bias)


def features(text: str, known: set[str]) -> Iterator[list[Feature]]:
    """For each piece of a text the grams in which or beside which it stands."""
    sequence = [START, *(normal(piece[0], known) for piece in pieces(text)), END]
    for judged_at in range(1, len(sequence) - 1):
        row = []
        for length in range(1, LONGEST + 1):
            first = max(0, judged_at - length + 1 - BESIDE)
            for start in range(first, min(judged_at + BESIDE, len(sequence) - length) + 1):
                row.append((tuple(sequence[start : start + length]), judged_at - start))
        yield row


def labels(text: str, spans: Sequence[Sequence[int]]) -> np.ndarray:
    """Of each piece (N,), whether it lies in a span."""
    mask = marked(len(text), spans)
    return np.array([mask[start] and mask[end - 1] for _, start, end in pieces(text)], np.float32)


def regression(
    rows: Sequence[Sequence[Feature]], inside: np.ndarray, chosen: Sequence[Feature], name: str
) -> tuple[np.ndarray, float]:
    """Weights (F,) of the chosen features and the bias, by Adagrad on the logistic loss."""
    number = {feature: i for i, feature in enumerate(chosen, 1)}
    used = [[number[feature] for feature in row if feature in number] for row in rows]
    ragged = torch.zeros(len(used), max(map(len, used)), dtype=torch.long)
    for i, row in enumerate(used):
        ragged[i, : len(row)] = torch.tensor(row)
    truth = torch.from_numpy(inside)
    weights = torch.zeros(len(chosen) + 1, requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adagrad([weights, bias], lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in track(range(PASSES), name):
        for batch in torch.randperm(len(truth), generator=generator).split(512):
            at_work = weights[ragged[batch]] * (ragged[batch] > 0)
            logits = at_work.sum(dim=1) + bias
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[batch])
            loss = loss + PENALTY * at_work.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return weights.detach().numpy()[1:], float(bias.detach())


def written(fitted: Fitted, thresholds: tuple[float, float], version: str) -> str:
    """The cue file."""
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for (gram, place), weight in sorted(fitted.weights.items()):
        if rounded := round(weight * SCALE):
            places[gram].append(f"{place}:{rounded}")
    threshold, certain = (round(value * SCALE) for value in thresholds)
    head = [
        f"# version: {version}",
        "# Learned by benchmarks/tagger_training.py; how to read it: diagnostics/taggers/cues.py",
        f"# bias: {round(fitted.bias * SCALE)}",
        f"# threshold: {threshold}",
        f"# certain: {certain}",
    ]
    lines = (" ".join(gram).replace("\n", "<newline>") + "\t" + " ".join(said) for gram, said in places.items())
    return "\n".join([*head, *lines]) + "\n"


class _Everything:
    """Holds every word."""

    def __contains__(self, word: object) -> bool:
        return True


if __name__ == "__main__":
    main()
