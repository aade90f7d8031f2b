"""`rltrain augment FILE`: a task file with reasoning traces, to begin from by supervised fine-tuning.

Thinking-augmented training (arXiv 2509.20186) puts a generated train of thought behind a document; here it stands
between a task's prompt and its answer, written by any engine or address, and is kept only if it ends right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rltrain.augment import report, work
from rltrain.config import Config, GeneratorSpec, RewardSpec, TaskSource, parse_generator
from rltrain.tables import Lines, ParquetRows
from rltrain.types import Task

INSTRUCTION = (
    "\n\nThink aloud before you answer, as an expert who explains to a learner how the solution is found: what is "
    "asked, which way to go and why, each step that matters, a check at the end. Leave out what is trivial. Then give "
    "the answer in the form asked for."
)


@dataclasses.dataclass(frozen=True)
class Wish:
    """What was asked for."""

    file: Path
    out: Path
    generator: GeneratorSpec
    samples: int  # traces of a prompt
    max_tokens: int
    temperature: float
    instruction: str = INSTRUCTION

    def settings(self, rewards: Sequence[RewardSpec]) -> dict[str, Any]:
        """What must be the same for a file to be gone on with."""
        who = self.generator.model_dump(include={"model", "url"})
        how = {name: getattr(self, name) for name in ("samples", "max_tokens", "temperature", "instruction")}
        return {
            "file": str(self.file.resolve()),
            **who,
            **how,
            "rewards": [spec.model_dump(mode="json") for spec in rewards],
        }


def main(wish: Wish, config: Config | None) -> None:
    """Write what is missing, then tell what there is. ValueError for wrong input, RuntimeError without answers."""
    if wish.generator.model is None:
        raise ValueError("augment: which model writes? Give model=NAME, and url=ADDRESS where it is behind one")
    if wish.samples > 1 and wish.temperature == 0:
        raise ValueError(f"augment: {wish.samples} traces of a prompt at temperature 0 are all the same; raise it")
    if not wish.file.is_file():
        raise ValueError(f"augment: {wish.file}: no such file")
    tasks, notes = read(wish.file, config)
    rewards = [spec for spec in config.rewards if spec.role == "outcome"] if config else []
    journal = work.Journal.open(wish.out, wish.settings(rewards))
    for note in notes:
        print(note)
    try:
        work.write(wish, tasks, rewards, config, journal)
    finally:
        report.tell(report.entries(journal), wish.out)


def read(file: Path, config: Config | None) -> tuple[Sequence[Task], list[str]]:
    """The distinct tasks of a file, and what is to be said about them.

    Columns are those of the config's source that reads this file, else `prompt` and, where they are there, `answer`,
    `level` and `id`.
    """
    from rltrain import tasks

    spec = next((s for s in config.tasks if _reads(s, file)), None) if config else None
    if spec is None:
        if file.suffix not in (".jsonl", ".json", ".ndjson", ".parquet"):
            raise ValueError(f"augment: {file}: expected .jsonl or .parquet")
        rows = ParquetRows(file) if file.suffix == ".parquet" else Lines(file)
        if not len(rows):
            raise ValueError(f"augment: {file} is empty")
        present = {name: name if name in rows.columns else None for name in ("answer", "level", "id")}
        spec = TaskSource(use="file", args={"path": str(file), **present})
    found = tasks.build([spec.model_copy(update={"held_out": 0.0})], seed=0)
    return [found.train[i] for i in range(len(found.train))], found.notes


def _reads(spec: TaskSource, file: Path) -> bool:
    return spec.use == "file" and Path(spec.args.get("path", "")).resolve() == file.resolve()


def wish(arguments: Any) -> Wish:
    """What the command line asks for. ValueError where it cannot be understood."""
    from rltrain.kit.rows import argument

    given = dict(map(argument, arguments.overrides))
    out = arguments.out or arguments.file.with_name(f"{arguments.file.stem}.augmented.jsonl")
    if out.suffix != ".jsonl" or out.resolve() == arguments.file.resolve():
        raise ValueError(f"--out {out}: expected another file than the one that is read, with .jsonl at its end")
    if arguments.samples < 1 or arguments.max_tokens < 1 or arguments.temperature < 0:
        raise ValueError("augment: expected --samples and --max-tokens of 1 or more, --temperature of 0 or more")
    generator = parse_generator(given)
    return Wish(arguments.file, out, generator, arguments.samples, arguments.max_tokens, arguments.temperature)
