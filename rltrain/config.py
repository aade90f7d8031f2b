"""The configuration: frozen sections, one docstring per key, unknown keys are errors.

`load(path, overrides)` is the only way in. Derived numbers are properties, computed in one place and
printed by `rltrain check`. Nothing here imports torch, ray, vllm or trl.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rltrain.types import Kind, Role


class Section(BaseModel):
    """A part of the config; frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class Run(Section):
    """Where a run lives and what it is called."""

    name: str | None = None
    """Name under `runs/`. Default: the config file's name and the next free number."""
    dir: Path | None = None
    """Exact run directory instead of `runs/<name>`; it must not hold a run already."""
    seed: int = 0
    """Seed of everything random: tasks, sampling, initialisation, order."""
    wandb: bool = True
    """Mirror the metrics to Weights & Biases; offline when nobody is logged in."""
    console: bool = True
    """Show the live console; off, one line a step is printed."""


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


class TaskSource(Section):
    """One source of tasks."""

    use: str
    """Name of a source (`reasoning_gym`, `file`, `hub`, ...) or a spec `module:attr`, `file.py:attr`."""
    name: str | None = None
    """Name in metrics and task keys. Default: what the source calls itself."""
    kind: Kind = "structured"
    """`structured` (checkable answers) or `creative`."""
    args: dict[str, Any] = Field(default_factory=dict)
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
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the reward."""

    @property
    def label(self) -> str:
        """Name of the reward in scores and metrics."""
        return self.name or self.use.split(":")[-1]


class CurriculumSpec(Section):
    """A curriculum, possibly around another; keys beyond `use`, `inner`, `gates` are its arguments."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    use: str = "uniform"
    """Entry-point name or spec of the curriculum."""
    inner: CurriculumSpec | None = None
    """The curriculum this one delegates to."""
    gates: list[CurriculumSpec] = Field(default_factory=list)
    """Curricula of which only `admit` is used; all must admit a group."""

    @property
    def args(self) -> dict[str, Any]:
        """Arguments of the factory."""
        return dict(self.model_extra or {})


class PluginSpec(Section):
    """Any other plugin."""

    use: str
    """Entry-point name or spec."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments."""


class SamplingSpec(Section):
    """How completions are sampled in training."""

    num_generations: int = Field(8, ge=1)
    """Completions per prompt (G); at least 2 for group-relative advantages."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature; the trainer's log-probs are taken at the same one."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus. Below 1 the trainer's log-probs are of another support; the parity gate accounts for it."""
    top_k: int = Field(0, ge=0)
    """Keep the k likeliest tokens; 0 = all."""
    max_prompt_length: int = Field(512, ge=1)
    """Longest prompt in tokens."""
    max_completion_length: int = Field(256, ge=1)
    """Longest completion in tokens."""
    long_prompts: Literal["drop", "error"] = "drop"
    """A prompt over the length is dropped and counted, or stops the run before it starts."""
    stop: list[str] = Field(default_factory=list)
    """Strings that end a completion, beside the model's end-of-sequence tokens."""


class Rollouts(Section):
    """The engines and how they are fed."""

    engine: Literal["vllm", "transformers", "twin"] = "vllm"
    """`vllm`; `transformers` where vLLM does not install; `twin` is set by `--twin`."""
    engines: int = Field(1, ge=1)
    """Number of engines (data parallel)."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs one engine is sharded over."""
    gpus: float = Field(0, ge=0)
    """GPUs per engine: 0 = CPU, a fraction = shared with the trainer, which then sleeps the engine."""
    threads: int = Field(2, ge=1)
    """CPU threads per engine (CPU engines only)."""
    slots: int = Field(64, ge=1)
    """Sequences an engine runs at once."""
    max_lag: int = Field(0, ge=0)
    """Rollout batches that sampling may run ahead of training; 0 = synchronous."""
    deadline_s: float = Field(300.0, gt=0)
    """Seconds without progress after which an engine counts as hung and is replaced."""
    parity_every: int = Field(50, ge=0)
    """Steps between two parity checks of engine and trainer log-probs; 0 = only at the start."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Precision of the engine. Default: the model's."""
    memory: float | None = Field(None, gt=0)
    """KV-cache: GiB on a CPU, share of the GPU's memory on a GPU. Default: 1 GiB, 0.9 (0.4 when shared)."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of vLLM's engine, by vLLM's own names."""


class Training(Section):
    """The optimizer steps."""

    steps: int = Field(ge=1)
    """Optimizer steps in all."""
    prompts_per_step: int = Field(8, ge=1)
    """Groups in one optimizer step."""
    updates_per_rollout: int = Field(1, ge=1)
    """Optimizer steps trained from one rollout batch before the weights are published again."""
    micro_batch_size: int = Field(8, ge=1)
    """Sequences in one forward pass of one process; must divide the step's sequences."""
    learning_rate: float = Field(1e-6, gt=0)
    """Peak learning rate."""
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """TRL's loss type. `dapo`: token mean over the whole step."""
    beta: float = Field(0.0, ge=0)
    """Weight of the KL to the initial policy; above 0 a reference forward is added."""
    old_logprobs: Literal["sampler", "recompute"] = "sampler"
    """Where several updates share a batch: old log-probs are the sampler's, or a forward of their own."""
    correction: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "none"] = "token_truncate"
    """Importance correction for the difference between sampler and trainer (TIS)."""
    correction_cap: float = Field(2.0, gt=0)
    """Cap C of the correction; truncated to it or masked above it."""
    optimizer: str = "adamw_torch_fused"
    """An optimizer name of transformers."""
    trl: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of TRL's GRPOConfig, checked against it (see `rltrain/trainer.py`)."""


class Distributed(Section):
    """Trainer processes."""

    processes: int = Field(1, ge=1)
    """Trainer processes, started through Ray Train when more than one."""
    gpus: float = Field(0, ge=0)
    """GPUs per trainer process; 0 = CPU."""
    strategy: Literal["ddp", "fsdp2", "deepspeed"] = "ddp"
    """How several processes share the model."""
    threads: int = Field(2, ge=1)
    """CPU threads of one trainer process."""
    ray_address: str | None = None
    """Address of a running Ray cluster (`auto`, or host:port). Default: start Ray here."""
    nodes: int = Field(1, ge=1)
    """Nodes of the cluster, for the placement that `check` spells out."""
    deepspeed: Path | None = None
    """DeepSpeed's JSON config, for `strategy: deepspeed`."""


class Advantages(Section):
    """How scores become advantages."""

    scale: Literal["none", "group", "batch"] = "none"
    """Divide by nothing (mean-only), the group's or the batch's standard deviation."""
    combine: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """Sum the weighted rewards and normalise, or normalise each reward inside the group and sum (GDPO)."""


class Admission(Section):
    """Which groups enter the batch."""

    zero_variance: Literal["keep", "drop"] = "keep"
    """Groups whose outcomes are all equal carry no signal: `drop` samples others instead."""
    max_factor: float = Field(3.0, ge=1)
    """Groups sampled per step, at most, as a multiple of `prompts_per_step`."""
    max_errors: float = Field(0.5, gt=0, le=1)
    """Share of failed scores in a step above which the run checkpoints and stops."""


class Evaluation(Section):
    """Held-out evaluation."""

    every: int = Field(0, ge=0)
    """Steps between evaluations; 0 = only before and after."""
    prompts: int = Field(64, ge=0)
    """Held-out prompts; 0 = none."""
    num_generations: int = Field(1, ge=1)
    """Completions per held-out prompt."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature; 0 = greedy."""


class Checkpoints(Section):
    """What is kept to resume from."""

    every: int = Field(50, ge=0)
    """Steps between checkpoints; 0 = only at the end."""
    keep: int = Field(2, ge=1)
    """Newest checkpoints kept; the best by held-out outcome is kept besides."""


class Config(Section):
    """A run."""

    run: Run = Field(default_factory=Run)
    """Name, place, seed, sinks."""
    model: Model
    """The policy."""
    tasks: list[TaskSource] = Field(min_length=1)
    """Where prompts come from."""
    rewards: list[RewardSpec] = Field(min_length=1)
    """How completions are judged."""
    curriculum: CurriculumSpec = Field(default_factory=CurriculumSpec)
    """Which tasks come when."""
    sampling: SamplingSpec = Field(default_factory=SamplingSpec)
    """How completions are sampled."""
    rollouts: Rollouts = Field(default_factory=Rollouts)
    """The engines."""
    training: Training
    """The optimizer steps."""
    distributed: Distributed = Field(default_factory=Distributed)
    """Trainer processes."""
    advantages: Advantages = Field(default_factory=Advantages)
    """From scores to advantages."""
    admission: Admission = Field(default_factory=Admission)
    """Which groups enter the batch."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """Held-out evaluation."""
    checkpoints: Checkpoints = Field(default_factory=Checkpoints)
    """What is kept to resume from."""
    diagnostics: list[PluginSpec] = Field(default_factory=lambda: [PluginSpec(use="reward"), PluginSpec(use="entropy")])
    """What is measured each step."""
    tagger: PluginSpec = Field(default_factory=lambda: PluginSpec(use="lexicon"))
    """Finds planning phrases."""
    formats: PluginSpec = Field(default_factory=lambda: PluginSpec(use="rules"))
    """Names output formats."""

    # Derived numbers, in one place.

    @property
    def sequences_per_step(self) -> int:
        """Rows of one optimizer step."""
        return self.training.prompts_per_step * self.sampling.num_generations

    @property
    def micro_batches(self) -> int:
        """Forward passes per optimizer step and process."""
        return self.sequences_per_step // (self.training.micro_batch_size * self.distributed.processes)

    @property
    def groups_per_rollout(self) -> int:
        """Groups in one rollout batch."""
        return self.training.prompts_per_step * self.training.updates_per_rollout

    @property
    def rollout_batches(self) -> int:
        """Rollout batches of the whole run."""
        return self.training.steps // self.training.updates_per_rollout

    @property
    def engine_dtype(self) -> str:
        """Precision of the engines."""
        return self.rollouts.dtype or self.model.dtype

    @property
    def rounded(self) -> bool:
        """Whether engine or trainer computes in bfloat16."""
        return "bfloat16" in (self.engine_dtype, self.model.dtype)

    @property
    def shared_gpu(self) -> bool:
        """Whether an engine and the trainer take turns on one GPU."""
        return 0 < self.rollouts.gpus < 1

    @property
    def aligned(self) -> bool:
        """One update per rollout batch and no run-ahead: one forward and one backward per token."""
        return self.training.updates_per_rollout == 1 and self.rollouts.max_lag == 0

    @model_validator(mode="after")
    def _arithmetic(self) -> Config:
        rows, per_pass = self.sequences_per_step, self.training.micro_batch_size * self.distributed.processes
        if rows % per_pass:
            sizes = [m for m in range(1, rows + 1) if rows % (m * self.distributed.processes) == 0]
            raise ValueError(
                f"training.micro_batch_size: {self.training.micro_batch_size} x {self.distributed.processes} "
                f"process(es) does not divide the {rows} sequences of a step (prompts_per_step "
                f"{self.training.prompts_per_step} x num_generations {self.sampling.num_generations}); "
                + (f"sizes that do: {', '.join(map(str, sizes))}" if sizes else "raise prompts_per_step")
            )
        if self.sampling.num_generations < 2:
            raise ValueError(
                "sampling.num_generations: 1, but an advantage is relative to the group's mean and would "
                "always be 0; use at least 2"
            )
        if self.training.steps % self.training.updates_per_rollout:
            raise ValueError(
                f"training.steps: {self.training.steps} is no multiple of training.updates_per_rollout "
                f"{self.training.updates_per_rollout}; the last rollout batch would be trained in part"
            )
        if self.distributed.strategy == "fsdp2" and not self.distributed.gpus:
            raise ValueError(
                "distributed.strategy: fsdp2 on CPU processes is silently plain DDP in accelerate; "
                "set distributed.gpus or use strategy: ddp"
            )
        if self.training.loss == "vespo" and self.training.correction.startswith("sequence"):
            raise ValueError(
                f"training.correction: {self.training.correction} with loss vespo, which takes token_truncate or token_mask"
            )
        return self


# --- reading -------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (`1e-5` is a float) and no duplicate keys."""

    def construct_mapping(self, node, deep=False):
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise ValueError(f"line {key_node.start_mark.line + 1}: key {key_node.value!r} is given twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_FLOAT = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
for _first in "-+.0123456789":
    _Loader.yaml_implicit_resolvers.setdefault(_first, []).insert(0, ("tag:yaml.org,2002:float", _FLOAT))


def read_yaml(text: str, origin: str) -> Any:
    """Parse YAML; a ValueError names the file and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{origin}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    except ValueError as error:
        raise ValueError(f"{origin}, {error}") from None


def find(path: str | Path) -> Path:
    """The config file: a path, or the name of one shipped with the package."""
    path = Path(path)
    shipped = Path(__file__).resolve().parent.parent / "configs"
    for candidate in (path, shipped / path.name, shipped / f"{path.name}.yaml"):
        if candidate.is_file():
            return candidate
    names = sorted(p.name for p in shipped.glob("*.yaml"))
    near = difflib.get_close_matches(path.name, names, n=1)
    raise ValueError(
        f"config {str(path)!r}: no such file"
        + (f"; did you mean {near[0]!r}?" if near else "")
        + f" Shipped configs: {', '.join(names) or 'none'}"
    )


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config and apply `section.key=value` overrides (values are YAML). ValueError on bad input."""
    path = find(path)
    data = read_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a mapping of sections, got {type(data).__name__}")
    for override in overrides:
        _apply(data, override)
    return parse(data, str(path))


def parse(data: dict[str, Any], origin: str) -> Config:
    """Validate a mapping; ValueError with one line per fault, each with the nearest valid key."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise ValueError(f"{origin}: " + "\n  ".join(lines)) from None


def dump(config: Config) -> str:
    """The resolved config as YAML, readable by `load`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, raw = override.partition("=")
    if not equals or not key:
        raise ValueError(f"override {override!r}: expected section.key=value, for example training.steps=20")
    value = read_yaml(raw, f"override {override!r}")
    target: Any = data
    *parents, last = key.split(".")
    for i, part in enumerate(parents):
        if isinstance(target, list):
            target = target[_index(part, target, override)]
        else:
            if not isinstance(target.get(part), dict | list):
                target[part] = {}
            target = target[part]
        if not isinstance(target, dict | list):
            raise ValueError(f"override {override!r}: {'.'.join(parents[: i + 1])} is a value, not a section")
    if isinstance(target, list):
        target[_index(last, target, override)] = value
    else:
        target[last] = value


def _index(part: str, items: list[Any], override: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise ValueError(f"override {override!r}: expected an index 0 to {len(items) - 1}, got {part!r}")
    return int(part)


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        valid = _keys_at(item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
        return f"{where}: unknown key; {hint}"
    if item["type"] == "missing":
        return f"{where}: missing; it has no default"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{where}: {message}, got {item['input']!r}"


def _keys_at(location: Sequence[str | int]) -> list[str]:
    """Valid keys of the section at a location of the config."""
    section: type[BaseModel] = Config
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        for inner in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                section = inner
    return list(section.model_fields)
