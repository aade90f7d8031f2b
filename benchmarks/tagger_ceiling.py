"""What a language model would reach on the tagger's labels: `python -m benchmarks.tagger_ceiling` (an hour).

A small head learns from `benchmarks/labels/planning_training.jsonl` to tell planning words by the states of
SmolLM2-135M's first layers, frozen. Thresholds are chosen on the building half, which it does not see, and both halves
are judged; the held-out half serves for nothing else. The states cost a thousand times what the tagger may: the figures
say how much of what the tagger misses is to be had from meaning and from what was said before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from rich.progress import track
from torch import nn
from torch.nn import functional

from benchmarks.tagger import BUILD, HELD_OUT, Labels, agreement, interval, read
from benchmarks.tagger_training import MODEL, TRAINING, best, labels, phrases
from benchmarks.tell import keep
from diagnostics.taggers.pieces import pieces
from rltrain.models import load_model, load_tokenizer

OPENING = "<|im_start|>"  # stands before a text: the first token's state is like no other
LAYERS = (7, 14)  # whose states are read, counted from 1; those above the last are not run
LARGEST_STATE = 50.0  # a few directions of a few tokens reach thousands
KEPT = 256  # directions of the states that the head reads
SAMPLE = 7  # every so many-th word serves to find them
BATCH = 16  # texts
HEAD, REACH = (128, 96, 96, 64), (5, 5, 3)  # widths; words that a layer sees
HEAD_EPOCHS, HEAD_BATCH, HEAD_RATE, HEAD_DECAY, HEAD_DROPPED = 8, 32, 2e-3, 0.02, 0.3
HEADS = 2  # the mean of which judges
THRESHOLDS, CERTAIN = (-0.3, 0.0, 0.3, 0.6, 0.9), (0.4, 0.8, 1.2)  # nats
GAP = 12  # words of nothing between two texts in a row: more than the layers see


def main() -> None:
    """Print and keep the agreement on the building and on the held-out half."""
    training, build, held_out = read(TRAINING), read(BUILD), read(HELD_OUT)
    texts = [text for text, _ in training + build + held_out]
    states = list(reduced([torch.from_numpy(of) for of in model_states(texts)], len(training)))
    truth = [labels(*passage) for passage in training]
    heads = [fitted(states[: len(training)], truth, seed, f"head {seed + 1} of {HEADS}") for seed in range(HEADS)]
    logits = [np.mean([judged(head, of) for head in heads], axis=0) for of in states[len(training) :]]
    pair, _ = best(build, logits[: len(build)], THRESHOLDS, CERTAIN)
    marks = Labels((text, phrases(text, of, *pair)) for (text, _), of in zip(build + held_out, logits, strict=True))
    found = {
        path.stem: agreement(marks, passages) | {"interval": interval(marks, passages)}
        for path, passages in ((BUILD, build), (HELD_OUT, held_out))
    }
    print(json.dumps(found, indent=1))
    keep("tagger_ceiling", {"agreement": found, "thresholds": pair})


def model_states(texts: Sequence[str]) -> list[np.ndarray]:
    """For each text (N, 2 * 576) float16: the states of the token that ends each word."""
    tokenizer, model = load_tokenizer(MODEL), load_model(MODEL, "bfloat16").model
    opening = tokenizer.convert_tokens_to_ids(OPENING)
    seen: dict[int, torch.Tensor] = {}
    for number in LAYERS:
        layer = model.layers[number - 1]
        layer.register_forward_hook(
            lambda _, __, out, at=number: seen.update({at: out[0] if isinstance(out, tuple) else out})
        )
    model.layers = model.layers[: max(LAYERS)]
    tokens = [tokenizer(text, return_offsets_mapping=True, add_special_tokens=False) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: len(tokens[i]["input_ids"]))
    found: dict[int, np.ndarray] = {}
    for start in track(range(0, len(order), BATCH), "states"):
        part = order[start : start + BATCH]
        rows = [[opening, *tokens[i]["input_ids"]] for i in part]
        longest = max(map(len, rows))
        filled = torch.tensor([row + [0] * (longest - len(row)) for row in rows])  # causal: what is behind is not seen
        with torch.inference_mode():
            model(filled, use_cache=False)
            states = torch.cat([seen[number] for number in LAYERS], dim=-1)
        for row, i in enumerate(part):
            ends = np.array([end for _, end in tokens[i]["offset_mapping"]])
            at = 1 + np.searchsorted(ends, [end for _, _, end in pieces(texts[i])]).clip(max=max(len(ends) - 1, 0))
            found[i] = states[row, at].clamp(-LARGEST_STATE, LARGEST_STATE).half().numpy()
    return [found[i] for i in range(len(texts))]


def reduced(states: Sequence[torch.Tensor], training: int) -> Iterator[torch.Tensor]:
    """Each (N, D) in the directions in which the first so many differ most (N, KEPT), half whitened."""
    sample = torch.cat([of[::SAMPLE] for of in states[:training]]).float()
    mean, spread = sample.mean(0), sample.std(0) + 1e-3
    values, vectors = torch.linalg.eigh(torch.cov(((sample - mean) / spread).T))
    values, vectors = values.flip(0)[:KEPT], vectors.flip(1)[:, :KEPT]
    for of in states:
        yield ((of.float() - mean) / spread) @ vectors / values.sqrt().sqrt()


class Head(nn.Module):
    """States of a row of words (N, KEPT) -> logits (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.drop = nn.Linear(KEPT, HEAD[0]), nn.Linear(HEAD[-1], 1), nn.Dropout(HEAD_DROPPED)
        shapes = zip(HEAD, HEAD[1:], REACH, strict=False)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, reach, padding=reach // 2) for a, b, reach in shapes)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits."""
        values = self.drop(torch.relu(self.first(self.drop(states)))).T[None]
        for layer in self.layers:
            values = self.drop(torch.relu(layer(values)))
        return self.last(values[0].T)[:, 0]


def fitted(states: Sequence[torch.Tensor], truth: Sequence[np.ndarray], seed: int, name: str) -> Head:
    """A head that has learned these labels."""
    torch.manual_seed(seed)
    head, generator = Head().train(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=HEAD_RATE, weight_decay=HEAD_DECAY)
    steps = -(-len(states) // HEAD_BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, HEAD_RATE, total_steps=HEAD_EPOCHS * steps, pct_start=0.15
    )
    for _ in track(range(HEAD_EPOCHS), name):
        for part in np.array_split(generator.permutation(len(states)), steps):
            wanted = in_a_row([torch.from_numpy(truth[i]) for i in part])
            logits = head(in_a_row([states[i] for i in part]))
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(logits, wanted).backward()
            optimizer.step()
            schedule.step()
    return head.eval()


@torch.no_grad()
def judged(head: Head, states: torch.Tensor) -> np.ndarray:
    """Logits of one text (N,)."""
    return head(in_a_row([states]))[GAP:-GAP].numpy()


def in_a_row(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The parts, one behind another, with a gap of zeros before, between and behind."""
    gap = parts[0].new_zeros((GAP, *parts[0].shape[1:]))
    return torch.cat([gap, *(piece for part in parts for piece in (part, gap))])


if __name__ == "__main__":
    main()
