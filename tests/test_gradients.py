"""A step's gradient taken apart by source: its parts are the gradient, and watching changes no bit of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tiny
import torch

from rltrain import batch
from rltrain.channel import Channel
from rltrain.gradients import Spec, StepGradients, chosen

FIRST_MLP = ("*.layers.0.mlp.*",)
SOURCES = ("sums", "letters", "haiku")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def rows(count=8):
    return [row._replace(source=SOURCES[i % 3]) for i, row in enumerate(tiny.rows(count))]


def inputs(trainer, settings, of):
    parts = batch.cut(of, settings.micro_batches, settings.training.micro_batch_size)
    return [trainer.prepared(part[0], sum(len(row.completion_ids) for row in of)) for part in parts]


def backward(trainer, settings, of, spec):
    """The gradient of a step by plain autograd (N,), and what the watch saw."""
    trainer.gradients.begin(trainer.model, spec)
    trainer.model.train()
    micro_batches = inputs(trainer, settings, of)
    trainer.current_gradient_accumulation_steps = len(micro_batches)
    for one in micro_batches:
        trainer.compute_loss(trainer.model, one).backward()
    whole = torch.cat([layer.weight.grad.flatten() for layer in chosen(trainer.model, spec.layers).values()])
    trainer.model.zero_grad()
    return whole.numpy(), trainer.gradients.take()


CASES = {
    "all weights": ({}, None),
    "an adapter": ({"lora": {"rank": 4}}, None),
    "checkpointed": ({}, False),
    "checkpointed the old way": ({}, True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_parts_add_up_to_the_gradient(case, tmp_path):
    model, reentrant = CASES[case]
    settings = tiny.config(model=model)
    trainer = tiny.trainer(settings, tmp_path)
    if reentrant is not None:
        trainer.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        trainer.model.enable_input_require_grads()
    whole, seen = backward(trainer, settings, rows(7), Spec(FIRST_MLP, None))  # and one row that fills the shape
    assert set(seen.sums) == set(SOURCES)
    parts = sum(part.sum(axis=0) for part in seen.sums.values())
    np.testing.assert_allclose(parts, whole, atol=1e-7)
    assert np.abs(whole).max() > 1e-4 and seen.seconds > 0


def test_a_part_is_the_gradient_of_its_rows_alone(tmp_path):
    settings = tiny.config()
    trainer = tiny.trainer(settings, tmp_path)
    _, seen = backward(trainer, settings, rows(), Spec(FIRST_MLP, None))
    for parity in (0, 1):
        alone = [
            row if row.source == "sums" and row.key[0] % 2 == parity else row._replace(advantages=0 * row.advantages)
            for row in rows()
        ]
        whole, _ = backward(trainer, settings, alone, Spec(FIRST_MLP, None))
        np.testing.assert_allclose(seen.sums["sums"][parity], whole, atol=1e-7)
        assert np.abs(whole).max() > 1e-5


def test_a_choice_of_neurons_is_those_rows_of_the_weights(tmp_path):
    settings = tiny.config()
    trainer = tiny.trainer(settings, tmp_path)
    spec = Spec(("model.layers.1.mlp.down_proj",), 5)
    whole, seen = backward(trainer, settings, rows(), spec)
    parts = sum(part.sum(axis=0) for part in seen.sums.values())
    np.testing.assert_allclose(parts, whole.reshape(64, 128)[[0, 16, 32, 47, 63]].ravel(), atol=1e-7)


@pytest.mark.parametrize("model", [{}, {"lora": {"rank": 4}}, {"gradient_checkpointing": True}], ids=str)
def test_watching_leaves_the_weights_bit_equal(model, tmp_path):
    settings = tiny.config(model=model, training={"steps": 2, "beta": 0.05, "correction": "token_truncate"})

    def trained(watched):
        trainer = tiny.trainer(settings, tmp_path)
        probe = StepGradients(trainer, Channel(1.0))
        if watched:
            probe.watch(FIRST_MLP, every=1, neurons=None)
        found = []

        def stream():
            for step in (1, 2):
                probe.begin(step)
                yield from inputs(trainer, settings, rows())
                found.append(probe.by_source())

        trainer.run(stream())
        return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}, found, probe

    (plain, none, _), (seen, found, probe) = trained(False), trained(True)
    assert plain.keys() == seen.keys() and all(torch.equal(plain[name], seen[name]) for name in plain)
    assert none == [{}, {}] and [set(of) for of in found] == [set(SOURCES)] * 2
    assert probe.cost()["time/gradients_s"] > 0


def test_only_the_steps_whose_turn_it_is_are_looked_at(tmp_path):
    settings = tiny.config()
    trainer = tiny.trainer(settings, tmp_path)
    probe = StepGradients(trainer, Channel(1.0))
    probe.watch(FIRST_MLP, every=3, neurons=None)
    looked = []
    for step in range(1, 8):
        probe.begin(step)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 4
        for one in inputs(trainer, settings, rows()):
            trainer.compute_loss(trainer.model, one).backward()
        looked += [step] if probe.by_source() else []
        assert bool(probe.cost()) == (step in looked)
    assert looked == [1, 4, 7]


def test_wrong_layers_are_named_with_the_right_ones(tmp_path):
    trainer = tiny.trainer(tiny.config(), tmp_path)
    probe = StepGradients(trainer, Channel(1.0))
    with pytest.raises(ValueError, match=r"called '\*\.mpl'; expected .*model\.layers\.0\.self_attn\.q_proj"):
        probe.watch(["*.mpl"], every=1, neurons=None)
    with pytest.raises(ValueError, match="called 'lm_head'"):
        chosen(tiny.trainer(tiny.config(model={"path": "tiny-untied"}), tmp_path).model, ["lm_head"])
    probe = StepGradients(trainer, Channel(1.0))
    probe.watch(FIRST_MLP, every=1, neurons=None)
    with pytest.raises(ValueError, match="two diagnostics ask"):
        probe.watch(FIRST_MLP, every=1, neurons=None)


def test_a_layer_that_does_not_see_rows_is_refused(tmp_path):
    settings = tiny.config()
    trainer = tiny.trainer(settings, tmp_path)
    trainer.gradients.begin(trainer.model, Spec(FIRST_MLP, None))
    trainer.model.model.layers[0].mlp.register_forward_pre_hook(lambda _, given: (given[0].flatten(0, 1),))
    with pytest.raises(RuntimeError, match=r"mlp.gate_proj is given .*told apart by row"):
        trainer.compute_loss(trainer.model, inputs(trainer, settings, rows())[0])


def test_the_source_is_on_the_row():
    import synthetic

    group = dataclasses.replace(synthetic.group(source="sums"), prompt_ids=np.ones(2, np.int32))
    assert {row.source for row in batch.rows([group])} == {"sums"}
