"""Builds a run's parts from its config and sets the loop going. The only place that constructs."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rltrain import checkpoint, evaluate, plugins
from rltrain.config import Config, CurriculumSpec, dump
from rltrain.console import Console
from rltrain.records import RunDir
from rltrain.run import Progress, Run
from rltrain.types import Curriculum, Event, Task, TaskTable

RUNS = Path("runs")
FREE = ("run", "checkpoints", "evaluation.every", "training.steps", "rollouts.deadline_s")  # may change on resume


class RunFailed(RuntimeError):
    """A run that had begun ended early; the message says where its state is and how to go on."""


@dataclasses.dataclass(frozen=True)
class Order:
    """What the person asked for, resolved: enough to build the run in any process."""

    config: Config
    directory: Path
    twin: bool
    faults: tuple[str, ...]
    resume: checkpoint.Checkpoint | None


def train(config: Config, stem: str, *, resume: str | None, twin: bool, faults: Sequence[str]) -> Path:
    """Run to the end; the run directory. ValueError before anything is written, RunFailed under way.

    `resume`: None to start afresh, "" for the newest run of this config, else a run.
    """
    from rltrain import cluster
    from rltrain.faults import Faults

    plugins.check_shadowing()
    Faults(faults)
    if twin:
        from rltrain.twin import twin as twin_of

        config, stem = twin_of(config), f"{stem}-twin"
    order = _order(config, stem, resume=resume, twin=twin, faults=tuple(faults))
    with cluster.session(config.distributed.ray_address):
        if config.distributed.processes == 1:
            run_rank(order)
        else:
            from rltrain.distributed import launch

            launch(order)
    return order.directory


def run_rank(order: Order) -> None:
    """One trainer process: the leader drives the stream, the others follow."""
    from rltrain import loop
    from rltrain.channel import Channel

    channel = Channel()
    if not channel.leads:
        run = _follower(order, channel)
        run.trainer.run(loop.follow(run), resume_from=order.resume.path if order.resume else None)
        return
    console = Console(live=order.config.run.console)
    closers: list[Any] = [console.close]
    directory = RunDir.open(order.directory)
    try:
        run = _leader(order, channel, directory, console, closers)
        run.trainer.run(loop.train(run), resume_from=order.resume.path if order.resume else None)
        lines = _finish(run)
    except (Exception, KeyboardInterrupt) as error:
        raise RunFailed(_last_words(error, directory)) from error
    finally:
        for close in reversed(closers):
            close()
        directory.close()
    Console(live=False).finish(lines)


# --- the order -----------------------------------------------------------------------------------


def _order(config: Config, stem: str, *, resume: str | None, twin: bool, faults: tuple[str, ...]) -> Order:
    from rltrain.manifest import manifest
    from rltrain.records import newest, next_name

    if resume is None:
        directory = config.run.dir or RUNS / (config.run.name or next_name(RUNS, stem))
        _check_model(config)
        RunDir.create(directory, dump(config), manifest()).close()
        return Order(config, Path(directory), twin, faults, None)
    directory = config.run.dir or (_named_run(resume) if resume else newest(RUNS, stem))
    if directory is None:
        raise ValueError(f"--resume: no run of {stem!r} under {RUNS}/; start one without --resume")
    found = checkpoint.whole(Path(directory) / "checkpoints")
    if found:
        checkpoint.load(found[-1], fingerprint(config))
    run = RunDir.open(directory)
    run.cut(found[-1].step if found else -1)
    run.close()
    return Order(config, Path(directory), twin, faults, found[-1] if found else None)


def _named_run(name: str) -> Path:
    return Path(name) if Path(name).is_dir() else RUNS / name


def _check_model(config: Config) -> None:
    """ValueError before a directory is made when the model cannot be had."""
    from rltrain.models import load_tokenizer

    load_tokenizer(config.model.path)


def fingerprint(config: Config) -> dict[str, Any]:
    """What must be the same for a checkpoint to go on, as dotted keys."""

    def flat(value: Any, at: str) -> dict[str, Any]:
        if any(at == free or at.startswith(free + ".") for free in FREE):
            return {}
        if isinstance(value, dict) and value:
            return {k: v for key, item in value.items() for k, v in flat(item, f"{at}.{key}" if at else key).items()}
        return {at: value}

    return flat(config.model_dump(mode="json"), "")


# --- the parts -----------------------------------------------------------------------------------


def _leader(order: Order, channel: Any, directory: RunDir, console: Console, closers: list[Any]) -> Run:
    from rltrain import scoring, tasks
    from rltrain.collect import Collector
    from rltrain.faults import Faults
    from rltrain.models import load_tokenizer
    from rltrain.rollouts.pool import RolloutPool
    from rltrain.scoring_pool import ScoringPool
    from rltrain.stages import Stages
    from rltrain.tickets import TicketOffice
    from rltrain.tracking import Tracker

    config = order.config
    console.start(order.directory.name, config.training.steps, _header(config))
    sets = tasks.build(config.tasks, seed=config.run.seed, twin=order.twin)
    for note in [*sets.notes, *scoring.check_routing(scoring.bind(config.rewards), sets.kinds)]:
        console.note(note)
    pool = RolloutPool(engine_specs(config), deadline_s=config.rollouts.deadline_s)
    closers.append(pool.close)
    judges = ScoringPool(config.rewards, workers=max(1, min(4, (os.cpu_count() or 2) // 2)))
    closers.append(judges.close)
    trainer = _trainer(order)
    tracker = Tracker.open(
        config.run.wandb, order.directory, order.directory.name, config.model_dump(mode="json"), note=console.note
    )
    closers.append(tracker.close)
    tokenizer = load_tokenizer(config.model.path)
    stages = Stages(config.rollouts.deadline_s * 2, partial(_stuck, directory, console))
    closers.append(stages.close)
    curriculum, gates = build_curriculum(config.curriculum, sets.train, config.run.seed)
    held_out = spread(sets.held_out, config.evaluation.prompts)
    run = Run(
        config=config,
        directory=directory,
        fingerprint=fingerprint(config),
        trainer=trainer,
        channel=channel,
        stages=stages,
        pool=pool,
        collector=Collector(
            pool,
            judges,
            _built(config.tagger.use, "rltrain.taggers", config.tagger.args),
            _built(config.formats.use, "rltrain.formats", config.formats.args),
        ),
        office=TicketOffice(
            render=_render(config, tokenizer),
            seed=config.run.seed,
            max_prompt=config.sampling.max_prompt_length,
            long_prompts=config.sampling.long_prompts,
        ),
        render=_render(config, trainer.processing_class),
        curriculum=curriculum,
        gates=gates,
        held_out=held_out,
        probes=spread(sets.train, 2 * config.rollouts.engines + 2),
        diagnostics=[_built(spec.use, "rltrain.diagnostics", spec.args) for spec in config.diagnostics],
        weights={spec.label: spec.weight for spec in config.rewards},
        faults=Faults(order.faults),
        console=console,
        tracker=tracker,
        named_weights=_named_weights(config, trainer),
    )
    return _restored(run, order.resume) if order.resume else run


def _follower(order: Order, channel: Any) -> Any:
    """What `loop.follow` needs: a trainer, a channel, and the weights' iterator."""
    import types

    trainer = _trainer(order)
    return types.SimpleNamespace(trainer=trainer, channel=channel, named_weights=_named_weights(order.config, trainer))


def _trainer(order: Order) -> Any:
    import torch

    from rltrain.models import load_model, load_tokenizer
    from rltrain.trainer import RLTrainer

    config = order.config
    torch.set_num_threads(config.distributed.threads)
    model = load_model(config.model.path, "float32")
    return RLTrainer(config, model, load_tokenizer(config.model.path), order.directory / "checkpoints")


def _named_weights(config: Config, trainer: Any) -> Any:
    import torch

    from rltrain.rollouts.weights import named_weights

    return lambda: named_weights(trainer.model, getattr(torch, config.engine_dtype))


def _render(config: Config, tokenizer: Any) -> Any:
    from rltrain.models import render

    return partial(render, tokenizer, system=config.model.system, template=config.model.prompt_template)


def engine_specs(config: Config) -> list[Any]:
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
            sleeps=config.shared_gpu,
            seed=config.run.seed,
            name=f"engine-{i}",
            args=r.args,
        )
        for i in range(r.engines)
    ]


def build_curriculum(spec: CurriculumSpec, table: TaskTable, seed: int) -> tuple[Curriculum, list[Curriculum]]:
    """The curriculum with what it nests, and its gates."""
    factory = plugins.resolve(spec.use, "rltrain.curricula")
    plugins.bind(factory, spec.args, given=("tasks", "seed", "inner"))
    inner = build_curriculum(spec.inner, table, seed)[0] if spec.inner else None
    gates = [build_curriculum(gate, table, seed)[0] for gate in spec.gates]
    return factory(table, seed=seed, inner=inner, **spec.args), gates


def spread(table: TaskTable, count: int) -> list[Task]:
    """The first tasks of every source in turn, `count` in all or as many as there are."""
    by_source = [np.flatnonzero(table.sources == name) for name in dict.fromkeys(table.sources.tolist())]
    turns = [i for turn in itertools.zip_longest(*by_source) for i in turn if i is not None]
    return [table[int(i)] for i in turns[:count]]


def _built(spec: str, group: str, args: dict[str, Any]) -> Any:
    factory = plugins.resolve(spec, group)
    plugins.bind(factory, args)
    return factory(**args)


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


# --- the end -------------------------------------------------------------------------------------


def _finish(run: Run) -> list[str]:
    """Save the model, write the report, and say what came of it."""
    import torch

    if run.channel.leads:
        model = run.trainer.accelerator.unwrap_model(run.trainer.model)
        target = run.directory.path / "model"
        if run.config.model.lora is not None:
            model.save_pretrained(target / "adapter")
            model = model.merge_and_unload()
        model.to(getattr(torch, run.config.model.dtype)).save_pretrained(target)
        run.trainer.processing_class.save_pretrained(target)
    run.directory.flush()
    report = plugins.resolve("html", "rltrain.reports")([run.directory.path], run.directory.path / "report.html")
    lines = [""]
    evaluations = run.progress.evaluations
    if len(evaluations) > 1:
        first, last = min(evaluations), max(evaluations)
        gain = evaluate.paired_difference(evaluations[first], evaluations[last], seed=run.config.run.seed)
        run.directory.update_manifest(improvement={"mean": gain.mean, "low": gain.low, "high": gain.high})
        before, after = (_mean(evaluations[step]) for step in (first, last))
        verdict = "it learned" if gain.low > 0 else "no improvement shown"
        lines += [
            f"held-out outcome: {before:.3f} before, {after:.3f} after; "
            f"after minus before {gain} (paired bootstrap 95%, {len(evaluations[first])} prompts): {verdict}"
        ]
    return [
        *lines,
        f"report     {report}   open it in a browser",
        f"metrics    {run.directory.path / 'metrics.jsonl'}   events.jsonl beside it",
        f"rollouts   {run.directory.path / 'rollouts'}   one parquet a step, every completion with its tokens",
        f"model      {run.directory.path / 'model'}   from_pretrained and vLLM load it",
        f"go on with rltrain status {run.directory.path}   or rltrain eval {run.directory.path}",
    ]


def _mean(outcomes: dict[str, Any]) -> float:
    return float(sum(row.mean() for row in outcomes.values()) / max(1, len(outcomes)))


def _last_words(error: BaseException, directory: RunDir) -> str:
    """What happened, where the state is, how to go on."""
    what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
    found = checkpoint.whole(directory.checkpoints)
    state = f"checkpoint of step {found[-1].step} in {found[-1].path}" if found else "no checkpoint yet"
    return (
        f"{what}\nrun directory {directory.path}; {state}; go on with: rltrain train CONFIG --resume {directory.path}"
    )


def _stuck(directory: RunDir, console: Console, stage: str, seconds: float, stacks: str) -> None:
    event = Event(
        0, "stuck", "warning", {"stage": stage, "seconds": round(seconds), "stacks": stacks}, "see the stacks"
    )
    directory.log_event(event)
    console.note(f"nothing has moved in stage {stage!r} for {seconds:.0f} s; stacks of all threads are in events.jsonl")


def _header(config: Config) -> str:
    return (
        f"{config.model.path}, {config.rollouts.engines} {config.rollouts.engine} engine(s), "
        f"{config.training.prompts_per_step} x {config.sampling.num_generations} completions a step, "
        f"loss {config.training.loss}"
    )
