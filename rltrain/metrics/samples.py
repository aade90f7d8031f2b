"""What each measure rests on: the metric that counts its sample, of several their sum.

A curve `a/b@x` is counted by `c/d@x` where the run has that, else by `c/d`: a form's share is one of all completions.
What is not here is no estimate from a sample: counts themselves, times, settings.
"""

from __future__ import annotations

from collections.abc import Mapping

TRAINED = "entropy/planning_tokens entropy/execution_tokens"

# fmt: off
SAMPLES = {
    "reward/mean": "reward/completions",
    "reward/mean_all": "reward/completions_all",
    "reward/outcome": "reward/judged",
    "reward/outcome_all": "reward/judged_all",
    "reward/std": "reward/completions",
    "reward/value": "reward/value_completions",
    "reward/part": "reward/part_completions",
    "reward/error_rate": "reward/completions_all reward/errors",
    "reward/zero_variance": "reward/groups",
    "reward/zero_variance_all": "reward/groups_all",
    "advantage/withheld": "curriculum/kept",

    "drift/kl_sampler_trainer drift/kl_trainer_sampler drift/ratio_mean drift/ratio_std drift/ratio_max "
    "drift/ratio_min drift/ess drift/truncated_frac drift/capped_mean drift/capped_ess": "drift/tokens",
    "drift/sequence_ratio_mean drift/sequence_ratio_max drift/sequence_ess": "drift/sequences",

    "entropy/mean plan/ratio": TRAINED,
    "entropy/planning": "entropy/planning_tokens",
    "entropy/execution": "entropy/execution_tokens",
    "entropy/gap entropy/gap_low entropy/gap_high entropy/ratio entropy/ratio_low entropy/ratio_high":
        "entropy/planning_tokens",  # the smaller class: what the width of the interval comes from
    "entropy/variety": "entropy/variety_groups",
    "entropy/ceiling entropy/ceiling_low entropy/ceiling_high": "entropy/ceiling_steps",
    "entropy/spent": TRAINED,
    "entropy/covariance entropy/covariance_top": "entropy/covariance_tokens",
    "plan/credit": "tokens/step",
    "plan/completions": "plan/looked_at",
    "plan/variety": "plan/with_phrases",
    "plan/semantic_entropy plan/coverage": "plan/grams",
    "plan/next_entropy": "plan/next_pairs",
    "phase/state phase/confidence phase/onset phase/onset_low phase/onset_high": "phase/values",
    "ppl/planning_rel ppl/planning_logprob": "ppl/planning_tokens",
    "ppl/execution_rel ppl/execution_logprob": "ppl/execution_tokens",
    "length/mean length/max length/truncated_frac": "length/completions",

    "format/share format/unclassified format/entropy format/effective format/effective_in_group format/structures "
    "format/structures_other format/leading format/base_distance format/base_distance_noise": "format/completions",
    "format/base_distance_same": "format/base_prompts",
    "format/accuracy": "format/judged",
    "shortcut/steps shortcut/repeated shortcut/copied shortcut/looped shortcut/misdirected": "shortcut/completions",
    "shortcut/skipped": "shortcut/skippable",
    "shortcut/skipped_correct shortcut/lucky": "shortcut/successes",
    "shortcut/same_answer": "shortcut/answered",
    "shortcut/advantage_mass": "shortcut/advantage_groups",

    "interference/reliability interference/gradient_share interference/signal interference/others "
    "interference/frequency": "interference/completions",
    "continuous/pass continuous/pass_low continuous/pass_high continuous/edit continuous/edit_rel "
    "continuous/edit_nearest": "continuous/completions",
    "continuous/answer_logprob continuous/answer_logprob_total continuous/token_accuracy": "continuous/prompts",
    "continuous/brier": "continuous/brier_prompts",
    "infogain/total infogain/step infogain/negative infogain/steps infogain/before": "infogain/completions",

    "eval/outcome eval/pass_at": "eval/prompts",
    "eval/length eval/format_share eval/format_distance": "eval/completions",
}


def samples() -> Mapping[str, tuple[str, ...]]:
    """Stem -> the stems that count its sample."""
    return {stem: tuple(counts.split()) for stems, counts in SAMPLES.items() for stem in stems.split()}
