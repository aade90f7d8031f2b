"""Weights to engines by placement: the order of calls, the handshake, and a pool that keeps no versions."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from sent_engine import Spec

from rltrain.rollouts.direct import DirectPool
from rltrain.rollouts.slot import PoolError
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.transport import IpcPlane, NcclPlane, Sender, buckets, choose
from rltrain.rollouts.weights import digest
from rltrain.types import Sampling, Task, Ticket

PAIRS = [("a", torch.arange(4.0)), ("b", torch.ones(2, 2, dtype=torch.bfloat16)), ("c", torch.zeros(3))]


def test_the_placement_chooses():
    assert choose("vllm", 0, 0) == choose("vllm", 0, 1) == choose("vllm", 1, 0) == "store"
    assert choose("vllm", 0.4, 0.6) == "ipc"
    assert choose("vllm", 1, 1) == choose("vllm", 4, 1) == "nccl"
    assert choose("transformers", 1, 1) == choose("twin", 0, 0) == "store"


def test_buckets_are_bounded_and_keep_the_order():
    pairs = [(str(i), torch.zeros(size, dtype=torch.uint8)) for i, size in enumerate((40, 40, 40, 500, 10, 90))]
    cut = list(buckets(pairs, limit=100))
    assert [[name for name, _ in bucket] for bucket in cut] == [["0", "1"], ["2"], ["3"], ["4", "5"]]


class Fake:
    """An engine that writes down what it is told, and digests what reaches it."""

    def __init__(self, name, log, shelf=None):
        self.name, self.log, self.shelf = name, log, shelf
        self.got = []

    def call(self, method, *arguments):
        self.log.append((self.name, method, *arguments))

        def wait():
            self.log.append((self.name, f"{method} done"))
            if method == "receive_weights":
                self.got += [(name, self.shelf[name]) for name in arguments[0]["names"]]
            return digest(self.got) if method == "end_weights" else None

        return wait


@pytest.fixture
def log():
    return []


def nccl(log, shelf):
    def connect(**place):
        log.append(("trainer", "join", place["world_size"]))

        def broadcast(bucket):
            log.append(("trainer", "broadcast", [name for name, _ in bucket]))
            shelf.update(bucket)

        return broadcast

    return NcclPlane(connect, "10.0.0.1", tensor_parallel=2)


def test_nccl_joins_before_it_sends_and_engines_receive_while_the_trainer_broadcasts(log):
    shelf = {}
    engine = Fake("engine-0", log, shelf)
    sent, loaded = Sender(nccl(log, shelf), lambda: iter(PAIRS), 20).send(7, [engine])
    assert sent == digest(PAIRS) and loaded == [sent]
    assert [entry[:2] for entry in log] == [
        ("engine-0", "open_transfer"),  # asked, not awaited: both sides must join
        ("trainer", "join"),
        ("engine-0", "open_transfer done"),
        ("engine-0", "begin_weights"),
        ("engine-0", "begin_weights done"),
        *[("engine-0", "receive_weights"), ("trainer", "broadcast"), ("engine-0", "receive_weights done")] * 2,
        ("engine-0", "end_weights"),
        ("engine-0", "end_weights done"),
    ]
    place = log[0][2]
    assert place["master_address"] == "10.0.0.1" and place["world_size"] == 3 and place["rank_offset"] == 1
    described = [entry[2] for entry in log if entry[1] == "receive_weights"]
    assert described[0] == {"names": ["a"], "dtype_names": ["float32"], "shapes": [[4]]}
    assert described[1]["dtype_names"] == ["bfloat16", "float32"]


def test_an_engine_is_met_once_and_its_replacement_again(log):
    shelf = {}
    sender = Sender(nccl(log, shelf), lambda: iter(PAIRS))
    first, second = Fake("engine-0", log, shelf), Fake("engine-1", log, shelf)
    sender.send(0, [first, second])
    sender.send(1, [first, second])
    assert sum(entry[1] == "open_transfer" for entry in log) == 2
    sender.send(1, [Fake("engine-0", log, shelf)])
    assert sum(entry[1] == "open_transfer" for entry in log) == 3


class TwoRanks:
    """A channel on which another rank adds its own handles."""

    def __init__(self, log, leads):
        self.log, self.leads = log, leads

    def gather(self, item):
        self.log.append(("channel", "gather", item))
        return [item, [{"gpu-1": handle["gpu-0"]} for handle in item]] if self.leads else []

    def meet(self):
        self.log.append(("channel", "meet"))


def test_ipc_ships_every_ranks_handles_and_holds_the_tensors_until_they_are_read(log):
    shelf = dict(PAIRS)
    plane = IpcPlane(TwoRanks(log, leads=True), lambda tensor: {"gpu-0": ("handle", tensor.data_ptr())})
    engine = Fake("engine-0", log, shelf)
    sent, loaded = Sender(plane, lambda: iter(PAIRS)).send(3, [engine])
    assert loaded == [sent]
    handles = next(entry[2]["ipc_handles"] for entry in log if entry[1] == "receive_weights")
    assert len(handles) == len(PAIRS) and all(set(handle) == {"gpu-0", "gpu-1"} for handle in handles)
    steps = [entry[:2] for entry in log]
    assert steps.index(("engine-0", "receive_weights done")) < steps.index(("channel", "meet"))


def test_the_other_ranks_enter_the_same_collectives(log):
    mine, theirs = [], []
    export = {"gpu-0": ("handle",)}
    leader = IpcPlane(TwoRanks(mine, leads=True), lambda tensor: export)
    Sender(leader, lambda: iter(PAIRS), 20).send(0, [Fake("engine-0", [], dict(PAIRS))])
    Sender(IpcPlane(TwoRanks(theirs, leads=False), lambda tensor: export), lambda: iter(PAIRS), 20).accompany()
    assert mine == theirs and len(mine) == 4


# --- the pool, with real Ray and an engine that is sent its weights -------------------------------


class ByValue:
    """A plane that puts the tensors into the call; `spoil` alters one on the way."""

    def __init__(self):
        self.spoil = False

    def open(self, receiver):
        receiver.call("open_transfer", {})()

    def ship(self, bucket, receivers):
        arrays = [(name, tensor.numpy().copy()) for name, tensor in bucket]
        if self.spoil:
            arrays[0][1].flat[0] += 1
            self.spoil = False
        for wait in [receiver.call("receive_weights", arrays) for receiver in receivers]:
            wait()


def tickets(count, version, start=0):
    task = Task("t/0", "t", "structured", ({"role": "user", "content": "1 + 3?"},), "4")
    prompt = np.arange(5, dtype=np.int32)
    return [Ticket(start + i, task, prompt, 2, Sampling(max_tokens=8), i, version) for i in range(count)]


def collected(pool, count):
    found, deadline = [], time.monotonic() + 120
    while len(found) < count and time.monotonic() < deadline:
        found += pool.wait(0.5)
    assert len(found) == count
    return found


@pytest.fixture
def direct(ray_session):
    """A pool of two engines, the trainer's weights, and the plane between them."""
    weights, plane = {"a": torch.arange(4.0), "b": torch.ones(2, 3)}, ByValue()
    specs = [Spec("sent_engine:SentEngine", "", "float32", 64, slots=2, name=f"engine-{i}") for i in range(2)]
    pool = DirectPool(specs, deadline_s=60)
    pool.attach(Sender(plane, lambda: iter(weights.items())))
    yield pool, weights, plane
    pool.close()


def test_groups_are_sampled_from_what_was_sent(direct):
    pool, weights, _ = direct
    for version in range(2):
        pool.publish_now(version)
        pool.submit(tickets(6, version, start=10 * version))
        said = [c for _, completions in collected(pool, 6) for c in completions]
        assert {c.policy_version for c in said} == {version}
        assert {c.weight_digest for c in said} == {digest(weights.items())}
        assert {c.engine for c in said} == {"engine-0", "engine-1"}
        weights["a"] += 1
    assert pool.losses() == []


def test_a_lost_engine_is_sent_the_newest_weights_and_its_groups_are_done_again(direct):
    pool, weights, _ = direct
    pool.publish_now(0)
    pool.inject("kill")
    pool.submit(tickets(8, 0))
    assert sorted(ticket.id for ticket, _ in collected(pool, 8)) == list(range(8))
    weights["a"] += 1
    pool.publish_now(1)  # waits for the replacement too
    (loss,) = pool.losses()
    assert loss.cause == "died"
    pool.submit(tickets(8, 1, start=20))
    assert {c.engine for _, said in collected(pool, 8) for c in said} == {"engine-0", "engine-1"}


def test_publishing_waits_for_what_is_being_sampled_and_moves_what_waits(direct):
    """Two engines of two slots hold eight groups at most; the rest is sampled under the newer weights."""
    pool, weights, _ = direct
    pool.publish_now(0)
    pool.submit(tickets(20, 0))
    weights["a"] += 1
    pool.publish_now(1)
    versions = [said[0].policy_version for _, said in collected(pool, 20)]
    assert set(versions) == {0, 1} and versions == sorted(versions)
    assert pool.losses() == []


def test_groups_lost_at_an_older_version_are_done_again_at_the_newest_and_the_event_says_so(direct):
    pool, weights, _ = direct
    pool.publish_now(0)
    pool.call("no_such_method")  # both engines' threads end over it
    pool.submit(tickets(4, 0))
    weights["a"] += 1
    pool.publish_now(1)
    found = collected(pool, 4)
    assert {c.policy_version for _, said in found for c in said} == {ticket.version for ticket, _ in found} == {1}
    details = [loss.detail for loss in pool.losses() if loss.redone]
    assert details and all("sampled again under the newest weights" in detail for detail in details)


def test_a_tensor_altered_on_the_way_is_noticed_before_anything_is_sampled(direct):
    pool, weights, plane = direct
    plane.spoil = True
    pool.publish_now(0)
    pool.submit(tickets(4, 0))
    assert {c.weight_digest for _, said in collected(pool, 4) for c in said} == {digest(weights.items())}
    assert [loss.cause for loss in pool.losses()] == ["bad weights"] * 2


def test_an_engine_lost_while_it_receives_ends_the_wait_with_its_name(direct):
    pool, _, plane = direct
    pool.publish_now(0)
    ship = plane.ship

    def break_and_ship(bucket, receivers):
        receivers[0].call("no_such_method")  # the engine's thread ends over it
        ship(bucket, receivers)

    plane.ship = break_and_ship
    with pytest.raises(PoolError, match=r"engine-0 was lost in receive_weights"):
        pool.publish_now(1)


# --- what of vLLM's side a CPU can show ---------------------------------------------------------

VLLM = """
import dataclasses
import os
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferInitInfo, IPCWeightTransferUpdateInfo
from vllm.distributed.weight_transfer.nccl_common import trainer_init
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferInitInfo, NCCLWeightTransferUpdateInfo
from vllm.v1.worker.gpu_worker import Worker
import torch
from rltrain.models import load_model, locate
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.transport import described
from rltrain.rollouts.vllm_engine import VLLMEngine, Watched
from rltrain.rollouts.weights import digest, named_weights

bucket = [("a", torch.zeros(2))]
NCCLWeightTransferInitInfo(master_address="h", master_port=1, world_size=3, rank_offset=1, packed=False)
NCCLWeightTransferUpdateInfo(**described(bucket))
IPCWeightTransferInitInfo(packed=False)
IPCWeightTransferUpdateInfo(**described(bucket), ipc_handles=[{"gpu": ()}])
for step in ("init_weight_transfer_engine", "start_weight_update", "update_weights", "finish_weight_update"):
    assert callable(getattr(Worker, step)), step

spec = EngineSpec("vllm", str(locate("tiny")), "float32", 64, slots=2,
                  args={"worker_extension_cls": "rltrain.rollouts.vllm_engine.Watched"})
os.environ["VLLM_CPU_KVCACHE_SPACE"] = "3"  # a person's, for vLLM alone
engine = VLLMEngine(dataclasses.replace(spec, memory=0.25))
assert engine._llm.llm_engine.vllm_config.cache_config.kv_cache_memory_bytes == 2**28
model = load_model("tiny")
with torch.no_grad():
    model.model.norm.weight.add_(0.5)
engine._llm.collective_rpc("watch_weights")
sent = engine.load(1, named_weights(model))
watched = engine._llm.collective_rpc("watched_digest")
assert watched == [sent] == [digest(named_weights(model))], (watched, sent)
engine.load(2, named_weights(model))  # and nothing is watched any more
print("ok")
"""


def test_vllm_knows_our_calls_and_its_worker_digests_what_its_loader_consumes():
    variables = os.environ | EngineSpec("vllm", "", "float32", 64).environment()
    ran = subprocess.run([sys.executable, "-c", VLLM], capture_output=True, text=True, env=variables, timeout=300)
    assert ran.returncode == 0 and ran.stdout.endswith("ok\n"), ran.stderr[-3000:]
