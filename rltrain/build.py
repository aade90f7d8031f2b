"""A run's parts, built from its config. With `launch.py` the only place that constructs."""

from __future__ import annotations

import dataclasses
import itertools
import os
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rltrain import checkpoint, contracts, lending, plugins
from rltrain.config import Config, CurriculumSpec
from rltrain.console import Console
from rltrain.order import Order, fingerprint
from rltrain.plugins import built
from rltrain.records import RunDir, load_run
from rltrain.run import Progress, Run
from rltrain.types import Curriculum, Event, Scorer, Tagger, Task, TaskTable

if TYPE_CHECKING:
    from rltrain.collect import Collector
    from rltrain.rollouts.pool import RolloutPool
    from rltrain.tickets import TicketOffice


def leader(order: Order, channel: Any, directory: RunDir, console: Console, closers: list[Any]) -> Run:
    from rltrain import scoring, tasks
    from rltrain.faults import Faults
    from rltrain.gradients import StepGradients
    from rltrain.reporting import integrations
    from rltrain.rollouts import transport
    from rltrain.stages import Stages
    from rltrain.tracking import Guarded, Several, Tracker

    config = order.config
    console.start(order.directory.name, config.training.steps, _header(config))
    sets = tasks.build(config.tasks, seed=config.run.seed, twin=order.twin)
    for note in [*order.notes, *sets.notes, *scoring.check_routing(scoring.bind(config.rewards, LENT), sets.kinds)]:
        console.note(note)
    route = transport.choose(config.rollouts.engine, config.rollouts.gpus, config.distributed.gpus)
    room = engine_room(config, closers, route)
    reports = integrations(config.run.report_to, order.directory)
    trainer = _trainer(order, channel, reports)
    gradients = StepGradients(trainer, channel)
    name, note, values = order.directory.name, console.note, config.model_dump(mode="json")
    wandb = Tracker.open(config.run.wandb, order.directory, name, values, note=note)
    tracker = Several([wandb, *(Guarded(report.name, report, note) for report in reports)])
    closers.append(tracker.close)
    stages = Stages(config.rollouts.deadline_s * 2, partial(stuck, directory, console))
    closers.append(stages.close)
    curriculum, gates = build_curriculum(config.curriculum, sets.train, config.run.seed)
    held_out = spread(sets.held_out, config.evaluation.prompts)
    lent = _lent(config, room, trainer, channel, stages) | {"gradients": gradients}
    run = Run(
        config=config,
        directory=directory,
        fingerprint=fingerprint(config),
        trainer=trainer,
        channel=channel,
        stages=stages,
        pool=room.pool,
        collector=room.collector,
        office=room.office,
        render=_render(config, trainer.processing_class),
        gradients=gradients,
        curriculum=curriculum,
        gates=gates,
        held_out=held_out,
        probes=spread(sets.train, 2 * config.rollouts.engines + 2),
        diagnostics=[built(spec.use, "rltrain.diagnostics", spec.args, **lent) for spec in config.diagnostics],
        weights={spec.label: spec.weight for spec in config.rewards},
        faults=Faults(order.faults),
        console=console,
        tracker=tracker,
        send_weights=_send_weights(config, route, room.pool, channel, trainer),
        final_weights=_named_weights(trainer, channel, "final", config.model.dtype),
        judge=room.judge,
    )
    return _restored(run, order.resume) if order.resume else run


LENT = types.MappingProxyType({"scorer": None, "judge": None})  # names that rewards may ask for


class EngineRoom(NamedTuple):
    """What turns tasks into scored groups; training and `rltrain eval` use the same."""

    pool: RolloutPool
    collector: Collector
    office: TicketOffice
    tagger: Tagger
    scorer: Scorer | None  # where a plugin asks for one
    judge: lending.RemoteGenerator | None  # likewise


def engine_room(config: Config, closers: list[Any], route: str = "store") -> EngineRoom:
    """Engines and reward workers, starting up; `closers` gets what ends them. Ray must be running.

    `route`: how weights will come, see rollouts/transport.py.
    """
    from rltrain.collect import Collector
    from rltrain.models import load_tokenizer
    from rltrain.rollouts.direct import DirectPool
    from rltrain.rollouts.pool import RolloutPool
    from rltrain.scoring_pool import ScoringPool
    from rltrain.tickets import TicketOffice

    make = RolloutPool if route == "store" else DirectPool
    pool = make(engine_specs(config, route), deadline_s=config.rollouts.deadline_s)
    closers.append(pool.close)
    scorer, judge = lending.scorer(config, closers), lending.judge(config, closers)
    lent = {name: one for name, one in {"scorer": scorer, "judge": judge}.items() if one is not None}
    workers = max(1, min(4, (os.cpu_count() or 2) // 2))
    judges = ScoringPool(config.rewards, workers, lent=lent)
    closers.append(judges.close)
    tagger = built(config.tagger.use, "rltrain.taggers", config.tagger.args)
    formats = built(config.formats.use, "rltrain.formats", config.formats.args)
    office = TicketOffice(
        render=_render(config, load_tokenizer(config.model.path)),
        seed=config.run.seed,
        max_prompt=config.sampling.max_prompt_length,
        long_prompts=config.sampling.long_prompts,
    )
    for one in lent.values():
        one.ready()
    return EngineRoom(pool, Collector(pool, judges, tagger, formats), office, tagger, scorer, judge)


def _lent(config: Config, room: EngineRoom, trainer: Any, channel: Any, stages: Any) -> dict[str, Any]:
    """What diagnostics may ask for by parameter name, beside the gradients."""
    from rltrain.forced import TrainedPolicy

    longest = config.sampling.max_prompt_length + config.sampling.max_completion_length
    render, rows = _render(config, trainer.processing_class), config.training.micro_batch_size
    policy = TrainedPolicy(trainer, channel, render, stages, rows=rows, longest=longest)
    scorer = None if room.scorer is None else lending.Priced(room.scorer, stages)
    return {"tagger": room.tagger, "policy": policy, "scorer": scorer}


def follower(order: Order, channel: Any) -> Any:
    """What `loop.follow` needs: a trainer, a channel, and this rank's part in sending weights."""
    from rltrain.rollouts import transport

    config, trainer = order.config, _trainer(order, channel)
    route = transport.choose(config.rollouts.engine, config.rollouts.gpus, config.distributed.gpus)
    weights = _named_weights(trainer, channel, "weights", config.engine_dtype)
    return types.SimpleNamespace(
        trainer=trainer,
        channel=channel,
        accompany_weights=transport.Sender(_plane(config, route, channel), weights).accompany,
        final_weights=_named_weights(trainer, channel, "final", config.model.dtype),
    )


def _trainer(order: Order, channel: Any, callbacks: Sequence[Any] = ()) -> Any:
    import torch

    from rltrain.models import load_model, load_tokenizer
    from rltrain.trainer import RLTrainer

    config = order.config
    channel.meet()  # the leader may have taken long to get here; from now on ranks wait for each other with a deadline
    torch.set_num_threads(config.distributed.threads)
    model = load_model(config.model.path, "float32")
    return RLTrainer(config, model, load_tokenizer(config.model.path), order.directory / "checkpoints", callbacks)


def _named_weights(trainer: Any, channel: Any, kind: str, dtype: str) -> Callable[[], Iterator[tuple[str, Any]]]:
    """The weights in this precision; all ranks gather, so the leader calls the others to it by `kind`."""
    import torch

    from rltrain.rollouts.weights import named_weights

    def weights() -> Iterator[tuple[str, Any]]:
        if channel.leads:
            channel.announce(kind)
        return named_weights(trainer.model, getattr(torch, dtype))

    return weights


def _send_weights(config: Config, route: str, pool: Any, channel: Any, trainer: Any) -> Callable[[int], None]:
    from rltrain.rollouts import transport

    weights = _named_weights(trainer, channel, "weights", config.engine_dtype)
    if route == "store":
        return partial(transport.through_store, pool, weights)
    pool.attach(transport.Sender(_plane(config, route, channel), weights))
    return pool.publish_now


def _plane(config: Config, route: str, channel: Any) -> Any:
    from rltrain import cluster
    from rltrain.rollouts import transport

    if route == "ipc":
        return transport.IpcPlane(channel, transport.export_cuda)
    if route == "nccl":
        from rltrain.rollouts.vllm_engine import connect_nccl

        return transport.NcclPlane(connect_nccl, cluster.address(), config.rollouts.tensor_parallel)
    return None


def _render(config: Config, tokenizer: Any) -> Any:
    from rltrain.models import render

    return partial(render, tokenizer, system=config.model.system, template=config.model.prompt_template)


def engine_specs(config: Config, route: str = "store") -> list[Any]:
    """One spec per engine; CPU engines get cores of their own as far as there are any."""
    from rltrain.models import locate
    from rltrain.rollouts.spec import EngineSpec

    r = config.rollouts
    default = 1.0 if not r.gpus else (0.4 if config.shared_gpu else 0.9)
    return [
        EngineSpec(
            use=r.engine,
            model=str(locate(config.model.path)),
            dtype=config.engine_dtype,
            max_model_len=config.sampling.max_prompt_length + config.sampling.max_completion_length,
            slots=r.slots,
            threads=r.threads,
            first_core=i * r.threads,
            tensor_parallel=r.tensor_parallel,
            gpus=r.gpus,
            memory=r.memory or default,
            transport=route,
            sleeps=config.shared_gpu,
            seed=config.run.seed,
            name=f"engine-{i}",
            args=r.args,
        )
        for i in range(r.engines)
    ]


def build_curriculum(spec: CurriculumSpec, table: TaskTable, seed: int) -> tuple[Curriculum, list[Curriculum]]:
    """The curriculum, which builds what it nests, and its gates."""
    factory = plugins.resolve(spec.use, "rltrain.curricula")
    tasks = contracts.curriculum_factory(spec.use, factory)
    plugins.bind(factory, spec.args, given=(tasks or "tasks", "seed", "inner"))
    inner = partial(_nested, spec.inner) if spec.inner else None
    gates = [build_curriculum(gate, table, seed)[0] for gate in spec.gates]
    made = contracts.built(spec.use, factory, table, seed=seed, inner=inner, **spec.args)
    return contracts.fulfilled(made, spec.use, "rltrain.curricula"), gates


def _nested(spec: CurriculumSpec, tasks: TaskTable, *, seed: int) -> Curriculum:
    """A curriculum over a part of the tasks; gates count only where they are given outermost."""
    if spec.base_probe:
        raise ValueError(f"curriculum.inner.base_probe: {spec.base_probe}; give it to the outermost curriculum")
    return build_curriculum(spec, tasks, seed)[0]


def spread(table: TaskTable, count: int) -> list[Task]:
    """The first tasks of every source in turn, `count` in all or as many as there are."""
    by_source = [np.flatnonzero(table.sources == name) for name in dict.fromkeys(table.sources.tolist())]
    turns = [i for turn in itertools.zip_longest(*by_source) for i in turn if i is not None]
    return [table[int(i)] for i in turns[:count]]


def _restored(run: Run, saved: checkpoint.Checkpoint) -> Run:
    """The run with the checkpoint's state in all its parts."""
    state = checkpoint.load(saved, run.fingerprint)
    run.office.load_state_dict(state["office"])
    run.curriculum.load_state_dict(state["curriculum"])
    for gate, kept in zip(run.gates, state["gates"], strict=True):
        gate.load_state_dict(kept)
    for diagnostic, kept in zip(run.diagnostics, state["diagnostics"], strict=True):
        diagnostic.load_state_dict(kept)
    progress: Progress = state["progress"]
    progress.requested = deque(progress.requested)
    return dataclasses.replace(run, progress=progress, restored=state["in_flight"], resumed_from=saved.path)


def stuck(directory: RunDir, console: Console, stage: str, seconds: float, stacks: str) -> None:
    """Write down that a stage of the step under way takes too long."""
    recorded = load_run(directory.path).metrics
    step = int(recorded["step"].max()) + 1 if len(recorded) else 0
    evidence = {"stage": stage, "seconds": round(seconds), "stacks": stacks}
    directory.log_event(Event(step, "stuck", "warning", evidence, "see the stacks"))
    console.note(f"nothing has moved in stage {stage!r} for {seconds:.0f} s; stacks of all threads are in events.jsonl")


def _header(config: Config) -> str:
    return (
        f"{config.model.path}, {config.rollouts.engines} {config.rollouts.engine} engine(s), "
        f"{config.training.prompts_per_step} x {config.sampling.num_generations} completions a step, "
        f"loss {config.training.loss}"
    )
