"""A real vLLM engine with real weights behind a pool, as the benchmarks of pool and publishing use it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.measure import MODEL, config
from rltrain import cluster
from rltrain.build import engine_specs
from rltrain.models import load_model
from rltrain.rollouts.pool import RolloutPool
from rltrain.rollouts.vllm_engine import VLLMEngine, sampling_params
from rltrain.rollouts.weights import named_weights, pack
from rltrain.types import Ticket

START_S = 600.0


class DirectEngine(VLLMEngine):
    """One engine that can be driven both ways, so that nothing differs but the way."""

    def direct(self, tickets: Sequence[Ticket], answers: Any) -> None:
        """vLLM's own `generate` on the tickets; puts its seconds and tokens into a queue of Ray's."""
        prompts = [{"prompt_token_ids": ticket.prompt_ids.tolist()} for ticket in tickets]
        params = [sampling_params(ticket) for ticket in tickets]
        begun = time.perf_counter()
        outputs = self._llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - begun
        answers.put((seconds, sum(len(sample.token_ids) for output in outputs for sample in output.outputs)))

    def forget(self, answers: Any) -> None:
        """Drop cached prompts: who comes second must not find the first one's work done."""
        self._llm.reset_prefix_cache()
        answers.put(None)


def policy() -> torch.nn.Module:
    """The trainer's model: weights in float32."""
    return load_model(MODEL, "float32")


@contextmanager
def one_engine(model: torch.nn.Module) -> Iterator[RolloutPool]:
    """A pool with one engine that serves the model's weights as version 0."""
    import dataclasses

    [spec] = engine_specs(config())
    with cluster.session():
        pool = RolloutPool([dataclasses.replace(spec, use="benchmarks.engines:DirectEngine")], deadline_s=START_S)
        try:
            pool.publish(0, *pack(named_weights(model, torch.bfloat16)))
            pool.settle(0)
            yield pool
        finally:
            pool.close()
