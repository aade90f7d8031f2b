"""The collector: in what order it hands groups on, and what it says it waits for."""

import contextlib
import dataclasses

import numpy as np
from synthetic import completion, group

from diagnostics.formats import RuleFormats
from diagnostics.taggers import NetworkTagger
from rltrain.collect import Collector
from rltrain.types import Sampling, Ticket


class Late:
    """A pool that delivers one group a look, the last one first, and a scoring that has each a look later."""

    def __init__(self):
        self.asked, self.scored, self.looks = [], [], []

    def submit(self, given):
        (self.scored.append(given) if dataclasses.is_dataclass(given) else self.asked.extend(given))

    def wait(self, timeout_s):
        self.looks.append("wait" if timeout_s else "")
        return [(self.asked.pop(), (completion(),))] if self.asked else []

    def ready(self, timeout_s):
        return [self.scored.pop()] if timeout_s and self.scored else []


def test_groups_come_in_the_order_they_were_asked_for_and_waiting_for_scores_has_its_name():
    both, stages = Late(), []

    @contextlib.contextmanager
    def stage(name):
        stages.append((name, len(both.asked), len(both.scored)))
        yield
        stages.append((name, "left"))

    collector = Collector(both, both, NetworkTagger(), RuleFormats())
    task = group().task
    tickets = [Ticket(i, task, np.arange(3, dtype=np.int32), 1, Sampling(), 0, 0) for i in range(3)]
    told = []
    collector.request(tickets)
    found = collector.gather(tickets, lambda done, total: told.append((done, total)), stage=stage)
    assert [one.ticket for one in found] == [0, 1, 2]
    assert stages == [("score", 0, 3), ("score", "left")]  # once all completions are there, and not before
    assert both.looks.count("wait") == 3 and told[0] == (0, 3) and told[-1] == (3, 3)
