"""The whole config, the numbers derived from it, and the checks across its sections."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from rltrain.config.machinery import (
    Action,
    Admission,
    Advantages,
    Checkpoints,
    Distributed,
    Evaluation,
    Rollouts,
    SamplingSpec,
    Training,
)
from rltrain.config.plugins import (
    CurriculumSpec,
    GeneratorSpec,
    Model,
    PluginSpec,
    RewardSpec,
    Run,
    ScorerSpec,
    Section,
    TaskSource,
)

TAGGER = "network"
DIAGNOSTICS = ("reward", "entropy", "perplexity", "plan", "formats", "shortcuts", "mechanism", "phase")


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
    diagnostics: list[PluginSpec] = Field(default_factory=lambda: [PluginSpec(use=name) for name in DIAGNOSTICS])
    """What is measured each step, in this order: one that judges the others' figures (`phase`) stands behind them."""
    tagger: PluginSpec = Field(default_factory=lambda: PluginSpec(use=TAGGER))
    """Finds planning phrases."""
    formats: PluginSpec = Field(default_factory=lambda: PluginSpec(use="rules"))
    """Names output formats."""
    scorer: ScorerSpec = Field(default_factory=ScorerSpec)
    """The frozen model that plugins may ask for."""
    judge: GeneratorSpec = Field(default_factory=GeneratorSpec)
    """The model that answers rewards in text."""
    actions: list[Action] = Field(default_factory=list)
    """What the run does about events."""

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
        """One update per rollout batch, no run-ahead, nothing left over: one forward and one backward per token."""
        ahead = self.rollouts.max_lag > 0 or self.admission.oversample > 1
        return self.training.updates_per_rollout == 1 and not ahead

    @model_validator(mode="after")
    def _arithmetic(self) -> Config:
        if self.sampling.num_generations < 2:
            raise ValueError(
                "sampling.num_generations: 1, but an advantage is relative to the group's mean and would "
                "always be 0; use at least 2"
            )
        rows, per_pass = self.sequences_per_step, self.training.micro_batch_size * self.distributed.processes
        if rows % per_pass:
            sizes = [m for m in range(1, rows + 1) if rows % (m * self.distributed.processes) == 0]
            raise ValueError(
                f"training.micro_batch_size: {self.training.micro_batch_size} x {self.distributed.processes} "
                f"process(es) does not divide the {rows} sequences of a step (prompts_per_step "
                f"{self.training.prompts_per_step} x num_generations {self.sampling.num_generations}); "
                + (f"sizes that do: {', '.join(map(str, sizes))}" if sizes else "raise prompts_per_step")
            )
        if self.training.steps % self.training.updates_per_rollout:
            raise ValueError(
                f"training.steps: {self.training.steps} is no multiple of training.updates_per_rollout "
                f"{self.training.updates_per_rollout}; the last rollout batch would be trained in part"
            )
        if self.admission.oversample > self.admission.max_factor:
            raise ValueError(
                f"admission.oversample: {self.admission.oversample:g} is over max_factor "
                f"{self.admission.max_factor:g}, the cap on groups per batch; lower it, or raise max_factor"
            )
        if self.distributed.strategy == "fsdp2" and not self.distributed.gpus:
            raise ValueError(
                "distributed.strategy: fsdp2 on CPU processes is silently plain DDP in accelerate; "
                "set distributed.gpus or use strategy: ddp"
            )
        if any(action.do == "hicra" for action in self.actions) and self.advantages.hicra is None:
            raise ValueError("actions: hicra without advantages.hicra; give it (an empty {} has the defaults)")
        self._actions_in_time()
        self._guard_in_reach()
        covariance = self.training.covariance
        if covariance is not None and covariance.method == "clip_cov" and self.training.loss == "vespo":
            raise ValueError("training.covariance: clip_cov acts through the token weights, which vespo does not have")
        if covariance is not None and covariance.method == "kl_cov" and self.aligned:
            raise ValueError(
                "training.covariance: kl_cov penalises moving away from the old log-probs, and with one update per "
                "rollout batch nothing has moved; use updates_per_rollout of 2 or more, max_lag, or clip_cov"
            )
        if self.training.loss == "vespo" and self.training.correction.startswith("sequence"):
            raise ValueError(
                f"training.correction: {self.training.correction} with loss vespo, "
                "which takes token_truncate or token_mask"
            )
        return self

    def _guard_in_reach(self) -> None:
        """The guard can let a hard prompt come back, and can make a step shorter."""
        guard, samples, optimizer = self.advantages.guard, self.sampling.num_generations, self.training.optimizer
        if guard is None:
            return
        if guard.min_successes >= samples:
            raise ValueError(
                f"advantages.guard.min_successes: {guard.min_successes}, but of {samples} completions "
                "(sampling.num_generations) so many successes leave no failure to compare them with, and every group "
                "of a hard prompt would be withheld for good; use fewer, or more completions"
            )
        if optimizer in ("lomo", "adalomo") or optimizer.endswith("_layerwise"):
            raise ValueError(
                f"advantages.guard: the optimizer {optimizer} changes weights inside the backward pass, by a rate that "
                "nothing can make smaller for a step; use another training.optimizer, or leave the guard out"
            )

    def _actions_in_time(self) -> None:
        """An action at a step is taken when a rollout batch is done, and none is after the last step."""
        updates, last = self.training.updates_per_rollout, self.training.steps
        for action in self.actions:
            if action.at is not None and action.at > last:
                raise ValueError(
                    f"actions: {action.do} at step {action.at}, but the run ends at step {last} (training.steps); "
                    f"give a step from 1 to {last}, or raise training.steps"
                )
            if action.at is not None and action.at % updates:
                raise ValueError(
                    f"actions: {action.do} at step {action.at} is inside a rollout batch of {updates} updates "
                    f"(training.updates_per_rollout); give step {math.ceil(action.at / updates) * updates}"
                )
