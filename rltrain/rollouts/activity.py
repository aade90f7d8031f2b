"""How an engine spends its time: seconds of each activity, which add up to the wall clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Literal, get_args

Doing = Literal["starting", "loading", "generating", "idle"]
ACTIVITIES: tuple[Doing, ...] = get_args(Doing)


class Activity:
    """Seconds of each activity since the last `take`.

    An engine keeps one, and turns it as it goes from one activity to the next. The pool keeps one for the engine's
    place, turned by the engine's reports: what a report does not account for (its way here, a process that is only
    being started) counts as what was done before it. So the seconds of a place add up to the wall clock, whoever
    sits in it and however often it was replaced.
    """

    def __init__(self, now: float) -> None:
        """`now`: seconds of a monotonic clock, here and below."""
        self.doing: Doing = "starting"
        self._since = now
        self._seconds: Counter[str] = Counter()

    def turn(self, doing: Doing, now: float, told: Mapping[str, float] = {}) -> None:
        """From now on it does this. `told`: seconds by activity that are known of the time since the last turn."""
        self._seconds.update(told)
        self._seconds[self.doing] += now - self._since - math.fsum(told.values())
        self.doing, self._since = doing, now

    def take(self, now: float) -> dict[str, float]:
        """Seconds by activity since the last call, what goes on now included.

        A report that comes later may know better: what was counted too much is then left out of the next call.
        """
        self.turn(self.doing, now)
        taken = {doing: seconds for doing, seconds in self._seconds.items() if seconds > 0}
        self._seconds = Counter({doing: seconds for doing, seconds in self._seconds.items() if seconds < 0})
        return taken
