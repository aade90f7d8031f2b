"""A run's parts, and how far it has come. Built by `launch.py`; the loop receives it."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rltrain.config import Config
from rltrain.credit import Guard
from rltrain.rare import PassRates
from rltrain.types import Completion, Curriculum, Diagnostic, Event, Group, Task, Ticket

if TYPE_CHECKING:
    from rltrain.channel import Channel
    from rltrain.collect import Collector
    from rltrain.console import Console
    from rltrain.faults import Faults
    from rltrain.gradients import StepGradients
    from rltrain.lending import RemoteGenerator
    from rltrain.records import RunDir
    from rltrain.rollouts.pool import RolloutPool
    from rltrain.stages import Stages
    from rltrain.tickets import Render, TicketOffice
    from rltrain.tracking import Tracker
    from rltrain.trainer import RLTrainer


@dataclasses.dataclass
class Progress:
    """Where a run stands: all of it is in the checkpoint."""

    rollouts: int = 0  # rollout batches trained
    requested: deque[list[Ticket]] = dataclasses.field(default_factory=deque)  # asked for, not yet trained
    judged: list[Group] = dataclasses.field(default_factory=list)  # of the next batch: refused, or accepted and kept
    evaluations: dict[int, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)  # step -> key -> outcomes
    base_forms: dict[str, float] = dataclasses.field(default_factory=dict)  # shares held out, of the untrained model
    tokens: int = 0  # completion tokens trained
    best: tuple[float, int] | None = None  # (held-out outcome, step), of the steps with a checkpoint
    bound: float | None = None  # of the parity gate, measured at the start
    pass_rates: PassRates = dataclasses.field(default_factory=PassRates)  # of the rare-success guard
    guard: Guard = dataclasses.field(default_factory=Guard)  # of planning-focused credit
    settings: dict[str, float] = dataclasses.field(default_factory=dict)  # of the trainer, as actions changed them

    def requests_left(self, config: Config) -> bool:
        """Whether rollout batches remain that were not asked for."""
        return self.rollouts + len(self.requested) < config.rollout_batches


@dataclasses.dataclass
class Run:
    """Everything the loop works with."""

    config: Config
    directory: RunDir
    fingerprint: Mapping[str, Any]  # what a checkpoint must agree with
    trainer: RLTrainer
    channel: Channel
    stages: Stages
    pool: RolloutPool
    collector: Collector
    office: TicketOffice
    render: Render  # the trainer's own rendering of a prompt
    gradients: StepGradients  # watched where a diagnostic asks for them
    curriculum: Curriculum
    gates: Sequence[Curriculum]
    held_out: Sequence[Task]
    probes: Sequence[Task]  # prompts of the parity gate
    diagnostics: Sequence[Diagnostic]
    weights: Mapping[str, float]  # of the rewards, by label
    faults: Faults
    console: Console
    tracker: Tracker
    send_weights: Callable[[int], None]  # the trainer's weights as they are, to the engines, as this version
    final_weights: Callable[[], Iterator[tuple[str, Any]]]  # full tensors in the model's own precision
    judge: RemoteGenerator | None = None  # where a reward asks for one
    progress: Progress = dataclasses.field(default_factory=Progress)
    restored: Sequence[tuple[Ticket, tuple[Completion, ...]]] = ()  # groups in flight at the checkpoint
    resumed_from: Path | None = None
    news: list[Event] = dataclasses.field(default_factory=list)  # events that no action was looked up for yet

    def event(self, event: Event) -> None:
        """Write an event down and show it."""
        self.directory.log_event(event)
        self.console.event(event)
        self.news.append(event)

    def rest(self) -> None:
        """Engines that share the trainer's GPU give it back for the optimizer step."""
        if self.config.shared_gpu:
            self.pool.call("sleep")

    def wake(self) -> None:
        """Engines that share the trainer's GPU take it for sampling."""
        if self.config.shared_gpu:
            self.pool.call("wake")
