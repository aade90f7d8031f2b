"""The interval of the entropy gap holds the truth where prompts differ and few completions plan, or is not given."""

from __future__ import annotations

import numpy as np
import pytest

from diagnostics.token_sums import FEWEST, entropies, intervals

GAP = 1.0


def step(rng, prompts: int, samples: int, *, plan: float = 1.0, apart: float = 0.4, heavy: bool = False):
    """Rows (N, 4) and prompts of a step in which this share of the completions plans.

    apart: by how many nats the prompts' levels of planning and execution lie apart (sd); the completions' by 0.3.
    heavy: some completions hold most planning tokens.
    """
    shape = (prompts, samples)
    levels = apart * rng.standard_normal((2, prompts, 1)) + 0.3 * rng.standard_normal((2, *shape))
    many = 10 * (rng.lognormal(0, 1, shape) if heavy else np.ones(shape))
    planning = np.where(rng.random(shape) < plan, 1 + rng.poisson(many), 0)
    execution = rng.integers(60, 200, shape)
    sums = ((1 + GAP + levels[0]) * planning, planning, (1 + levels[1]) * execution, execution)
    return np.stack(sums, axis=-1).reshape(-1, 4), np.repeat([f"sums/{i}" for i in range(prompts)], samples).tolist()


@pytest.mark.parametrize(
    "how",
    [
        {"prompts": 8, "samples": 8},
        {"prompts": 8, "samples": 4, "apart": 0.0},
        {"prompts": 4, "samples": 8},
        {"prompts": 4, "samples": 8, "plan": 0.2},
        {"prompts": 32, "samples": 4, "plan": 0.05},
        {"prompts": 16, "samples": 8, "plan": 0.1, "heavy": True},
        {"prompts": 64, "samples": 8, "heavy": True},
        {"prompts": 1, "samples": 16, "apart": 0.0},
        {"prompts": 1, "samples": 32, "plan": 0.2, "apart": 0.0, "heavy": True},
    ],
    ids=str,
)
def test_the_interval_holds_the_gap_about_as_often_as_it_says(how):
    """Of completions drawn one by one it held it in 54 to 86% of these steps where prompts differ."""
    rng, held = np.random.default_rng(0), {"gap": [], "ratio": []}
    for _ in range(300):
        rows, prompts = step(rng, **how)
        found = intervals(rows, prompts, 200, rng)
        for name, truth in (("gap", GAP), ("ratio", 1 + GAP)):
            if f"entropy/{name}_low" in found:
                held[name].append(found[f"entropy/{name}_low"] <= truth <= found[f"entropy/{name}_high"])
    for name, of in held.items():
        assert len(of) > 100 and 0.9 <= np.mean(of) <= 0.995, f"{name}: {np.mean(of):.3f} of {len(of)}"


def test_no_interval_where_hardly_anything_plans():
    """One completion with all planning tokens has no spread at all: its interval held the truth in 5%."""
    rng = np.random.default_rng(0)
    rows, prompts = step(rng, 8, 4)
    for count in range(1, FEWEST):
        few = rows.copy()
        few[4 * count :, :2] = 0
        assert intervals(few, prompts, 200, rng) == {}
    few = rows.copy()
    few[4 * FEWEST :, :2] = 0
    assert set(intervals(few, prompts, 200, rng)) == {
        f"entropy/{n}_{e}" for n in ("gap", "ratio") for e in ("low", "high")
    }
    assert intervals(rows[: FEWEST - 1], ["a"] * (FEWEST - 1), 200, rng) == {}
    assert intervals(rows[:8], ["a"] * 8, 200, rng) != {}  # of one prompt the completions count


def test_the_interval_is_around_what_was_measured():
    rng = np.random.default_rng(1)
    for seed in range(20):
        rows, prompts = step(np.random.default_rng(seed), 5, 4, plan=0.5)
        found, said = intervals(rows, prompts, 200, rng), entropies(rows.sum(axis=0), 1)
        for name in ("gap", "ratio") if found else ():
            assert found[f"entropy/{name}_low"] <= said[f"entropy/{name}"] <= found[f"entropy/{name}_high"]
        assert found.get("entropy/ratio_low", 1) > 0


def test_the_names_of_prompts_change_nothing():
    rows, prompts = step(np.random.default_rng(2), 6, 4)
    others = [f"{9 - int(prompt[-1])}, renamed" for prompt in prompts]
    one, two = (intervals(rows, named, 200, np.random.default_rng(0)) for named in (prompts, others))
    assert one == two
