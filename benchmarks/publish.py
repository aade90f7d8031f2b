"""Publishing the weights against `clone()` of the same tensors into fresh memory.

From the trainer's fp32 parameters to the engine's acknowledgement of the version: cast, digest, Ray's
object store, vLLM's loader, the digest of what it consumed. The clone is of the bf16 tensors, the tied
output head once.
"""

from __future__ import annotations

import ctypes
import itertools

import torch

from benchmarks.engines import one_engine, policy
from benchmarks.measure import THREADS, Result, Series, Tick, in_turn, seconds
from rltrain.rollouts.weights import named_weights, pack

REPEATS = 10
WARMUP = 2


def ticks(repeats: int) -> int:
    """Notches of the progress bar."""
    return 2 * (WARMUP + repeats)


def measure(repeats: int, tick: Tick) -> Result:
    """Seconds of a publication and of a clone."""
    torch.set_num_threads(THREADS)
    model = policy()
    tensors = list({tensor.data_ptr(): tensor for _, tensor in named_weights(model, torch.bfloat16)}.values())
    versions = itertools.count(1)
    with one_engine(model) as pool:
        loads: list[float] = []

        def publish() -> None:
            version = next(versions)
            pool.publish(version, *pack(named_weights(model, torch.bfloat16)))
            pool.settle(version)
            loads.append(pool.load_seconds())

        ways = {"rltrain publish": lambda: seconds(publish), "clone()": lambda: clone(tensors)}
        found = in_turn(ways, repeats, tick, warmup=WARMUP)
    series = {name: Series("s", values) for name, values in found.items()}
    series["of it: load in the engine"] = Series("s", loads[WARMUP:])
    ratio = series["rltrain publish"].median / series["clone()"].median
    return Result({"publish_ratio": ratio}, series, {"bytes": sum(t.nbytes for t in tensors)})


def clone(tensors: list[torch.Tensor]) -> float:
    """Seconds to clone them; the pages of earlier clones were given back to the system before."""
    ctypes.CDLL(None).malloc_trim(0)
    copies: list[torch.Tensor] = []
    return seconds(lambda: copies.extend(tensor.clone() for tensor in tensors))
