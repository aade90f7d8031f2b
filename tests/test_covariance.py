"""Covariance of advantage and log-prob: it says how entropy moves, and the two losses act on its tokens."""

from __future__ import annotations

import pytest
import tiny
import torch

from rltrain import batch
from rltrain.covariance import drawn, kl_penalty, largest, token_covariance


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_covariance_predicts_sign_and_size_of_the_entropy_change(seed):
    """Natural policy gradient on a softmax: z += rate x A changes H by -rate x Cov(log p, A) to first order."""
    generator = torch.Generator().manual_seed(seed)
    z, value = (torch.randn(10, generator=generator, dtype=torch.float64) for _ in range(2))
    p, rate = z.softmax(-1), 1e-3
    advantage = value - (p * value).sum()

    def entropy(z):
        return -(z.softmax(-1) * z.log_softmax(-1)).sum()

    change = float(entropy(z + rate * advantage) - entropy(z))
    # a batch in which each action stands as often as it is drawn
    tokens = torch.arange(10).repeat_interleave((p * 1e6).round().long()).unsqueeze(0)
    mask = torch.ones_like(tokens)
    covariance = token_covariance(advantage[tokens], z.log_softmax(-1)[tokens], mask)
    predicted = -rate * float(covariance.mean())
    assert predicted * change > 0
    assert change == pytest.approx(predicted, rel=0.02)


def test_the_covariance_is_of_the_masked_tokens_and_carries_no_gradient():
    advantages = torch.tensor([[1.0, -1.0, 50.0]])
    logp = torch.tensor([[-1.0, -3.0, -9.0]], requires_grad=True)
    found = token_covariance(advantages, logp, torch.tensor([[1, 1, 0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 0.0]]))
    assert not found.requires_grad
    nothing = torch.zeros(1, 2)
    torch.testing.assert_close(token_covariance(nothing, nothing, nothing), nothing)


def test_choices_stay_within_mask_share_and_bounds():
    covariance = torch.tensor([[9.0, 3.0, 2.0, 0.5], [4.0, 1.5, 0.0, -1.0]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    assert largest(covariance, mask, 2 / 7).nonzero().tolist() == [[0, 1], [1, 0]]
    assert largest(covariance, mask, 1e-9).sum() == 1
    assert largest(covariance, torch.zeros_like(mask), 0.5).sum() == 0
    torch.manual_seed(0)
    for _ in range(20):
        found = drawn(covariance, mask, 0.3, (1.0, 3.5))
        assert found.sum() == 2
        assert bool(((covariance > 1) & (covariance < 3.5) & (mask == 1))[found].all())
    assert drawn(covariance, mask, 1.0, (100.0, 200.0)).sum() == 0


def test_kl_cov_adds_its_penalty_to_the_loss(tmp_path):
    share, coef = 0.25, 0.7
    losses, seen = {}, {}
    for name, spec in {"off": None, "on": {"method": "kl_cov", "share": share, "coef": coef}}.items():
        settings = tiny.config(training={"steps": 2, "updates_per_rollout": 2, "covariance": spec})
        trainer = tiny.trainer(settings, tmp_path / name)
        rows = tiny.rows()
        [[part], *_] = batch.cut(rows, settings.micro_batches, settings.training.micro_batch_size)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = settings.micro_batches
        inputs = trainer.prepared(part, 100)
        seen = dict(inputs)
        losses[name] = trainer.compute_loss(trainer.model, inputs)
        logp, _, _ = trainer._plain_head(trainer.model, *trainer._joined(part))
    chosen = largest(
        token_covariance(seen["advantages"], logp, seen["completion_mask"]), seen["completion_mask"], share
    )
    expected = coef * kl_penalty(logp, seen["sampling_per_token_logps"], chosen) / 100
    assert float(expected.detach()) > 0
    torch.testing.assert_close(losses["on"] - losses["off"], expected)


def test_clip_cov_takes_the_gradient_from_drawn_tokens_alone(tmp_path):
    gradients = {}
    for name, spec in {"off": None, "all": {"method": "clip_cov", "share": 1.0, "bounds": (-1e9, 1e9)}}.items():
        settings = tiny.config(training={"covariance": spec, "correction": "none"})
        trainer = tiny.trainer(settings, tmp_path / name)
        [[part], *_] = batch.cut(tiny.rows(), settings.micro_batches, settings.training.micro_batch_size)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = settings.micro_batches
        trainer.compute_loss(trainer.model, trainer.prepared(part, 100)).backward()
        gradients[name] = max(float(g.abs().max()) for g in tiny.gradients(trainer.model).values())
    assert gradients["off"] > 1e-5
    assert gradients["all"] == 0.0
