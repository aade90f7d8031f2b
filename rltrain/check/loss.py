"""The exact loss in words, with its constants. Formulas: TRL 1.16, `GRPOTrainer._compute_loss`."""

from __future__ import annotations

from typing import Any

from rltrain.check.verdicts import Section
from rltrain.config import Config, Covariance, RareSuccess
from rltrain.rare import bound, visits_needed

SURROGATE = "-w_t min(r_t A_t, clip(r_t, {low:g}, {high:g}) A_t)"
TERMS = {
    "cispo": "-w_t min(r_t, {epsilon_high:g}) A_t log p_t, no gradient through the factor",
    "sapo": "-w_t (4 / tau) sigmoid(tau (r_t - 1)) A_t, tau {sapo_temperature_pos:g} where A_t > 0, "
    "else {sapo_temperature_neg:g}",
    "vespo": "-phi A_t log p_t, no gradient through phi = exp(l + k log W - l W) with W the product of the "
    "completion's r_t w_t; k {vespo_k_pos:g}, l {vespo_lambda_pos:g} where A_t >= 0, "
    "else k {vespo_k_neg:g}, l {vespo_lambda_neg:g}",
}
TOKEN_MEAN = "summed over the step and divided by its completion tokens, of all micro-batches and processes"
ROW_MEAN = "averaged over each completion's tokens, then over the step's {rows} completions"
AGGREGATION = {
    "grpo": ROW_MEAN,
    "sapo": ROW_MEAN,
    "dapo": TOKEN_MEAN,
    "cispo": TOKEN_MEAN,
    "vespo": TOKEN_MEAN,
    "dr_grpo": "summed over the step and divided by {rows} x {length} (completions x max_completion_length)",
    "luspo": "summed over each completion's tokens, then averaged over the step's {rows} completions",
    "bnpo": "averaged over the tokens of each micro-batch, then over the {passes} micro-batches: it depends on the "
    "cut, which sorts by length, so a token in a micro-batch of short completions weighs more",
}
FILL = {
    "dapo": "they change nothing: the divisor counts real tokens",
    "bnpo": "a micro-batch with few real rows weighs as much as a full one, one without any adds 0",
}
FILL_OTHER = "they count in the divisor, so a step with half its groups has half the gradient"
ADVANTAGES = {
    "none": "reward minus the group's mean, not divided",
    "group": "reward minus the group's mean, divided by the group's standard deviation (+ 1e-4)",
    "batch": "reward minus the group's mean, divided by the rollout batch's standard deviation (+ 1e-4)",
}
NO_CLIPPING = "so it is 1, and clipping is inactive by construction"
CORRECTIONS = {
    "token_truncate": "min(p_t / sampler_t, {cap:g})",
    "token_mask": "p_t / sampler_t, 0 outside [{inverse:.3g}, {cap:g}]",
    "sequence_truncate": "min(product of p / sampler over the completion, {cap:g})",
    "sequence_mask": "product of p / sampler over the completion, 0 outside [{inverse:.3g}, {cap:g}]",
}


def loss_in_words(config: Config, trl: dict[str, Any]) -> Section:
    """`trl`: all of GRPOConfig's values, defaults included."""
    section = Section("loss, in words")
    training, loss = config.training, config.training.loss
    constants = dict(trl)
    constants["epsilon_high"] = trl["epsilon"] if trl["epsilon_high"] is None else trl["epsilon_high"]
    constants |= {"low": 1 - trl["epsilon"], "high": 1 + constants["epsilon_high"]}
    sizes = {"rows": config.sequences_per_step, "length": config.sampling.max_completion_length}
    sizes["passes"] = config.micro_batches * config.distributed.processes
    term = TERMS.get(loss, SURROGATE).format(**constants)
    section.fact(f"{loss}: each completion token has {term};")
    section.fact(AGGREGATION[loss].format(**sizes) + ".")
    section.fact(f"A_t: {_advantages(config)}.")
    section.fact(f"r_t: {_ratio(config, trl)}.")
    section.fact(f"w_t: {_correction(config)}.")
    if training.beta:
        section.fact(_kl(training.beta, trl))
    if (spec := training.covariance) is not None:
        section.fact(_covariance(spec))
    if (hicra := config.advantages.hicra) is not None:
        section.fact(
            f"HICRA ({hicra.variant}): A_t + {hicra.alpha:g} |A_t| on planning tokens from {_start(hicra.start)}; "
            f"rests while their share is above {hicra.max_ratio:g} x what it was at the start."
        )
    if config.advantages.guard is not None:
        section.fact(_guard(config, config.advantages.guard))
    for name, told in _extras(trl):
        section.fact(f"{name}: {told}.")
    section.fact(f"Short of groups: {_fill(config)}.")
    if loss == "cispo" and trl["epsilon_high"] is None:
        section.warn(
            f"cispo caps every ratio at epsilon_high, and TRL's default makes that {trl['epsilon']:g}: all tokens "
            f"weigh {trl['epsilon']:g}; set training.trl.epsilon_high (the ScaleRL paper has 5)"
        )
    return section


def _advantages(config: Config) -> str:
    scale, combine = config.advantages.scale, config.advantages.combine
    if combine == "sum_then_normalize":
        return f"{ADVANTAGES[scale]}; the reward is the weighted sum"
    scale = "group" if scale == "batch" else scale
    return f"each reward by itself ({ADVANTAGES[scale]}), then the weighted sum"


def _kl(beta: float, trl: dict[str, Any]) -> str:
    """The penalty for leaving the reference."""
    weight = " r_t" if trl["use_bias_correction_kl"] else ""
    told = f"KL: + {beta:g}{weight} (e^d - d - 1) a token, d = log p_initial - log p; one more forward."
    if trl["sync_ref_model"]:
        told += (
            f" Every {trl['ref_model_sync_steps']} steps p_initial becomes {trl['ref_model_mixup_alpha']:g} x the "
            f"policy + {1 - trl['ref_model_mixup_alpha']:g} x what it was."
        )
    return told


def _covariance(spec: Covariance) -> str:
    """KL-Cov or Clip-Cov."""
    if spec.method == "kl_cov":
        return (
            f"KL-Cov: + {spec.coef:g} |log p_t - log p_old| on the {spec.share:.2%} of each micro-batch's tokens with "
            "the largest covariance of advantage and log-prob, divided by the step's tokens."
        )
    low, high = spec.bounds
    return (
        f"Clip-Cov: no gradient from {spec.share:.2%} of each micro-batch's tokens, drawn among those with a "
        f"covariance of advantage and log-prob between {low:g} and {high:g}."
    )


def _guard(config: Config, guard: RareSuccess) -> str:
    """Which groups are guarded, and what is taken from them and from the step."""
    below = bound(guard, config.sampling.num_generations)
    kept = f"has its advantages scaled down to a largest of {guard.cap:g}" if guard.cap else "is left out"
    shorter = ", and the step is shorter by the share that was withheld, with all else that is in it"
    shorter = "" if config.training.optimizer == "sgd" else shorter
    return (
        f"guard: a group with fewer than {guard.min_successes:g} successes {kept} where its prompt was visited "
        f"{visits_needed(guard, config.advantages.scale)} times and passes in less than {below:.3g} of cases with "
        f"{guard.confidence:.0%} certainty{shorter}."
    )


def _start(start: int | str) -> str:
    return "the step at which phase 2 is detected" if start == "phase2" else f"step {start}"


def _ratio(config: Config, trl: dict[str, Any]) -> str:
    """Which old log-probs the ratio is taken against, and whether clipping can act."""
    level = "" if trl["importance_sampling_level"] == "token" else ", geometric mean over the completion"
    if config.aligned:
        return f"p_t over itself, since one update follows each rollout batch, {NO_CLIPPING}"
    if config.training.old_logprobs == "sampler":
        return f"p_t / sampler_t{level}: the old log-probs are the sampler's"
    if config.training.updates_per_rollout == 1:
        return f"p_t over itself, since the old log-probs are this forward's, {NO_CLIPPING}"
    return f"p_t / p_old{level}, p_old from a forward without gradients before the first update of a rollout batch"


def _correction(config: Config) -> str:
    """The importance correction between the sampler and the old log-probs."""
    training = config.training
    if training.correction == "none":
        return "1: no importance correction, the sampler is taken for the trainer"
    if not config.aligned and training.old_logprobs == "sampler":
        return "1: the ratio is taken against the sampler itself, so nothing is left to correct"
    told = CORRECTIONS[training.correction].format(cap=training.correction_cap, inverse=1 / training.correction_cap)
    if training.updates_per_rollout > 1:
        told = told.replace("p_t /", "p_old /").replace("of p /", "of p_old /")
    return f"{told}, without gradient"


def _extras(trl: dict[str, Any]) -> list[tuple[str, str]]:
    """Terms of TRL that are off unless the config's `trl` table switches them on."""
    told = []
    if trl["delta"] is not None:
        told.append(("delta", f"r_t is also capped at {trl['delta']:g} in the unclipped branch"))
    if trl["top_entropy_quantile"] < 1:
        told.append(
            ("entropy mask", f"only the {trl['top_entropy_quantile']:.0%} of tokens with the most entropy count")
        )
    if trl["use_adaptive_entropy"]:
        low, high, target = trl["entropy_coef_min"], trl["entropy_coef_max"], trl["entropy_target"]
        moves = f"c begins at {trl['entropy_coef']:g} and moves by {trl['entropy_coef_delta']:g} a step"
        bonus = f"- c x mean entropy of the micro-batch, where that of the step before was at most {target:g}; {moves}"
        told.append(("entropy bonus", f"{bonus}, up below it and down above it, from {low:g} to {high:g}"))
    elif trl["entropy_coef"]:
        told.append(("entropy bonus", f"- {trl['entropy_coef']:g} x mean entropy of the micro-batch"))
    if trl["off_policy_mask_threshold"] is not None:
        told.append(("off-policy mask", f"threshold {trl['off_policy_mask_threshold']:g}"))
    return told


def _fill(config: Config) -> str:
    """What rows without tokens do, where fewer groups were admitted than a step holds."""
    loss = config.training.loss
    effect = FILL["dapo"] if AGGREGATION[loss] is TOKEN_MEAN else FILL.get(loss, FILL_OTHER)
    return f"rows without tokens fill the step up to its {config.sequences_per_step}; {effect}"
