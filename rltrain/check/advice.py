"""What is allowed and often not meant."""

from __future__ import annotations

import math

from rltrain.check.verdicts import Section
from rltrain.config import Config

BROAD = 0.25  # half an interval this wide hides what a short run gains


def advice(config: Config) -> Section:
    """Warnings that follow from the config alone."""
    section = Section("to consider")
    _distribution(section, config)
    _engines(section, config)
    _evaluation(section, config)
    _periods(section, config)
    _phase(section, config)
    if not section.lines:
        section.ok("nothing stands out")
    return section


def _distribution(section: Section, config: Config) -> None:
    """Where sampler and trainer do not mean the same distribution."""
    s = config.sampling
    if s.top_p < 1 or s.top_k > 0:
        section.warn(
            f"sampling.top_p {s.top_p:g}, top_k {s.top_k}: the sampler's log-probs are renormalised over its nucleus, "
            "the trainer's are not, so every importance ratio is biased low (TRL issue 6789); "
            "top_p: 1 and top_k: 0 avoid it"
        )
    if config.model.lora is not None and config.model.lora.dropout > 0:
        section.warn(
            f"model.lora.dropout {config.model.lora.dropout:g}: the trainer's log-probs are drawn anew in each forward "
            "and part from the sampler's"
        )
    if config.rollouts.max_lag:
        section.warn(
            f"rollouts.max_lag {config.rollouts.max_lag}: faster where engines and trainer have hardware of their own, "
            "but off-policy; watch drift/ess and drift/kl_sampler_trainer"
        )
    if config.training.correction == "none":
        section.warn("training.correction none: rounding and lag between sampler and trainer go uncorrected")


def _engines(section: Section, config: Config) -> None:
    r, s = config.rollouts, config.sampling
    if r.slots < s.num_generations:
        section.warn(
            f"rollouts.slots {r.slots}: fewer than num_generations {s.num_generations}, so a group runs in turns"
        )
    share = math.ceil(config.groups_per_rollout / r.engines) * s.num_generations
    if s.num_generations <= r.slots < share:
        section.warn(
            f"rollouts.slots {r.slots}: an engine's share of a rollout batch is {share} sequences, sampled in turns"
        )
    if config.groups_per_rollout < r.engines:
        section.warn(
            f"rollouts.engines {r.engines}: only {config.groups_per_rollout} groups a batch, some engines idle"
        )


def _periods(section: Section, config: Config) -> None:
    """What is due every so many steps is done where a rollout batch ends, so it may come less often than asked for."""
    updates = config.training.updates_per_rollout
    asked = {"evaluation.every": config.evaluation.every, "checkpoints.every": config.checkpoints.every}
    for key, every in (asked | {"rollouts.parity_every": config.rollouts.parity_every}).items():
        if every and every % updates:
            section.warn(
                f"{key} {every}: a rollout batch ends every {updates} steps (training.updates_per_rollout), so it is "
                f"due every {math.lcm(every, updates)}; a multiple of {updates} is kept as it is"
            )
    looks, saves = asked.values()
    if looks and saves and looks % saves:
        section.warn(
            f"evaluation.every {looks}, checkpoints.every {saves}: the best checkpoint is chosen where both are due, "
            f"every {math.lcm(looks, saves)} steps; checkpoints.every {looks} chooses among all evaluations"
        )


def _phase(section: Section, config: Config) -> None:
    hicra = config.advantages.hicra
    if hicra is not None and hicra.start == "phase2" and "phase" not in {spec.use for spec in config.diagnostics}:
        section.warn(
            "advantages.hicra.start phase2: no diagnostic called `phase` is on, so it begins only if another one "
            "writes the event phase_changed with to: planning; add {use: phase} to diagnostics, or give a step"
        )
    if hicra is not None and isinstance(hicra.start, int) and hicra.start > config.training.steps:
        section.warn(
            f"advantages.hicra.start {hicra.start}: the run ends at step {config.training.steps}, so it never begins"
        )


def _evaluation(section: Section, config: Config) -> None:
    """How small a gain the evaluation before and after can show, at worst: outcomes 0 or 1, even odds."""
    e = config.evaluation
    if not e.prompts or not any(spec.held_out for spec in config.tasks):
        section.warn("nothing is held out or evaluated, so the run cannot say whether it learned")
        return
    half = 1.96 * math.sqrt(0.5 / (e.prompts * e.num_generations))
    told = (
        f"evaluation: {e.prompts} prompts x {e.num_generations}; with outcomes at even odds a gain below about "
        f"{half:.2f} is lost in chance"
    )
    section.warn(f"{told}; raise evaluation.prompts or num_generations") if half > BROAD else section.fact(told)
