"""Prompts by what they have to teach: too hard is set aside and probed, too easy is thinned, the rest is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from curricula.beliefs import Beliefs
from curricula.choice import candidates, draw, oldest, rounded
from curricula.journal import Journal, shown
from curricula.panels import PANELS
from curricula.pools import Bounds, Pool, Shelf, judge
from curricula.progress import Progress
from curricula.reformulation import Reformulation
from curricula.relations import relations
from curricula.roster import Roster
from curricula.settings import expect, one_of
from curricula.tally import Tally
from rltrain.types import REFORMULATED, Event, Group, Task, TaskTable

PATIENCE = 3  # times an untried prompt is asked for without a result before it is left alone
MOST_PROBES = 0.5  # of a batch, where probes bring prompts back and there is other work
OPEN, ASIDE = (Pool.LEARNABLE, Pool.UNKNOWN), (Pool.QUARANTINED, Pool.TOO_EASY)
ACTIONS = dict(zip((*OPEN, *ASIDE), ("learn", "explore", "probe", "watch"), strict=True))


class Difficulty:
    """Keeps a pass-rate posterior for each prompt and draws by what a prompt has to teach.

    `low`, `high`, `confidence`, `min_visits`: a prompt is too hard once P(pass rate < low) exceeds the
    confidence after that many groups, too easy once P(pass rate > high) does. `half_life` (steps) and `memory`
    (completions) bound how long evidence counts. `explore` is the least share of a batch for unknown prompts,
    which grows to the share of first tries that had successes and failures; `probe` is the share for set-aside
    ones that are due, which grows to the share of them that came back, up to a half. They are due after
    `probe_every` steps, then 2, 4, 8 times that, at once when related prompts improve, and are tried sooner where a
    batch would repeat itself. `prefer`: prompts are drawn by p(1 - p), or by the learning `progress` of related
    prompts. `when_empty`: with nothing learnable or unknown left, `probe` what is set aside before its time, `widen`
    to all prompts alike, or `stop` the run after the step. `reformulate` is the share of a batch in which something
    easier is asked in place of quarantined prompts (reformulation.py), `solution` the column of solutions for it.
    """

    panels = PANELS

    def __init__(
        self,
        tasks: TaskTable,
        *,
        seed: int,
        inner: Callable[..., Any] | None = None,
        low: float = 0.1,
        high: float = 0.9,
        confidence: float = 0.9,
        min_visits: int = 2,
        half_life: float = 50.0,
        memory: float = 64.0,
        explore: float = 0.25,
        probe: float = 0.1,
        probe_every: int = 20,
        prefer: Literal["variance", "progress"] = "variance",
        when_empty: Literal["probe", "widen", "stop"] = "probe",
        reformulate: float = 0.0,
        solution: str = "solution",
    ):
        if inner is not None:
            raise ValueError("difficulty: takes no inner curriculum, it chooses single prompts")
        if not len(tasks):
            raise ValueError("difficulty: there are no tasks")
        shares = dict(low=low, high=high, explore=explore, probe=probe, reformulate=reformulate)
        expect("difficulty", shares, 0, 1)
        expect("difficulty", {"confidence": confidence}, 0.5, 1)
        if not isinstance(solution, str):
            raise ValueError(f"difficulty: solution: expected the name of a column, got {solution!r}")
        expect(
            "difficulty", dict(min_visits=min_visits, probe_every=probe_every, half_life=half_life, memory=memory), 1
        )
        if low >= high:
            raise ValueError(f"difficulty: low {low} is not below high {high}; expected low < high")
        one_of("difficulty", "prefer", prefer, ("variance", "progress"))
        one_of("difficulty", "when_empty", when_empty, ("probe", "widen", "stop"))
        self._tasks, self._seed, self._when_empty = tasks, seed, when_empty
        self._bounds = Bounds(low, high, confidence, min_visits)
        self._explore, self._probe, self._prefer = explore, probe, prefer
        self._roster, self._relations = Roster(tasks.keys), relations(tasks)
        self._beliefs = Beliefs(self._relations, half_life=half_life, memory=memory)
        self._shelf = Shelf(len(tasks), probe_every=probe_every, patience=PATIENCE)
        self._progress = Progress(self._relations.names)
        self._reformulate = reformulate
        self._tally, self._journal = Tally(len(self._relations.names)), Journal()
        self._forms = Reformulation(tasks, self._roster, self._relations, self._journal, solution=solution)
        self._draws = self._asked = 0
        self._gone: frozenset[str] = frozenset()  # prompts of loaded states; groups of them may still be under way

    def sample(self, n: int) -> list[Task]:
        """The next n tasks."""
        rng = np.random.default_rng([self._seed, self._draws])
        self._draws += 1
        tasks = self._reformulated(rounded(self._reformulate * n, rng), rng) if self._reformulate else []
        while len(tasks) < n:
            tasks += [self._ask(row, action) for row, action in self._choose(n - len(tasks), rng)]
        return tasks

    def observe(self, groups: Sequence[Group]) -> None:
        """Learn from the outcomes of each group, in order."""
        moved: dict[tuple[Pool, Pool], list[str]] = {}
        for group in (group for group in groups if group.task.key not in self._gone):
            if mark := group.task.meta.get(REFORMULATED):
                self._learn_form(group, mark["of"])
                continue
            row = self._roster.row(group.task.key)
            self._note(row, group)
            if group.outcomes:
                was, now = self._learn(row, group)
                if was != now:
                    moved.setdefault((was, now), []).append(group.task.key)
        self._tally.empty &= not any(now in OPEN for _, now in moved)
        self._journal.moved(moved)

    def admit(self, group: Group) -> str | None:
        """Every group: what has no variance is the loop's to refuse."""
        return None

    def decisions(self) -> list[dict[str, Any]]:
        """What was drawn and moved, and why, since the last call."""
        return self._journal.decisions()

    def events(self) -> list[Event]:
        """What a person should know, since the last call."""
        return self._journal.events()

    def metrics(self) -> dict[str, float]:
        """Sizes of the pools, moves between them, surprise and lag."""
        sizes = {f"curriculum/{label}": float(count) for label, count in self._shelf.sizes().items()}
        return sizes | self._tally.metrics() | self._forms.metrics()

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next prompt: columns of 35 bytes a prompt, and the keys."""
        return {
            "keys": self._roster.packed(),
            "gone": sorted(self._gone),
            "seed": self._seed,
            "draws": self._draws,
            "asked": self._asked,
            "beliefs": self._beliefs.state_dict(),
            "shelf": self._shelf.state_dict(),
            "progress": self._progress.state_dict(),
            "forms": self._forms.state_dict(),
            "tally": self._tally.state_dict(),
            "journal": self._journal.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; prompts that came since are unknown, and an event lists them and those gone."""
        match = self._roster.match(state["keys"])
        earlier = {key for key in state["gone"] if self._roster.rows([key])[0] < 0}
        self._gone = frozenset({*match.gone, *earlier})
        self._seed, self._draws, self._asked = state["seed"], state["draws"], state["asked"]
        self._beliefs.load_state_dict(state["beliefs"], match.saved, match.now)
        self._shelf.load_state_dict(state["shelf"], match.saved, match.now)
        self._progress.load_state_dict(state["progress"])
        self._forms.load_state_dict(state["forms"])
        self._journal.load_state_dict(state["journal"])
        self._tally.load_state_dict(state["tally"], same=not (match.added or match.gone))
        if match.added or match.gone:
            evidence = {"added": len(match.added), "gone": len(match.gone)}
            evidence |= {"first_added": shown(match.added), "first_gone": shown(match.gone)}
            self._journal.tell("tasks_changed", "warning", evidence, "new prompts are unknown; nothing to do if meant")

    # --- choosing ---

    def _choose(self, n: int, rng: np.random.Generator) -> list[tuple[int, str]]:
        """At most n rows, at least one and none twice, with the action each is drawn for.

        None whose result is awaited, while there is another; where what is left to work on is too little, what is set
        aside is tried before its time.
        """
        shelf, counts = self._shelf, self._shelf.counts
        unknown, learnable = int(counts[Pool.UNKNOWN]), int(counts[Pool.LEARNABLE])
        if not unknown and not learnable:
            return self._without(n, rng)
        share = self._probe and max(self._probe, min(MOST_PROBES, self._tally.freed))
        ripe = shelf.idle(shelf.ripe(self._beliefs.now))
        chosen = oldest(ripe, min(n, rounded(share * n, rng)), shelf.due, rng).tolist()
        left = n - len(chosen)
        explore = min(unknown, rounded(max(self._explore, self._tally.yield_) * left, rng))
        most = max(1, learnable // 2) if unknown else left  # a small pool rests while there is other work
        turns = (Pool.LEARNABLE, min(most, left - explore)), (Pool.UNKNOWN, left), (Pool.LEARNABLE, left)
        for pool, most in turns:
            chosen += self._draw(pool, min(most, n - len(chosen)), rng, chosen)
        if len(chosen) < n:
            aside = np.setdiff1d(shelf.idle(shelf.members(*ASIDE)), chosen)
            chosen += oldest(aside, n - len(chosen), shelf.due, rng).tolist()
        return self._named(chosen or oldest(shelf.members(*ACTIONS), n, shelf.asked, rng).tolist())

    def _without(self, n: int, rng: np.random.Generator) -> list[tuple[int, str]]:
        """With nothing learnable or unknown left: what was configured, and an event that says so.

        Where few prompts were asked for again and again before their results could come, it is not known yet.
        """
        sizes, shelf = self._shelf.sizes(), self._shelf
        advice = "easier or new prompts, a lower `low`, or when_empty: stop"
        if not self._tally.empty and not shelf.awaited():
            self._journal.tell("nothing_learnable", "warning", {"pools": sizes, "then": self._when_empty}, advice)
            self._tally.empty = True
        aside = shelf.members(*ASIDE)
        if self._when_empty == "widen" or not len(aside):
            rows = draw(np.arange(len(self._tasks)), n, lambda rows: np.ones(len(rows)), rng)
            return [(row, "widen") for row in rows.tolist()]
        for rows in (shelf.idle(shelf.members(pool)) for pool in ASIDE):
            if len(rows):
                return self._named(oldest(rows, n, shelf.due, rng).tolist())
        return self._named(oldest(aside, n, shelf.asked, rng).tolist())

    def _named(self, rows: Sequence[int]) -> list[tuple[int, str]]:
        """Rows with the actions of their pools."""
        return [(row, ACTIONS[Pool(int(self._shelf.pool[row]))]) for row in rows]

    def _reformulated(self, count: int, rng: np.random.Generator) -> list[Task]:
        """Up to `count` tasks that stand in for quarantined prompts and are easier."""
        easier = self._forms.draw(self._shelf, count, rng)
        return [self._ask(one, "easier") if isinstance(one, int) else one for one in easier]

    def _draw(self, pool: Pool, count: int, rng: np.random.Generator, taken: Sequence[int]) -> list[int]:
        """Up to `count` rows of a pool that are not taken or awaited, by what they are worth."""
        if count <= 0:
            return []
        rows = self._shelf.idle(self._shelf.some(pool, candidates(count), rng))
        return draw(rows[~np.isin(rows, taken)], count, self._worth, rng).tolist()

    def _worth(self, rows: np.ndarray) -> np.ndarray:
        """(n,) what a draw of these rows is worth, p(1 - p) or the progress of its relatives."""
        if self._prefer == "progress":
            return self._progress.of(self._relations.of[rows])
        return self._beliefs.posterior(rows).teaches

    def _ask(self, row: int, action: str) -> Task:
        """The task of a row, its choice written down; what never answers is left alone from now on."""
        posterior, task = self._beliefs.posterior(row), self._tasks[row]
        self._asked += 1
        pool = Pool(int(self._shelf.pool[row])).label
        why = f"{pool}, worth {float(self._worth(np.array([row]))[0]):.3f}"
        beta = dict(alpha=float(posterior.alpha), beta=float(posterior.beta))
        self._journal.decide(action, task.key, task.source, why, pool=pool, to=pool, **beta)
        self._shelf.ask(row, self._asked, self._beliefs.now)
        return task

    # --- learning ---

    def _note(self, row: int, group: Group) -> None:
        """That a group came back, and when; that a kind of prompt never has an outcome is told once."""
        self._shelf.answered(row)
        relation = int(self._relations.of[row])
        if self._tally.answered(relation, self._asked - int(self._shelf.asked[row]), bool(group.outcomes)):
            evidence = {"related": self._relations.names[relation]}
            advice = "give these tasks a reward with role: outcome; without one every prompt is drawn alike"
            self._journal.tell("no_outcomes", "warning", evidence, advice)

    def _learn_form(self, group: Group, original: str) -> None:
        """An easier form came back; where it was solved, its original is due."""
        rows = self._roster.rows([original])
        if self._forms.learn(group) and rows[0] >= 0 and self._shelf.pool[rows[0]] == Pool.QUARANTINED:
            self._shelf.hasten(rows, self._beliefs.now)
            self._journal.decide("due", original, group.task.source, f"{group.task.key} was solved")

    def _learn(self, row: int, group: Group) -> tuple[Pool, Pool]:
        """Take a group's outcomes in; the pool the prompt was in and the one it is in now."""
        beliefs, outcomes = self._beliefs, group.outcomes
        good, version = float(sum(outcomes)), max(c.policy_version for c in group.completions)
        before = beliefs.rate(row)
        surprise = beliefs.learn(row, good, len(outcomes) - good, version)
        if before is not None:
            self._progress.note(int(self._relations.of[row]), good / len(outcomes) - before)
        if surprise is None:
            self._tally.first(0 < good < len(outcomes))
        else:
            self._tally.compared(surprise)
        mixed = beliefs.successes[row] > 0 and beliefs.failures[row] > 0
        posterior = beliefs.posterior(row)
        pool, why = judge(posterior, int(beliefs.visits[row]), bool(mixed), self._bounds)
        was = self._shelf.place(row, pool, beliefs.now)
        if was != pool:
            task, beta = group.task, dict(alpha=float(posterior.alpha), beta=float(posterior.beta))
            self._journal.decide("move", task.key, task.source, why, pool=was.label, to=pool.label, **beta)
            self._tally.moved(was.label, pool.label)
        if was in ASIDE:
            self._tally.probed(pool in OPEN)
        if beliefs.risen(row):
            self._hasten(int(self._relations.of[row]))
        return was, pool

    def _hasten(self, relation: int) -> None:
        """Related prompts improve: quarantined ones of the same and of the next level are due now."""
        near = [relation, int(self._relations.harder[relation])]
        aside = self._shelf.members(Pool.QUARANTINED)
        rows = aside[np.isin(self._relations.of[aside], near)]
        self._shelf.hasten(rows, self._beliefs.now)
        if len(rows):
            evidence = {"related": self._relations.names[relation], "prompts": len(rows)}
            self._journal.tell("related_improved", "info", evidence, "quarantined prompts near it are probed now")
