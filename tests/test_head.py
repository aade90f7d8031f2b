"""The head gives what logits over everything would give, and its hand-written gradient is the derivative."""

import numpy as np
import tiny
import torch

from rltrain.batch import collate
from rltrain.head import SLICE, packed, score
from rltrain.models import load_model


def test_scores_and_their_gradients_are_those_of_log_softmax():
    torch.manual_seed(0)
    rows, temperature = 2 * SLICE + 3, 0.7
    logits, ids = 3 * torch.randn(rows, 50), torch.randint(50, (rows,))
    weights = torch.randn(2, rows)
    found = []
    for function in (score, plain):
        leaf = logits.clone().requires_grad_()
        chosen, entropy = function(leaf, ids, temperature)
        (weights[0] @ chosen + weights[1] @ entropy).backward()
        found.append((chosen, entropy, leaf.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def plain(logits, ids, temperature):
    logp = (logits / temperature).log_softmax(-1)
    return logp.gather(-1, ids.unsqueeze(-1)).squeeze(-1), -(logp.exp() * logp).sum(-1)


def test_rows_start_at_the_left_edge_and_every_completion_token_is_found():
    rows = tiny.rows(5)
    inputs = collate(rows, 1)
    ids, mask = (torch.cat([inputs[f"prompt_{k}"], inputs[f"completion_{k}"]], dim=1) for k in ("ids", "mask"))
    found = packed(ids, mask, inputs["completion_ids"].size(1))
    assert found.ids_BW.size(1) == max(row.length for row in rows)
    whole = [np.concatenate([row.prompt_ids, row.completion_ids]).tolist() for row in rows]
    assert [row[: len(ids)] for row, ids in zip(found.ids_BW.tolist(), whole, strict=True)] == whole
    predicted = found.ids_BW.flatten()[found.at_N + 1]  # the token behind the state that predicts it
    assert predicted.tolist() == np.concatenate([row.completion_ids for row in rows]).tolist()


def test_a_filler_row_takes_part_and_weighs_nothing():
    filler = tiny.rows(1)[0]._replace(key=(-1, -1))
    inputs = collate([filler], 1)
    ids, mask = (torch.cat([inputs[f"prompt_{k}"], inputs[f"completion_{k}"]], dim=1) for k in ("ids", "mask"))
    found = packed(ids, mask, inputs["completion_ids"].size(1))
    assert len(found.at_N) == 0
    logits = load_model("tiny", "float32")(found.ids_BW).logits.flatten(0, 1)[found.at_N]
    chosen, _ = score(logits, ids[:0, 0], 1.0)
    chosen.sum().backward()  # an empty sum still reaches the model: every rank enters every collective
