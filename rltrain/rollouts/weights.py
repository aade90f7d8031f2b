"""The policy's weights on their way to the engines: names, order, bytes, and a digest over all three.

The trainer and the loader compute the digest from the stream itself, so an engine that drops, reorders
or alters a tensor returns another digest than the one that was published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash

if TYPE_CHECKING:
    import torch  # imported where it is used: an engine that needs none of it (a fake one) stays light

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
        """Add one tensor: its bytes on a CPU, their `checksum` on a GPU, where copying them would take longest.

        So both ends of a transport must hold the tensor on the same kind of device.
        """
        self._hash.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        self._hash.update(memoryview(_bytes(tensor)) if tensor.device.type == "cpu" else repr(checksum(tensor)))

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


def checksum(tensor: torch.Tensor, chunk: int = 1 << 24) -> tuple[int, int]:
    """Sum of the tensor's 16-bit words, and of each times its position, modulo 2**64: exact on any device.

    The second changes when words trade places. `chunk`: words at a time, which bounds the extra memory.
    """
    import torch

    flat = tensor.detach().contiguous().view(-1)
    words = flat.view(torch.int16 if flat.element_size() > 1 else torch.uint8)
    sums = torch.zeros(2, dtype=torch.int64, device=words.device)
    for start in range(0, len(words), chunk):
        part = words[start : start + chunk].to(torch.int64)
        place = torch.arange(start + 1, start + 1 + len(part), device=part.device)
        sums += torch.stack([part.sum(), (part * place).sum()])
    plain, placed = sums.tolist()
    return plain, placed


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's memory as uint8 (numpy knows no bfloat16); no copy for a contiguous CPU tensor."""
    import torch

    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()


class Packed(NamedTuple):
    """Weights as Ray's object store likes them: arrays it can map without a copy, and their layout."""

    layout: tuple[tuple[str, tuple[int, ...], str], ...]  # (name, shape, torch dtype name)
    arrays: tuple[np.ndarray, ...]  # uint8


def pack(pairs: Pairs) -> tuple[Packed, str]:
    """The stream as arrays, with their digest. A tensor sent under two names in a row is stored once."""
    layout, arrays, running = [], [], Digest()
    previous = None
    for name, tensor in pairs:
        if tensor is not previous:  # a tied head follows its embedding, as the same object
            host, previous = tensor.detach().cpu(), tensor
            array = _bytes(host)
        running.update(name, host)
        layout.append((name, tuple(host.shape), str(host.dtype).removeprefix("torch.")))
        arrays.append(array)
    return Packed(tuple(layout), tuple(arrays)), running.hex()


def unpack(packed: Packed) -> Iterator[tuple[str, torch.Tensor]]:
    """The (name, tensor) pairs again, as views of the mapped memory: read them, never write."""
    import torch

    for (name, shape, dtype), array in zip(packed.layout, packed.arrays, strict=True):
        if not array.flags.writeable:  # Ray maps read-only; torch would warn, and we only read
            array = np.lib.stride_tricks.as_strided(array, writeable=False).view()
        yield name, torch.frombuffer(array, dtype=getattr(torch, dtype)).view(shape)


def load_into(model: torch.nn.Module, pairs: Pairs) -> str:
    """Copy the stream into a transformers model; returns the digest. ValueError on a missing or extra name."""
    import torch

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
