"""Sections that name plugins and the policy: what is learned, from what, judged how."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rltrain.types import Kind, Role

LONGEST_NAME = 255  # bytes, on all file systems in use


class BadValue(ValueError):
    """What is wrong with one key's value; the reader adds the key and the value.

    `inside`: the key below it and the value there, where the fault is deeper down.
    """

    def __init__(self, message: str, inside: tuple[str, Any] | None = None):
        super().__init__(message)
        self.inside = inside


def _finite(value: Any, at: str = "") -> Any:
    """The value; BadValue where a number in it is infinite or none at all, which the run's files could not hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValue("expected a finite number", (at, value))
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _finite(item, f"{at}.{key}" if at else str(key))
    return value


Arguments = Annotated[dict[str, Any], AfterValidator(_finite)]
"""Arguments of a plugin or a library, by name."""


class Section(BaseModel):
    """A part of the config; frozen, and strict about its keys. Numbers are finite, and true is no number."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic itself would take true as 1."""
        kinds = _kinds(cls.model_fields[info.field_name].annotation)
        given = value if isinstance(value, list) else [value]
        if kinds & {int, float} and bool not in kinds and any(isinstance(item, bool) for item in given):
            raise BadValue("input should be a number")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The types an annotation is made of."""
    return {annotation}.union(*map(_kinds, get_args(annotation)))


def _writable(name: str | None) -> str | None:
    """The name; BadValue where it is longer than a file system takes."""
    if name is not None and (size := len(name.encode(errors="replace"))) > LONGEST_NAME:
        raise BadValue(f"expected a name of at most {LONGEST_NAME} bytes, it has {size}")
    return name


class Run(Section):
    """Where a run lives and what it is called."""

    name: str | None = None
    """Name under `runs/`. Default: the config file's name and the next free number."""
    dir: Path | None = None
    """Exact run directory, whatever `name` says; it must not hold a run already."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of everything random: tasks, sampling, initialisation, order."""
    wandb: bool = True
    """Mirror the metrics to Weights & Biases; offline when nobody is logged in."""
    report_to: list[Literal["tensorboard", "trackio"]] = Field(default_factory=list)
    """Further trackers that get the metrics, through the trainer's own integrations."""
    console: bool = True
    """Show the live console; off, one line a step is printed."""

    @field_validator("name")
    @classmethod
    def _component(cls, name: str | None) -> str | None:
        if name is not None and (name in ("", ".", "..") or any(mark in name for mark in "/\\\0\n")):
            raise BadValue("expected one name under runs/, without a slash (run.dir takes a path)")
        return _writable(name)

    @field_validator("dir", mode="before")
    @classmethod
    def _path(cls, given: Any) -> Any:
        if given == "" or (isinstance(given, str) and any(mark in given for mark in "\0\n")):
            raise BadValue("expected the path of a directory; `.` for the one where you are")
        for part in given.split("/") if isinstance(given, str) else ():
            _writable(part)
        return given


class Lora(Section):
    """A PEFT adapter instead of full fine-tuning."""

    rank: int = Field(16, ge=1)
    """Rank of the adapter."""
    alpha: float = Field(32, gt=0)
    """Scale of the adapter; its output is multiplied by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in the adapter. Above 0 the trainer's log-probs no longer equal the sampler's."""
    targets: str | list[str] = "all-linear"
    """Module names that get an adapter, or `all-linear`."""


class Model(Section):
    """The policy."""

    path: str
    """`smollm2-135m`, `tiny` (random, for tests), a local directory, or a hub id."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of the trainer's arithmetic. Weights are kept in float32 and cast on use (autocast)."""
    lora: Lora | None = None
    """Train an adapter of this shape; absent: train all weights."""
    prompt_template: str | None = None
    """For base models without a chat template: a string with `{prompt}` (and `{system}`, if used)."""
    system: str | None = None
    """System message put before every prompt."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    @field_validator("prompt_template")
    @classmethod
    def _filled(cls, template: str | None) -> str | None:
        if template is not None and "{prompt}" not in template:
            raise BadValue("expected a text with {prompt} in it, or every prompt would be the same")
        return template

    @model_validator(mode="after")
    def _system_has_a_place(self) -> Model:
        if self.system is not None and self.prompt_template is not None and "{system}" not in self.prompt_template:
            raise ValueError(
                f"model.prompt_template: {self.prompt_template!r} has no {{system}}, but model.system is given; put "
                "{system} where it belongs, or leave model.system out"
            )
        return self


class TaskSource(Section):
    """One source of tasks."""

    use: str
    """Name of a source (`reasoning_gym`, `file`, `hub`, ...) or a spec `module:attr`, `file.py:attr`."""
    name: str | None = None
    """Name in metrics and task keys. Default: what the source calls itself."""
    kind: Kind = "structured"
    """`structured` (checkable answers) or `creative`."""
    args: Arguments = Field(default_factory=dict)
    """Arguments of the source."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the tasks kept for evaluation, chosen by a hash of the task key."""


class RewardSpec(Section):
    """One reward and what it applies to."""

    use: str
    """Entry-point name or spec of the reward."""
    role: Role = "outcome"
    """`outcome`: the task's result in [0, 1]; `shaping`: everything else."""
    weight: float = 1.0
    """Factor in the total."""
    only: dict[Literal["source", "kind"], str | list[str]] = Field(default_factory=dict)
    """Apply only to tasks of these sources or kinds."""
    range: tuple[float, float] | None = None
    """Range of an outcome that is not in [0, 1] by itself; mapped linearly onto it."""
    name: str | None = None
    """Name in `reward/...` metrics. Default: the last part of `use`."""
    timeout_s: float = Field(10.0, gt=0)
    """Seconds one call may take; afterwards its samples carry a timeout error."""
    args: Arguments = Field(default_factory=dict)
    """Keyword arguments of the reward."""

    @property
    def label(self) -> str:
        """Name of the reward in scores and metrics."""
        return self.name or self.use.split(":")[-1]


class CurriculumSpec(Section):
    """A curriculum, possibly around another; further keys are its arguments."""

    model_config = ConfigDict(extra="allow")

    use: str = "uniform"
    """Entry-point name or spec of the curriculum."""
    inner: CurriculumSpec | None = None
    """The curriculum this one delegates to."""
    gates: list[CurriculumSpec] = Field(default_factory=list)
    """Curricula of which only `admit` is used; all must admit a group."""
    base_probe: int = Field(0, ge=0)
    """Training prompts that the untrained model tries before step 1, for the curriculum to begin with evidence."""

    @property
    def args(self) -> dict[str, Any]:
        """Arguments of the factory."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _arguments(self) -> CurriculumSpec:
        _finite(self.args)
        return self


class ScorerSpec(Section):
    """The frozen model lent to diagnostics and rewards that have a parameter `scorer`; else it is not started."""

    path: str | None = None
    """Its name, as in `model.path`. Default: the policy's own initial weights."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of its weights and arithmetic."""
    gpus: float = Field(0, ge=0)
    """GPUs it holds; 0 = CPU."""
    threads: int = Field(1, ge=1)
    """CPU threads it computes with."""
    batch_tokens: int = Field(8192, ge=1)
    """Tokens of one forward pass, padding included."""


class GeneratorSpec(Section):
    """The model lent to rewards that have a parameter `judge`; else it is not started."""

    model: str | None = None
    """Its name at `url`; without one, a model as in `model.path`, run by an engine of ours in a process of its own."""
    url: str | None = None
    """An OpenAI-compatible address, for example `http://127.0.0.1:8000/v1`."""
    key: str | None = None
    """Name of the environment variable that holds the key to the address."""
    timeout_s: float = Field(30.0, gt=0)
    """Seconds after which an attempt at the address is given up."""
    retries: int = Field(3, ge=0)
    """Further attempts, with growing pauses, where the address is busy, slow, broken or not there."""
    concurrency: int = Field(8, ge=1)
    """Requests that are under way at the address at once."""
    cache: int = Field(10_000, ge=0)
    """Answers at temperature 0 that are remembered, by their prompt."""
    engine: Literal["vllm", "transformers", "twin"] = "vllm"
    """The engine of ours; `twin` is set by `--twin`."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of the engine."""
    gpus: float = Field(0, ge=0)
    """GPUs the engine holds; 0 = CPU."""
    threads: int = Field(1, ge=1)
    """CPU threads of the engine."""
    max_length: int = Field(8192, ge=1)
    """Tokens of prompt and answer together in the engine."""

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"https?://[^/]+", url):
            raise BadValue("expected an address that begins with http:// or https://")
        return url

    @field_validator("key")
    @classmethod
    def _variable(cls, key: str | None) -> str | None:
        """A key that was put here by mistake must not be shown, nor written to the run's config."""
        if key is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", key):
            raise ValueError(
                "judge.key: expected the name of an environment variable in capitals, such as JUDGE_API_KEY, "
                "and not the key itself"
            )
        return key


class PluginSpec(Section):
    """Any other plugin."""

    use: str
    """Entry-point name or spec."""
    args: Arguments = Field(default_factory=dict)
    """Keyword arguments."""
