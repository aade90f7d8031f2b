"""The trainer computes TRL's loss and nothing else; cutting, correction and records do not change it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset

from rltrain import batch
from rltrain.batch import collate
from rltrain.models import load_model, load_tokenizer
from rltrain.trainer import GRPOConfig, GRPOTrainer, NonFinite
from rltrain.trl_arguments import trl_arguments

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
TOLERANCE = 1e-6


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def plain_trl(settings, model, directory, **arguments):
    """TRL's own trainer on a model of its own with the same weights; arguments are ours unless given."""
    made = GRPOTrainer(
        model=load_model(settings.model.path, "float32"),
        reward_funcs=lambda completions, **_: [0.0],
        args=GRPOConfig(**trl_arguments(settings, directory, GRPOConfig.__dataclass_fields__) | arguments),
        train_dataset=Dataset.from_dict({"prompt": ["a"]}),
        peft_config=None if settings.model.lora is None else next(iter(copy.deepcopy(model.peft_config).values())),
        processing_class=load_tokenizer(settings.model.path),
    )
    made.model.load_state_dict(model.state_dict())
    made.model.train()
    return made


def step(trainer, micro_batches):
    """Loss and gradients of one optimizer step over these micro-batches, without taking it."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = len(micro_batches)
    total = 0.0
    for inputs in micro_batches:
        loss = trainer.compute_loss(trainer.model, dict(inputs))
        loss.backward()
        total += float(loss.detach())
    return total, tiny.gradients(trainer.model)


def ours(trainer, settings, rows):
    """The step's micro-batches as the loop makes them."""
    parts = batch.cut(rows, settings.micro_batches, settings.training.micro_batch_size)
    items = sum(len(row.completion_ids) for row in rows)
    return [trainer.prepared(part[0], items) for part in parts]


def for_trl(micro_batch, **more):
    """The same tensors under TRL's keys alone: what its own generation would have handed over."""
    keys = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch")
    return {key: micro_batch[key] for key in (*keys, "sampling_per_token_logps")} | more


def moved(trainer):
    """The policy some updates later, so that it differs from the reference and from the sampler."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return trainer


def same(one, other):
    assert one[0] == pytest.approx(other[0], abs=TOLERANCE)
    assert tiny.largest_difference(one[1], other[1]) < TOLERANCE
    assert max(float(g.abs().max()) for g in one[1].values()) > 1e-5  # something was learned at all


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("loss", LOSSES)
def test_extras_off_the_loss_is_trls(loss, beta, tmp_path):
    settings = tiny.config(training={"loss": loss, "beta": beta})
    trainer = moved(tiny.trainer(settings, tmp_path))
    rows = tiny.rows()
    micro_batches = ours(trainer, settings, rows)
    reference = plain_trl(settings, trainer.model, tmp_path)
    fed = [for_trl(m) for m in micro_batches]
    for inputs in fed if beta else ():
        inputs["ref_per_token_logps"] = reference_logps(trainer.ref_model, inputs)
    same(step(trainer, micro_batches), step(reference, fed))


def reference_logps(model, inputs):
    """(B, T) log-probs by a bare forward, nothing of TRL's or ours in it."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    T = inputs["completion_ids"].shape[1]
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits[:, -T - 1 : -1]
    chosen = logits.log_softmax(-1).gather(-1, ids[:, -T:].unsqueeze(-1)).squeeze(-1)
    return chosen * inputs["completion_mask"]


MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
CORRECTED = [(loss, mode) for loss in ("grpo", "dapo", "cispo") for mode in MODES] + [
    ("vespo", mode)
    for mode in MODES[:2]  # the config refuses the others, as TRL does
]


@pytest.mark.parametrize("loss, mode", CORRECTED)
def test_the_correction_enters_as_trls_own_would(loss, mode, tmp_path):
    cap = 3.0 if loss == "vespo" else 1.3  # vespo weighs whole sequences: one masked token silences its sequence
    settings = tiny.config(training={"loss": loss, "correction": mode, "correction_cap": cap})
    trainer = moved(tiny.trainer(settings, tmp_path))
    micro_batches = ours(trainer, settings, tiny.rows())
    reference = plain_trl(settings, trainer.model, tmp_path)
    reference.use_vllm = reference.vllm_importance_sampling_correction = True
    fed = []
    for inputs in map(for_trl, micro_batches):
        # TRL's lines: a forward for the old log-probs, then the ratio to the sampler's
        diff = (reference_logps(trainer.model, inputs) - inputs["sampling_per_token_logps"]) * inputs["completion_mask"]
        ratio = (diff.sum(-1, keepdim=True) if mode.startswith("sequence") else diff).exp()
        outside = (ratio > cap) | (ratio < 1 / cap)
        ratio = ratio.clamp(max=cap) if mode.endswith("truncate") else ratio.masked_fill(outside, 0.0)
        fed.append(inputs | {"importance_sampling_ratio": ratio})
    assert any(bool((m["importance_sampling_ratio"] != 1).any()) for m in fed)
    same(step(trainer, micro_batches), step(reference, fed))


def test_an_adapter_with_a_reference_and_a_correction(tmp_path):
    settings = tiny.config(
        model={"lora": {"rank": 4}}, training={"loss": "dapo", "beta": 0.1, "correction": "token_truncate"}
    )
    trainer = moved(tiny.trainer(settings, tmp_path))
    micro_batches = ours(trainer, settings, tiny.rows())
    reference = plain_trl(settings, trainer.model, tmp_path)
    reference.use_vllm = reference.vllm_importance_sampling_correction = True
    fed = []
    for inputs in map(for_trl, micro_batches):
        with trainer.model.disable_adapter():
            base = reference_logps(trainer.model, inputs)
        diff = (reference_logps(trainer.model, inputs) - inputs["sampling_per_token_logps"]) * inputs["completion_mask"]
        fed.append(inputs | {"ref_per_token_logps": base, "importance_sampling_ratio": diff.exp().clamp(max=2.0)})
    one, other = step(trainer, micro_batches), step(reference, fed)
    same(one, other)
    assert all("lora_" in name for name in one[1])


@pytest.mark.parametrize("loss", LOSSES)
def test_cutting_by_length_changes_nothing(loss, tmp_path):
    """Four micro-batches against TRL on one batch padded to its longest; bnpo alone depends on the cut."""
    settings = tiny.config(training={"loss": loss})
    trainer = moved(tiny.trainer(settings, tmp_path))
    rows = tiny.rows()
    micro_batches = ours(trainer, settings, rows)
    assert len({m["completion_ids"].shape for m in micro_batches}) > 1
    reference = plain_trl(
        settings,
        trainer.model,
        tmp_path,
        per_device_train_batch_size=len(rows),
        gradient_accumulation_steps=1,
        steps_per_generation=1,
    )
    whole = for_trl(collate(rows, sum(len(row.completion_ids) for row in rows)))
    cut, uncut = step(trainer, micro_batches), step(reference, [whole])
    if loss == "bnpo":
        assert abs(cut[0] - uncut[0]) > 1e-4
        assert tiny.largest_difference(cut[1], uncut[1]) > 1e-4
    else:
        same(cut, uncut)


@pytest.mark.parametrize("old", ["sampler", "recompute"])
def test_old_logprobs_where_several_updates_share_a_batch(old, tmp_path):
    settings = tiny.config(
        training={"steps": 2, "updates_per_rollout": 2, "old_logprobs": old, "correction": "token_truncate"}
    )
    trainer = tiny.trainer(settings, tmp_path)
    rows = tiny.rows(seed=3)
    reference = plain_trl(settings, trainer.model, tmp_path)
    before = {row.key: logp for row, logp in zip(rows, trainer.logprobs(rows), strict=True)}
    if old == "recompute":
        rows = [row._replace(old=before[row.key]) for row in rows]
    moved(trainer)
    reference.model.load_state_dict(trainer.model.state_dict())
    reference.use_vllm = reference.vllm_importance_sampling_correction = True
    fed, micro_batches = [], ours(trainer, settings, rows)
    for inputs in micro_batches:
        sampler = inputs["sampling_per_token_logps"]
        past = torch.zeros_like(sampler)
        for i, row in enumerate(inputs["rows"]):
            past[i, : len(before[row.key])] = torch.from_numpy(before[row.key])
        then = sampler if old == "sampler" else past
        ratio = ((then - sampler) * inputs["completion_mask"]).exp().clamp(max=2.0)
        fed.append(for_trl(inputs) | {"old_per_token_logps": then, "importance_sampling_ratio": ratio})
    same(step(trainer, micro_batches), step(reference, fed))


def test_a_token_the_sampler_gave_no_number_for_is_not_corrected(tmp_path):
    settings = tiny.config(training={"steps": 2, "updates_per_rollout": 2, "correction": "token_truncate"})
    trainer = tiny.trainer(settings, tmp_path)
    rows = tiny.rows()
    rows[0].logprobs[1] = np.nan
    loss, _ = step(trainer, ours(trainer, settings, rows))
    assert np.isfinite(loss)
    seen = {row.key: row for row in trainer.take_step()[0]}
    assert seen[rows[0].key].ratio[1] == 1.0


def run(trainer, settings, rows):
    trainer.run(iter(ours(trainer, settings, rows)))


def test_a_real_step_moves_the_weights_by_the_uncut_gradient(tmp_path):
    """Through Trainer.train(): nobody scales the loss twice, and aligned means one pass a token."""
    rate = 0.5
    settings = tiny.config(
        training={"optimizer": "sgd", "learning_rate": rate, "trl": {"max_grad_norm": 0.0}, "correction": "none"}
    )
    trainer = moved(tiny.trainer(settings, tmp_path))
    rows = tiny.rows()
    reference = plain_trl(
        settings,
        trainer.model,
        tmp_path,
        per_device_train_batch_size=len(rows),
        gradient_accumulation_steps=1,
        steps_per_generation=1,
    )
    items = sum(len(row.completion_ids) for row in rows)
    loss, wanted = step(reference, [for_trl(collate(rows, items))])
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    forwards, backwards = [], []
    trainer.model.register_forward_hook(lambda module, args, out: forwards.append(out.logits.shape[:-1].numel()))
    trainer.model.model.norm.register_full_backward_hook(lambda *_: backwards.append(1))
    run(trainer, settings, rows)
    after = {name: (before[name] - p.detach()) / rate for name, p in trainer.model.named_parameters()}
    assert tiny.largest_difference(after, wanted) < TOLERANCE
    trained, _, logs = trainer.take_step()
    assert logs["loss"] == pytest.approx(loss, abs=TOLERANCE)
    assert len(forwards) == len(backwards) == settings.micro_batches
    assert sorted(row.key for row in trained) == [row.key for row in rows]
    assert all(len(t.entropy) == len(rows[t.key[0]].completion_ids) for t in trained)
    assert sum(forwards) == items  # the head is computed at completion tokens alone


def test_a_nan_stops_before_the_optimizer_step(tmp_path):
    settings = tiny.config()
    trainer = tiny.trainer(settings, tmp_path)
    rows = tiny.rows()
    rows[3].advantages[0] = np.nan
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    with pytest.raises(NonFinite, match="step 1; no weight was changed"):
        run(trainer, settings, rows)
    assert all(torch.equal(before[name], p) for name, p in trainer.model.named_parameters())


def test_rows_that_only_fill_the_shape_weigh_nothing(tmp_path):
    """A batch short of rows: token-normalised losses are those of the rows that are there."""
    settings = tiny.config()
    trainer = moved(tiny.trainer(settings, tmp_path))
    rows = tiny.rows(6)
    micro_batches = ours(trainer, settings, rows)
    reference = plain_trl(settings, trainer.model, tmp_path)
    whole = for_trl(collate(rows, sum(len(row.completion_ids) for row in rows)))
    reference.args.steps_per_generation = 1
    same(step(trainer, micro_batches), step(reference, [whole]))
    assert len(trainer.take_step()[0]) == 6
