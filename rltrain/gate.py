"""The parity gate in a run: when it is asked, on which prompts, and what it tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np

from rltrain import recording, steps
from rltrain.batch import Row
from rltrain.rollouts import parity
from rltrain.run import Run
from rltrain.types import Event

PROBE_TOKENS = 64  # longest completion of a probe


def check(run: Run, step: int, *, always: bool = False) -> None:
    """The parity gate: at the start, every `parity_every` steps, after a restart. ParityError stops the run."""
    every = run.config.rollouts.parity_every
    restarted = recording.report_losses(run, step)
    if not (always or restarted or (every and step and step % every == 0)):
        return
    with run.stages("parity"):
        sampling = steps.training_sampling(run)
        sampling = dataclasses.replace(sampling, max_tokens=min(sampling.max_tokens, PROBE_TOKENS))
        tickets = run.office.issue(run.probes, num_samples=2, sampling=sampling, version=step, salt="parity/")
        groups = steps.once(run, tickets)
        parity.prompts_agree(groups, run.render)
        probe = parity.rows(groups)
        views = parity.Views(
            logprobs=partial(_probe, run, None),
            logprobs_bf16=partial(_probe, run, "bfloat16"),
            logprobs_fp32=partial(_probe, run, "float32"),
            logits=partial(_logits, run),
        )
        if run.progress.bound is None:
            run.progress.bound = parity.measure_bound(probe, views, rounded=run.config.rounded)
        result = parity.check(probe, views, run.progress.bound, sampling.temperature, sampling.top_p, sampling.top_k)
    measured = {"gap": result.gap, "bound": result.bound, "tokens": result.tokens}
    run.event(Event(step, "parity", "info", measured, "nothing to do"))


def _probe(run: Run, precision: str | None, rows: Sequence[Row]) -> list[np.ndarray]:
    run.channel.announce("probe", (rows, precision))
    return run.trainer.logprobs(list(rows), precision)


def _logits(run: Run, rows: Sequence[Row]) -> list[np.ndarray]:
    run.channel.announce("logits", rows)
    return run.trainer.logits(list(rows))
