"""`bwt.html`: the backward-transfer matrix as a heat map, and what the orders promise."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HOW_TO_READ = (
    "A row is what training on one source alone does to all of them, measured on held-out prompts. Blue: the share of "
    "its failures that was mended; red: the share of its skill that was lost. Sources with a red column belong late, "
    "those with a red row early. The diagonal is what a source gains from itself."
)


def write_transfer(found: Mapping[str, Any], out: Path) -> Path:
    """One self-contained file of what `rltrain bwt` found; OSError where it cannot be written."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = [html.escape(name) for name in found["sources"]]
    cells = [[found["transfer"][i][j] for j in found["sources"]] for i in found["sources"]]
    told = [
        [f"{found['before'][i][j]:.2f} → {found['after'][i][j]:.2f}" for j in found["sources"]]
        for i in found["sources"]
    ]
    figure = make_subplots(rows=1, cols=2, column_widths=[0.6, 0.4], horizontal_spacing=0.2,
                           subplot_titles=("trained on (row), on (column)", "mean outcome of an order"))  # fmt: skip
    figure.add_trace(
        go.Heatmap(x=names, y=names, z=cells, text=told, texttemplate="%{z:+.2f}<br>%{text}", zmin=-1, zmax=1,
                   colorscale="RdBu", showscale=False, hoverinfo="skip"),
        row=1, col=1,
    )  # fmt: skip
    orders = found["orders"][::-1]  # the best on top
    figure.add_trace(
        go.Scatter(
            x=[order["mean"] for order in orders],
            y=[html.escape(" → ".join(order["order"])) for order in orders],
            error_x={
                "type": "data",
                "array": [order["high"] - order["mean"] for order in orders],
                "arrayminus": [order["mean"] - order["low"] for order in orders],
            },
            mode="markers",
            marker={"size": 10, "color": "#0072B2"},
            hovertemplate="%{x:.3f}<extra></extra>",
        ),
        row=1, col=2,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    figure.update_layout(
        title={"text": f"Backward transfer, {found['steps']} steps on each source"},
        template="plotly_white", showlegend=False, height=200 + 90 * max(3, len(names)), margin={"b": 120},
        annotations=[*figure.layout.annotations,
                     {"text": _wrapped(HOW_TO_READ), "xref": "paper", "yref": "paper", "x": 0, "y": -0.12,
                      "showarrow": False, "align": "left", "yanchor": "top"}],
    )  # fmt: skip
    figure.write_html(out, include_plotlyjs=True)
    return out


def _wrapped(text: str, width: int = 130) -> str:
    import textwrap

    return "<br>".join(textwrap.wrap(text, width))
