"""The policy's weights on their way to the engines: names, order, bytes, and a digest over all three.

The trainer and the loader compute the digest from the stream itself, so an engine that drops, reorders
or alters a tensor returns another digest than the one that was published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
import xxhash

Pairs = Iterable[tuple[str, torch.Tensor]]


def named_weights(model: torch.nn.Module, dtype: torch.dtype | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """Full tensors under checkpoint names, one by one: shards gathered, adapters merged, floats cast.

    Every rank must exhaust the iterator: gathering a shard is a collective. A tied output head is sent
    under its own name too: vLLM's CPU loader otherwise keeps the old head, without a word.
    """
    adapters = {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
    head = model.get_output_embeddings()
    embedding = model.get_input_embeddings()
    tied = head is not None and embedding is not None and head.weight is embedding.weight
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name or name.endswith(".original_module.weight"):
            continue
        owner = name.rsplit(".base_layer.", 1)[0] if ".base_layer." in name else None
        tensor = parameter.detach()
        if owner in adapters and name.endswith(".weight"):
            for adapter in adapters[owner].active_adapters:
                tensor = tensor + adapters[owner].get_delta_weight(adapter).detach()
        tensor = _cast(_gather(tensor), dtype)
        plain = name.removeprefix("module.").removeprefix("base_model.model.").replace(".base_layer", "")
        yield plain, tensor
        if tied and parameter is embedding.weight:
            yield "lm_head.weight", tensor


def _gather(tensor: torch.Tensor) -> torch.Tensor:
    """The full tensor of a shard (FSDP2's DTensor); a plain tensor is returned as it is."""
    full = getattr(tensor, "full_tensor", None)
    return full() if callable(full) else tensor


def _cast(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


class Digest:
    """A running checksum over names, shapes, types and bytes, in order."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()

    def update(self, name: str, tensor: torch.Tensor) -> None:
        """Add one tensor, wherever it lives."""
        self._hash.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        self._hash.update(memoryview(_bytes(tensor)))

    def watch(self, pairs: Pairs) -> Iterator[tuple[str, torch.Tensor]]:
        """Pass the pairs through, adding each as it is consumed."""
        for name, tensor in pairs:
            self.update(name, tensor)
            yield name, tensor

    def hex(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()


def digest(pairs: Pairs) -> str:
    """The digest of a whole stream."""
    running = Digest()
    for name, tensor in pairs:
        running.update(name, tensor)
    return running.hex()


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's memory as uint8 (numpy knows no bfloat16); no copy for a contiguous CPU tensor."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()


class Packed(NamedTuple):
    """Weights as Ray's object store likes them: arrays it can map without a copy, and their layout."""

    layout: tuple[tuple[str, tuple[int, ...], str], ...]  # (name, shape, torch dtype name)
    arrays: tuple[np.ndarray, ...]  # uint8


def pack(pairs: Pairs) -> tuple[Packed, str]:
    """The stream as arrays, with its digest. A tensor sent under two names is stored once."""
    layout, arrays, running = [], [], Digest()
    seen: dict[int, np.ndarray] = {}
    for name, tensor in pairs:
        running.update(name, tensor)
        layout.append((name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")))
        array = seen.setdefault(tensor.data_ptr(), _bytes(tensor))
        arrays.append(array)
    return Packed(tuple(layout), tuple(arrays)), running.hex()


def unpack(packed: Packed) -> Iterator[tuple[str, torch.Tensor]]:
    """The (name, tensor) pairs again, as views of the mapped memory: read them, never write."""
    for (name, shape, dtype), array in zip(packed.layout, packed.arrays, strict=True):
        if not array.flags.writeable:  # Ray maps read-only; torch would warn, and we only read
            array = np.lib.stride_tricks.as_strided(array, writeable=False).view()
        yield name, torch.frombuffer(array, dtype=getattr(torch, dtype)).view(shape)


def load_into(model: torch.nn.Module, pairs: Pairs) -> str:
    """Copy the stream into a transformers model; returns the digest. ValueError on a missing or extra name."""
    parameters: Mapping[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    running, left = Digest(), set(parameters)
    with torch.no_grad():
        for name, tensor in running.watch(pairs):
            if name not in parameters:
                raise ValueError(f"weights name {name!r}, which the engine's model does not have")
            parameters[name].copy_(tensor)
            left.discard(name)
    tied = {id(parameters[name]) for name in parameters if name not in left}
    if missing := sorted(name for name in left if id(parameters[name]) not in tied):
        raise ValueError(f"weights lack {', '.join(missing[:3])} ({len(missing)} in all)")
    return running.hex()
