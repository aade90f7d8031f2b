"""What an engine actor is built from; travels to the actor instead of an object."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rltrain.rollouts.engine import Engine

ENGINES = {
    "vllm": "rltrain.rollouts.vllm_engine:VLLMEngine",
    "transformers": "rltrain.rollouts.transformers_engine:TransformersEngine",
    "twin": "rltrain.rollouts.twin_engine:TwinEngine",
}


@dataclass(frozen=True)
class EngineSpec:
    """One engine. `use` is a key of `ENGINES` or `module:attr` of anything that speaks the protocol."""

    use: str
    model: str
    dtype: Literal["float32", "bfloat16"]
    max_model_len: int
    slots: int = 64
    threads: int = 1
    first_core: int = 0
    tensor_parallel: int = 1
    gpus: float = 0
    memory: float = 1.0  # GiB of KV cache on a CPU, share of the memory on a GPU
    transport: Literal["store", "ipc", "nccl"] = "store"
    sleeps: bool = False
    seed: int = 0
    name: str = "engine-0"
    args: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Engine:
        """Construct the engine in this process."""
        module, _, attribute = ENGINES.get(self.use, self.use).partition(":")
        return getattr(importlib.import_module(module), attribute)(self)

    def environment(self) -> dict[str, str]:
        """Environment variables that vLLM reads and that have no argument; set nowhere else."""
        cores = os.cpu_count() or 1
        first = min(self.first_core % cores, max(0, cores - self.threads))  # shared cores rather than fewer threads
        last = min(first + self.threads, cores) - 1
        variables = {
            "OMP_NUM_THREADS": str(self.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # children would outlive a killed actor
        }
        if not self.gpus:
            variables |= {
                "VLLM_CPU_OMP_THREADS_BIND": f"{first}-{last}",
                "TORCHDYNAMO_DISABLE": "1",  # first generate 0.06 s instead of 4 s, and no slower after
                "CUDA_VISIBLE_DEVICES": "",
            }
        return variables
