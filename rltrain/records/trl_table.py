"""What TRL's GRPOTrainer leaves behind, in the words of our own files: its completions and its logs."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltrain.records import jsonl, row_groups
from rltrain.records.cells import finite, step_of
from rltrain.records.notes import note

if TYPE_CHECKING:
    import pyarrow as pa

    from rltrain.types import StepRecord

COLUMNS = {"step", "prompt", "completion", "advantage"}
OURS = {"task_key", "group", "values"}  # which a table of ours has, or of what was derived from one
KEPT = ("source", "kind", "answer")  # of what a script logs besides
UNSCORED = "Unscored: every reward function returned None"
UNLOGGED = (
    "of steps that no trainer_state.json tells of: where the script evaluates, completions of an evaluation, which TRL "
    "writes over those of its step, count as training"
)
NAMES = {"loss": "loss/total", "grad_norm": "loss/grad_norm", "learning_rate": "loss/learning_rate"} | {
    "clip_ratio/region_mean": "loss/clip_frac",
    "cispo_clip_ratio": "loss/clip_frac",
    "kl": "loss/kl",
    "entropy": "entropy/mean",
}
"""TRL's name of a figure -> ours."""
LENGTHS = {"mean_length": "length/mean", "max_length": "length/max", "clipped_ratio": "length/truncated_frac"}


def is_trl(names: Sequence[str]) -> bool:
    """Whether columns with these names are of TRL's table."""
    return set(names) >= COLUMNS and not OURS & set(names)


def numbers(schema: pa.Schema) -> list[str]:
    """The further columns of numbers: in TRL's table those of its reward functions, or of a script's `log_extra`."""
    import pyarrow as pa

    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    return sorted(
        field.name
        for field in schema
        if field.name not in COLUMNS and not field.name.startswith("__") and any(of(field.type) for of in kinds)
    )


def rewards(schema: pa.Schema, logged: Collection[str]) -> list[str]:
    """The columns of its reward functions: those that TRL's log knows, see `logged_rewards`, else all of numbers."""
    found = numbers(schema)
    return [name for name in found if name in logged] if set(logged) & set(schema.names) else found


def from_trl(row: Mapping[str, Any], rewards: Sequence[str], outcome: str | None) -> dict[str, Any]:
    """A row of TRL's table as one of ours. The weights of the rewards are not in it: they are added as they are."""
    values = {name: number for name in rewards if (number := _number(row.get(name))) is not None}
    found = {
        "prompt": text_of(row.get("prompt")),
        "completion": completion_text(row["completion"]),
        "values": json.dumps(values),
        "reward": values.get("reward", sum(values.values())) if values else None,
        "outcome": _number(row.get(outcome)) if outcome else None,
        "error": UNSCORED if rewards and not values else None,
        "advantage": row.get("advantage"),
    }
    return found | {name: row[name] for name in KEPT if isinstance(row.get(name), str)}


def _number(value: Any) -> float | None:
    """A number, infinite ones too; None for anything else, and for NaN, which TRL writes for None."""
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def text_of(value: Any) -> str:
    """A prompt or completion as text; chat messages are joined, but for those without content, as calls of tools."""
    if isinstance(value, list):
        said = (said_in(part.get("content", part)) if isinstance(part, Mapping) else str(part) for part in value)
        return "\n".join(text for text in said if text)
    return "" if value is None else str(value)


def written_in(value: Any) -> str | None:
    """What the policy wrote in a completion: a text, or chat messages with a text or parts each; None in other things.

    Of messages those of the assistant, one a line: what a tool or a user said between them is not the policy's. Where
    none is of the assistant, all. A message without content, as a call of a tool, says nothing.
    """
    if isinstance(value, str):
        return value
    if not (isinstance(value, list) and value and all(isinstance(m, Mapping) and "content" in m for m in value)):
        return None
    own = [message for message in value if message.get("role") == "assistant"]
    said = (said_in(message["content"]) for message in own or value)
    return "\n".join(text for text in said if text)


def completion_text(value: Any) -> str:
    """`written_in` a cell of a table; what is neither a text nor messages as text, so that no row is lost."""
    found = written_in(value)
    return text_of(value) if found is None else found


def said_in(content: Any) -> str:
    """A message's content as text: of several parts their texts; of an image its place is left."""
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    return "" if content is None else str(content)


def _part(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    text = part.get("text")  # None beside an image: a column has the same fields in all rows
    return text if isinstance(text, str) else f"<{part.get('type', 'part')}>"


def history(path: Path, notes: dict[str, int]) -> list[tuple[int, Mapping[str, Any]]]:
    """Step and line of the log in the newest `trainer_state.json` at a path of TRL's; empty where there is none."""
    folder = path.parent if path.is_file() else path
    folder = folder.parent if folder.name == "completions" else folder
    found: list[tuple[int, Mapping[str, Any]]] = []
    for state in sorted(_states(folder), key=lambda state: state.stat().st_mtime):
        try:
            lines = (jsonl.parsed(state.read_bytes()) or {}).get("log_history")
        except OSError:
            continue
        if not isinstance(lines, list):
            note(notes, f"{state.name} is left out: it is torn, or has no list `log_history` as TRL writes it")
            continue
        steps = [step_of(line.get("step")) if isinstance(line, Mapping) else None for line in lines]
        if lacking := sum(step is None for step in steps):
            note(notes, f"lines of {state.name} without a step are left out", lacking)
        found = [(step, line) for step, line in zip(steps, lines, strict=True) if step is not None]
    return found


def logs(lines: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[int, dict[str, float]]:
    """Step -> figures that have a name of ours, of a `history`."""
    found: dict[int, dict[str, float]] = {}
    for step, line in lines:
        if named := dict(_named(line)):
            found.setdefault(step, {}).update(named)
    return found


def logged_rewards(lines: Sequence[tuple[int, Mapping[str, Any]]]) -> set[str]:
    """The names of the reward functions that a `history` has the means of."""
    named = (re.fullmatch("rewards/(.+)/mean", str(name)) for _, line in lines for name in line)
    return {match[1] for match in named if match}


def evaluated(lines: Sequence[tuple[int, Mapping[str, Any]]]) -> set[int]:
    """The steps of a `history` after which there was an evaluation."""
    return {step for step, line in lines if any(str(name).startswith("eval_") for name in line)}


class Sampled:
    """Tells the steps of tables that hold completions of training which no step before has held; of other tables than
    TRL's each step does.

    TRL writes the last generation at every step it logs, so that with `num_iterations` or `steps_per_generation` the
    same completions are in several files; and an evaluation overwrites the file of its step with its own. Taken for
    what was sampled at that step, the former make every test too sure, the latter are of other prompts.
    """

    def __init__(self, files: Sequence[Path], history: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        self._evaluated, self._of_trl = evaluated(history), _are_trl(files)
        self._logged = max((step for step, _ in history), default=-1)
        self._before: list[tuple[str, str]] = []

    def is_new(self, record: StepRecord, notes: dict[str, int]) -> bool:
        """Whether a step is one of them; where not, a note says why. Steps in order."""
        if not self._of_trl:
            return True
        before, rows = self._before, [(g.task.prompt, c.text) for g in record.groups for c in g.completions]
        self._before = rows
        if record.step > self._logged:
            note(notes, UNLOGGED, len(rows))
        if record.step in self._evaluated:
            note(notes, "of an evaluation, which TRL writes over those of its step: left out", len(rows))
            return False
        if rows == before and len({text for _, text in rows}) > 1:  # a policy that says one thing says it again
            note(notes, "those of the step before once more, as TRL writes a generation it reuses: left out", len(rows))
            return False
        return True


def _are_trl(files: Sequence[Path]) -> bool:
    """Whether the first file that can be read is TRL's."""
    import pyarrow.parquet as parquet

    for path in files:
        with contextlib.suppress(row_groups.UNREADABLE):
            return is_trl(parquet.read_schema(path).names)
    return False


def _states(folder: Path) -> Iterator[Path]:
    yield from folder.glob("trainer_state.json")
    yield from folder.glob("checkpoint-*/trainer_state.json")


def _named(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of a line of the log that have a name of ours."""
    for name, value in line.items():
        ours = NAMES.get(name) or LENGTHS.get(name.removeprefix("completions/"))
        if ours and (number := finite(value)) is not None:
            yield ours, number
