"""Rows to micro-batches: every row once, little padding, the same shape on every rank."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic
import tiny
import torch

from rltrain import batch
from rltrain.correction import drift, drift_metrics, importance_ratio, log_ratio


def test_rows_are_the_admitted_completions():
    groups = [synthetic.group(7), synthetic.group(8, admitted=False, advantages=()), synthetic.group(9)]
    assert [row.key for row in batch.rows(groups)] == [(7, 0), (7, 1), (9, 0), (9, 1)]


@pytest.mark.parametrize("processes", [1, 2])
def test_every_row_goes_to_one_place_in_one_micro_batch(processes):
    rows = tiny.rows(12)
    cut = batch.cut(rows, 12 // (2 * processes), 2, processes)
    assert all(len(parts) == processes and all(len(part) == 2 for part in parts) for parts in cut)
    assert sorted(row.key for parts in cut for part in parts for row in part) == [row.key for row in rows]


def test_the_same_rows_meet_whatever_the_number_of_processes():
    """Two processes of two rows hold what one process of four holds, so that every loss type agrees."""
    rows = tiny.rows(12)
    one, two = batch.cut(rows, 3, 4, 1), batch.cut(rows, 3, 2, 2)
    for (whole,), halves in zip(one, two, strict=True):
        assert sorted(row.key for row in whole) == sorted(row.key for half in halves for row in half)


def test_the_longest_come_first_and_neighbours_pad_each_other_little():
    rows = tiny.rows(16, seed=5)
    cut = batch.cut(rows, 8, 2)
    lengths = [row.length for (part,) in cut for row in part]
    assert lengths == sorted(lengths, reverse=True)
    padded = sum(2 * max(row.length for row in part) for (part,) in cut)
    unsorted = sum(2 * max(rows[i].length, rows[i + 1].length) for i in range(0, 16, 2))
    assert padded < unsorted


def test_the_cut_does_not_depend_on_the_order_of_arrival():
    rows = tiny.rows(8)
    keys = [[row.key for row in part] for (part,) in batch.cut(rows, 4, 2)]
    assert keys == [[row.key for row in part] for (part,) in batch.cut(rows[::-1], 4, 2)]


def test_a_short_batch_is_filled_with_rows_that_weigh_nothing():
    cut = batch.cut(tiny.rows(5), 2, 2, 2)
    fillers = [row for parts in cut for part in parts for row in part if row.key[0] < 0]
    assert len(fillers) == 3
    inputs = batch.collate(fillers, 10)
    assert inputs["completion_mask"].sum() == 0
    assert inputs["advantages"].abs().sum() == 0
    assert bool((inputs["prompt_mask"].sum(-1) > 0).all())  # attention needs something to look at


def test_a_micro_batch_is_padded_to_its_own_longest():
    rows = tiny.rows(3)
    inputs = batch.collate(rows, 99)
    P, T = max(len(row.prompt_ids) for row in rows), max(len(row.completion_ids) for row in rows)
    assert inputs["prompt_ids"].shape == (3, P) and inputs["completion_ids"].shape == (3, T)
    for i, row in enumerate(rows):
        p, t = len(row.prompt_ids), len(row.completion_ids)
        assert inputs["prompt_ids"][i, P - p :].tolist() == row.prompt_ids.tolist()  # padded on the left
        assert inputs["prompt_mask"][i].tolist() == [0] * (P - p) + [1] * p
        assert inputs["completion_ids"][i, :t].tolist() == row.completion_ids.tolist()
        assert inputs["completion_mask"][i].tolist() == [1] * t + [0] * (T - t)
        np.testing.assert_array_equal(inputs["advantages"][i, :t], row.advantages)
        np.testing.assert_array_equal(inputs["sampling_per_token_logps"][i, :t], row.logprobs)
    assert int(inputs["num_items_in_batch"]) == 99


def test_the_correction_is_one_where_sampler_and_trainer_agree():
    mask = torch.tensor([[1, 1, 0]])
    same = torch.tensor([[-1.0, -2.0, -9.0]])
    diff = log_ratio(same, torch.tensor([[-1.0, -2.0, -1.0]]), mask)
    for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"):
        assert bool((importance_ratio(diff, mode, 2.0) == 1).all()), mode


def test_truncation_caps_and_masking_drops_on_both_sides():
    diff = torch.tensor([[3.0, 0.1, -3.0]])
    truncated = importance_ratio(diff, "token_truncate", 2.0)
    assert truncated[0].tolist() == pytest.approx([2.0, np.exp(0.1), np.exp(-3.0)])
    assert importance_ratio(diff, "token_mask", 2.0)[0].tolist() == pytest.approx([0.0, np.exp(0.1), 0.0])
    assert importance_ratio(diff, "sequence_truncate", 2.0).tolist() == [[pytest.approx(np.exp(0.1))]]


def drift_of(diff, mask, mode, cap):
    """Drift of a trainer that is `diff` nats above the sampler."""
    return drift(diff, torch.zeros_like(diff), mask, mode, cap)


def test_a_token_that_one_side_has_not_scored_has_no_ratio():
    nan = float("nan")
    trainer = torch.tensor([[-1.0, nan, -2.0], [nan, -1.0, nan]])
    sampler = torch.tensor([[-1.2, -0.5, nan], [-1.0, nan, -1.0]])
    found = drift(trainer, sampler, torch.ones(2, 3), "token_truncate", 2.0)
    assert found == drift(trainer[:1, :1], sampler[:1, :1], torch.ones(1, 1), "token_truncate", 2.0)


def test_drift_adds_over_micro_batches_before_it_divides():
    diff = torch.tensor([[0.3, -0.2, 0.0], [1.5, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    whole = drift_metrics([drift_of(diff, mask, "token_truncate", 2.0)])
    parts = drift_metrics([drift_of(diff[i : i + 1], mask[i : i + 1], "token_truncate", 2.0) for i in range(2)])
    assert whole == pytest.approx(parts)
    x = np.array([0.3, -0.2, 0.0, 1.5])
    assert whole["drift/kl_sampler_trainer"] == pytest.approx(np.mean(np.exp(x) - 1 - x), rel=1e-6)
    assert whole["drift/ess"] == pytest.approx(np.exp(x).sum() ** 2 / (4 * np.exp(2 * x).sum()), rel=1e-6)
    assert whole["drift/truncated_frac"] == 0.25
    capped = np.minimum(np.exp(x), 2.0)
    assert whole["drift/capped_mean"] == pytest.approx(capped.mean())
    assert whole["drift/capped_ess"] == pytest.approx(capped.sum() ** 2 / (4 * (capped**2).sum()))
    s = np.exp([0.1, 1.5])
    assert whole["drift/sequence_ess"] == pytest.approx(s.sum() ** 2 / (2 * (s**2).sum()))


@pytest.mark.parametrize("offset", [0.0, 40.0, -900.0])
def test_a_factor_common_to_all_completions_leaves_their_effective_share(offset):
    """As ratios of a thousand tokens are, where one side reports processed log-probs."""
    logs = np.array([0.1, 1.5, -2.0, 0.7]) + offset
    parts = [drift_of(torch.tensor([[x]]), torch.ones(1, 1), "none", 2.0) for x in logs]
    empty = drift_of(torch.zeros(1, 1), torch.zeros(1, 1), "none", 2.0)
    s = np.exp(logs - offset)
    for whole in (parts, [empty, *parts], [drift_of(torch.tensor(logs[:, None]), torch.ones(4, 1), "none", 2.0)]):
        assert drift_metrics(whole)["drift/sequence_ess"] == pytest.approx(s.sum() ** 2 / (4 * (s**2).sum()))
    assert drift_metrics([empty]) == drift_metrics([]) == {}
    absurd = drift_metrics([drift_of(torch.full((1, 1), 400.0, dtype=torch.float64), torch.ones(1, 1), "none", 2.0)])
    assert absurd["drift/sequence_ess"] == 1.0


def test_both_divergences_are_those_of_the_distributions():
    """Over all tokens of a known pair, weighted by how often the sampler draws them."""
    sampler, trainer = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    draws = np.repeat(np.arange(3), (sampler * 10).astype(int))
    x = torch.tensor(np.log(trainer / sampler)[draws]).unsqueeze(0)
    found = drift_metrics([drift_of(x, torch.ones_like(x), "none", 2.0)])
    assert found["drift/kl_sampler_trainer"] == pytest.approx((sampler * np.log(sampler / trainer)).sum())
    assert found["drift/kl_trainer_sampler"] == pytest.approx((trainer * np.log(trainer / sampler)).sum())
    assert found["drift/truncated_frac"] == 0.0 and found["drift/capped_ess"] == found["drift/ess"]


def test_a_micro_batch_of_fillers_has_no_drift():
    empty = drift_of(torch.zeros(2, 3), torch.zeros(2, 3), "token_truncate", 2.0)
    assert empty.tokens == 0
    some = drift_of(torch.tensor([[0.2, -0.1]]), torch.ones(1, 2), "token_truncate", 2.0)
    assert drift_metrics([empty, some]) == drift_metrics([some])
    assert drift_metrics([empty]) == {}
