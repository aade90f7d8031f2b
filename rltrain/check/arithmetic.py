"""Batch arithmetic spelt out, and who runs where."""

from __future__ import annotations

import importlib.util
import math
import os

from rltrain.check.verdicts import Section
from rltrain.config import Config


def arithmetic(config: Config) -> Section:
    """From prompts to micro-batches, once through; the divisions themselves are checked by the config."""
    section = Section("batch arithmetic")
    training, sampling, processes = config.training, config.sampling, config.distributed.processes
    rows, updates = config.sequences_per_step, training.updates_per_rollout
    section.fact(f"{training.prompts_per_step} prompts x {sampling.num_generations} completions = {rows} rows a step")
    size = training.micro_batch_size
    section.fact(f"{rows} rows = {config.micro_batches} micro-batches x {size} rows x {processes} process(es)")
    longest = sampling.max_prompt_length + sampling.max_completion_length
    section.fact(
        f"at most {rows * sampling.max_completion_length:,} completion tokens a step "
        f"({rows} x {sampling.max_completion_length}), {rows * longest:,} with prompts"
    )
    section.fact(
        f"{training.steps} steps = {config.rollout_batches} rollout batches x {updates} update(s); "
        f"a rollout batch is {config.groups_per_rollout} groups"
    )
    lag = config.rollouts.max_lag
    if config.aligned:
        section.fact("aligned: every rollout batch is sampled from the weights it is trained on, and trained once")
    else:
        waits = math.ceil(config.admission.oversample - 1)
        worst = (lag + waits + 1) * updates - 1
        section.fact(f"sampling runs up to {lag} rollout batch(es) ahead; its weights are up to {worst} step(s) old")
        if waits:
            section.fact(f"accepted groups that a batch does not take wait up to {waits} batch(es)")
    if config.admission.zero_variance == "drop" or config.curriculum.gates:
        most = int(config.admission.max_factor * config.groups_per_rollout)
        section.fact(f"groups not admitted are replaced: at most {most} groups are judged for a rollout batch")
    if probe := config.curriculum.base_probe:
        completions = probe * sampling.num_generations
        section.fact(f"before step 1 the untrained model tries {probe} training prompts: {completions:,} completions")
    section.ok(f"{rows * training.steps:,} rows in the whole run")
    return section


def placement(config: Config) -> Section:
    """Engines and trainer processes on the machine or machines asked for."""
    section = Section("placement")
    r, d = config.rollouts, config.distributed
    where = "CPU" if not r.gpus else f"{r.gpus:g} GPU(s) each"
    section.fact(f"{r.engines} {r.engine} engine(s), {where}; {d.processes} trainer process(es), {_trainer(config)}")
    if (r.tensor_parallel > 1 or r.gpus > 1) and r.gpus != r.tensor_parallel:
        section.error(
            f"rollouts.gpus: {r.gpus:g} GPU(s) for an engine of tensor_parallel {r.tensor_parallel}; "
            f"expected rollouts.gpus: {r.tensor_parallel}"
        )
    if r.gpus and r.memory is not None and (r.memory > 1 or (r.memory == 1 and config.shared_gpu)):
        section.error(
            f"rollouts.memory: {r.memory:g}, but for an engine on GPUs it is a share of each GPU's memory; expected a "
            f"number below 1, for example {0.4 if config.shared_gpu else 0.9:g}"
        )
    if config.shared_gpu and not 0 < d.gpus <= 1 - r.gpus + 1e-9:  # room for rounding
        section.error(
            f"rollouts.gpus: {r.gpus:g} is a share of the trainer's GPU, and distributed.gpus is {d.gpus:g}; the two "
            f"must fit on one GPU: expected distributed.gpus: {1 - r.gpus:g}"
        )
    elif config.shared_gpu and r.engines + d.processes > 2:
        _pairs(section, config)
    if d.gpus > 1:
        section.error(f"distributed.gpus: {d.gpus:g}, but a trainer process computes on one; expected at most 1")
    if d.strategy == "deepspeed" and d.deepspeed is None:
        section.error("distributed.strategy: deepspeed without distributed.deepspeed; give DeepSpeed's JSON config")
    if d.deepspeed is not None and d.strategy != "deepspeed":
        section.error(
            f"distributed.deepspeed: given, but distributed.strategy is {d.strategy}; set strategy: deepspeed, or "
            "leave it out"
        )
    _nodes(section, config)
    _here(section, config)
    _engine(section, config)
    return section


def _pairs(section: Section, config: Config) -> None:
    """One engine and one trainer process a GPU: Ray knows shares alone, so the shares must leave it no other way.

    It puts a share on the GPU with the least room that takes it. Trainer processes come first: above 0.5 each has a
    GPU of its own, and beside it there must be room for one engine and not for two.
    """
    r, d = config.rollouts, config.distributed
    if r.engines > d.processes:
        section.error(
            f"rollouts.engines: {r.engines} engines that share the GPU of a trainer process, of which there are "
            f"{d.processes}; expected at most {d.processes}, or whole GPUs (rollouts.gpus: 1)"
        )
    elif d.gpus <= 0.5 or 2 * r.gpus <= 1 - d.gpus + 1e-9:
        section.error(
            f"distributed.gpus: {d.gpus:g} and rollouts.gpus: {r.gpus:g} would let Ray put two trainer processes or "
            "two engines on one GPU; expected distributed.gpus above 0.5 and the rest of the GPU for its engine, for "
            "example 0.6 and 0.4"
        )


def _trainer(config: Config) -> str:
    d = config.distributed
    on = f"{d.gpus:g} GPU(s) each" if d.gpus else f"CPU, {d.threads} threads each"
    return f"{on}, {d.strategy}" if d.processes > 1 else on


def gpus(config: Config) -> float:
    """GPUs asked for in all."""
    r, d = config.rollouts, config.distributed
    return r.engines * r.gpus + d.processes * d.gpus


def _nodes(section: Section, config: Config) -> None:
    nodes, address, asked = config.distributed.nodes, config.distributed.ray_address, gpus(config)
    if nodes > 1 and address is None:
        section.error(
            f"distributed.nodes: {nodes}, but Ray is started on this machine alone; start Ray on all nodes and set "
            "distributed.ray_address: auto"
        )
    if nodes > 1 and asked:
        even = asked / nodes
        section.fact(
            f"{asked:g} GPUs over {nodes} nodes: {even:g} a node when spread evenly; an engine stays on one node"
        )
        if even < config.rollouts.tensor_parallel:
            section.error(
                f"rollouts.tensor_parallel: {config.rollouts.tensor_parallel} GPUs of one node, but {even:g} a node"
            )
    if address is not None:
        section.unchecked(f"the Ray cluster at {address!r}", "check starts and joins no Ray")


def _here(section: Section, config: Config) -> None:
    """What this machine can say about it: its GPUs and its cores."""
    import torch

    asked, there = gpus(config), torch.cuda.device_count()
    if asked and config.distributed.ray_address is None and there:
        said = f"{asked:g} GPU(s) asked for, {there} on this machine"
        section.ok(said) if asked <= there else section.error(f"{said}; ask for fewer")
    elif asked and config.distributed.ray_address is None:
        section.unchecked(f"{asked:g} GPU(s)", "this machine has none")
    threads = (not config.rollouts.gpus) * config.rollouts.engines * config.rollouts.threads
    cores = os.cpu_count() or 1
    if threads > cores and config.distributed.ray_address is None:
        section.warn(f"{threads} engine threads (engines x rollouts.threads) on {cores} cores")


def _engine(section: Section, config: Config) -> None:
    """The engine's library, and arguments meant for it."""
    r = config.rollouts
    if r.engine != "vllm":
        if r.args:
            section.error(
                f"rollouts.args: {', '.join(r.args)}: arguments of vLLM's engine, and rollouts.engine is {r.engine}; "
                "leave them out, or use vllm"
            )
        if r.memory is not None:
            section.warn(f"rollouts.memory {r.memory:g}: has no effect on the engine {r.engine}, which keeps no cache")
        return
    longest = config.sampling.max_prompt_length + config.sampling.max_completion_length
    given = r.args.get("max_model_len")
    if isinstance(given, int) and 0 < given < longest:
        section.error(
            f"rollouts.args.max_model_len: {given}, but prompt and completion have up to {longest} tokens "
            "(max_prompt_length + max_completion_length of sampling); leave it out, or shorten them"
        )
    if importlib.util.find_spec("vllm") is None:
        if r.gpus:
            section.unchecked("vLLM", "it is not installed on this machine")
        else:
            section.error("rollouts.engine: vllm is not installed; install it, or set rollouts.engine: transformers")
        return
    if not r.args:
        section.ok("vLLM is installed")
        return
    from rltrain.rollouts.vllm_engine import check_arguments

    if section.attempt("rollouts.args", lambda: check_arguments(r.args) or True):
        section.ok(f"vLLM takes {', '.join(r.args)}")
