"""What engines hand back, on its way to the driver."""

import dataclasses
import pickle

import numpy as np
import pytest

from rltrain.rollouts.engine import Finished
from tests import synthetic


def completion(length):
    return dataclasses.replace(
        synthetic.completion(),
        token_ids=np.arange(length, dtype=np.int32) + length,
        logprobs=-np.arange(length, dtype=np.float32),
        offsets=np.arange(1, length + 1, dtype=np.int32),
        text="x" * length,
        policy_version=length,
    )


@pytest.mark.parametrize("lengths", [(), (0,), (3,), (2, 0, 5)])
def test_a_group_arrives_as_it_was_sent(lengths):
    sent = Finished(7, tuple(map(completion, lengths)))
    buffers = []
    data = pickle.dumps(sent, protocol=5, buffer_callback=buffers.append)
    came = pickle.loads(data, buffers=buffers)
    assert came.ticket_id == 7 and len(came.completions) == len(lengths) and len(buffers) <= 3
    for mine, theirs in zip(sent.completions, came.completions, strict=True):
        for field in dataclasses.fields(mine):
            a, b = getattr(mine, field.name), getattr(theirs, field.name)
            assert np.array_equal(a, b) and getattr(a, "dtype", None) == getattr(b, "dtype", None), field.name
