"""How varied the plans are: entropy of the planning phrases across the completions of a step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diagnostics.grams.entropies import conditional_entropy, coverage, entropy, variety
from diagnostics.grams.words import follower, pieces, words
from rltrain.types import Completion, Event, Panel, StepRecord, Tagger

LONGEST = 8  # words; a longer run of planning tokens is several phrases that touch
FEWEST = 5  # a gram's followers are looked at from so many occurrences on; with fewer the estimate is mostly bias


class PlanDiagnostic:
    """Computes `plan/*` from the planning masks, whatever tagger made them.

    A gram is a run of planning tokens as words without case and punctuation; only the policy's own tokens count (a
    tool's answer is in the text and not in the loss mask). In the semantic entropy it counts once a completion, so that
    one completion caught in a loop does not decide, and in the variety each completion has one vote; in what follows it
    counts each time. Below `min_planning_tokens` in a step there are counts and nothing else.
    Source: "Emergent Hierarchical Reasoning in LLMs through RL" (HICRA), arXiv 2509.03646, section 3.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Variety of plans",
            ("plan/variety",),
            "line",
            "Chance that two completions of a step plan with different phrases. Rising after the execution perplexity "
            "has settled is the turn to planning, and what the phase is judged by; falling is a narrowing to a few "
            "phrases. Longer completions do not move it. Missing where a step has too few planning tokens; at 1 no "
            "phrase was seen twice, which says nothing.",
        ),
        Panel(
            "Semantic entropy of plans",
            ("plan/semantic_entropy",),
            "line",
            "Entropy of the planning phrases of a step, corrected for those a small step does not show. It rises with "
            "the number of phrases where most are seen once: distrust it where the coverage is below one half.",
        ),
        Panel(
            "What follows a planning phrase",
            ("plan/next_entropy",),
            "line",
            "How open the next word is once a phrase stands. It stays flat while plans vary more: the same moves "
            "are carried out in the same way. Falling to 0, phrases have become fixed openings.",
        ),
        Panel(
            "What the variety rests on",
            ("plan/grams", "plan/distinct_grams", "plan/next_pairs", "plan/with_phrases", "plan/looked_at"),
            "line",
            "Phrases counted, how many different ones, and phrases with a follower that could be used. With a few "
            "dozen grams the entropy is uncertain by about half a nat.",
        ),
        Panel(
            "Coverage of the phrases",
            ("plan/coverage",),
            "line",
            "Chance that the next phrase is one the step has shown already. Near 1 the entropy rests on what was "
            "seen, near 0 on the correction alone.",
        ),
        Panel(
            "Share of planning",
            ("plan/ratio", "plan/completions"),
            "line",
            "Share of planning tokens, and of completions with any. If it climbs without the outcome, phrases are "
            "being stuffed; with HICRA on, look here first.",
        ),
    )

    def __init__(self, *, min_planning_tokens: int = 32, tagger: Tagger | None = None):
        if min_planning_tokens < 1:
            raise ValueError(f"plan diagnostic: min_planning_tokens {min_planning_tokens}; expected at least 1")
        self.min_planning_tokens = min_planning_tokens
        self._lexicon = {
            "tagger": type(tagger).__name__ if tagger is not None else None,
            "version": getattr(tagger, "version", None),
            "hash": getattr(tagger, "hash", None),
        }
        self._before: Mapping[str, Any] | None = None  # the checkpoint's lexicon, if it was another
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step, in total and per source; empty without completions."""
        if self._before is not None:
            self._events.append(_lexicon_event(record.step, self._before, self._lexicon))
            self._before = None
        by_source = gram_counts(record)
        if not by_source:
            return {}
        total = Counts()
        for counts in by_source.values():
            total.add(counts)
        metrics = self._of(total)
        for source, counts in sorted(by_source.items()):
            metrics |= {f"{name}@{source}": value for name, value in self._of(counts).items()}
        return metrics

    def _of(self, counts: Counts) -> dict[str, float]:
        metrics = {
            "plan/grams": float(counts.grams.total()),
            "plan/distinct_grams": float(len(counts.grams)),
            "plan/completions": counts.planning_completions / counts.completions,
            "plan/with_phrases": float(counts.planning_completions),
            "plan/looked_at": float(counts.completions),
        }
        if counts.planning_tokens < self.min_planning_tokens or not counts.grams:
            return metrics
        if counts.planning_completions > 1:
            metrics["plan/variety"] = variety(counts.votes.values(), counts.squares, counts.planning_completions)
        metrics["plan/semantic_entropy"] = entropy(counts.grams.values())
        metrics["plan/coverage"] = coverage(counts.grams.values())
        often = {gram: after for gram, after in counts.following.items() if after.total() >= FEWEST}
        metrics["plan/next_pairs"] = float(sum(after.total() for after in often.values()))
        if often:
            metrics["plan/next_entropy"] = conditional_entropy(often)
        return metrics

    def events(self) -> list[Event]:
        """One when a checkpoint was taken up with another lexicon."""
        told, self._events = self._events, []
        return told

    def state_dict(self) -> dict[str, Any]:
        """The lexicon's name, version and hash; every step stands alone otherwise."""
        return {"lexicon": self._lexicon}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember a checkpoint's lexicon if it is another: the next step tells.

        It is a warning and no error: a long run must outlive a mended phrase or an update of rltrain, and
        a changed `tagger` section of the config is refused before this.
        """
        before = state["lexicon"]
        same = all(before[key] == self._lexicon[key] for key in ("tagger", "hash"))
        self._before = None if same else before


class Counts:
    """What the measures of a step are made of. Counts of parts of a step add up to those of the step."""

    def __init__(self) -> None:
        self.grams: Counter[str] = Counter()  # completions that have the gram
        self.votes: defaultdict[str, float] = defaultdict(float)  # gram -> sum of its shares of completions
        self.squares = 0.0  # sum of these shares, squared
        self.following: defaultdict[str, Counter[str]] = defaultdict(Counter)  # gram -> what follows it, each time
        self.planning_tokens = 0
        self.completions = 0
        self.planning_completions = 0

    def add(self, other: Counts) -> None:
        """Take in the counts of another part."""
        self.grams += other.grams
        for gram, vote in other.votes.items():
            self.votes[gram] += vote
        self.squares += other.squares
        for gram, after in other.following.items():
            self.following[gram] += after
        self.planning_tokens += other.planning_tokens
        self.completions += other.completions
        self.planning_completions += other.planning_completions


def gram_counts(record: StepRecord) -> dict[str, Counts]:
    """Per source, from the admitted completions that were tagged and have a trained token.

    Where the trainer's arrays are not there every token is taken for the policy's own.
    """
    by_source: defaultdict[str, Counts] = defaultdict(Counts)
    for group, i, completion, tokens in record.completions():
        if not group.planning or (tokens is not None and len(tokens.loss_mask) and not tokens.loss_mask.any()):
            continue
        planning = group.planning[i] if tokens is None else group.planning[i] & tokens.loss_mask
        counts = by_source[group.task.source]
        found = list(grams(completion, planning))
        for phrase, times in Counter(gram.words for gram in found).items():
            share = times / len(found)
            counts.grams[phrase] += 1
            counts.votes[phrase] += share
            counts.squares += share * share
        for gram in found:
            counts.following[gram.words][gram.follower] += 1
        counts.planning_tokens += int(planning.sum())
        counts.completions += 1
        counts.planning_completions += bool(found)
    return dict(by_source)


class Gram(NamedTuple):
    """A planning phrase where it stands in a completion."""

    words: str
    follower: str  # the next word, sign or number


def grams(completion: Completion, planning: np.ndarray) -> Iterator[Gram]:
    """The runs of planning tokens (T,) bool, as words, with what follows each."""
    for start, end in runs(completion.offsets, planning):
        parts = pieces(words(completion.text[start:end]), LONGEST)
        after = [*(part.partition(" ")[0] for part in parts[1:]), follower(completion.text, end)]
        yield from map(Gram, parts, after)


def runs(ends: np.ndarray, planning: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) in characters of the runs of marked tokens; `ends` (T,) are the tokens' ends in the text.

    Tokens without a character of their own (parts of one) are never marked and break no run.
    """
    marked = np.flatnonzero(planning)
    if not len(marked):
        return []
    starts, stops = np.concatenate([[0], ends[:-1]])[marked], ends[marked]
    first = np.concatenate([[True], starts[1:] > stops[:-1]])
    last = np.concatenate([first[1:], [True]])
    return list(zip(starts[first].tolist(), stops[last].tolist(), strict=True))


def _lexicon_event(step: int, before: Mapping[str, Any], now: Mapping[str, Any]) -> Event:
    return Event(
        step,
        "lexicon_changed",
        "warning",
        {"before": dict(before), "now": dict(now)},
        "planning tokens are found by other phrases than before the checkpoint: entropy/*, plan/* and ppl/* have a "
        "break at this step, and so has any credit given to planning tokens; for one unbroken curve go on with the "
        "old lexicon, or have the whole run marked by one: `rltrain diagnose RUN --tagger NAME` (or `--lexicon FILE`)",
    )
