"""Whether the tagger is right, and how fast it is: `python -m benchmarks.tagger` (half a minute).

Agreement over characters with the passages of `benchmarks/labels` ({"text", "spans"}, labelled after docs/labels.md)
and what is missed, by move; the halves hold texts of different manners. The target is an F1 of 0.85 held out. A tenth
was labelled twice: how well the two agree is what a tagger can reach. Whoever writes the lexicon sees the building half
alone; `--show` prints no other. Speed (`tagger_speed.py`): the target is 1,000,000 tokens a second on one core.
    python -m benchmarks.tagger [FILE.jsonl ...] [--lexicon FILE] [--show]
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.tagger_speed import speed, speed_table
from benchmarks.tell import keep
from diagnostics.taggers import LexiconTagger, NetworkTagger
from rltrain.types import Tagger

LABELS = Path(__file__).parent / "labels"
BUILD, HELD_OUT, SECOND = (LABELS / f"planning_{name}.jsonl" for name in ("build", "heldout", "second"))
TARGET_F1, TARGET_SPEED = 0.85, 1_000_000
SHIPPED = {"network": NetworkTagger, "lexicon": LexiconTagger}
MOVES = (  # of docs/labels.md; labels do not name them, so a span's own words do, the first line that fits
    (
        "doubt, go back",
        r"\bwait|hold on|mistake|seem|right\b|but the|re-?read|\bback|actually|reconsider|rethink|wrong",
    ),
    ("check", r"verify|check|make sense|makes sense|confirm|test"),
    ("branch", r"alternativ|another|\bcase|possib|other hand|either|instead|what if|suppose|assum|maybe|perhaps"),
    ("set out", r"find|asked|goal|\bplan\b|break|figure|start|understand|want|look|think|solve|determine|question"),
    ("stop or commit", r"that.?s all|that is all|together|combin|conclude|everything|enough information|done"),
    ("deduce", r"mean|tells|impl|enough|follow|so (?:we|i|it|that|the)\b|since|because|must|have to|need to know"),
    ("decompose, order", r"first|next|then|now|once|before|after|final|step|last|begin"),
    ("choose a method", r"use|using|way|try|appl|approach|formula|trick|method|consider|let|can|could"),
    ("other", r""),
)
Passage = tuple[str, Sequence[Sequence[int]]]


def read(path: Path) -> list[Passage]:
    """(text, spans) of each line."""
    return [(row["text"], row["spans"]) for row in lines(path)]


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a labelled file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def marked(length: int, spans: Iterable[Sequence[int]]) -> np.ndarray:
    """(length,) bool: characters inside a span."""
    mask = np.zeros(length, bool)
    for start, end in spans:
        mask[start:end] = True
    return mask


def agreement(tagger: Tagger, passages: Sequence[Passage]) -> dict[str, float]:
    """Precision, recall and F1 over all characters of all texts, and the share of spans that are touched."""
    both = found = labelled = touched = spans_total = 0
    for text, spans in passages:
        truth, given = marked(len(text), spans), marked(len(text), tagger.spans(text))
        both, found, labelled = both + int((truth & given).sum()), found + int(given.sum()), labelled + int(truth.sum())
        touched += sum(bool(given[start:end].any()) for start, end in spans)
        spans_total += len(spans)
    return {
        "precision": both / found if found else 0.0,
        "recall": both / labelled if labelled else 0.0,
        "f1": 2 * both / (found + labelled) if found + labelled else 0.0,
        "spans touched": touched / spans_total if spans_total else 0.0,
        "spans": spans_total,
        "texts": len(passages),
    }


def interval(tagger: Tagger, passages: Sequence[Passage], resamples: int = 1000) -> tuple[float, float]:
    """95% interval of F1 by a bootstrap over texts."""
    rows = []
    for text, spans in passages:
        truth, given = marked(len(text), spans), marked(len(text), tagger.spans(text))
        rows.append(((truth & given).sum(), given.sum() + truth.sum()))
    draws = np.random.default_rng(0).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), resamples)
    both, sides = (draws @ np.array(rows, np.float64)).T
    low, high = np.percentile(2 * both / np.maximum(sides, 1), [2.5, 97.5])
    return float(low), float(high)


def steadiness(tagger: Tagger, passages: Sequence[Passage]) -> dict[str, float]:
    """F1 over characters of what is marked when a text is written otherwise, against what is marked as it stands."""
    written = {
        "lower case": str.lower,
        "capitals": lambda text: re.sub("[a-z]", lambda letter: letter[0].upper(), text),
    }
    plain = [(text, tagger.spans(text)) for text, _ in passages]
    found = {}
    for name, change in written.items():
        same = [(change(text), spans) for text, spans in plain if len(change(text)) == len(text)]
        found[name] = agreement(tagger, same)["f1"]
    return found


def whole(tagger: Tagger, passages: Sequence[Passage]) -> dict[str, float]:
    """The share of the missed characters in labelled spans of which none is marked, and of the wrong ones in marks off
    all labelled spans; the rest of both is at edges."""
    missed, wrong = np.zeros(2), np.zeros(2)  # characters in spans that are met, in spans that are not
    for text, spans in passages:
        given = tagger.spans(text)
        for counts, ranges, others in ((missed, spans, given), (wrong, given, spans)):
            mask = marked(len(text), others)
            for start, end in ranges:
                counts[int(not mask[start:end].any())] += (~mask[start:end]).sum()
    return {name: float(of[1] / max(of.sum(), 1)) for name, of in (("missed", missed), ("wrong", wrong))}


def mistakes(tagger: Tagger, passages: Sequence[Passage]) -> tuple[Counter[str], Counter[str]]:
    """Spans the tagger does not touch, and what it marks where no span is, by their first three words."""
    missed: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for text, spans in passages:
        given = tagger.spans(text)
        truth, mask = marked(len(text), spans), marked(len(text), given)
        missed.update(_opening(text[start:end]) for start, end in spans if not mask[start:end].any())
        wrong.update(_opening(text[start:end]) for start, end in given if not truth[start:end].any())
    return missed, wrong


def _opening(phrase: str) -> str:
    return " ".join(phrase.lower().split()[:3])


class Labels:
    """Labels as a tagger of the texts they were made for."""

    def __init__(self, passages: Iterable[Passage]):
        self._spans = dict(passages)

    def spans(self, text: str) -> Sequence[Sequence[int]]:
        """The labelled spans."""
        return self._spans[text]


def ceiling() -> dict[str, float]:
    """How well the second labels agree with the first, on the texts that were labelled twice."""
    first = dict(read(BUILD) + read(HELD_OUT))
    second = read(SECOND)
    return agreement(Labels(second), [(text, first[text]) for text, _ in second])


def by_manner(tagger: Tagger, path: Path) -> dict[str, dict[str, float]]:
    """The agreement on the texts of each manner that the file names."""
    manners: dict[str, list[Passage]] = defaultdict(list)
    for row in lines(path):
        if "manner" in row:
            manners[row["manner"]].append((row["text"], row["spans"]))
    return {manner: agreement(tagger, passages) for manner, passages in manners.items()}


def by_move(tagger: Tagger, passages: Sequence[Passage]) -> dict[str, list[int]]:
    """Move -> [spans touched, spans, characters covered, characters] of the labelled spans."""
    found = {move: [0, 0, 0, 0] for move, _ in MOVES}
    for text, spans in passages:
        mask = marked(len(text), tagger.spans(text))
        for start, end in spans:
            row = found[next(move for move, words in MOVES if re.search(words, text[start:end].lower()))]
            inside = mask[start:end]
            row[:] = row[0] + bool(inside.any()), row[1] + 1, row[2] + int(inside.sum()), row[3] + end - start
    return {move: row for move, row in found.items() if row[1]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables and keep the figures (of the shipped taggers on the shipped labels)."""
    parser = argparse.ArgumentParser(prog="benchmarks.tagger", description="Agreement and speed of the taggers.")
    parser.add_argument("files", nargs="*", type=Path, help="labelled files (default: the shipped ones)")
    parser.add_argument("--lexicon", type=Path, help="a lexicon (default: the shipped network and lexicon)")
    parser.add_argument("--show", action="store_true", help="what is missed and wrongly marked; not for held-out files")
    asked = parser.parse_args(arguments)
    taggers = SHIPPED if asked.lexicon is None else {str(asked.lexicon): lambda: LexiconTagger(asked.lexicon)}
    console, kept = Console(), {}
    shipped = not asked.files and asked.lexicon is None
    for name, made in taggers.items():
        tagger = made()
        console.rule(f"{name}, version {tagger.version}")
        found = judged(tagger, asked.files or [BUILD, HELD_OUT], asked.show, console)
        kept[name] = {"version": tagger.version, "hash": tagger.hash, "agreement": found}
        if shipped:
            kept[name]["speed"] = speed(tagger)
            console.print(speed_table(kept[name]["speed"]))
    if not asked.files:
        twice = ceiling()
        console.print(
            f"two labellers, {twice['texts']} texts: F1 {twice['f1']:.3f}, spans met {twice['spans touched']:.0%}"
        )
        if shipped:
            targets = {"f1": TARGET_F1, "tokens_per_s": TARGET_SPEED}
            keep("tagger", {"taggers": kept, "labellers": twice, "targets": targets})


def judged(tagger: Tagger, files: Sequence[Path], show: bool, console: Console) -> dict[str, Any]:
    """The figures of each file, printed."""
    found: dict[str, Any] = {}
    for path in files:
        passages = read(path)
        found[path.stem] = agreement(tagger, passages)
        found[path.stem] |= {"interval": interval(tagger, passages), "moves": by_move(tagger, passages)}
        found[path.stem] |= {"whole phrases": whole(tagger, passages), "manners": by_manner(tagger, path)}
        found[path.stem] |= {"written otherwise": steadiness(tagger, passages)}
        if show and path.stem not in (HELD_OUT.stem, SECOND.stem):
            missed, wrong = mistakes(tagger, passages)
            console.print({"missed": missed.most_common(60), "wrong": wrong.most_common(60)})
    for made in (agreement_table, manner_table, move_table):
        console.print(made(found))
    return found


def agreement_table(found: Mapping[str, Any]) -> Table:
    """One line a file."""
    heads = ("texts", "spans", "precision", "recall", "F1", "95% interval", "spans touched", "missed, wrong in wholes")
    table = Table("file", *heads)
    for name, row in found.items():
        shares = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        low, high = row["interval"]
        touched = f"{row['spans touched']:.0%}"
        wholes = ", ".join(f"{share:.0%}" for share in row["whole phrases"].values())
        table.add_row(name, str(row["texts"]), str(row["spans"]), *shares, f"{low:.3f} to {high:.3f}", touched, wholes)
    return table


def manner_table(found: Mapping[str, Any]) -> Table:
    """One line a file and manner."""
    table = Table("file", "manner", "texts", "spans", "F1")
    for name, row in found.items():
        for manner, of in row["manners"].items():
            table.add_row(name, manner, str(of["texts"]), str(of["spans"]), f"{of['f1']:.3f}")
    return table


def move_table(found: Mapping[str, Any]) -> Table:
    """What is missed: spans without any marked character, and the characters of spans that are not marked."""
    table = Table("move", *(f"{name}: {what}" for name in found for what in ("spans missed", "characters missed")))
    for move, _ in MOVES:
        rows = [row["moves"].get(move) for row in found.values()]
        if any(rows):
            cells = [
                cell
                for row in rows
                for cell in ((f"{row[1] - row[0]} of {row[1]}", f"{1 - row[2] / row[3]:.0%}") if row else ("", ""))
            ]
            table.add_row(move, *cells)
    return table


if __name__ == "__main__":
    main()
