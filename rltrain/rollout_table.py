"""A few completions of a step as a table with coloured tokens, for a tracker: the worst, the best, some by chance.

Everything a model or a person wrote is text here: escaped, without control characters, and cut to a length.
"""

from __future__ import annotations

import html
import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rltrain.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("step", "pick", "task_key", "reward", "outcome", "advantage", "format", "finish_reason", "engine"),
    *("prompt", "completion"),
)
EACH = 2  # completions of each kind
TOKENS, TOKEN, TEXT = 400, 80, 500  # most tokens of a completion; most characters of a token and of other texts
HUE = "213, 94, 0"  # of high entropy
FULL = 3.0  # nats at which a token has its full colour
STYLE = "font: 13px/1.6 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate"
NUMBERS = (
    *(("entropy", "entropy {:.2f} nats"), ("logprob", "log p {:.2f}"), ("train_logprob", "trainer's {:.2f}")),
    *(("ratio", "ratio {:.3f}"), ("token_advantage", "advantage {:+.3f}")),
)


def page(picked: list[dict[str, Any]]) -> str:
    """Rows of `rows` as a table in HTML that stands alone."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    body = "".join(f"<tr>{''.join(_cell(name, row[name]) for name in COLUMNS)}</tr>" for row in picked)
    return (
        '<!doctype html><meta charset="utf-8"><style>body { font: 13px sans-serif } '
        "td { border-top: 1px solid #999; padding: 4px 8px; vertical-align: top } th { text-align: left }</style>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(name: str, value: Any) -> str:
    if name != "completion":  # which is HTML already
        value = "" if value is None else html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))
    return f"<td>{value}</td>"


def rows(rollouts: pd.DataFrame) -> list[dict[str, Any]]:
    """A mapping of `COLUMNS` for each completion picked; `completion` is HTML, the rest plain values."""
    found = []
    for pick, row in picked(rollouts):
        values = {name: _plain(row[name]) for name in COLUMNS if name in row}
        found.append(values | {"pick": pick, "completion": tokens(row)})
    return found


def picked(rollouts: pd.DataFrame) -> list[tuple[str, Mapping[str, Any]]]:
    """(kind, row): the worst and the best, and others by chance, the same ones for the same step.

    By outcome, then by reward, as in the rollout viewer; one whose judgement failed is neither good nor bad.
    """
    judged = rollouts[rollouts["reward"].notna() & rollouts["error"].isna()]
    worth = judged.assign(worth=judged["outcome"].fillna(judged["reward"]))[["worth", "reward"]]
    ordered = {up: worth.sort_values(["worth", "reward"], ascending=up, kind="stable").index for up in (True, False)}
    places = {"worst": list(ordered[True][:EACH]), "best": list(ordered[False][:EACH])}
    places["best"] = [i for i in places["best"] if i not in places["worst"]]
    rest = [i for i in rollouts.index if i not in {*places["worst"], *places["best"]}]
    seed = int(rollouts["step"].iloc[0]) if len(rollouts) else 0
    places["random"] = sorted(random.Random(seed).sample(rest, min(EACH, len(rest))))
    return [(kind, rollouts.loc[i]) for kind, indices in places.items() for i in indices]


def tokens(row: Mapping[str, Any]) -> str:
    """A completion as HTML: a token's colour is its entropy (where there is none, its surprise), planning underlined.

    Its numbers are in its title. No script, no link, no image: only spans whose text is escaped.
    """
    texts = row["token_text"]
    if not isinstance(texts, np.ndarray | list):
        texts = []
    arrays = {name: values for name, _ in NUMBERS if (values := _array(row[name], len(texts))) is not None}
    planning = _array(row["planning"], len(texts))
    colour = arrays.get("entropy", -arrays["logprob"] if "logprob" in arrays else None)
    spans = []
    for i, text in enumerate(texts[:TOKENS]):
        title = ", ".join(words.format(arrays[name][i]) for name, words in NUMBERS if name in arrays)
        style = f"background: rgba({HUE}, {_opacity(colour, i):.2f})"
        if planning is not None and planning[i]:
            style, title = f"{style}; text-decoration: underline", f"{title}, planning"
        spans.append(f'<span style="{style}" title="{title}">{_shown(text)}</span>')
    more = f" and {len(texts) - TOKENS} more tokens" if len(texts) > TOKENS else ""
    return f'<div dir="ltr" style="{STYLE}">{"".join(spans)}<i>{more}</i></div>'


def _plain(value: Any) -> Any:
    """A number or a text that can stand in any table; NaN is nothing."""
    if isinstance(value, str):
        return printable(value, TEXT)
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _array(values: Any, count: int) -> np.ndarray | None:
    known = isinstance(values, np.ndarray | list) and len(values) == count
    return np.asarray(values, np.float64) if known else None


def _opacity(colour: np.ndarray | None, i: int) -> float:
    value = 0.0 if colour is None else float(colour[i])
    return 0.75 * min(1.0, max(0.0, value / FULL)) if math.isfinite(value) else 0.0


def _shown(text: str) -> str:
    """A token's text, line ends as such."""
    cut = text if len(text) <= TOKEN else text[: TOKEN - 1] + "\u2026"
    return "\u21b5\n".join(html.escape(printable(line)) for line in cut.split("\n"))
