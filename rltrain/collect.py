"""Tickets in, scored groups out, in ticket order.

Groups are scored as they arrive, while others are still being sampled; they are handed on in the order
they were asked for, so that neither the number of engines nor their speed changes what is learned.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from rltrain import blame
from rltrain.types import BatchTagger, Completion, FormatClassifier, Group, Tagger, Ticket

WAIT_S = 0.5


class Pool(Protocol):
    """What the collector needs of the rollout pool."""

    def submit(self, tickets: Sequence[Ticket]) -> None: ...
    def wait(self, timeout_s: float) -> list[tuple[Ticket, tuple[Completion, ...]]]: ...


class Scoring(Protocol):
    """What the collector needs of the scoring pool."""

    def submit(self, group: Group) -> None: ...
    def ready(self, timeout_s: float) -> list[Group]: ...


class Collector:
    """Owns every group between the request and the batch."""

    def __init__(self, pool: Pool, scoring: Scoring, tagger: Tagger, formats: FormatClassifier) -> None:
        self._pool, self._scoring = pool, scoring
        self.tagger, self._formats = tagger, formats
        self._sampled: dict[int, tuple[Ticket, tuple[Completion, ...]]] = {}
        self._scoring_now: set[int] = set()
        self._finished: dict[int, Group] = {}

    def request(self, tickets: Sequence[Ticket]) -> None:
        """Have these groups sampled and scored."""
        self._pool.submit(tickets)

    def gather(
        self,
        tickets: Sequence[Ticket],
        told: Callable[[int, int], None] = lambda done, total: None,
        stage: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    ) -> list[Group]:
        """Wait for these groups; they come in the order of their tickets and stay until released.

        `told(done, total)` is called on the way, for a progress bar. `stage("score")` is entered once all completions
        are there and nothing but scores is waited for.
        """
        wanted = [ticket.id for ticket in tickets]

        def missing() -> list[int]:
            found = [i for i in wanted if i not in self._finished]
            told(len(wanted) - len(found), len(wanted))
            return found

        while any(i not in self._scoring_now for i in missing()):
            self._advance(block_on_scores=False)
        with stage("score"):
            while missing():
                self._advance(block_on_scores=True)
        return [self._finished[i] for i in wanted]

    def release(self, tickets: Sequence[Ticket]) -> None:
        """Forget groups that were used."""
        for ticket in tickets:
            del self._sampled[ticket.id], self._finished[ticket.id]

    def settle(self, tickets: Sequence[Ticket]) -> list[tuple[Ticket, tuple[Completion, ...]]]:
        """Wait until these groups are sampled and return them as they are; they stay in the collector."""
        wanted = [ticket.id for ticket in tickets]
        while any(i not in self._sampled for i in wanted):
            self._advance(block_on_scores=False)
        return [self._sampled[i] for i in wanted]

    def restore(self, sampled: Iterable[tuple[Ticket, tuple[Completion, ...]]]) -> None:
        """Take up groups that were sampled before a checkpoint."""
        for ticket, completions in sampled:
            self._receive(ticket, completions)

    def _advance(self, *, block_on_scores: bool) -> None:
        for ticket, completions in self._pool.wait(0.0 if block_on_scores else WAIT_S):
            self._receive(ticket, completions)
        if self._scoring_now:
            for group in self._scoring.ready(WAIT_S if block_on_scores else 0.0):
                self._scoring_now.discard(group.ticket)
                self._finished[group.ticket] = group

    def _receive(self, ticket: Ticket, completions: tuple[Completion, ...]) -> None:
        assert ticket.id not in self._sampled, f"group {ticket.id} was delivered twice"
        self._sampled[ticket.id] = ticket, completions
        self._scoring_now.add(ticket.id)
        self._scoring.submit(tag(ticket, completions, self.tagger, self._formats))


def tag(ticket: Ticket, completions: tuple[Completion, ...], tagger: Tagger, formats: FormatClassifier) -> Group:
    """The group with its planning masks and format names; each completion is read once."""
    planning, named = read(completions, tagger, formats)
    return Group(ticket.id, ticket.task, ticket.prompt_ids, completions, planning=planning, formats=named)


def read(
    completions: Sequence[Completion], tagger: Tagger, formats: FormatClassifier
) -> tuple[tuple[np.ndarray, ...], tuple[str, ...]]:
    """The planning masks (T,) bool of some completions, tagged together, and the names of their formats."""
    spans = planning_spans([completion.text for completion in completions], tagger)
    masks = tuple(planning_mask(c, of) for c, of in zip(completions, spans, strict=True))
    with blame.plugin("formats", formats, "format"):
        return masks, tuple(formats.format(c.text) for c in completions)


def planning_spans(texts: Sequence[str], tagger: Tagger) -> Sequence[Sequence[tuple[int, int]]]:
    """The spans of each text, by one call of a tagger that takes many."""
    if isinstance(tagger, BatchTagger):
        with blame.plugin("tagger", tagger, "batch"):
            return tagger.batch(texts)
    with blame.plugin("tagger", tagger, "spans"):
        return [tagger.spans(text) for text in texts]


def planning_mask(completion: Completion, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """(T,) bool: tokens that share at least one character with a span."""
    mask = np.zeros(len(completion.token_ids), dtype=bool)
    if not spans:
        return mask
    ends = completion.offsets
    starts, stops = np.asarray(spans, dtype=ends.dtype).T
    # the first token that ends after the span starts, up to the first that ends at or after its end
    first, last = np.searchsorted(ends, starts, side="right"), np.searchsorted(ends, stops, side="left")
    for begin, end in zip(first[starts < stops].tolist(), last[starts < stops].tolist(), strict=True):
        mask[begin : end + 1] = True
    return mask & (np.diff(ends, prepend=0) > 0)


def admit(group: Group, reason: str | None) -> Group:
    """The group with the curriculum's verdict on it."""
    return group if reason is None else dataclasses.replace(group, admitted=False, reject_reason=reason)


def errors(groups: Iterable[Group]) -> Mapping[str, Any]:
    """Share of failed scores, their number by kind, and the first failure's text: with a traceback if there is one."""
    scores = [score for group in groups for score in group.scores]
    failed = [score.error for score in scores if score.error]
    kinds = Counter(re.split(r"[\s:]", error, maxsplit=1)[0] for error in failed)
    first = next((error for error in failed if "\n" in error), failed[0] if failed else None)
    return {"rate": len(failed) / max(1, len(scores)), "kinds": dict(sorted(kinds.items())), "first": first}
