"""The curves of a run in which a phase change, a collapse, a wave of quarantine and a restart are planted.

Made, not measured: what is drawn from such a run can be held against what is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SOURCES = ("chain_sum", "letters")
FORMS = ("boxed_latex", "prose", "numbered_steps", "answer_only")  # the first one takes over
ENGINES = ("engine-0", "engine-1")  # the second one is replaced
PROMPTS = 400
OFFSET, SLOPE = 1.15, 0.217  # outcome = OFFSET - SLOPE exp(entropy): the law that is planted
TRAINED = 0.05  # by which the outcome of the trained samples is above that of all: the filter drops what all fail
WAVE = 120  # prompts set aside in the step of the wave


class Truth(NamedTuple):
    """The steps at which things happen."""

    quarantine: int  # a wave of prompts is set aside
    phase: int  # consolidating until here; from here on the variety of plans rises
    collapse: int  # first step at which the form that takes over has nine tenths
    restart: int  # an engine is replaced


def truth(steps: int) -> Truth:
    """Where things happen in a run of so many steps: one tick past round numbers, so that no chance hits it."""
    return Truth(*(int(share * steps) + 1 for share in (0.3, 0.5, 0.65, 0.8)))


class Curves:
    """Every metric of every step, (steps + 1,) each; index 0 is the untrained model."""

    def __init__(self, steps: int, seed: int = 0):
        self.steps, self.truth = steps, truth(steps)
        self.rng = np.random.default_rng(seed)
        self.at = np.arange(steps + 1)
        self.share = _ramp(self.at, 0, steps)  # of the run that is over
        settled = 0.8 * _ramp(self.at, 0, 0.9 * self.truth.phase) + 0.2 * self.share
        self.planning, self.execution = 1.9 - 0.15 * settled, 1.5 - 1.0 * settled
        self.entropy = 0.15 * self.planning + 0.85 * self.execution
        self.outcome = OFFSET - SLOPE * np.exp(self.entropy)
        self.shares = self._shares()

    def metrics(self) -> dict[str, np.ndarray]:
        """By name; NaN where a step has none."""
        parts = (self._reward, self._entropy, self._formats, self._curriculum, self._shortcuts, self._machine)
        found: dict[str, np.ndarray] = {}
        for part in parts:
            found |= part()
        found = {name: values.astype(float) for name, values in found.items()}
        for values in found.values():
            values[0] = np.nan  # nothing is trained at step 0
        return found | self._evaluation()

    def lines(self) -> Iterator[tuple[int, dict[str, float]]]:
        """(step, metrics) as a run logs them."""
        found = self.metrics()
        for step in range(self.steps + 1):
            yield step, {name: float(values[step]) for name, values in found.items() if np.isfinite(values[step])}

    def noise(self, size: float) -> np.ndarray:
        """Steps that are no smoother than those of a run."""
        return self.rng.normal(0, size, self.steps + 1)

    def _shares(self) -> np.ndarray:
        """(steps + 1, forms): the first form crosses nine tenths at the step of the collapse, as a logistic curve."""
        width = max(1.0, self.steps / 30)
        middle = self.truth.collapse - width * np.log((0.9 - 0.2) / (0.97 - 0.9))
        winner = 0.2 + 0.77 / (1 + np.exp(-(self.at - middle) / width))
        others = np.outer(1 - winner, (0.55, 0.3, 0.15))
        return np.column_stack([winner, others])

    def _reward(self) -> dict[str, np.ndarray]:
        outcome = np.clip(self.outcome + self.noise(0.03), 0, 1)
        found = {"reward/outcome_all": outcome, "reward/outcome": np.clip(outcome + TRAINED, 0, 1)}
        found |= {"reward/mean_all": outcome + 0.1, "reward/mean": found["reward/outcome"] + 0.1}
        for source, shift in zip(SOURCES, (0.1, -0.1), strict=True):
            values = np.clip(outcome + shift + self.noise(0.02), 0, 1)
            found |= {f"reward/outcome_all@{source}": values, f"reward/mean@{source}": values + 0.1}
        found |= {"continuous/pass": outcome, "continuous/pass_low": np.clip(outcome - 0.08, 0, 1)}
        found |= {"continuous/pass_high": np.clip(outcome + 0.08, 0, 1)}
        found |= {"continuous/edit_nearest": 0.7 - 0.5 * self.share + self.noise(0.01)}
        return found | {"reward/std": 0.3 + self.noise(0.02), "reward/zero_variance": 0.2 + self.noise(0.03)}

    def _entropy(self) -> dict[str, np.ndarray]:
        planning, execution = self.planning + self.noise(0.03), self.execution + self.noise(0.02)
        plans = 1.1 + 1.2 * _ramp(self.at, self.truth.phase, 0.2 * self.steps) + self.noise(0.05)
        # of all samples, as the diagnostic's: too high at first, and at the end the law's own
        ceiling = OFFSET - SLOPE + 0.2 * np.exp(-5 * self.share) * (1 - self.share) + self.noise(0.002)
        found = {"entropy/planning": planning, "entropy/execution": execution, "entropy/gap": planning - execution}
        found |= {"entropy/gap_low": planning - execution - 0.12, "entropy/gap_high": planning - execution + 0.12}
        found |= {"entropy/mean": self.entropy + self.noise(0.01), "plan/semantic_entropy": plans}
        found |= {"plan/variety": 1 - np.exp(-plans)}
        found |= {"ppl/planning_rel": np.exp(planning - 1.9), "ppl/execution_rel": np.exp(execution - 1.5)}
        found |= {"entropy/planning_tokens": 300 + self.noise(20), "entropy/execution_tokens": 2000 + self.noise(60)}
        found |= {
            "entropy/ceiling": np.where(self.at > 12, ceiling, np.nan),
            "entropy/spent": 1 - self.entropy / self.entropy[0],
        }
        found |= {"entropy/ceiling_low": found["entropy/ceiling"] - 0.1}
        found |= {"entropy/ceiling_high": found["entropy/ceiling"] + 0.1}
        found |= {"phase/state": np.select([self.at < 0.1 * self.steps, self.at < self.truth.phase + 8], [0, 1], 2)}
        return found | {
            "phase/confidence": np.clip(0.5 + 0.5 * self.share, 0, 0.97),
            "plan/ratio": 0.1 + self.noise(0.01),
        }

    def _formats(self) -> dict[str, np.ndarray]:
        found = {f"format/share@{name}": column for name, column in zip(FORMS, self.shares.T, strict=True)}
        entropy = -(self.shares * np.log(self.shares)).sum(axis=1)
        found |= {"format/effective": np.exp(entropy), "format/effective_in_group": np.exp(0.8 * entropy)}
        found |= {"format/structures": 3 * np.exp(0.7 * entropy), "format/completions": np.full(self.steps + 1, 64.0)}
        for name, column, shift in zip(FORMS, self.shares.T, (0.0, -0.05, 0.1, -0.15), strict=True):
            found |= {f"format/accuracy@{name}": np.clip(self.outcome + shift + self.noise(0.03), 0, 1)}
            found |= {f"format/judged@{name}": np.round(256 * column)}
        return found

    def _curriculum(self) -> dict[str, np.ndarray]:
        aside = np.where(
            self.at >= self.truth.quarantine, WAVE * (1 - 0.7 * _ramp(self.at, self.truth.quarantine, self.steps)), 0
        )
        aside = np.round(aside + 8)
        easy = np.round(60 * self.share)
        unknown = np.round((PROMPTS - aside - easy) * np.exp(-6 * self.share))
        found = {"curriculum/unknown": unknown, "curriculum/too_easy": easy, "curriculum/quarantined": aside}
        found |= {
            "curriculum/learnable": PROMPTS - aside - easy - unknown,
            "curriculum/kept": np.full(self.steps + 1, 6.0),
        }
        found |= {"curriculum/rejected@no success": np.round(2 + self.noise(0.6)).clip(0)}
        found |= {"curriculum/rejected": found["curriculum/rejected@no success"]}
        found |= {
            "curriculum/flow@learnable_to_quarantined": np.where(self.at >= self.truth.quarantine, WAVE + 8.0, 8.0)
        }
        return found | {"curriculum/stage": np.where(self.at > self.truth.collapse, 2.0, 1.0)}

    def _shortcuts(self) -> dict[str, np.ndarray]:
        after = _ramp(self.at, self.truth.collapse, 0.2 * self.steps)
        found = {"shortcut/advantage_mass": 0.35 - 0.2 * self.share + self.noise(0.03)}
        found |= {
            "shortcut/lucky": 0.4 - 0.3 * self.share + self.noise(0.03),
            "shortcut/misdirected": 0.04 + self.noise(0.01),
        }
        found |= {
            "shortcut/skipped": 0.05 + 0.4 * after + self.noise(0.02),
            "shortcut/looped": 0.01 + abs(self.noise(0.005)),
        }
        return found | {"shortcut/repeated": 0.02 + abs(self.noise(0.01)), "shortcut/copied": abs(self.noise(0.005))}

    def _machine(self) -> dict[str, np.ndarray]:
        again = self.at == self.truth.restart
        rollout, train = 2.0 + 0.8 * self.share + abs(self.noise(0.1)), 3.0 + abs(self.noise(0.1))
        found = {
            "time/rollout_s": rollout + 14.0 * again,
            "time/train_s": train,
            "time/publish_s": 0.4 + abs(self.noise(0.02)),
        }
        found |= {"time/score_s": 0.2 + abs(self.noise(0.02)), "time/diagnostics_s": 0.1 + abs(self.noise(0.01))}
        found |= {"time/step_s": sum(found.values()), "pool/restarts": np.cumsum(again).astype(float)}
        for number, engine in enumerate(ENGINES):
            lost = 14.0 * again * (number == 1)
            found |= {
                f"engine/generating_s@{engine}": rollout,
                f"engine/loading_s@{engine}": np.full(self.steps + 1, 0.4),
            }
            found |= {f"engine/starting_s@{engine}": lost, f"engine/idle_s@{engine}": train + 0.3 + 14.0 * again - lost}
        kl = 0.002 + abs(self.noise(0.0005))
        found |= {"drift/kl_sampler_trainer": kl, "drift/kl_trainer_sampler": 1.05 * kl, "drift/ess": 1 - 2 * kl}
        found |= {"drift/ratio_mean": 1 + self.noise(0.002), "drift/ratio_max": 1.3 + abs(self.noise(0.1))}
        found |= {"drift/ratio_min": 0.7 + self.noise(0.03), "drift/truncated_frac": np.zeros(self.steps + 1)}
        tokens = 1500 - 400 * self.share + self.noise(20)
        found |= {"tokens/step": tokens, "tokens/total": np.cumsum(tokens) - tokens[0], "length/mean": tokens / 48}
        found |= {"loss/total": self.noise(0.02), "loss/grad_norm": 0.6 + abs(self.noise(0.1))}
        return found | {"throughput/tokens_per_s": tokens / found["time/step_s"]}

    def _evaluation(self) -> dict[str, np.ndarray]:
        seldom = (self.at % max(1, self.steps // 6) == 0) | (self.at == self.steps)
        found = {"eval/outcome": np.where(seldom, self.outcome - 0.02, np.nan)}
        found |= {f"eval/outcome@{source}": found["eval/outcome"] for source in SOURCES}
        forms = zip(FORMS, self.shares.T, strict=True)
        found |= {f"eval/format_share@{name}": np.where(seldom, column, np.nan) for name, column in forms}
        return found | {"eval/length": np.where(seldom, 30.0, np.nan)}


def _ramp(at: np.ndarray, start: float, length: float) -> np.ndarray:
    """0 before `start`, 1 from `start + length` on, straight between."""
    return np.clip((at - start) / max(1.0, length), 0, 1)
