"""Traces asked for, checked and written down, a few prompts at a time; what is written is never done again.

Beside OUT.jsonl, the traces that were kept, stand OUT.left_out.jsonl, the others with the reason, and
OUT.settings.json. A row is appended whole or not at all, so a run that was killed goes on with the same command.
"""

from __future__ import annotations

import fcntl
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rltrain.config import Config, RewardSpec
from rltrain.kit.rows import group
from rltrain.records import jsonl
from rltrain.tables import extend
from rltrain.types import Generator, Group, Task, Unanswered

if TYPE_CHECKING:
    from rltrain.augment import Wish

CHUNK = 16  # prompts that are asked, checked and written at once
RIGHT = 0.99  # outcome from which a trace counts as right


@dataclass
class Journal:
    """The files of one augmentation."""

    kept: Path
    left_out: Path
    lock: TextIO  # held while it lives: two writers would do everything twice

    @classmethod
    def open(cls, out: Path, settings: Mapping[str, Any]) -> Journal:
        """Begin, or go on. ValueError where the file was begun with other settings, or another process writes it."""
        about, left_out = out.with_suffix(".settings.json"), out.with_suffix(".left_out.jsonl")
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not about.exists():
            raise ValueError(f"{out} is there and was not written by augment; give another --out")
        lock = about.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{out} is being written by another process") from None
        lock.seek(0)
        before, wanted = lock.read(), json.loads(json.dumps(settings))
        if before and (other := _different(json.loads(before), wanted)):
            raise ValueError(f"{out} was begun with another {other}; give another --out, or the same again to go on")
        if not before:
            lock.write(json.dumps(wanted, indent=1))
            lock.flush()
        for path in (out, left_out):
            jsonl.keep(path, lambda row: "id" in row)
        return cls(out, left_out, lock)

    def done(self) -> Counter[str]:
        """Task key -> traces that were judged, kept or not."""
        return Counter(row["id"] for path in (self.kept, self.left_out) for row in jsonl.read(path))

    def texts(self) -> dict[str, set[str]]:
        """Task key -> traces that were kept."""
        found: dict[str, set[str]] = defaultdict(set)
        for row in jsonl.read(self.kept):
            found[row["id"]].add(row["completion"][0]["content"])
        return found


def _different(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The settings that are not the same, by name."""
    return " and ".join(name for name in wanted if before.get(name) != wanted[name])


def write(
    wish: Wish, tasks: Sequence[Task], rewards: Sequence[RewardSpec], config: Config | None, journal: Journal
) -> None:
    """Ask for every trace that is missing. RuntimeError where a whole chunk gets no answer, or some got none."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    done = journal.done()
    missing = [task for task in tasks if done[task.key] < wish.samples]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not missing:
        return
    with ExitStack() as stack:
        generator, judge = _started(wish, rewards, config, stack)
        progress = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        bar = progress.add_task("traces", total=len(tasks), completed=len(tasks) - len(missing))
        seen, failed = journal.texts(), []
        for chunk in _chunks(missing):
            wanted = [task for task in chunk for _ in range(wish.samples - done[task.key])]
            prompts = [extend(list(task.prompt), wish.instruction) for task in wanted]
            said = generator.generate(prompts, max_tokens=wish.max_tokens, temperature=wish.temperature)
            failed += [answer for answer in said if isinstance(answer, Unanswered)]
            if all(isinstance(answer, Unanswered) for answer in said):
                kept = f"what there is stands in {wish.out}; " if Path(wish.out).exists() else ""
                raise RuntimeError(f"no answer: {said[0].message}; {kept}go on by the same command")
            _judge_and_keep(chunk, list(zip(wanted, said, strict=True)), judge, journal, seen)
            progress.advance(bar, len(chunk))
    if failed:
        raise RuntimeError(
            f"{len(failed)} traces got no answer, the first: {failed[0].message}; go on by the same command"
        )


def _judge_and_keep(
    chunk: Sequence[Task],
    said: Sequence[tuple[Task, str | Unanswered]],
    judge: Callable[[Sequence[Group]], Sequence[Group]],
    journal: Journal,
    seen: dict[str, set[str]],
) -> None:
    """Write each answered trace to one of the two files; what was not answered is asked again next time."""
    texts = {
        task.key: [text for asked, text in said if asked.key == task.key and isinstance(text, str)] for task in chunk
    }
    groups = [group(task, texts[task.key], number) for number, task in enumerate(chunk) if texts[task.key]]
    for judged in judge(groups):
        scores = judged.scores or (None,) * len(judged.completions)
        for completion, score in zip(judged.completions, scores, strict=True):
            outcome = None if score is None else score.outcome
            row = {"id": judged.task.key, "level": judged.task.level, "outcome": outcome}
            row["words"] = len(completion.text.split())
            if reason := _reason(completion.text, score, seen[judged.task.key]):
                jsonl.append(journal.left_out, {**row, "reason": reason})
            else:
                seen[judged.task.key].add(completion.text)
                jsonl.append(journal.kept, _kept(judged.task, completion.text) | row)


def _reason(text: str, score: Any, seen: set[str]) -> str | None:
    """Why a trace is left out; None for one that is kept."""
    if not text.strip():
        return "empty"
    if text in seen:
        return "repeated"
    if score is None or (score.error is None and score.outcome is None):  # nothing that applies judges it
        return None
    if score.error is not None:
        return score.error.split("\n")[0]
    return None if score.outcome >= RIGHT else "wrong"


def _kept(task: Task, text: str) -> dict[str, Any]:
    """A row that is a task of the source `file`, and a row of TRL's prompt-completion form; without the instruction."""
    completion = [{"role": "assistant", "content": text}]
    return {**task.meta, "prompt": list(task.prompt), "completion": completion, "answer": task.answer}


def _chunks(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    for start in range(0, len(tasks), CHUNK):
        yield tasks[start : start + CHUNK]


def _started(
    wish: Wish, rewards: Sequence[RewardSpec], config: Config | None, stack: ExitStack
) -> tuple[Generator, Callable[[Sequence[Group]], Sequence[Group]]]:
    """The generator, and what judges groups: the rewards in processes of their own, or nobody."""
    from rltrain import cluster, lending
    from rltrain.scoring_pool import ScoringPool

    stack.enter_context(cluster.session())
    closers: list[Callable[[], None]] = []
    stack.callback(lambda: [close() for close in reversed(closers)])
    generator = lending.generator(wish.generator, closers)
    generator.ready()
    if config is None or not rewards:
        return generator, lambda groups: groups
    alone = config.model_copy(update={"rewards": list(rewards), "diagnostics": []})
    lent = {"scorer": lending.scorer(alone, closers), "judge": lending.judge(alone, closers)}
    pool = ScoringPool(rewards, 1, lent={name: one for name, one in lent.items() if one is not None})
    closers.append(pool.close)

    def judge(groups: Sequence[Group]) -> Sequence[Group]:
        for one in groups:
            pool.submit(one)
        found: list[Group] = []
        while pool.unfinished():
            found += pool.ready(1.0)
        return sorted(found, key=lambda one: one.ticket)

    return generator, judge
