"""Planning-focused credit (HICRA): more of a completion's advantage on the tokens that plan.

A' = A + alpha |A| on chosen tokens, A elsewhere: (1 + alpha) A where A > 0, (1 - alpha) A where A < 0
(Wang et al. 2025, arXiv 2509.03646). Summed over a group the addition is positive whatever the outcomes
are, so it also makes planning phrases as such more likely; `Guard` watches for that.

Two variants: `paper` chooses the planning tokens of every completion; `long_correct`, told of the authors'
unreleased code, the planning tokens and those of high entropy in completions that are correct and longer
than their group's mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from rltrain.types import Event, Group, TokenArrays

TOP_ENTROPY = 0.3  # share of a completion's tokens that `long_correct` counts as undecided
CORRECT = 0.5  # an outcome above it is a success
WINDOW = 5  # rollout batches that the planning ratio is averaged over


def planning_credit(groups: Sequence[Group], alpha: float, variant: str) -> list[Group]:
    """The groups with `planning_bonus`, what is added to the advantage on each planning token.

    For `long_correct` also with `entropy_bonus`, which `with_entropy_bonus` adds on tokens of high entropy in
    the training forward: it is the first to know them.
    """
    return [_credited(group, alpha, variant == "long_correct") for group in groups]


def _credited(group: Group, alpha: float, long_correct: bool) -> Group:
    sizes = [alpha * abs(advantage.value) for advantage in group.advantages]
    if long_correct:
        sizes = [size * chosen for size, chosen in zip(sizes, long_and_correct(group), strict=True)]
    bonus = tuple((size * mask).astype(np.float32) for size, mask in zip(sizes, group.planning, strict=True))
    return dataclasses.replace(group, planning_bonus=bonus, entropy_bonus=tuple(sizes) if long_correct else ())


def long_and_correct(group: Group) -> list[bool]:
    """Which completions succeeded and are longer than the group's mean length."""
    lengths = [len(completion.token_ids) for completion in group.completions]
    mean = sum(lengths) / len(lengths)
    return [
        score.outcome is not None and score.outcome > CORRECT and length > mean
        for score, length in zip(group.scores, lengths, strict=True)
    ]


def with_entropy_bonus(
    advantages_BT: torch.Tensor, value_B: torch.Tensor, bonus_B: torch.Tensor, entropy_BT: torch.Tensor, mask_BT
) -> torch.Tensor:
    """Advantages with `bonus` on each row's most undecided tokens, where no planning bonus stands already.

    `value_B`: each row's advantage without any bonus; `mask_BT`: its completion tokens.
    """
    known = entropy_BT.float().masked_fill(mask_BT == 0, float("nan"))
    threshold_B1 = torch.nanquantile(known, 1 - TOP_ENTROPY, dim=-1, keepdim=True)
    chosen = (known >= threshold_B1) & (advantages_BT == value_B.unsqueeze(-1))
    return advantages_BT + chosen * bonus_B.unsqueeze(-1)


def as_trained(groups: Sequence[Group], tokens: Mapping[tuple[int, int], TokenArrays]) -> list[Group]:
    """The groups with the bonus that really entered the loss; without it the advantage would have been the rest."""
    return [
        dataclasses.replace(
            group,
            planning_bonus=tuple(
                tokens[group.ticket, i].token_advantage - np.float32(group.advantages[i].value)
                if (group.ticket, i) in tokens
                else bonus
                for i, bonus in enumerate(group.planning_bonus)
            ),
        )
        for group in groups
    ]


def planning_ratio(groups: Sequence[Group]) -> float:
    """Share of the admitted groups' tokens that plan; 0 without tokens."""
    masks = [mask for group in groups if group.admitted for mask in group.planning]
    return float(sum(mask.sum() for mask in masks) / max(1, sum(len(mask) for mask in masks)))


def effect(groups: Sequence[Group]) -> float:
    """How much of the advantage the bonus is: sum |bonus| / sum |A| over tokens of admitted groups; 0 without."""
    bonus = whole = 0.0
    for group in groups:
        if group.admitted:
            bonus += sum(float(np.abs(added).sum()) for added in group.planning_bonus)
            pairs = zip(group.advantages, group.completions, strict=True)
            whole += sum(abs(advantage.value) * len(completion.token_ids) for advantage, completion in pairs)
    return bonus / whole if whole else 0.0


@dataclasses.dataclass(frozen=True)
class Guard:
    """When the credit began, and whether it rests because phrases are being stuffed. Part of the checkpoint."""

    since: int | None = None  # first step with credit
    reference: float | None = None  # planning ratio just before it, or the first that is not 0
    recent: tuple[float, ...] = ()  # planning ratios of the last rollout batches
    resting: bool = False

    @property
    def active(self) -> bool:
        """Whether this batch gets credit."""
        return self.since is not None and not self.resting

    def started(self, step: int) -> Guard:
        """With credit from this step on; nothing changes if it began before."""
        return self if self.since is not None else dataclasses.replace(self, since=step)

    def seen(self, ratio: float, most: float) -> Guard:
        """After a batch with this planning ratio; credit rests while the mean is above `most` x the reference."""
        recent = (*self.recent, ratio)[-WINDOW:]
        mean = sum(recent) / len(recent)
        if self.since is None:
            return dataclasses.replace(self, recent=recent)
        planned = [each for each in recent if each] or [0.0]  # of nothing there is no multiple
        reference = self.reference or sum(planned) / len(planned) or None
        resting = reference is not None and mean > most * reference
        return dataclasses.replace(self, recent=recent, reference=reference, resting=resting)


def told(before: Guard, after: Guard, step: int) -> Event | None:
    """The event of a guard that begins or ends a rest."""
    if before.resting == after.resting:
        return None
    assert after.reference is not None
    evidence = {"planning_ratio": sum(after.recent) / len(after.recent), "at_start": after.reference}
    if after.resting:
        advice = "credit rests until the ratio falls; read rollouts for repeated phrases; lower advantages.hicra.alpha"
        return Event(step, "planning_stuffed", "warning", evidence, advice)
    return Event(step, "planning_credit_resumed", "info", evidence, "nothing to do")
