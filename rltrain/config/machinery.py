"""Sections of the engine room: sampling, engines, optimizer steps, processes, what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rltrain.config.plugins import Arguments, BadValue, Section


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
    stop: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
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
    args: Arguments = Field(default_factory=dict)
    """Further arguments of vLLM's engine, by vLLM's own names."""


class Covariance(Section):
    """Spare the tokens through which entropy is lost (arXiv 2505.22617)."""

    method: Literal["kl_cov", "clip_cov"]
    """`kl_cov`: a penalty |log p - log p_old| on them; `clip_cov`: no gradient from some of them."""
    share: float = Field(0.002, gt=0, le=1)
    """Share of a micro-batch's tokens it acts on; the paper has 0.002 (7B) and 0.0002 (32B, Clip-Cov)."""
    coef: float = Field(1.0, gt=0)
    """Weight of the penalty (`kl_cov`)."""
    bounds: tuple[float, float] = (1.0, 5.0)
    """Covariance that a token must have to be drawn (`clip_cov`)."""

    @model_validator(mode="after")
    def _of_the_method(self) -> Covariance:
        """No key of the other method, which would do nothing; nothing can be drawn between bounds the wrong way."""
        other = "coef" if self.method == "clip_cov" else "bounds"
        if getattr(self, other) != type(self).model_fields[other].default:
            raise ValueError(f"training.covariance.{other}: has no effect with method {self.method}; leave it out")
        if not self.bounds[0] < self.bounds[1]:
            low, high = self.bounds
            raise ValueError(f"training.covariance.bounds: expected [low, high] with low < high, got [{low}, {high}]")
        return self


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
    correction_cap: float = Field(2.0, ge=1)
    """Cap C of the correction; truncated to it or masked above it."""
    covariance: Covariance | None = None
    """Spare the entropy with KL-Cov or Clip-Cov; absent: off."""
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


class Hicra(Section):
    """Planning-focused credit: A + alpha |A| on planning tokens (arXiv 2509.03646)."""

    alpha: float = Field(0.2, gt=0, lt=1)
    """Share of the advantage's size that is added."""
    variant: Literal["paper", "long_correct"] = "paper"
    """All planning tokens; or planning and high-entropy tokens of correct completions above the mean length."""
    start: int | Literal["phase2"] = "phase2"
    """Step at which it begins, or `phase2`: when the phase diagnostic first says `planning`."""
    max_ratio: float = Field(2.0, gt=1)
    """It rests while the share of planning tokens is above this multiple of what it was at the start."""

    @field_validator("start")
    @classmethod
    def _step(cls, start: int | str) -> int | str:
        if isinstance(start, int) and start < 0:
            raise BadValue("expected a step, 0 or later, or phase2")
        return start


class RareSuccess(Section):
    """Withhold the push of a lucky hit on a prompt that is known to be near-impossible."""

    lucky_below: float | None = Field(None, gt=0, lt=1)
    """Pass rate below which a hit counts as luck. Default: 2 / num_generations, at most 0.125."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Posterior probability that the pass rate is below it."""
    min_visits: int | None = Field(None, ge=1)
    """Groups of the prompt, this one included, before it may be guarded. Default: 8, or 3 where `scale` divides."""
    min_successes: int = Field(2, ge=2)
    """A group with this many successes is never guarded; graded outcomes: completions over half as good as its best."""
    half_life: float = Field(50.0, ge=1)
    """Steps after which evidence counts half."""
    cap: float = Field(0.0, ge=0)
    """Largest advantage a guarded group keeps, the others in proportion; 0 = the group is left out."""


class Advantages(Section):
    """How scores become advantages."""

    scale: Literal["none", "group", "batch"] = "none"
    """Divide by nothing (mean-only), the group's or the batch's standard deviation."""
    combine: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """Sum the weighted rewards and normalise, or normalise each reward inside the group and sum (GDPO)."""
    guard: RareSuccess | None = None
    """Withhold the push of lucky hits; absent: every success counts."""
    hicra: Hicra | None = None
    """Planning-focused credit; absent: every token has its completion's advantage."""


class Admission(Section):
    """Which groups enter the batch."""

    zero_variance: Literal["keep", "drop"] = "keep"
    """Groups whose outcomes are all equal carry no signal: `drop` samples others instead."""
    oversample: float = Field(1.0, ge=1)
    """Groups asked for at once, as a multiple of those a batch lacks; accepted ones left over enter the next batch."""
    max_factor: float = Field(3.0, ge=1)
    """Groups judged per batch, at most, as a multiple of its groups; what was accepted is trained, also if too few."""
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


class Action(Section):
    """What the run does when an event is written, or at a step; logged as an event `action` with its cause."""

    event: str | None = None
    """Name of the event, for example `phase_changed` or `format_collapse`; a wrong one is told with all there are."""
    when: Arguments = Field(default_factory=dict)
    """Evidence the event must have, for example `to: planning`; `rltrain check` tells what it never has."""
    at: int | None = Field(None, ge=1)
    """Step instead of an event, at most `training.steps`; an earlier run's actions are replayed this way."""
    do: Literal["hicra", "beta", "entropy_coef", "checkpoint", "stop"]
    """`hicra`: begin planning-focused credit; `beta`, `entropy_coef`: set to `value`; save; end the run in order."""
    value: float | None = Field(None, ge=0)
    """New value of `beta` or `entropy_coef`."""

    @model_validator(mode="after")
    def _whole(self) -> Action:
        if (self.event is None) == (self.at is None):
            raise ValueError(f"actions: {self.do} needs either event: NAME or at: STEP")
        if self.when and self.at is not None:
            raise ValueError(f"actions: {self.do} at step {self.at} takes no `when`, which is of an event's evidence")
        if (self.value is None) == (self.do in ("beta", "entropy_coef")):
            raise ValueError(f"actions: {self.do} " + ("needs a value" if self.value is None else "takes no value"))
        return self
