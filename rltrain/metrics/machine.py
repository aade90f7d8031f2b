"""Metrics of the run around it: curriculum, evaluation, speed, time, engines."""

from __future__ import annotations

from rltrain.metrics.metric import Metric

# fmt: off
MACHINE = (
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
    Metric("time/scorer_s", "s", "Frozen scorer, as far as diagnostics wait for it (rewards' calls are in score).",
           "wall clock", "lent scorer"),
    Metric("time/policy_s", "s", "Forward passes of the policy over given texts, for diagnostics that ask.",
           "wall clock", "lent policy"),
    Metric("time/gradients_s", "s", "Taking the gradient apart, at steps that are looked at; part of time/train_s.",
           "wall clock of the products of matrices, the slowest process", "lent gradients"),
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
