"""The algorithm. A generator that TRL's trainer pulls micro-batches from.

What stands before a `yield` happens before an optimizer step, what stands after it, after that step.
Only two things flow back: `curriculum.observe` and `publish`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rltrain import actions, admission, advantages, base_probe, batch, forced, gate, recording, steps
from rltrain.run import Run
from rltrain.types import Group


def train(run: Run) -> Iterator[dict[str, Any]]:
    """All optimizer steps of a run, from where `run.progress` stands."""
    config, progress = run.config, run.progress
    step = steps.begin(run)
    gate.check(run, step, always=True)
    if step == 0:
        steps.look_once(run)
        base_probe.look(run)
    for rollout in range(progress.rollouts, config.rollout_batches):
        step = rollout * config.training.updates_per_rollout
        gate.check(run, step)
        run.faults.strike(range(step + 1, step + 1 + config.training.updates_per_rollout), run.pool)
        while len(progress.requested) <= config.rollouts.max_lag and progress.requests_left(config):
            asked = admission.at_first(config, len(progress.judged))
            progress.requested.append(steps.request(run, asked, version=step))
        groups = collect(run, version=step)
        groups = advantages.assign(
            groups, run.weights, scale=config.advantages.scale, combine=config.advantages.combine
        )
        groups = steps.guard(run, groups)
        groups = steps.credit(run, groups, version=step)
        old = steps.old_logprobs(run, groups)
        for update in steps.updates(groups, config.training.updates_per_rollout):
            step += 1
            rows = run.faults.corrupt(step, batch.rows(update, old))
            run.gradients.begin(step)
            with run.stages("train"):
                yield from steps.micro_batches(run, rows, steps.share(run, update))
            if step % config.training.updates_per_rollout == 0:
                steps.publish(run, version=step)
            recording.record(run, step, update, evaluation=steps.evaluate(run, step))
        progress.rollouts = rollout + 1
        if actions.act(run, step) == "stop":
            break
        steps.save(run, step)


def collect(run: Run, version: int) -> list[Group]:
    """A batch: groups accepted earlier and left over, the oldest requested, others in place of those refused."""
    config, progress = run.config, run.progress
    while True:
        tickets = progress.requested[0]
        with run.stages("rollout"):
            found = run.collector.gather(tickets, stage=run.stages)
        steps.check_errors(run, found)
        progress.requested.popleft()
        run.collector.release(tickets)
        steps.observe(run, found)
        progress.judged += [admission.admitted(run, group) for group in found]
        more = admission.missing(config, progress.judged)
        if not more:
            run.rest()
            groups, progress.judged = admission.split(progress.judged, config.groups_per_rollout)
            return admission.enough(run, groups, version)
        progress.requested.appendleft(steps.request(run, more, version))


def follow(run: Run) -> Iterator[dict[str, Any]]:
    """The other trainer processes: do what the leader announces, train on the rows it scatters."""
    for kind, argument in run.channel.listen():
        if kind == "batch":
            yield run.trainer.prepared(*argument)
        elif kind == "step":
            run.channel.gather(run.trainer.take_step())
        elif kind == "old":
            run.channel.gather(run.trainer.logprobs(argument[run.channel.rank]))
        elif kind == "probe":
            rows, precision = argument
            run.trainer.logprobs(rows, precision)
        elif kind == "logits":
            run.trainer.logits(argument)
        elif kind == "forced":
            forced.logits_of(run.trainer, argument)
        elif kind == "watch":
            run.trainer.gradients.begin(run.trainer.model, argument)
        elif kind == "gradients":
            run.channel.gather(run.trainer.gradients.take())
        elif kind == "weights":
            run.accompany_weights()
        elif kind == "adjust":
            run.trainer.adjust(argument)
        elif kind == "final":
            for _ in run.final_weights():
                pass
        else:
            assert kind == "save", kind
            run.trainer.save(argument)
