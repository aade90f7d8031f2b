"""Weights on their way to the engines: names, order, bytes; adapters merged, shards gathered, ties named."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import tiny
import torch
from torch import multiprocessing

from rltrain.models import load_model
from rltrain.rollouts import weights
from rltrain.rollouts.weights import Digest, digest, load_into, named_weights, pack, unpack

TIED, UNTIED = "tiny", "tiny-untied"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def stir(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Other weights of the same scale, the same in every process."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", [TIED, UNTIED])
def test_the_stream_is_a_checkpoint_with_the_head_under_its_own_name(name):
    model = stir(load_model(name))
    sent = dict(named_weights(model))
    saved = model.state_dict()
    assert sent.keys() == saved.keys() | {"lm_head.weight"}
    assert all(torch.equal(sent[key], saved[key]) for key in saved)
    assert torch.equal(sent["lm_head.weight"], model.get_output_embeddings().weight)


@pytest.mark.parametrize("name", [TIED, UNTIED])
def test_another_model_takes_the_stream_and_computes_the_same(name):
    model, other = stir(load_model(name)), load_model(name)
    packed, sent = pack(named_weights(model))
    assert load_into(other, unpack(packed)) == sent == digest(named_weights(model))
    ids = torch.randint(256, (2, 9))
    assert torch.equal(model(ids).logits, other(ids).logits)
    assert sent != digest(named_weights(load_model(name)))


def test_a_tied_head_is_packed_once():
    packed, _ = pack(named_weights(load_model(TIED)))
    arrays = dict(zip((name for name, *_ in packed.layout), packed.arrays, strict=True))
    assert arrays["lm_head.weight"] is arrays["model.embed_tokens.weight"]


def test_weights_are_cast_on_the_way():
    packed, _ = pack(named_weights(load_model(TIED), torch.bfloat16))
    assert {dtype for _, _, dtype in packed.layout} == {"bfloat16"}
    assert all(tensor.dtype == torch.bfloat16 for _, tensor in unpack(packed))


def test_every_fault_on_the_way_changes_the_digest():
    pairs = [("a", torch.arange(6.0)), ("b", torch.arange(6.0, 12.0))]
    sent = digest(pairs)
    faults = {
        "dropped": pairs[:1],
        "reordered": pairs[::-1],
        "renamed": [("a", pairs[0][1]), ("c", pairs[1][1])],
        "swapped": [("a", pairs[1][1]), ("b", pairs[0][1])],
        "reshaped": [("a", pairs[0][1].view(2, 3)), pairs[1]],
        "one bit": [pairs[0], ("b", torch.cat([torch.tensor([6.0000005]), pairs[1][1][1:]]))],
        "cast": [pairs[0], ("b", pairs[1][1].double())],
    }
    assert len({sent, *(digest(fault) for fault in faults.values())}) == 1 + len(faults)


def test_a_missing_or_unknown_name_is_an_error():
    model = load_model(TIED)
    pairs = list(named_weights(model))
    with pytest.raises(ValueError, match=r"lack model\.norm\.weight"):
        load_into(copy.deepcopy(model), [pair for pair in pairs if pair[0] != "model.norm.weight"])
    with pytest.raises(ValueError, match="'extra', which the engine's model does not have"):
        load_into(copy.deepcopy(model), [*pairs, ("extra", torch.zeros(1))])


@pytest.mark.parametrize("name", [TIED, UNTIED])
def test_an_adapter_is_merged_as_peft_merges_it(name, tmp_path):
    trainer = tiny.trainer(tiny.config(model={"path": name, "lora": {"rank": 4}}), tmp_path)
    stir(trainer.model)
    sent = dict(named_weights(trainer.model))
    merged = copy.deepcopy(trainer.model).merge_and_unload()
    assert sent.keys() == merged.state_dict().keys() | {"lm_head.weight"}
    for key, tensor in merged.state_dict().items():
        torch.testing.assert_close(sent[key], tensor, atol=1e-7, rtol=0)
    # and the policy itself is untouched by the reading
    assert any("lora_" in key for key in trainer.model.state_dict())


def _publish_sharded(rank: int, directory: str) -> None:
    """One of two processes that hold half of every tensor each; writes the digests of what it sent."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    sent = {}
    for name in (TIED, UNTIED):
        model = stir(load_model(name))
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        running = Digest()
        for key, tensor in running.watch(named_weights(model)):
            assert not isinstance(tensor, DTensor), key
            # one whole tensor at a time: the model's own stay in shards
            assert all(isinstance(p, DTensor) and p.to_local().shape != p.shape for p in model.parameters()), key
        sent[name] = running.hex()
    Path(directory, f"{rank}.json").write_text(json.dumps(sent))
    dist.destroy_process_group()


def test_shards_are_gathered_tensor_by_tensor(tmp_path):
    """Two gloo processes with torch's own fully_shard send what one whole model sends."""
    expected = {name: digest(named_weights(stir(load_model(name)))) for name in (TIED, UNTIED)}
    multiprocessing.spawn(_publish_sharded, (str(tmp_path),), nprocs=2)
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [expected, expected]


def test_the_checksum_of_a_device_is_that_of_the_host():
    """On a GPU bytes are summed where they are; the arithmetic is exact, so any device gives the same."""
    for tensor in (torch.randn(1001), torch.randn(33, 7).bfloat16(), torch.arange(5, dtype=torch.int64)):
        sums = weights.checksum(tensor, chunk=64)
        assert sums == weights.checksum(tensor.clone(), chunk=1 << 20)
        changed = tensor.clone().view(-1)
        changed[3], changed[4] = tensor.view(-1)[4], tensor.view(-1)[3]
        assert weights.checksum(changed.view(tensor.shape), chunk=64) != sums
        assert weights.checksum(torch.zeros_like(tensor), chunk=64) != sums
