"""The stages of a step, called by the loop. Each takes the run and says what it did."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from functools import partial
from typing import Any

import numpy as np

from rltrain import advantages, batch, blame, checkpoint, collect, recording
from rltrain import credit as planning
from rltrain import evaluate as held_out
from rltrain.batch import Row
from rltrain.run import Run
from rltrain.types import Event, Group, Sampling, Task, Ticket


class TooManyErrors(RuntimeError):
    """More rewards failed than the config allows; a checkpoint was written."""


def begin(run: Run) -> int:
    """Publish the weights as they are and take up what was in flight; the step the run stands at."""
    step = run.progress.rollouts * run.config.training.updates_per_rollout
    if run.progress.settings:
        adjust(run, run.progress.settings)
    publish(run, version=step)
    run.pool.settle(step, partial(run.console.stage, "starting engines"))
    run.collector.restore(run.restored)
    if run.resumed_from is not None:
        run.event(Event(step, "resumed", "info", {"checkpoint": run.resumed_from.name}, "nothing to do"))
    return step


def adjust(run: Run, settings: dict[str, float]) -> None:
    """Change what the trainer lets be changed under way, in all processes."""
    run.channel.announce("adjust", settings)
    run.trainer.adjust(settings)


def look_once(run: Run) -> None:
    """Step 0: the untrained model on the held-out prompts."""
    if metrics := evaluate(run, 0):
        metrics |= run.stages.take() | run.pool.engine_metrics()
        run.directory.log_metrics(0, metrics)
        run.tracker.log(0, metrics)
        run.console.recall(0, metrics)


def publish(run: Run, version: int) -> None:
    """Send the trainer's weights to the engines under this version."""
    with run.stages("publish"):
        run.wake()
        run.send_weights(version)


def request(run: Run, count: int, version: int) -> list[Ticket]:
    """Tickets for `count` tasks of the curriculum, on their way to the engines."""
    tickets: list[Ticket] = []
    if not count:
        return tickets
    sampling = training_sampling(run)
    for _ in range(100):
        tasks = sampled(run, count - len(tickets))
        tickets += run.office.issue(
            tasks, num_samples=run.config.sampling.num_generations, sampling=sampling, version=version
        )
        if len(tickets) == count:
            run.collector.request(tickets)
            return tickets
    raise ValueError(
        f"hardly any prompt fits sampling.max_prompt_length {run.config.sampling.max_prompt_length}: "
        f"{run.office.dropped} were dropped; raise it"
    )


def sampled(run: Run, count: int) -> Sequence[Task]:
    """The curriculum's next `count` tasks; CurriculumFailed when it gives more or fewer."""
    use = run.config.curriculum.use
    with blame.curriculum(run.config.curriculum, "sample"):
        tasks = run.curriculum.sample(count)
    got = f"{len(tasks)} tasks" if isinstance(tasks, Sized) else type(tasks).__name__
    if not isinstance(tasks, Sized) or len(tasks) != count:
        raise blame.CurriculumFailed(f"curriculum {use!r}: sample({count}) returned {got}; expected {count}")
    return tasks


def training_sampling(run: Run) -> Sampling:
    """How training completions are sampled."""
    s = run.config.sampling
    return Sampling(s.temperature, s.top_p, s.top_k, s.max_completion_length, tuple(s.stop))


def observe(run: Run, groups: Sequence[Group]) -> None:
    """Let the curriculum learn from groups, and the rare-success guard where there is one."""
    with blame.curriculum(run.config.curriculum, "observe"):
        run.curriculum.observe(groups)
    if run.config.advantages.guard is not None:
        run.progress.pass_rates.observe(groups, run.config.advantages.guard.half_life)


def guard(run: Run, groups: list[Group]) -> list[Group]:
    """The groups without the push of lucky hits, where that is asked for."""
    spec = run.config.advantages.guard
    if spec is None:
        return groups
    scale = run.config.advantages.scale
    lucky = {group.ticket for group in groups if run.progress.pass_rates.lucky(group, spec, scale)}
    return advantages.withhold(groups, lucky, spec.cap)


def credit(run: Run, groups: list[Group], version: int) -> list[Group]:
    """Planning-focused credit, once it has begun and while no phrases are being stuffed."""
    hicra, step = run.config.advantages.hicra, version + 1
    if hicra is None:
        return groups
    before = run.progress.guard
    if isinstance(hicra.start, int) and step >= hicra.start:
        before = before.started(step)
    run.progress.guard = before.seen(planning.planning_ratio(groups), hicra.max_ratio)
    if event := planning.told(before, run.progress.guard, step):
        run.event(event)
    return planning.planning_credit(groups, hicra.alpha, hicra.variant) if run.progress.guard.active else groups


def updates(groups: Sequence[Group], count: int) -> Iterator[list[Group]]:
    """The groups split over the optimizer steps of one rollout batch; rejected ones go with the first."""
    kept = [group for group in groups if group.admitted]
    rejected = [group for group in groups if not group.admitted]
    for i, part in enumerate(np.array_split(np.arange(len(kept)), count)):
        yield [kept[j] for j in part] + (rejected if i == 0 else [])


def old_logprobs(run: Run, groups: Sequence[Group]) -> dict[tuple[int, int], np.ndarray]:
    """Each row's log-probs before the first of several updates, if they are to be recomputed; else nothing."""
    training, processes = run.config.training, run.config.distributed.processes
    if training.old_logprobs == "sampler" or training.updates_per_rollout == 1:
        return {}
    rows = batch.rows(groups)
    passes = math.ceil(len(rows) / (training.micro_batch_size * processes))
    old: dict[tuple[int, int], np.ndarray] = {}
    with run.stages("train"):
        for parts in batch.cut(rows, passes, training.micro_batch_size, processes):
            run.channel.announce("old", parts)
            found = run.channel.gather(run.trainer.logprobs(parts[0]))
            old |= {
                row.key: logp for part, ps in zip(parts, found, strict=True) for row, logp in zip(part, ps, strict=True)
            }
    return old


def share(run: Run, groups: Sequence[Group]) -> float:
    """Of a whole optimizer step: what the guard left of the push. Plain SGD's steps shrink by themselves."""
    if run.config.advantages.guard is None or run.config.training.optimizer == "sgd":
        return 1.0
    return 1.0 - advantages.withheld(groups)["advantage/withheld"]


def micro_batches(run: Run, rows: list[Row], share: float) -> Iterator[dict[str, Any]]:
    """The step's rows as micro-batches of this process; the others get theirs."""
    config = run.config
    cut = batch.cut(rows, config.micro_batches, config.training.micro_batch_size, config.distributed.processes)
    num_items = sum(len(row.completion_ids) for row in rows)
    for parts in cut:
        yield run.trainer.prepared(run.channel.scatter(parts, num_items, share), num_items, share)


def evaluate(run: Run, step: int) -> dict[str, float]:
    """eval/* metrics when an evaluation is due at this step, else nothing."""
    config = run.config.evaluation
    last = step == run.config.training.steps
    due = step == 0 or last or (config.every and step % config.every == 0)
    if not due or not run.held_out or step % run.config.training.updates_per_rollout:
        return {}
    with run.stages("eval"):
        sampling = dataclasses.replace(training_sampling(run), temperature=config.temperature, top_p=1.0, top_k=0)
        tickets = run.office.issue(
            run.held_out, num_samples=config.num_generations, sampling=sampling, version=step, salt="eval/"
        )
        groups = once(run, tickets, partial(run.console.stage, f"evaluation at step {step}"))
    run.progress.evaluations[step] = held_out.outcomes(groups)
    metrics, forms = held_out.summarize(groups), held_out.form_shares(groups)
    if step == 0:
        run.progress.base_forms = forms
    elif run.progress.base_forms and forms:
        metrics["eval/format_distance"] = held_out.form_distance(forms, run.progress.base_forms)
    return metrics


def check_errors(run: Run, groups: Sequence[Group]) -> None:
    """Stop, with a checkpoint, when more scores failed than allowed; the message ends with the first traceback."""
    failed = collect.errors(groups)
    if failed["rate"] <= run.config.admission.max_errors:
        return
    step = run.progress.rollouts * run.config.training.updates_per_rollout
    first, _, told = failed["first"].partition("\n")
    evidence = {"share": failed["rate"], "kinds": failed["kinds"], "first": first, "traceback": told}
    run.event(Event(step + 1, "scores_failed", "error", evidence, "mend the reward, then resume"))
    if step:
        save(run, step, always=True)
    kinds = ", ".join(f"{count} {kind}" for kind, count in failed["kinds"].items())
    said = f"{failed['rate']:.0%} of the scores of step {step + 1} failed"
    most = f"admission.max_errors {run.config.admission.max_errors:.0%}"
    where = "; the column `error` of the rollouts has those of earlier steps" if step else ""
    raise TooManyErrors(f"{said} ({most}): {kinds}; the first: {first}{where}\n{told}".rstrip())


def save(run: Run, step: int, *, always: bool = False) -> None:
    """A checkpoint when one is due: groups in flight are awaited and kept with it."""
    every, last = run.config.checkpoints.every, step == run.config.training.steps
    root = run.directory.checkpoints
    path = checkpoint.path_of(root, step)
    if not (always or last or (every and step % every == 0)) or path.exists():
        return
    with run.stages("save"):
        in_flight = [pair for tickets in run.progress.requested for pair in run.collector.settle(tickets)]
        run.directory.flush()
        recording.diagnosis(run)
        root.mkdir(exist_ok=True)
        run.channel.announce("save", path)
        with checkpoint.told_if_full(path):
            run.trainer.save(path)
        run.progress.best = best = better(run.progress.best, step, run.progress.evaluations.get(step, {}))
        state = {
            "progress": run.progress,
            "in_flight": in_flight,
            "office": run.office.state_dict(),
            "curriculum": run.curriculum.state_dict(),
            "gates": [gate.state_dict() for gate in run.gates],
            "diagnostics": [diagnostic.state_dict() for diagnostic in run.diagnostics],
            "tagger": {key: getattr(run.collector.tagger, key, None) for key in ("version", "hash")},
        }
        with checkpoint.told_if_full(path):
            checkpoint.seal(path, state, step=step, fingerprint=run.fingerprint)
        run.tracker.checkpoint(step, run.directory.path, last=last)
        checkpoint.prune(root, keep=run.config.checkpoints.keep, best=best[1] if best else None)


def better(best: tuple[float, int] | None, step: int, outcomes: Mapping[str, np.ndarray]) -> tuple[float, int] | None:
    """The best (held-out outcome, step) of those that are saved, this step counted in where it was evaluated."""
    if not outcomes:
        return best
    value = float(np.mean([row.mean() for row in outcomes.values()]))
    return (value, step) if best is None or value > best[0] else best


def once(run: Run, tickets: list[Ticket], told=lambda done, total: None) -> list[Group]:
    """Scored groups outside the training stream."""
    run.wake()
    run.collector.request(tickets)
    groups = run.collector.gather(tickets, told)
    run.collector.release(tickets)
    return groups
