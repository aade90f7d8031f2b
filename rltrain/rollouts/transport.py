"""How the trainer's weights reach the engines, by placement.

`store`: engines on CPUs fetch a version out of Ray's object store, when they need it. `ipc`: an engine on
the trainer's own GPU maps the trainer's tensors (CUDA IPC). `nccl`: an engine on other GPUs receives them
by broadcast, in a group of its own with the trainer's rank 0. The last two go through vLLM's own
weight-transfer engines, tensors in buckets of bounded size, and keep no version: what is lost is sampled
again under the newest. Not run on a GPU yet; the order of calls and the handshake are tested with fakes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rltrain.rollouts.weights import Digest, pack

if TYPE_CHECKING:
    import torch

    from rltrain.channel import Channel
    from rltrain.rollouts.pool import RolloutPool

    Bucket = list[tuple[str, torch.Tensor]]
    Weights = Callable[[], Iterable[tuple[str, torch.Tensor]]]

BUCKET_BYTES = 1 << 30


def through_store(pool: RolloutPool, weights: Weights, version: int) -> None:
    """Publish by way of Ray's object store."""
    packed, digest = pack(weights())
    pool.publish(version, packed, digest)


def choose(engine: str, engine_gpus: float, trainer_gpus: float) -> Literal["store", "ipc", "nccl"]:
    """The transport for engines of this kind and placement. GPU memory on both ends is what ipc and nccl need."""
    if engine != "vllm" or not engine_gpus or not trainer_gpus:
        return "store"
    return "ipc" if engine_gpus < 1 else "nccl"


class Receiver(Protocol):
    """One engine, as the sender sees it. A replacement in the same place is another receiver."""

    name: str

    def call(self, method: str, *arguments: Any) -> Callable[[], Any]:
        """Have the engine run a method when its turn comes; the returned function waits for the result.

        Both raise what the engine raised, or the loss of it, and never wait for ever.
        """
        ...


class Plane(Protocol):
    """Moves one bucket of tensors from the trainer's ranks into engines."""

    def open(self, receiver: Receiver) -> None:
        """Leader: make the connection to an engine that is new."""
        ...

    def ship(self, bucket: Bucket, receivers: Sequence[Receiver]) -> None:
        """Leader: have every receiver load the bucket; returns when they have."""
        ...

    def accompany(self, bucket: Bucket) -> None:
        """Other ranks: what they have to add while the leader ships the same bucket."""
        ...


class Sender:
    """Sends the trainer's weights as they are now; all ranks enter it together.

    Each engine computes the digest from what its loader consumed (`Watched` in vllm_engine.py), the
    trainer from what it gathered: a tensor lost, swapped or altered on the way makes them differ.
    """

    def __init__(self, plane: Plane | None, weights: Weights, bucket_bytes: int = BUCKET_BYTES) -> None:
        """`plane`: None for a store, where the leader packs what all ranks gather."""
        self._plane, self._weights, self._bucket_bytes = plane, weights, bucket_bytes
        self._known: list[Receiver] = []

    def send(self, version: int, receivers: Sequence[Receiver]) -> tuple[str, list[str]]:
        """Leader: the digest of what was sent, and each receiver's of what it loaded."""
        for receiver in receivers:
            if receiver not in self._known:
                self._plane.open(receiver)
        self._known = [r for r in self._known if r not in receivers] + list(receivers)
        _all(receivers, "begin_weights")
        running = Digest()
        for bucket in buckets(running.watch(self._weights()), self._bucket_bytes):
            self._plane.ship(bucket, receivers)
        return running.hex(), _all(receivers, "end_weights", version)

    def accompany(self) -> None:
        """Other ranks: gather the same weights, and add what the plane needs of this rank."""
        for bucket in buckets(self._weights(), self._bucket_bytes):
            if self._plane is not None:
                self._plane.accompany(bucket)


def buckets(pairs: Iterable[tuple[str, torch.Tensor]], limit: int) -> Iterator[Bucket]:
    """The pairs in runs of at most `limit` bytes, or of one tensor: what is gathered at a time."""
    bucket: Bucket = []
    size = 0
    for name, tensor in pairs:
        if bucket and size + tensor.nbytes > limit:
            yield bucket
            bucket, size = [], 0
        bucket.append((name, tensor))
        size += tensor.nbytes
    if bucket:
        yield bucket


class Connect(Protocol):
    """Joins a group as its rank 0; returns the broadcast of a bucket, which need not wait for its end."""

    def __call__(self, *, master_address: str, master_port: int, world_size: int) -> Callable[[Bucket], None]: ...


class NcclPlane:
    """Broadcast from the trainer's rank 0. Not run on a GPU yet."""

    def __init__(self, connect: Connect, address: str, tensor_parallel: int) -> None:
        """`address`: of this node, as other nodes reach it."""
        self._connect, self._address, self._world = connect, address, 1 + tensor_parallel
        self._groups: dict[str, Callable[[Bucket], None]] = {}

    def open(self, receiver: Receiver) -> None:
        place = {"master_address": self._address, "master_port": _free_port(), "world_size": self._world}
        # both sides wait for each other in here
        joined = receiver.call("open_transfer", place | {"rank_offset": 1, "packed": False})
        self._groups[receiver.name] = self._connect(**place)
        joined()

    def ship(self, bucket: Bucket, receivers: Sequence[Receiver]) -> None:
        loaded = [receiver.call("receive_weights", described(bucket)) for receiver in receivers]
        for receiver in receivers:
            self._groups[receiver.name](bucket)
        for wait in loaded:
            wait()

    def accompany(self, bucket: Bucket) -> None:
        """Gathering was all that was needed."""


class IpcPlane:
    """Handles of the trainer's own tensors; each engine opens those of its GPU. Not run on a GPU yet."""

    def __init__(self, channel: Channel, export: Callable[[torch.Tensor], dict[str, tuple]]) -> None:
        """`export(tensor)` gives {GPU's uuid: arguments that rebuild the tensor in another process}."""
        self._channel, self._export = channel, export

    def open(self, receiver: Receiver) -> None:
        receiver.call("open_transfer", {"packed": False})()

    def ship(self, bucket: Bucket, receivers: Sequence[Receiver]) -> None:
        ranks = self._channel.gather([self._export(tensor) for _, tensor in bucket])
        handles = [
            {gpu: handle for rank in of_tensor for gpu, handle in rank.items()}
            for of_tensor in zip(*ranks, strict=True)
        ]
        for wait in [r.call("receive_weights", described(bucket) | {"ipc_handles": handles}) for r in receivers]:
            wait()
        self._channel.meet()  # the other ranks may let go of the bucket now

    def accompany(self, bucket: Bucket) -> None:
        self._channel.gather([self._export(tensor) for _, tensor in bucket])
        self._channel.meet()


def described(bucket: Bucket) -> dict[str, list]:
    """What vLLM's weight-transfer engines want to know of a bucket."""
    return {
        "names": [name for name, _ in bucket],
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in bucket],
        "shapes": [list(tensor.shape) for _, tensor in bucket],
    }


def export_cuda(tensor: torch.Tensor) -> dict[str, tuple]:
    """{uuid of its GPU: torch's arguments to rebuild the tensor in another process}. Not run on a GPU yet."""
    import torch
    from torch.multiprocessing.reductions import reduce_tensor

    uuid = str(torch.cuda.get_device_properties(tensor.device).uuid)
    return {uuid: reduce_tensor(tensor.detach())[1]}


def _all(receivers: Sequence[Receiver], method: str, *arguments: Any) -> list[Any]:
    return [wait() for wait in [receiver.call(method, *arguments) for receiver in receivers]]


def _free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
