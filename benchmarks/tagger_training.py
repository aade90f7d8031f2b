"""Learns the network of the shipped tagger: `python -m benchmarks.tagger_training` (a quarter of an hour on one core).

The network (`diagnostics/taggers/network.py`) says of each piece of text whether it is in a planning phrase. It learns
from `benchmarks/labels/planning_training.jsonl`; words begin as SmolLM2-135M's input vectors in their main directions.
Thresholds are chosen on the building half after a fit without it; the file is written from a fit with it. The held-out
half is not read: `python -m benchmarks.tagger` measures on it.

`--curve` fits growing shares of the passages instead and keeps what they reach on the building half and on 500 passages
of the training file that no fit saw, thresholds chosen on each: what more labels bring. `--carry` leaves out all
training passages in a manner of the held-out half and keeps what is reached there: what carries over to other manners.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import nn
from torch.nn import functional

from benchmarks.tagger import BUILD, HELD_OUT, LABELS, Labels, Passage, agreement, interval, lines, marked, read
from benchmarks.tell import keep
from diagnostics.taggers.network import FEWEST, GAP, NETWORK, NetworkTagger
from diagnostics.taggers.pieces import CLASSES, PIECE, STOP, TRAITS, class_of, kind, normal, pieces, spelled, traits
from diagnostics.taggers.weights import REACH, Weights
from rltrain.models import load_model, load_tokenizer

TRAINING = LABELS / "planning_training.jsonl"
MODEL = "smollm2-135m"
SAMPLED = "SmolLM2"  # manners that begin so were not written for this
RAREST = 2  # a word that occurs less often is left to its class
WIDTH = 128  # numbers a word
CHANNELS = (40, 16, 16)  # of the three layers
EPOCHS, BATCH, RATE, DECAY, DROPPED = 8, 16, 3e-3, 0.02, 0.15
UNKNOWN = 0.1  # of the words of a batch are taken for unknown, less the commoner they are
COMMON = 50  # a word that occurs this often is taken for unknown half as often
THRESHOLDS = (-1.2, -0.8, -0.4, 0.0, 0.3, 0.6)  # logits
CERTAIN = (0.0, 0.4, 0.8, 1.2)
UNSEEN = 500  # passages that the curve judges
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


class Row(NamedTuple):
    """A passage as the network reads it: of each piece (N,) its word, how it is written, its sentence."""

    words: torch.Tensor
    traits: torch.Tensor  # (N, TRAITS)
    sentences: torch.Tensor


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose thresholds, fit, write the file, print how the building half comes out; or the curve."""
    parser = argparse.ArgumentParser(prog="benchmarks.tagger_training", description="Learn the tagger's network.")
    parser.add_argument("--out", type=Path, default=NETWORK)
    parser.add_argument("--version", default="2")
    parser.add_argument("--curve", action="store_true", help="measure what more labels bring; writes no network")
    parser.add_argument("--carry", action="store_true", help="measure on manners not learned; writes no network")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    training, build = read(TRAINING), read(BUILD)
    if asked.curve:
        curve(training, build)
        return
    if asked.carry:
        carry(build)
        return
    without = fit(training, "fit without the building half")
    pair, reached = best(build, [without.judged(text) for text, _ in build])
    print(f"building half, unseen: F1 {reached:.3f} at threshold {pair[0]}, certain {pair[1]}")
    write(fit(training + build, "fit with it"), pair, asked.version, asked.out)
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB, hash {NetworkTagger(asked.out).hash}")


def curve(training: Sequence[Passage], build: Sequence[Passage]) -> None:
    """Print and keep F1 by number of passages."""
    order = np.random.default_rng(0).permutation(len(training))
    unseen, pool = ([training[i] for i in part] for part in (order[:UNSEEN], order[UNSEEN:]))
    found = []
    for share in SHARES:
        learned = pool[: round(share * len(pool))]
        net = fit(learned, f"fit on {len(learned)}")
        reached = [best(of, [net.judged(text) for text, _ in of])[1] for of in (unseen, build)]
        found.append({"passages": len(learned), "unseen": reached[0], "building": reached[1]})
        print(found[-1])
    keep("tagger_curve", {"curve": found})


def carry(build: Sequence[Passage]) -> None:
    """Print and keep F1 on the held-out texts that were written, of a network that learned none of their manners."""
    judged = [row for row in lines(HELD_OUT) if not row["manner"].startswith(SAMPLED)]
    manners = {row["manner"] for row in judged}
    learned = [(row["text"], row["spans"]) for row in lines(TRAINING) if row["manner"] not in manners]
    net = fit(learned, f"fit on {len(learned)} without {', '.join(sorted(manners))}")
    pair, _ = best(build, [net.judged(text) for text, _ in build])
    passages = [(row["text"], row["spans"]) for row in judged]
    marks = Labels((text, phrases(text, net.judged(text), *pair)) for text, _ in passages)
    shipped = agreement(NetworkTagger(), passages)
    without = agreement(marks, passages) | {"interval": interval(marks, passages)}
    found = {"manners": sorted(manners), "passages": len(learned), "judged": len(passages), "f1": without["f1"]}
    found |= {"interval": without["interval"], "shipped": shipped["f1"]}
    print(found)
    keep("tagger_carry", found)


class Net(nn.Module):
    """Rows of words -> logits (N,). What `diagnostics/taggers/network.py` computes, so that it can be learned."""

    def __init__(self, words: Sequence[str], vectors: torch.Tensor, seen: torch.Tensor):
        super().__init__()
        self.numbers = {word: number for number, word in enumerate(words)}
        self.vectors = nn.Parameter(torch.cat([vectors, torch.zeros(1, WIDTH)]))  # the last for nothing
        self.traits = nn.Linear(TRAITS, WIDTH, bias=False)
        shapes = zip((WIDTH, *CHANNELS), CHANNELS, REACH, strict=False)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, reach, padding=reach // 2) for a, b, reach in shapes)
        self.sentence = nn.Linear(CHANNELS[0], CHANNELS[0], bias=False)
        self.last, self.drop = nn.Linear(CHANNELS[-1], 1), nn.Dropout(DROPPED)
        self.chance = UNKNOWN / (1 + seen / COMMON)  # (V,) of being taken for unknown
        self.classes = torch.tensor([self.numbers[class_of(word)] for word in words])

    def forward(self, row: Row) -> torch.Tensor:
        """Logits."""
        words = row.words
        there = words < len(self.numbers)
        if self.training:
            known = words.clamp(max=len(self.numbers) - 1)
            words = torch.where(there & (torch.rand(words.shape) < self.chance[known]), self.classes[known], words)
        vectors = functional.embedding(words, self.vectors) * there[:, None] + self.traits(row.traits)
        states = torch.relu(self.layers[0](self.drop(vectors).T[None]))[0].T
        strongest = torch.zeros(int(row.sentences.max()) + 1, CHANNELS[0]).scatter_reduce(
            0, row.sentences[:, None].expand_as(states), states, "amax"
        )
        states = torch.relu(states + self.sentence(strongest)[row.sentences] * there[:, None])
        for layer in self.layers[1:]:
            states = torch.relu(layer(self.drop(states).T[None]))[0].T
        return self.last(self.drop(states))[:, 0]

    def row(self, text: str) -> Row:
        """A text's pieces."""
        found = PIECE.findall(text)
        words = [self.numbers[normal(piece, self.numbers)] for piece in found]
        ends = np.array([kind(piece) == STOP for piece in found], np.int64)
        written = np.array([traits(piece) for piece in found], np.float32).reshape(-1, TRAITS)
        behind = torch.from_numpy(np.cumsum(ends) - ends)
        return Row(torch.tensor(words, dtype=torch.long), torch.from_numpy(written), behind)

    def joined(self, rows: Sequence[Row]) -> Row:
        """Rows one behind another, with nothing before, between and behind."""
        none = torch.zeros(GAP, dtype=torch.long)
        nothing = Row(none + len(self.numbers), torch.zeros(GAP, TRAITS), none)
        parts, sentence = [nothing], 1
        for row in rows:
            parts += [row._replace(sentences=row.sentences + sentence), nothing]
            sentence += int(row.sentences[-1]) + 1 if len(row.sentences) else 0
        return Row(*(torch.cat(of) for of in zip(*parts, strict=True)))

    @torch.no_grad()
    def judged(self, text: str) -> np.ndarray:
        """The logits of a text's pieces (N,)."""
        return self(self.joined([self.row(text)]))[GAP:-GAP].numpy()


def fit(passages: Sequence[Passage], name: str) -> Net:
    """A network that has learned these passages."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    counts = Counter(spelled(piece) for text, _ in passages for piece in PIECE.findall(text))
    known = sorted({normal(word, counts) for word, count in counts.items() if count >= RAREST} | set(CLASSES))
    net = Net(known, starting_vectors(known), torch.tensor([counts[word] for word in known])).train()
    rows = [net.row(text) for text, _ in passages]
    truth = [torch.from_numpy(labels(*passage)) for passage in passages]
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps, pct_start=0.15)
    for _ in track(range(EPOCHS), name):
        for part in np.array_split(generator.permutation(len(rows)), steps):
            batch = net.joined([rows[i] for i in part])
            logits = net(batch)[batch.words < len(known)]
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(logits, torch.cat([truth[i] for i in part])).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def starting_vectors(words: Sequence[str]) -> torch.Tensor:
    """(V, WIDTH): the model's input vectors of the words in the directions in which its tokens differ most, half
    whitened; of a class, their middle."""
    tokenizer, tokens = load_tokenizer(MODEL), _input_vectors(MODEL)
    middle = tokens.mean(0)
    values, directions = torch.linalg.eigh(torch.cov(tokens.T))
    values, directions = values.flip(0)[:WIDTH], directions.flip(1)[:, :WIDTH]
    vectors = torch.zeros(len(words), WIDTH)
    for number, word in enumerate(words):
        if word not in CLASSES:
            cut = tokenizer(" " + word if word[0].isalnum() else word, add_special_tokens=False)["input_ids"]
            vectors[number] = (tokens[cut].mean(0) - middle) @ directions / values.sqrt().sqrt()
    return vectors / vectors.std()


@functools.cache
def _input_vectors(name: str) -> torch.Tensor:
    """(tokens, model's width); a model is loaded once for all fits."""
    return load_model(name, "float32").get_input_embeddings().weight.detach().clone()


def labels(text: str, spans: Sequence[Sequence[int]]) -> np.ndarray:
    """Of each piece (N,), whether it lies in a span."""
    mask = marked(len(text), spans)
    return np.array([mask[start] and mask[end - 1] for _, start, end in pieces(text)], np.float32)


def best(
    passages: Sequence[Passage],
    logits: Sequence[np.ndarray],
    thresholds: Sequence[float] = THRESHOLDS,
    certain: Sequence[float] = CERTAIN,
) -> tuple[tuple[float, float], float]:
    """The thresholds that agree best with these passages, and the F1 they reach."""

    def f1(pair: tuple[float, float]) -> float:
        marks = Labels((text, phrases(text, of, *pair)) for (text, _), of in zip(passages, logits, strict=True))
        return agreement(marks, passages)["f1"]

    reached = {pair: f1(pair) for pair in itertools.product(thresholds, certain)}
    return max(reached.items(), key=lambda one: one[1])


def phrases(text: str, scores: np.ndarray, threshold: float, certain: float) -> list[tuple[int, int]]:
    """The spans of runs of pieces as the tagger makes them: two words at least, one of them certain."""
    spans = []
    held = zip(pieces(text), scores.tolist(), strict=True)
    for reached, group in itertools.groupby(held, key=lambda one: one[1] >= threshold):
        run = list(group)
        words = [piece for piece, _ in run if piece[0][0].isalnum()]
        if reached and len(words) >= FEWEST and max(score for _, score in run) >= certain:
            spans.append((words[0][1], words[-1][2]))
    return spans


def write(net: Net, thresholds: tuple[float, float], version: str, path: Path) -> None:
    """The network file: a word's vector in whole numbers, the rest in half precision."""
    vectors = net.vectors.detach().numpy()[:-1]
    unit = np.maximum(np.abs(vectors).max(axis=0) / 127, 1e-6).astype(np.float16)
    layers = [(of.weight.detach().permute(2, 1, 0).numpy(), of.bias.detach().numpy()) for of in net.layers]
    (first, first_bias), (second, second_bias), (third, third_bias) = layers
    learned = {
        "unit": unit, "traits": net.traits.weight.detach().numpy().T, "first": first, "first_bias": first_bias,
        "sentence": net.sentence.weight.detach().numpy().T, "second": second, "second_bias": second_bias,
        "third": third, "third_bias": third_bias, "last": net.last.weight.detach().numpy()[0],
        "last_bias": net.last.bias.detach().numpy()[0], "threshold": thresholds[0], "certain": thresholds[1],
    }  # fmt: skip
    halves = {name: np.asarray(of, np.float16) for name, of in learned.items()}
    whole = np.round(vectors / unit).clip(-127, 127).astype(np.int8)
    weights = Weights(words=np.array(list(net.numbers)), vectors=whole, version=np.array(version), **halves)
    np.savez_compressed(path, **weights._asdict())


if __name__ == "__main__":
    main()
