"""vLLM behind the engine protocol. The only file that imports vllm."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from rltrain.rollouts.engine import Finished, NamedWeights
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import Digest
from rltrain.types import Completion, Ticket

# Engine arguments that are set by us, and where to set them.
OURS = "rltrain"
OWNED = {
    "model": "model.path",
    "dtype": "rollouts.dtype",
    "seed": "run.seed",
    "max_num_seqs": "rollouts.slots",
    "gpu_memory_utilization": "rollouts.memory",
    "tensor_parallel_size": "rollouts.tensor_parallel",
    "pipeline_parallel_size": "rollouts.tensor_parallel, an engine is as large as that",
    "data_parallel_size": "rollouts.engines",
    "enable_sleep_mode": "the placement: where rollouts.gpus is below 1 an engine shares the trainer's GPU and sleeps",
    "weight_transfer_config": "the placement",
    "worker_extension_cls": OURS,
    "logprobs_mode": OURS,
}


def check_arguments(args: Mapping[str, Any]) -> None:
    """ValueError for an engine argument that vLLM does not know, that is set by us, or of another type."""
    from vllm import EngineArgs

    known = {field.name: field.type for field in dataclasses.fields(EngineArgs)}
    for name, value in args.items():
        if name in OWNED:
            raise ValueError(f"rollouts.args.{name}: is set by {OWNED[name]}; leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"rollouts.args.{name}: no engine argument of vLLM{advice}")
        if value is not None:
            _typed(name, value, known[name])


def _typed(name: str, value: Any, hint: Any) -> None:
    """ValueError where a value is not of the plain type that vLLM declares; mappings vLLM itself takes apart."""
    from pydantic import TypeAdapter, ValidationError

    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if not all(part in (bool, int, float, str, NoneType) or get_origin(part) is Literal for part in parts):
        return
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError:
        expected = getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint)
        raise ValueError(f"rollouts.args.{name}: expected {expected}, got {value!r}") from None


class VLLMEngine:
    """One vLLM engine in this process, stepped by hand so that groups enter and leave one by one."""

    def __init__(self, spec: EngineSpec) -> None:
        from vllm import LLM

        from rltrain.models import load_tokenizer
        from rltrain.tokenizers import TokenText

        arguments: dict[str, Any] = {
            "enforce_eager": spec.gpus == 0,  # compiling takes 90 s on a CPU and gains nothing there
            "max_model_len": spec.max_model_len,
            "max_num_seqs": spec.slots,
            "tensor_parallel_size": spec.tensor_parallel,
            "enable_sleep_mode": spec.sleeps,
            "disable_log_stats": True,
            "seed": spec.seed,
        }
        if spec.gpus:
            arguments["gpu_memory_utilization"] = spec.memory
        else:
            arguments["kv_cache_memory_bytes"] = int(spec.memory * 2**30)
            os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # whole GiB, and would have the last word
        if spec.transport != "store":
            arguments["weight_transfer_config"] = {"backend": spec.transport}
            arguments["worker_extension_cls"] = f"{Watched.__module__}.{Watched.__name__}"
        # processed_logprobs: of the distribution sampled from, temperature and truncation included
        self._llm = LLM(
            spec.model, dtype=spec.dtype, logprobs_mode="processed_logprobs", **{**arguments, **dict(spec.args)}
        )
        self._engine = self._llm.llm_engine
        self._text = TokenText(load_tokenizer(spec.model))
        self._name = spec.name
        self._version, self._digest = -1, ""
        self._running: dict[str, Ticket] = {}
        self._names = itertools.count()

    def submit(self, ticket: Ticket) -> None:
        """Queue a group; its prompt crosses as token ids and its samples share the prefix."""
        # A redone ticket is a new request: vLLM refuses an id it has seen.
        request = f"{ticket.id}-{next(self._names)}"
        self._running[request] = ticket
        self._engine.add_request(request, {"prompt_token_ids": ticket.prompt_ids.tolist()}, sampling_params(ticket))

    def poll(self) -> list[Finished]:
        """One engine step; the groups that ended with it."""
        finished = []
        for output in self._engine.step():
            if output.finished:
                ticket = self._running.pop(output.request_id)
                ordered = sorted(output.outputs, key=lambda sample: sample.index)
                finished.append(Finished(ticket.id, tuple(self._completion(sample) for sample in ordered)))
        return finished

    def _completion(self, sample: Any) -> Completion:
        ids = np.asarray(sample.token_ids, dtype=np.int32)
        chosen = (position[token].logprob for position, token in zip(sample.logprobs, sample.token_ids, strict=True))
        logprobs = np.fromiter(chosen, dtype=np.float32, count=len(ids))
        text, offsets = self._text(ids)
        reason = "length" if sample.finish_reason == "length" else "stop"
        return Completion(ids, logprobs, offsets, text, reason, self._version, self._digest, self._name)

    def unfinished(self) -> int:
        """Groups not yet finished."""
        return len(self._running)

    def load(self, version: int, weights: NamedWeights) -> str:
        """Load full weights in checkpoint format through vLLM's own loader; the digest of what it consumed."""
        assert not self._running, f"{len(self._running)} groups in flight while loading version {version}"
        running = Digest()
        self._llm.collective_rpc(
            "reload_weights", kwargs={"weights_iterator": running.watch(weights), "is_checkpoint_format": True}
        )
        self._llm.reset_prefix_cache()  # cached keys and values belong to the old weights
        self._version, self._digest = version, running.hex()
        return self._digest

    # The four steps of a direct transport (transport.py), on vLLM's own weight-transfer engines of 0.28 and later.
    # Not run on a GPU yet.

    def open_transfer(self, info: dict[str, Any]) -> None:
        """Meet the trainer: join its NCCL group, or learn how its handles are packed."""
        self._llm.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": info})

    def begin_weights(self) -> None:
        """New weights are coming, in as many buckets as they need."""
        assert not self._running, f"{len(self._running)} groups in flight while weights come in"
        self._llm.collective_rpc("watch_weights")
        self._llm.collective_rpc("start_weight_update")

    def receive_weights(self, info: dict[str, Any]) -> None:
        """Load one bucket; returns when it is in the model."""
        self._llm.collective_rpc("update_weights", kwargs={"update_info": info})

    def end_weights(self, version: int) -> str:
        """The weights are whole; the digest of what the loaders of all workers consumed."""
        self._llm.collective_rpc("finish_weight_update")
        consumed = set(self._llm.collective_rpc("watched_digest"))
        self._llm.reset_prefix_cache()
        self._version, self._digest = version, " and ".join(sorted(consumed))  # one, unless workers differ
        return self._digest

    def sleep(self) -> None:
        """Give the GPU's memory to the trainer (weights are kept on the host)."""
        self._llm.sleep(level=1)

    def wake(self) -> None:
        """Take the memory back."""
        self._llm.wake_up()

    def health(self) -> dict[str, float]:
        """Groups running."""
        return {"running": float(len(self._running))}


class Watched:
    """Mixed into vLLM's worker by `worker_extension_cls`: digests what the model's loader consumes.

    The transfer engines hand tensors to `model.load_weights` without showing them to anyone; the digest is
    taken right there, in the worker, from the tensors as they arrived.
    """

    def watch_weights(self) -> None:
        """Begin a digest; `load_weights` may be called any number of times."""
        model = self.model_runner.get_model()
        load, self.consumed = type(model).load_weights, Digest()
        model.load_weights = lambda weights: load(model, self.consumed.watch(weights))

    def watched_digest(self) -> str:
        """End it; the digest of everything consumed since."""
        del self.model_runner.get_model().load_weights
        return self.consumed.hex()


def connect_nccl(*, master_address: str, master_port: int, world_size: int) -> Callable[[Sequence], None]:
    """Join a group of an engine's workers as its rank 0; the broadcast of a bucket. Not run on a GPU yet."""
    import torch
    from vllm.distributed.weight_transfer.nccl_common import trainer_init

    place = {"master_address": master_address, "master_port": master_port, "world_size": world_size}
    group = trainer_init(place)

    def broadcast(bucket: Sequence) -> None:
        for _, tensor in bucket:
            group.broadcast(tensor.contiguous(), src=0, stream=torch.cuda.current_stream())

    return broadcast


def sampling_params(ticket: Ticket) -> Any:
    """A ticket's sampling in vLLM's words."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    s = ticket.sampling
    return SamplingParams(
        n=ticket.num_samples,
        temperature=s.temperature,
        top_p=s.top_p,
        top_k=s.top_k,
        max_tokens=s.max_tokens,
        stop=list(s.stop) or None,
        include_stop_str_in_output=True,
        logprobs=0,
        seed=ticket.seed,
        detokenize=bool(s.stop),  # text is made from the ids; vLLM needs its own only to look for stop strings
        skip_special_tokens=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
