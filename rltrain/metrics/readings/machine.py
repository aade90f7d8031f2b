"""Readings of the run around it. An entry: stems, then (how to read it, when it lies)."""

from __future__ import annotations

# fmt: off
MACHINE = {
    "curriculum/kept curriculum/rejected curriculum/left_over": (
        "Refused groups were sampled for nothing; their reasons say what to change.",
        "A reason is the first that applied: a group may have had others."),
    "curriculum/too_hard": (
        "Groups without any success: nothing to imitate in them.",
        "In small groups a prompt of some chance lands here now and then."),
    "curriculum/unknown curriculum/learnable curriculum/too_easy curriculum/quarantined": (
        "Learnable should not run empty; quarantined should shrink as the policy improves. A sudden swell is a wave of "
        "quarantine: prompts too hard, or a reward that broke.",
        "Pools hold what was tried. Of many prompts most stay unknown for long, and old evidence fades slowly."),
    "curriculum/silent": (
        "Prompts that never came back with a result, mostly too long ones.",
        "Groups lost with an engine count as no answer for a while."),
    "curriculum/flow": (
        "Out of quarantine: they became learnable. Out of too easy: forgotten.",
        "Prompts near a bound go back and forth without any change of the policy."),
    "curriculum/surprise": (
        "Should stay about 0; lasting above it, the policy improves faster than the beliefs follow.",
        "It fades: what happened twenty groups ago is gone."),
    "curriculum/lag": (
        "How late the curriculum learns; grows with run-ahead.",
        "A mean: a slow engine's groups can be much later."),
    "curriculum/reformulated curriculum/reformulated_outcome": (
        "Forms that are solved while their originals stay in quarantine are too easy, or teach something else.",
        "A question turned round can have other right answers than the hidden number."),
    "curriculum/share curriculum/gap": (
        "Whether each source gets its part, and how long it was left out.",
        "Draws are no trained groups: refused ones count."),
    "curriculum/stage": (
        "A step up is a stage that ended; the event says why.",
        "A stage that ends at its maximum did not end because all was learned."),
    "prompts/dropped": (
        "Prompts over the length; a large part of the tasks is a limit set too low.",
        "Counted as they are drawn, not over the whole table."),
    "eval/outcome": (
        "Held-out tasks at fixed sampling: what learning has to show in.",
        "With tens of prompts a change of five points may be chance; `rltrain eval` gives paired intervals."),
    "eval/prompts eval/completions": (
        "What the held-out figures rest on.",
        "Completions of one prompt are not independent: the prompts are the sample."),
    "eval/pass_at": (
        "At large k: what the policy can do at all; falling while pass@1 rises is lost variety.",
        "Unbiased only up to the number of completions drawn."),
    "eval/length": (
        "Beside length/mean: whether lengths in training come from the curriculum.",
        "Completions cut at the limit count with the limit."),
    "eval/format_share": (
        "The same prompts each time: against step 0 it shows which forms training took from the base model.",
        "Few prompts, and another mix of sources than in training."),
    "eval/format_distance": (
        "The part of the held-out answers that changed form since the start; 0 is none.",
        "Never quite 0 by chance: with sixty completions and two forms, 0.05 to 0.1."),
    "throughput/tokens_per_s throughput/samples tokens/step tokens/total": (
        "How fast, and how much. A drop is in time/* by its part.",
        "Tokens of refused groups were paid for and are not in it."),
    "time/step_s": (
        "The whole; a slope is growth (lengths), a spike one bad step (evaluation, restart).",
        "Saving is counted with the step after it."),
    "time/rollout_s": (
        "Waiting for completions. Grows with their length, and spikes when an engine is replaced.",
        "With run-ahead the sampling goes on during training: waiting is not the time it takes."),
    "time/score_s": (
        "Near 0 is usual: groups are scored while others are sampled. What is left are rewards, or a judge, too slow "
        "for the engines.",
        "Rewards that keep the processor busy slow down the engines beside them; that is in time/rollout_s."),
    "time/train_s time/publish_s time/eval_s time/parity_s time/probe_s time/diagnostics_s time/save_s time/write_s": (
        "Its part of the step; look here when the step grows.",
        "Wall clock of the loop: work in other processes shows only as far as the loop waits for it."),
    "time/scorer_s time/policy_s": (
        "What diagnostics asked for beyond training, and its price: a part of the step of its own.",
        "Only steps that are looked at have it; the mean over all steps is what it costs."),
    "time/gradients_s": (
        "What taking the gradient apart costs.",
        "Inside time/train_s: do not add it to the other parts."),
    "pool/restarts pool/redone": (
        "Flat is healthy. A restart costs time and no data: its groups are done again.",
        "An engine that is slow and alive is not in it."),
    "pool/in_flight": (
        "Groups ahead of the trainer; 0 in synchronous training.",
        "Taken at one moment of the step."),
    "engine/generating_s engine/loading_s engine/idle_s engine/starting_s": (
        "Four parts of an engine's step. Idle beside a busy trainer is how synchronous training works; one engine idle "
        "beside busy ones is a bad split.",
        "Generating says that it had work, not that it was fast: see engine/tokens_per_s."),
    "engine/tokens_per_s": (
        "Engines of one kind should be alike; one that lags is a sick machine.",
        "Short completions and few groups in flight lower it without any fault."),
    "interference/cosine": (
        "Below 0 two tasks pull apart; hold it against the reliability of both.",
        "Of noisy gradients it is near 0 whatever the tasks do."),
    "interference/reliability": (
        "Near 0 nothing else here can be believed of the task. With s = 2 r / (1 + r) for the r of each, a cosine of "
        "two tasks above the root of s_a s_b is out of reach (Spearman and Brown).",
        "It is of halves of a handful of prompts: the whole part is repeatable by more, which is the s."),
    "interference/gradient_share interference/signal interference/others": (
        "Whether a task is heard, goes on where it went, and is helped by the others.",
        "On the watched layers only, before the optimizer's scaling."),
    "interference/completions interference/frequency interference/gap": (
        "How rare a task is, and how long it was left out.",
        "Trained completions: what was refused is not counted."),
    "curriculum/boost": (
        "Above 1 a source was found rare and learnable without rising: others drown it.",
        "A source that cannot be learned in this run rises no more when it is shown more often; the cap ends that."),
    "curriculum/forecast": (
        "Beside eval/outcome of the last step: how well single-task runs foretold the run that mixes them.",
        "It adds up what each source does alone; sources that help or harm only together are not in it."),
    "judge/answers judge/asked": (
        "Their distance is what remembering saved.",
        "Greedy policies repeat themselves: few questions then speak of collapse, not of thrift."),
    "judge/failed": (
        "Should be 0; above it, the judge's address, its limits or its deadline.",
        "A judge that answers nonsense in time does not fail here."),
    "judge/seconds": (
        "Divided by judge/asked: what one call takes.",
        "Calls overlap with each other and with sampling: this is no part of the step's time."),
}
# fmt: on
