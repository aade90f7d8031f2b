"""What is withheld from the advantages is taken from the step too: an optimizer that divides by gradients would not."""

from __future__ import annotations

import pytest
import tiny
import torch

from rltrain.step_scale import StepScale


def moved(share, gradient=1.0):
    """How far Adam moves a number, and its learning rate afterwards."""
    number, scale = torch.nn.Parameter(torch.zeros(())), StepScale()
    optimizer = torch.optim.AdamW([number], lr=0.1)
    number.grad = torch.tensor(gradient)
    for _ in range(2):  # micro-batches
        scale.coming(optimizer, share)
    optimizer.step()
    scale.on_optimizer_step(None, None, None)
    return -number.item(), optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("share", [1.0, 0.25, 0.0])
def test_a_step_is_as_long_as_its_share(share):
    far, rate = moved(share)
    assert far == pytest.approx(0.1 * share) and rate == 0.1
    assert moved(1.0, gradient=share or 1.0)[0] == pytest.approx(0.1)  # smaller gradients alone shorten nothing


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_trainer_s_own_step_is_as_long_as_its_share(tmp_path, share):
    def change(share):
        trainer = tiny.trainer(tiny.config(training={"steps": 1}), tmp_path)
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        count = trainer.args.gradient_accumulation_steps
        trainer.run(iter([trainer.prepared(tiny.rows(2), 10, share) for _ in range(count)]))
        return torch.cat([(p.detach() - before[name]).flatten() for name, p in trainer.model.named_parameters()])

    whole = change(1.0)
    assert whole.abs().max() > 0
    torch.testing.assert_close(change(share), share * whole, rtol=1e-3, atol=1e-9)


def test_the_rate_is_down_in_the_backward_pass_where_deepspeed_steps_and_up_again_afterwards(tmp_path, monkeypatch):
    trainer, seen = tiny.trainer(tiny.config(training={"steps": 2}), tmp_path), []
    backward, count = trainer.accelerator.backward, trainer.args.gradient_accumulation_steps

    def watched(*given, **named):
        seen.append(trainer.optimizer.param_groups[0]["lr"])
        backward(*given, **named)

    monkeypatch.setattr(trainer.accelerator, "backward", watched)
    trainer.run(iter([trainer.prepared(tiny.rows(2), 10, share) for share in (0.25, 1.0) for _ in range(count)]))
    assert seen == pytest.approx([0.25e-3] * count + [1e-3] * count)


def test_a_rate_that_a_schedule_has_set_inside_the_step_stays():
    optimizer, scale = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(()))], lr=0.1), StepScale()
    scale.coming(optimizer, 0.5)
    optimizer.param_groups[0]["lr"] = 0.07
    scale.on_optimizer_step(None, None, None)
    assert optimizer.param_groups[0]["lr"] == 0.07
