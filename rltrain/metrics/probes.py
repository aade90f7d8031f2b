"""Metrics of the diagnostics that are off by default: interference, continuous measures, information gain."""

from __future__ import annotations

from rltrain.metrics.metric import Metric

# fmt: off
PROBES = (
    Metric("interference/cosine", "1", "Whether two tasks pull the watched layers the same way (@ task~task).",
           "g_a.g_b / |g_a||g_b|, g = the task's part of the step's gradient", "interference diagnostic"),
    Metric("interference/reliability", "1", "How repeatable a task's part of the gradient is.",
           "cosine of the parts from its prompts with even and odd tickets (@ task)", "interference diagnostic"),
    Metric("interference/gradient_share", "share", "Part of the step's gradient that is the task's; below 0 it is "
           "outvoted.", "g_task.g / g.g, g = the step's gradient; sums to 1 (@ task)", "interference diagnostic"),
    Metric("interference/signal", "1", "Whether a task's part goes on where its earlier parts went.",
           "cosine of g_task with its own decayed sum over earlier looks (@ task)", "interference diagnostic"),
    Metric("interference/others", "1", "Whether the other tasks pull along a task's earlier parts, or against them.",
           "cosine of g - g_task with the task's decayed sum (@ task)", "interference diagnostic"),
    Metric("interference/completions", "completions", "Trained completions of a task in the step (@ task).",
           "count", "interference diagnostic"),
    Metric("interference/frequency", "share", "Share of a task among all completions trained so far (@ task).",
           "its completions / all, since the start", "interference diagnostic"),
    Metric("interference/gap", "steps", "Steps since a task was last trained; 0 when it is in the step (@ task).",
           "step - last step with one of its completions", "interference diagnostic"),

    Metric("continuous/pass", "share", "Completions that pass: the figure the others stand beside.",
           "outcomes at or above `solved` / completions with an outcome", "continuous diagnostic"),
    Metric("continuous/pass_low", "share", "Lower end of its 95% interval.",
           "pass - 1.96 standard errors of the groups' means", "continuous diagnostic"),
    Metric("continuous/pass_high", "share", "Upper end of its 95% interval.",
           "pass + 1.96 standard errors of the groups' means", "continuous diagnostic"),
    Metric("continuous/edit", "tokens", "Edits from the completion to the gold answer; a token is a word, digit or "
           "sign.", "mean Levenshtein distance", "continuous diagnostic"),
    Metric("continuous/edit_rel", "share", "The same relative to the longer of the two.",
           "mean of distance / max(lengths)", "continuous diagnostic"),
    Metric("continuous/edit_nearest", "share", "Edits from the gold answer to the stretch of the completion nearest "
           "to it.", "mean of min over stretches of the distance / length of the gold answer", "continuous diagnostic"),
    Metric("continuous/completions", "completions", "Completions with a gold answer that the distances rest on.",
           "count, rejected groups included", "continuous diagnostic"),
    Metric("continuous/answer_logprob", "nats", "How likely the policy finds the gold answer, a token, without "
           "reasoning first.", "mean over prompts of log p(answer | prompt) / tokens", "continuous diagnostic"),
    Metric("continuous/answer_logprob_total", "nats", "The same for the whole answer.",
           "mean over prompts of log p(answer | prompt)", "continuous diagnostic"),
    Metric("continuous/token_accuracy", "share", "Tokens of the gold answer that are the likeliest where they stand.",
           "likeliest tokens / tokens, the answer's earlier tokens given", "continuous diagnostic"),
    Metric("continuous/brier", "1", "Error of the policy's odds among a prompt's options; 0 is best, 2 worst.",
           "mean over prompts of sum over options (p - [right])^2, p = softmax of log p(option | prompt)",
           "continuous diagnostic"),
    Metric("continuous/prompts", "prompts", "Prompts behind the three above, the same ones all along.",
           "count", "continuous diagnostic"),
    Metric("continuous/brier_prompts", "prompts", "Prompts with options among them.",
           "count", "continuous diagnostic"),

    Metric("infogain/total", "nats", "What the reasoning as a whole tells about the gold answer, a token of it; @right "
           "and @wrong by outcome.", "mean over completions of (log p(a | q, all steps) - log p(a | q)) / |a|",
           "infogain diagnostic"),
    Metric("infogain/step", "nats", "What one step tells.",
           "mean over steps of (log p(a | q, s_1..k) - log p(a | q, s_1..k-1)) / |a|", "infogain diagnostic"),
    Metric("infogain/negative", "share", "Steps that lead away from the answer.",
           "steps below 0 / steps", "infogain diagnostic"),
    Metric("infogain/steps", "steps", "Steps of a completion, the one that states the answer left out.",
           "mean number", "infogain diagnostic"),
    Metric("infogain/before", "nats", "How likely the frozen model finds the answer without any step.",
           "mean over completions of log p(a | q) / |a|", "infogain diagnostic"),
    Metric("infogain/completions", "completions", "Completions these rest on.",
           "count", "infogain diagnostic"),
)
# fmt: on
