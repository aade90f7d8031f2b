"""What the page is told about a run's rollouts, as plain JSON values.

Lists of tokens are short: a list of one value is that value, and what follows from other fields is left out (null):
`ratio` = exp(train_logprob - logprob), `token_advantage` = advantage + planning_bonus, `planning_bonus` 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from diagnostics.report.viewer.picks import orders
from diagnostics.report.viewer.reading import PER_TOKEN, SAMPLED, SCORE, completions
from rltrain.records.jsonl import plain

DIGITS = 5  # of a number of a token: the sums shown then add up to as many
CHARACTERS = 50_000  # of a completion's text that are sent before the rest is asked for


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's config the arithmetic of an advantage needs; unknown entries are null."""
    training, advantages = _section(config, "training"), _section(config, "advantages")
    rollouts, admission = _section(config, "rollouts"), _section(config, "admission")
    listed = config.get("rewards")
    rewards = [spec for spec in listed if isinstance(spec, dict)] if isinstance(listed, list) else []
    updates, lag, over = training.get("updates_per_rollout"), rollouts.get("max_lag"), admission.get("oversample", 1.0)
    return plain(
        {
            "rewards": {_label(spec): {n: spec.get(n) for n in ("role", "weight", "range")} for spec in rewards},
            "scale": advantages.get("scale"),
            "combine": advantages.get("combine"),
            "hicra": advantages.get("hicra"),
            "guard": advantages.get("guard") is not None,
            "correction": training.get("correction"),
            "cap": training.get("correction_cap"),
            "aligned": None if updates is None else updates == 1 and lag == 0 and over == 1,
        }
    )


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _label(spec: Mapping[str, Any]) -> str:
    """The reward's name in scores, as the config section gives it."""
    return str(spec.get("name") or str(spec.get("use", "")).split(":")[-1])


def step_payload(step: int, rows: Sequence[Mapping[str, Any]], of: int) -> dict[str, Any]:
    """Light rows of a step that has `of` of them, and the orders to look at them in."""
    return plain({"step": step, "rows": rows, "orders": orders(rows, step), "of": of})


def group_payload(
    path: Path, step: int, members: Sequence[Mapping[str, Any]], rows: Collection[int], most: int = CHARACTERS
) -> dict[str, Any]:
    """A group, given by its light rows: its task, and some of its rows with their tokens, texts cut after `most`.

    `mean`: of the rewards of the whole group, failed judgements left out. ValueError where the file cannot be read
    or has none of the rows.
    """
    found = completions(path, rows)
    if not found:
        raise ValueError(f"{path.name}: has no such rows: {sorted(rows)[:5]}")
    rewards = [row["reward"] for row in members if row["reward"] is not None and row["error"] is None]
    first = found[0]
    task = {name: first[name] for name in ("task_key", "source", "kind", "answer", "admitted", "reject_reason")}
    return plain(
        {
            "step": step,
            "group": members[0]["group"],
            "mean": sum(rewards) / len(rewards) if rewards else None,
            "task": task | {"prompt": messages(first["prompt"]), "meta": _mapping(first["meta"])},
            "completions": [_completion(row, most) for row in found],
        }
    )


def text_payload(path: Path, row: int) -> str:
    """The whole text of one completion. ValueError where there is none."""
    for found in completions(path, [row]):
        return found["completion"]
    raise ValueError(f"{path.name}: has no row {row}")


def _completion(row: Mapping[str, Any], most: int) -> dict[str, Any]:
    pieces, length = row["token_text"], len(row["completion"])
    kept, characters = 0, 0
    while kept < len(pieces) and (not kept or characters < most):
        characters += len(pieces[kept])
        kept += 1
    shown = [*pieces[:kept]]
    if characters > most:
        shown[-1] = shown[-1][: len(shown[-1]) - (characters - most)]
    told = {name: row[name] for name in (*SCORE, *SAMPLED) if name not in ("completion", "values", "parts")}
    scored = {"values": _mapping(row["values"]), "parts": _mapping(row["parts"])}
    arrays = _derived_left_out({name: row[name] and row[name][:kept] for name in PER_TOKEN}, row["advantage"])
    size = {"row": row["row"], "pieces": shown, "tokens": len(pieces), "characters": length}
    return told | scored | size | {name: _packed(values) for name, values in arrays.items()}


def _derived_left_out(arrays: dict[str, list[Any] | None], advantage: float | None) -> dict[str, list[Any] | None]:
    """The arrays without those that follow from others."""
    ratio, train, sampler = arrays["ratio"], arrays["train_logprob"], arrays["logprob"]
    if (
        ratio
        and train
        and sampler
        and all(_close(r, _exp(t, s)) for r, t, s in zip(ratio, train, sampler, strict=True))
    ):
        arrays["ratio"] = None
    bonus, whole = arrays["planning_bonus"], arrays["token_advantage"]
    if bonus and whole and all(_close(w, (advantage or 0.0) + b) for w, b in zip(whole, bonus, strict=True)):
        arrays["token_advantage"] = None
    return arrays


def _exp(train: float | None, sampler: float | None) -> float:
    return math.nan if train is None or sampler is None else math.exp(min(50.0, train - sampler))


def _close(a: float | None, b: float) -> bool:
    return a is not None and abs(a - b) <= 1e-5 * max(1.0, abs(b))


def _packed(values: Sequence[Any] | None) -> Any:
    """A list with `DIGITS` digits, or its value where all are equal; null for none."""
    if not values:
        return None
    short = [_short(value) for value in values]
    return short[0] if all(value == short[0] for value in short) else short


def _short(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, float) or not math.isfinite(value):
        return value if isinstance(value, int) else None
    return float(f"{value:.{DIGITS}g}")


def messages(prompt: Any) -> list[dict[str, str]]:
    """A prompt's chat messages, as JSON or as they are; what is no list of them is one message without a role."""
    found = _read(prompt, [])
    if isinstance(found, list) and all(isinstance(message, dict) for message in found):
        return [{"role": str(m.get("role", "")), "content": str(m.get("content", ""))} for m in found]
    return [{"role": "", "content": str(prompt)}]


def _mapping(given: Any) -> dict[str, Any]:
    found = _read(given, {})
    return found if isinstance(found, dict) else {}


def _read(given: Any, nothing: Any) -> Any:
    """What a cell with JSON holds; a cell of another writer's file may hold the thing itself."""
    if given is None or given == "":
        return nothing
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return given
