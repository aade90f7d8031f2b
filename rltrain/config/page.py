"""The page `docs/config.md`, from the field docstrings: `python -m rltrain.config.page > docs/config.md`."""

from __future__ import annotations

import re
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from rltrain.config import (
    Action,
    Admission,
    Advantages,
    Checkpoints,
    Config,
    Covariance,
    CurriculumSpec,
    Distributed,
    Evaluation,
    GeneratorSpec,
    Hicra,
    Lora,
    Model,
    PluginSpec,
    RareSuccess,
    RewardSpec,
    Rollouts,
    Run,
    SamplingSpec,
    ScorerSpec,
    TaskSource,
    Training,
)

SECTIONS: dict[str, type[BaseModel]] = {
    "run": Run,
    "model": Model,
    "model.lora": Lora,
    "tasks (a list)": TaskSource,
    "rewards (a list)": RewardSpec,
    "curriculum": CurriculumSpec,
    "sampling": SamplingSpec,
    "rollouts": Rollouts,
    "training": Training,
    "training.covariance": Covariance,
    "distributed": Distributed,
    "advantages": Advantages,
    "advantages.guard": RareSuccess,
    "advantages.hicra": Hicra,
    "admission": Admission,
    "evaluation": Evaluation,
    "checkpoints": Checkpoints,
    "diagnostics (a list), tagger, formats": PluginSpec,
    "scorer": ScorerSpec,
    "judge": GeneratorSpec,
    "actions (a list)": Action,
}
HEAD = """# Configuration

A config is a YAML file; `rltrain train` and `rltrain check` take its path, or the name of a shipped one, and
overrides such as `training.steps=20` or `tasks.0.args.size=500` behind it. An unknown key is an error that names the
nearest valid one. `rltrain check CONFIG` prints what follows from all of it.

This page is generated: `make docs`."""
NUMBERS = """## Derived numbers

What follows from the keys, computed in one place (`rltrain/config/root.py`) and spelt out by `rltrain check`.

| number | meaning |
|---|---|"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, section in SECTIONS.items():
        about = (section.__doc__ or "").strip()
        parts.append(f"## {title}\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|")
        parts[-1] += "".join(f"\n{_row(name, field)}" for name, field in section.model_fields.items())
    rows = [(name, value) for name, value in vars(Config).items() if isinstance(value, property)]
    parts.append(NUMBERS + "".join(f"\n| `{name}` | {_cell(value.__doc__ or '')} |" for name, value in rows))
    return "\n\n".join(parts) + "\n"


def _row(name: str, field: Any) -> str:
    cells = (f"`{name}`", _type(field), _default(field), _cell(field.description or ""))
    return "| " + " | ".join(cells) + " |"


def _type(field: Any) -> str:
    bounds = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in _BOUNDS if hasattr(m, key)]
    return _cell(_named(field.annotation)) + "".join(f", {bound}" for bound in bounds)


_BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def _named(annotation: Any) -> str:
    """A type as a reader of YAML would call it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_named(part) for part in inner)
    if origin is list:
        return f"list of {_named(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_named, inner))}]"
    if origin is dict:
        return "mapping"
    plain = {str: "text", type(None): "nothing", bool: "true or false", int: "whole number", float: "number"}
    name = plain.get(annotation) or getattr(annotation, "__name__", str(annotation))
    below = dict.fromkeys(("Lora", "Covariance", "Hicra", "RareSuccess"), "section below")
    return ({"Path": "path", "CurriculumSpec": "curriculum"} | below).get(name, name)


def _default(field: Any) -> str:
    if field.default_factory is not None:
        return f"`{field.default_factory()!r}`"
    if field.is_required():
        return "required"
    if field.default is None:
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    print(markdown(), end="")
