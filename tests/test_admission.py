"""Which groups enter a batch: dynamic sampling, the cap, groups left over, and the same stream after a restart."""

from __future__ import annotations

import contextlib
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import config

from benchmarks.learners import Columns, answered
from curricula.uniform import Uniform
from rltrain import admission, loop
from rltrain.config import CurriculumSpec
from rltrain.run import Progress
from rltrain.tickets import TicketOffice

WANTED, BATCHES = 4, 12


class Collector:
    """Groups whose outcomes follow from their ticket's seed; `share` of them have variance."""

    def __init__(self, share):
        self.share, self.sampled = share, []

    def request(self, tickets):
        self.sampled += [ticket.id for ticket in tickets]

    def gather(self, tickets, stage=None):
        mixed = [np.random.default_rng(t.seed).random() < self.share for t in tickets]
        return [
            answered(t.task, [1.0, 0.0] if m else [0.0, 0.0], t.version, t.id)
            for t, m in zip(tickets, mixed, strict=True)
        ]

    def release(self, tickets):
        pass


def made(share, saved=None, **admitted):
    """As much of a run as the stream of batches needs; `saved` as a checkpoint would have it."""
    given = config(
        training={"steps": BATCHES, "prompts_per_step": WANTED}, admission={"zero_variance": "drop", **admitted}
    )
    events = []
    run = SimpleNamespace(
        config=given.model_copy(update={"curriculum": CurriculumSpec()}),
        curriculum=Uniform(Columns(["a"] * 40), seed=0),
        gates=[],
        collector=Collector(share),
        office=TicketOffice(lambda prompt: [1], seed=0, max_prompt=8, long_prompts="drop"),
        progress=Progress(),
        stages=lambda name: contextlib.nullcontext(),
        rest=lambda: None,
        events=events,
        event=events.append,
    )
    if saved:
        run.progress, office, curriculum = pickle.loads(saved)
        run.office.load_state_dict(office)
        run.curriculum.load_state_dict(curriculum)
    return run


def batches(run, count=BATCHES, lag=0):
    """The batches the loop would train on, as it asks for them."""
    taken = []
    for _ in range(count):
        while len(run.progress.requested) <= lag and run.progress.requests_left(run.config):
            asked = admission.at_first(run.config, len(run.progress.judged))
            run.progress.requested.append(loop.steps.request(run, asked, version=run.progress.rollouts))
        taken.append(loop.collect(run, version=run.progress.rollouts))
        run.progress.rollouts += 1
    return taken


def saved(run):
    return pickle.dumps((run.progress, run.office.state_dict(), run.curriculum.state_dict()))


def tickets(groups, admitted=True):
    return [group.ticket for group in groups if group.admitted == admitted]


def test_a_batch_without_variance_is_filled_up_with_others():
    run = made(0.5)
    for groups in batches(run):
        assert len(tickets(groups)) == WANTED
        assert all(g.reject_reason == admission.EQUAL for g in groups if not g.admitted)
    assert run.progress.judged == []


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize("oversample", [1.0, 1.5, 3.0])
def test_nothing_sampled_is_lost_or_trained_twice(oversample, lag):
    run = made(0.6, oversample=oversample)
    every = [group for groups in batches(run, lag=lag) for group in groups] + run.progress.judged
    assert sorted(group.ticket for group in every) == sorted(run.collector.sampled)
    if lag == 0:  # else what fills a batch up is asked for after the next batch was
        assert tickets(every) == sorted(tickets(every)), "trained in the order they were asked for"


def test_accepted_groups_beyond_the_batch_wait_for_the_next_one():
    run = made(1.0, oversample=2.0)
    first, second = batches(run, 2)
    assert tickets(first) == [0, 1, 2, 3] and tickets(second) == [4, 5, 6, 7]
    assert run.collector.sampled == list(range(8)), "the second batch was there already"


def test_at_the_cap_what_was_accepted_is_trained_and_none_is_thrown_away():
    run = made(0.1, max_factor=2.0, oversample=2.0)
    taken = batches(run)
    assert max(map(len, taken)) <= 2 * WANTED
    assert {len(tickets(groups)) for groups in taken} >= {1}
    everyone = [ticket for groups in taken for ticket in (*tickets(groups), *tickets(groups, admitted=False))]
    assert sorted(everyone) == run.collector.sampled
    assert {event.name for event in run.events} == {"nothing_admitted"}


@pytest.mark.parametrize("lag", [0, 2])
def test_a_restart_at_any_batch_changes_nothing(lag):
    whole = made(0.5, oversample=1.5)
    expected = [[(g.ticket, g.task.key, g.admitted) for g in groups] for groups in batches(whole, lag=lag)]
    for cut in range(1, BATCHES):
        first = made(0.5, oversample=1.5)
        batches(first, cut, lag=lag)
        again = batches(made(0.5, saved(first), oversample=1.5), BATCHES - cut, lag=lag)
        assert [[(g.ticket, g.task.key, g.admitted) for g in groups] for groups in again] == expected[cut:]


def test_a_stop_inside_a_batch_loses_nothing(monkeypatch):
    """Too many errors checkpoint and stop between the rounds of one batch: what was judged is in the checkpoint."""
    whole = [tickets(groups) for groups in batches(made(0.4))]
    run, rounds = made(0.4), []

    def stop(run, groups):
        rounds.append(saved(run))
        if len(rounds) == 2:
            raise loop.steps.TooManyErrors("stop here")

    with monkeypatch.context() as patched:
        patched.setattr(loop.steps, "check_errors", stop)
        with pytest.raises(loop.steps.TooManyErrors):
            batches(run)
    assert run.progress.judged and run.progress.rollouts == 0
    assert [tickets(groups) for groups in batches(made(0.4, rounds[1]))] == whole


def test_more_at_once_than_the_cap_allows_is_refused():
    with pytest.raises(ValueError, match=r"admission\.oversample: 4 is over max_factor 3"):
        made(1.0, oversample=4.0)


def test_groups_that_wait_make_a_run_that_is_not_aligned():
    assert config().aligned and not config(admission={"oversample": 1.5}).aligned
