"""Every metric, declared once: name, unit, meaning, formula, where it comes from.

A metric's full name is its stem, optionally `@` and a source, reward, or class: `reward/mean@chain_sum`.
Only the stem is declared. `python -m rltrain.metrics` prints `docs/metrics.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Metric(NamedTuple):
    """What a curve is, in words a reader can hold against the code."""

    stem: str
    unit: str
    meaning: str
    formula: str
    source: str  # the part of the program that measures it


AREAS: Mapping[str, str] = MappingProxyType({
    "reward": "What the rewards said about the completions of a step.",
    "loss": "The optimizer step.",
    "drift": "How far the policy that sampled is from the policy that is trained.",
    "entropy": "How undecided the policy is, on planning and on execution tokens.",
    "plan": "How much the completions plan, and how variedly.",
    "phase": "Which phase of learning the run is in, judged from the steps so far.",
    "ppl": "How surprising the sampled tokens are to the policy, relative to the first step.",
    "format": "In which forms the answers are written.",
    "shortcut": "Whether reward is earned without the work.",
    "length": "How long the completions are.",
    "curriculum": "Which groups entered the batch.",
    "prompts": "Prompts that never became tasks.",
    "eval": "Held-out evaluation.",
    "throughput": "How fast the run goes.",
    "tokens": "How much was sampled.",
    "time": "Where the seconds of a step go.",
    "pool": "The rollout engines.",
})  # fmt: skip

# One row is stem, unit, meaning / formula, source. "Trained" completions are those of admitted groups;
# "scored" ones have a score without an error. A mean is always one sum over one count.
# fmt: off
_TABLE = (
    Metric("reward/mean", "reward", "Mean total reward of the trained completions.",
           "sum of total / number scored; total = sum over rewards of weight x value", "reward diagnostic"),
    Metric("reward/outcome", "share", "Mean task result of the trained completions: the figure to judge a run by.",
           "sum of outcome / number with an outcome", "reward diagnostic"),
    Metric("reward/outcome_all", "share", "Mean task result of all sampled completions, rejected groups included.",
           "sum of outcome / number with an outcome", "reward diagnostic"),
    Metric("reward/std", "reward", "Spread of the reward inside a group: what there is to learn from.",
           "sqrt(sum of (total - its group's mean)^2 / number scored)", "reward diagnostic"),
    Metric("reward/value", "reward", "Mean raw value of one reward, before its weight (@ reward).",
           "sum of value / number of completions it applies to", "reward diagnostic"),
    Metric("reward/part", "reward", "Mean of one named term inside a reward (@ part).",
           "sum of part / number of completions that have it", "reward diagnostic"),
    Metric("reward/errors", "completions", "Completions whose scoring failed; they count in no mean.",
           "number of scores with an error, rejected groups included", "reward diagnostic"),
    Metric("reward/error_rate", "share", "Share of completions whose scoring failed.",
           "reward/errors / number of scores", "reward diagnostic"),
    Metric("reward/zero_variance", "share", "Trained groups whose outcomes are all equal: no signal from the outcome.",
           "groups with max outcome = min outcome / groups with two or more outcomes", "reward diagnostic"),
    Metric("reward/zero_variance_all", "share", "The same over all sampled groups, rejected ones included.",
           "as reward/zero_variance, over all groups", "reward diagnostic"),

    Metric("loss/total", "loss", "The loss the optimizer minimised. Its level says little; a jump says much.",
           "TRL's loss of the configured type", "trainer"),
    Metric("loss/clip_frac", "share", "Tokens whose ratio is clipped; 0 by construction with one update per batch.",
           "clipped tokens / trained tokens", "trainer"),
    Metric("loss/grad_norm", "norm", "Global norm of the gradient before clipping.",
           "sqrt(sum of g^2)", "trainer"),
    Metric("loss/kl", "nats", "Divergence from the initial policy on the sampled tokens (only with beta > 0).",
           "mean of exp(d) - d - 1, d = log p_ref - log p", "trainer"),
    Metric("loss/learning_rate", "1", "Learning rate of the step.",
           "the schedule's value", "trainer"),

    Metric("drift/kl_sampler_trainer", "nats", "Divergence of the trainer from the sampler, on the sampled tokens.",
           "mean of r - 1 - log r, r = p_trainer / p_sampler", "trainer"),
    Metric("drift/kl_trainer_sampler", "nats", "The same the other way round: grows first where the trainer has moved.",
           "mean of r log r - r + 1, r = p_trainer / p_sampler", "trainer"),
    Metric("drift/ratio_mean", "1", "Mean importance ratio trainer / sampler; about 1 when both compute the same.",
           "mean of p_trainer / p_sampler, before the cap", "trainer"),
    Metric("drift/ratio_std", "1", "Spread of the importance ratio over the tokens.",
           "sqrt(mean of r^2 - (mean of r)^2), before the cap", "trainer"),
    Metric("drift/ratio_max", "1", "Largest importance ratio of the step.",
           "max of p_trainer / p_sampler, before the cap", "trainer"),
    Metric("drift/ratio_min", "1", "Smallest importance ratio of the step.",
           "min of p_trainer / p_sampler, before the cap", "trainer"),
    Metric("drift/ess", "share", "Effective share of the sampled tokens after importance weighting; 1 is on-policy.",
           "(sum r)^2 / (n x sum r^2), before the cap", "trainer"),
    Metric("drift/truncated_frac", "share", "Tokens whose importance weight was cut to the cap or masked.",
           "tokens whose weight the correction changes / trained tokens", "trainer"),
    Metric("drift/capped_mean", "1", "Mean importance weight as it entered the loss.",
           "mean of the weights after cap or mask", "trainer"),
    Metric("drift/capped_ess", "share", "Effective share of the sampled tokens with the weights of the loss.",
           "(sum w)^2 / (n x sum w^2), after cap or mask", "trainer"),
    Metric("drift/sequence_ratio_mean", "1", "Mean importance ratio of whole completions.",
           "mean of the product of r over a completion", "trainer"),
    Metric("drift/sequence_ratio_max", "1", "Largest importance ratio of a whole completion (e^30 at most).",
           "max of the product of r over a completion", "trainer"),
    Metric("drift/sequence_ess", "share", "Effective share of the completions, weighted as wholes.",
           "(sum s)^2 / (n x sum s^2), s = product of r over a completion", "trainer"),
    Metric("drift/parity_gap", "nats", "Gap between the engine's and the trainer's log-probs in the parity check.",
           "mean |log p_engine - log p_trainer|, same weights, same tokens", "parity gate"),
    Metric("drift/parity_bound", "nats", "Bound on that gap, set at the start; above it the run stops.",
           "from the gap measured at the first parity check", "parity gate"),
    Metric("drift/lag", "versions", "How many versions old the weights were that sampled the step.",
           "mean of (trained version - policy_version)", "loop"),

    Metric("entropy/mean", "nats", "Mean entropy of the policy over the trained tokens.",
           "sum of H / number of tokens, H = -sum p log p at the sampling temperature", "entropy diagnostic"),
    Metric("entropy/planning", "nats", "Mean entropy at planning tokens: inside a phrase that makes a high-level move.",
           "sum of H over planning tokens / entropy/planning_tokens", "entropy diagnostic"),
    Metric("entropy/execution", "nats", "Mean entropy at all other tokens.",
           "sum of H over execution tokens / entropy/execution_tokens", "entropy diagnostic"),
    Metric("entropy/gap", "nats", "How much more undecided the policy is where it plans than where it executes.",
           "entropy/planning - entropy/execution; absent with too few planning tokens", "entropy diagnostic"),
    Metric("entropy/gap_low", "nats", "Lower end of the gap's 95% interval.",
           "2.5th percentile of a bootstrap over completions", "entropy diagnostic"),
    Metric("entropy/gap_high", "nats", "Upper end of the gap's 95% interval.",
           "97.5th percentile of a bootstrap over completions", "entropy diagnostic"),
    Metric("entropy/ratio", "1", "Planning entropy relative to execution entropy.",
           "entropy/planning / entropy/execution", "entropy diagnostic"),
    Metric("entropy/ratio_low", "1", "Lower end of the ratio's 95% interval.",
           "2.5th percentile of a bootstrap over completions", "entropy diagnostic"),
    Metric("entropy/ratio_high", "1", "Upper end of the ratio's 95% interval.",
           "97.5th percentile of a bootstrap over completions", "entropy diagnostic"),
    Metric("entropy/ceiling", "share", "Outcome to be reached with all entropy spent, if reward follows b - a exp(H).",
           "b - a of the least-squares fit over all steps so far", "mechanism diagnostic"),
    Metric("entropy/ceiling_low", "share", "Lower end of the ceiling's 95% interval.",
           "regression interval at H = 0, autocorrelation counted", "mechanism diagnostic"),
    Metric("entropy/ceiling_high", "share", "Upper end of the ceiling's 95% interval.",
           "regression interval at H = 0, autocorrelation counted", "mechanism diagnostic"),
    Metric("entropy/spent", "share", "Share of the first steps' entropy that is gone.",
           "1 - entropy/mean / its mean over the first three steps", "mechanism diagnostic"),
    Metric("entropy/covariance", "nats", "Whether the step lowers entropy (above 0) or raises it (below 0).",
           "mean of (A - mean A)(log p - mean log p) over trained tokens", "mechanism diagnostic"),
    Metric("entropy/covariance_top", "nats", "The same over the tokens that carry most of it.",
           "mean over the 0.2 % of tokens with the largest", "mechanism diagnostic"),
    Metric("entropy/planning_tokens", "tokens", "Planning tokens the planning entropy rests on.",
           "number of trained tokens inside a planning span", "entropy diagnostic"),
    Metric("entropy/execution_tokens", "tokens", "Execution tokens the execution entropy rests on.",
           "number of trained tokens outside", "entropy diagnostic"),
    Metric("entropy/nonfinite_tokens", "tokens", "Trained tokens without a finite entropy; they count in no mean.",
           "number of them; absent without any", "entropy diagnostic"),

    Metric("plan/credit", "share", "How much of the advantage is credit for planning (HICRA).",
           "sum of |planning bonus| / sum of |advantage without it|, trained tokens", "loop"),
    Metric("plan/ratio", "share", "Share of the trained tokens that plan.",
           "entropy/planning_tokens / trained tokens", "entropy diagnostic"),
    Metric("plan/semantic_entropy", "nats", "Variety of the planning phrases across the completions of a step.",
           "-sum q log q, q = share of each phrase, counted once a completion; corrected for the unseen ones after "
           "Chao, Wang and Jost (2013); absent with too few planning tokens", "plan diagnostic"),
    Metric("plan/grams", "phrases", "Planning phrases the semantic entropy rests on.",
           "n = sum over phrases of the completions that have it", "plan diagnostic"),
    Metric("plan/distinct_grams", "phrases", "How many different ones.",
           "number of phrases in any completion", "plan diagnostic"),
    Metric("plan/coverage", "share", "Chance that the next phrase is one the step has shown already.",
           "1 - phrases in one completion only / plan/grams", "plan diagnostic"),
    Metric("plan/next_entropy", "nats", "How open the word after a planning phrase is.",
           "sum over phrases g of n_g / n x H(next word | g), phrases seen 5 times or more; corrected likewise",
           "plan diagnostic"),
    Metric("plan/next_pairs", "phrases", "Occurrences of phrases that this rests on.",
           "sum of n_g, each occurrence counted", "plan diagnostic"),
    Metric("plan/completions", "share", "Completions with at least one planning phrase.",
           "completions with any / trained completions", "plan diagnostic"),
    Metric("phase/state", "code", "Phase: 0 undecided, 1 consolidating, 2 planning, 3 stalled.",
           "planning where the Bayes factor of a rise of plan/semantic_entropy against a flat course is over 50",
           "phase diagnostic"),
    Metric("phase/confidence", "probability", "Chance that the state is right; if undecided, of the likeliest one.",
           "from the Bayes factors of a rise of plan variety and of a fall of execution entropy, even odds before",
           "phase diagnostic"),
    Metric("phase/onset", "step", "Step at which the variety of plans began to rise; only while planning.",
           "median of its posterior", "phase diagnostic"),
    Metric("phase/onset_low", "step", "Lower end of the 90% interval of the onset.",
           "5% quantile of its posterior", "phase diagnostic"),
    Metric("phase/onset_high", "step", "Upper end of the 90% interval of the onset.",
           "95% quantile of its posterior", "phase diagnostic"),

    Metric("ppl/planning_rel", "1", "Perplexity of planning tokens relative to the first step.",
           "exp(mean -log p) / the same at the first step, planning tokens; absent if few",
           "perplexity diagnostic"),
    Metric("ppl/execution_rel", "1", "Perplexity of execution tokens relative to the first step.",
           "exp(mean -log p) / the same at the first step, execution tokens", "perplexity diagnostic"),
    Metric("ppl/planning_logprob", "nats", "Mean log-probability of planning tokens.",
           "sum of log p / ppl/planning_tokens", "perplexity diagnostic"),
    Metric("ppl/execution_logprob", "nats", "Mean log-probability of execution tokens.",
           "sum of log p / ppl/execution_tokens", "perplexity diagnostic"),
    Metric("ppl/planning_tokens", "tokens", "Planning tokens with a finite log-probability.",
           "number of trained tokens inside a planning span", "perplexity diagnostic"),
    Metric("ppl/execution_tokens", "tokens", "Execution tokens with a finite log-probability.",
           "number of trained tokens outside", "perplexity diagnostic"),

    Metric("format/share", "share", "Share of the sampled completions written in one form (@ form).",
           "completions of the form / completions, rejected groups included", "format diagnostic"),
    Metric("format/completions", "completions", "Completions the shares rest on.",
           "number that carry a form", "format diagnostic"),
    Metric("format/unclassified", "share", "Completions in a form the classifier has no name for.",
           "format/share@other", "format diagnostic"),
    Metric("format/entropy", "nats", "Variety of the forms.",
           "-sum s log s, s = format/share", "format diagnostic"),
    Metric("format/effective", "formats", "How many forms are in use, as if equally often; 1 is a collapse.",
           "exp(format/entropy), a Hill number", "format diagnostic"),
    Metric("format/effective_in_group", "formats", "The same inside a group: what one prompt gets; at most its size.",
           "exp(mean over groups of the entropy of their forms)", "format diagnostic"),
    Metric("format/structures", "structures", "How many structures are in use, by a fingerprint without classes.",
           "exp(-sum s log s), s = share of each cluster of line shapes", "format diagnostic"),
    Metric("format/structures_other", "structures", "The same among completions without a named form.",
           "exp(-sum s log s) over those in `other`", "format diagnostic"),
    Metric("format/leading", "share", "Smoothed share of the most frequent form; the collapse alarm looks at it.",
           "end of curves through its log-odds in the last steps", "format diagnostic"),
    Metric("format/accuracy", "share", "Mean task result of the completions in one form (@ form).",
           "sum of outcome / format/judged", "format diagnostic"),
    Metric("format/judged", "completions", "Completions of a form that have an outcome (@ form).",
           "count", "format diagnostic"),
    Metric("format/base_distance", "share", "How far the shares are from the first steps', same mix of sources.",
           "sum |s - s_base| / 2", "format diagnostic"),
    Metric("format/base_distance_noise", "share", "What that distance would be by chance alone.",
           "sum sqrt(2 s (1 - s) (1/n + 1/n_base) / pi) / 2", "format diagnostic"),
    Metric("format/base_distance_same", "share", "The same distance on prompts that the first steps had too.",
           "sum |s - s_base| / 2 over format/base_prompts", "format diagnostic"),
    Metric("format/base_prompts", "prompts", "Prompts of the step that the first steps had too.",
           "count", "format diagnostic"),

    Metric("shortcut/completions", "completions", "Completions the shares below rest on.",
           "number sampled, rejected groups included", "shortcut diagnostic"),
    Metric("shortcut/steps", "steps", "How much is worked out before the answer.",
           "mean number of lines or sentences with a calculation or three words", "shortcut diagnostic"),
    Metric("shortcut/skipped", "share", "Completions that work out less than half of what the source's first ones did.",
           "steps <= half the source's median in the first steps / completions", "shortcut diagnostic"),
    Metric("shortcut/skipped_correct", "share", "The same among successes.",
           "successes that skip / shortcut/successes", "shortcut diagnostic"),
    Metric("shortcut/repeated", "share", "Completions that state their final answer three times or more.",
           "statements of the same answer >= 3 / completions", "shortcut diagnostic"),
    Metric("shortcut/same_answer", "share", "Prompts that get the answer most prompts get, whatever they ask.",
           "largest number of groups with one leading answer / groups", "shortcut diagnostic"),
    Metric("shortcut/copied", "share", "Completions half or more of which is copied from the prompt.",
           "words inside runs of 6 that the prompt has >= half / completions", "shortcut diagnostic"),
    Metric("shortcut/looped", "share", "Completions whose end goes round in circles.",
           "last 600 characters compress to a quarter or less / completions", "shortcut diagnostic"),
    Metric("shortcut/successes", "completions", "Completions with a full outcome.",
           "outcome >= 0.5", "shortcut diagnostic"),
    Metric("shortcut/lucky", "share", "Successes that were the only one of their group.",
           "groups of 8 or more with one success / shortcut/successes", "shortcut diagnostic"),
    Metric("shortcut/advantage_mass", "share", "Part of the training signal from groups with one success or none.",
           "sum of |advantage| in such groups of 8 or more / in all groups", "shortcut diagnostic"),
    Metric("shortcut/advantage_groups", "groups", "Groups that give any signal.",
           "groups with an advantage other than 0", "shortcut diagnostic"),
    Metric("shortcut/misdirected", "share", "Part of the praise that goes to completions that failed.",
           "sum of positive advantage at outcome < 0.5 / sum of positive advantage", "shortcut diagnostic"),

    Metric("length/mean", "tokens", "Mean length of the trained completions.",
           "trained tokens / trained completions", "entropy diagnostic"),
    Metric("length/max", "tokens", "Longest trained completion.",
           "max of tokens", "entropy diagnostic"),
    Metric("length/truncated_frac", "share", "Completions cut off at the longest allowed length.",
           "finish_reason = length / trained completions", "entropy diagnostic"),

    Metric("curriculum/kept", "groups", "Groups that entered the batch.",
           "number admitted", "loop"),
    Metric("curriculum/rejected", "groups", "Groups that were sampled and not trained (@ reason).",
           "number not admitted", "loop"),
    Metric("curriculum/too_hard", "groups", "Groups in which no completion had any success.",
           "groups with max outcome = 0", "loop"),
    Metric("prompts/dropped", "prompts", "Prompts over max_prompt_length, dropped so far.",
           "count since the start", "tasks"),

    Metric("eval/outcome", "share", "Mean held-out task result.",
           "sum of outcome / number with an outcome, held-out prompts", "evaluation"),
    Metric("eval/pass_at", "share", "Chance that one of k completions of a held-out prompt succeeds (@ k).",
           "mean over prompts of 1 - C(n - c, k) / C(n, k)", "evaluation"),
    Metric("eval/length", "tokens", "Mean length of the held-out completions.",
           "tokens / completions", "evaluation"),

    Metric("throughput/tokens_per_s", "tokens/s", "Completion tokens that went through a whole step, per second.",
           "tokens/step / time/step_s", "loop"),
    Metric("throughput/samples", "completions", "Completions trained in the step.",
           "admitted groups x completions", "loop"),
    Metric("tokens/step", "tokens", "Completion tokens trained in the step.",
           "sum of lengths", "loop"),
    Metric("tokens/total", "tokens", "Completion tokens trained since the start.",
           "sum of tokens/step", "loop"),

    Metric("time/step_s", "s", "Wall-clock time of the whole step.",
           "end of this step - end of the last one", "loop"),
    Metric("time/rollout_s", "s", "Waiting for completions.",
           "wall clock", "loop"),
    Metric("time/score_s", "s", "Rewards.",
           "wall clock", "loop"),
    Metric("time/train_s", "s", "Forward, backward and optimizer.",
           "wall clock", "loop"),
    Metric("time/publish_s", "s", "Handing the new weights to the engines.",
           "wall clock", "loop"),
    Metric("time/eval_s", "s", "Held-out evaluation.",
           "wall clock", "loop"),
    Metric("time/parity_s", "s", "Parity check of engine and trainer.",
           "wall clock", "loop"),
    Metric("time/diagnostics_s", "s", "Tagging and diagnostics.",
           "wall clock", "loop"),
    Metric("time/write_s", "s", "Handing records to the writer.",
           "wall clock", "loop"),
    Metric("time/save_s", "s", "Saving a checkpoint, groups in flight awaited; counted with the step after it.",
           "wall clock", "loop"),

    Metric("pool/restarts", "engines", "Engines replaced since the start.",
           "count since the start", "rollout pool"),
    Metric("pool/redone", "groups", "Groups sampled again because their engine was replaced, since the start.",
           "count since the start", "rollout pool"),
    Metric("pool/in_flight", "groups", "Groups being sampled when the step began training.",
           "count", "rollout pool"),
)
# fmt: on

METRICS: Mapping[str, Metric] = MappingProxyType({metric.stem: metric for metric in _TABLE})


def stem(name: str) -> str:
    """The declared part of a metric's name: `reward/mean@chain_sum` -> `reward/mean`."""
    return name.partition("@")[0]


def area(name: str) -> str:
    """The part before the slash: `reward/mean@chain_sum` -> `reward`."""
    return name.partition("/")[0]


def undeclared(names: Iterable[str]) -> list[str]:
    """The names whose stem is not in the table, in order and once each; `step` is no metric."""
    return [name for name in dict.fromkeys(names) if name != "step" and stem(name) not in METRICS]


def markdown() -> str:
    """The page `docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Every curve a run writes to `metrics.jsonl`. A name is `area/name`, and `area/name@x` for one source, "
        "reward or class. This page is generated: `python -m rltrain.metrics > docs/metrics.md`.",
    ]
    for name, about in AREAS.items():
        lines += ["", f"## {name}", "", about, "", "| metric | unit | meaning | formula | measured by |"]
        lines.append("|---|---|---|---|---|")
        for metric in METRICS.values():
            if area(metric.stem) == name:
                cells = (f"`{metric.stem}`", metric.unit, metric.meaning, metric.formula, metric.source)
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
