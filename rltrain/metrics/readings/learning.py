"""Readings of what is learned. An entry: stems, then (how to read it, when it lies)."""

from __future__ import annotations

# fmt: off
LEARNING = {
    "reward/mean reward/mean_all": (
        "Read it beside the outcome: what it has above that is shaping.",
        "Weights differ from config to config, so levels of two runs cannot be compared; a gamed shaping reward raises "
        "it without any learning."),
    "reward/outcome": (
        "The result of the task on what was trained; compare with reward/outcome_all.",
        "A filter that keeps groups of mixed results pulls it towards a half, whatever the policy can do."),
    "reward/outcome_all": (
        "The figure to judge a run by, as long as the prompts stay alike.",
        "A curriculum that turns to harder prompts lowers it while the policy learns; held-out tasks settle that."),
    "reward/std": (
        "What a gradient can be made of; near 0 there is nothing to learn from.",
        "A continuous shaping reward keeps it up while every outcome in a group is the same."),
    "reward/value reward/part": (
        "Which reward, or which term, carries a rise of the mean.",
        "Means are over the completions a reward applies to: a change of the task mix moves them."),
    "reward/completions reward/completions_all reward/judged reward/judged_all reward/value_completions "
    "reward/part_completions plan/with_phrases plan/looked_at": (
        "What the means and shares beside it rest on.",
        "Completions of one prompt are not independent: many of them can come from few prompts."),
    "reward/groups reward/groups_all entropy/variety_groups": (
        "What the share or mean beside it rests on; groups are independent where their prompts differ.",
        "A prompt that is drawn again counts again."),
    "reward/errors reward/error_rate": (
        "Should be 0. Look at the `error` column of the rollouts for the kind.",
        "A reward that returns 0 instead of failing is not seen here."),
    "reward/zero_variance reward/zero_variance_all": (
        "Share of the groups that teach nothing about the outcome. Near 1: prompts too hard or too easy.",
        "Over trained groups it is 0 by construction where such groups are dropped; read the one over all."),
    "advantage/lucky_groups advantage/withheld": (
        "How much praise the guard took from rare successes. High: the prompts are mostly beyond the policy.",
        "In small groups an honest success is rare too."),
    "loss/total": (
        "Only a jump says something: a broken step, or a new mix of lengths.",
        "Its level is no measure of progress; with normalised advantages it hovers around 0 while all goes well."),
    "loss/clip_frac": (
        "0 with one update per batch; with more, above a few percent the updates are too large.",
        "Tokens that were never near the bound count in the denominator and hide those that were."),
    "loss/grad_norm": (
        "Steady is good; a spike of many times the usual is a bad batch or an instability.",
        "It is before clipping: what moved the weights may be much smaller."),
    "loss/kl": (
        "How far the policy has gone from where it started; compare runs with one beta.",
        "Estimated on the sampled tokens: what the policy no longer samples is not in it."),
    "loss/learning_rate": (
        "The schedule; a kink in other curves may be a kink here.",
        "Adaptive optimizers scale it token by token: the step size is another matter."),

    "drift/kl_sampler_trainer drift/kl_trainer_sampler": (
        "Near 0 where engine and trainer compute the same. A sudden step is a stale or half-loaded engine, a slow rise "
        "numbers that part.",
        "In half precision a floor of about 0.001 is rounding. A mean hides single tokens: see drift/ratio_max."),
    "drift/ratio_mean drift/ratio_std drift/capped_mean drift/sequence_ratio_mean": (
        "About 1, with a small spread.",
        "Ratios above and below 1 cancel in the mean; the spread and the extremes do not."),
    "drift/ratio_max drift/ratio_min drift/sequence_ratio_max": (
        "The token, or completion, on which sampler and trainer differ most. Look it up in the rollouts when it jumps.",
        "An extreme of thousands of tokens grows with their number, and one rare token can make it. That of a "
        "completion is cut at e^30."),
    "drift/ess drift/capped_ess drift/sequence_ess": (
        "1 is on-policy; at 0.5 half of the batch is wasted to reweighting.",
        "It says how uneven the weights are, not whether they are right: a constant factor leaves it at 1."),
    "drift/truncated_frac": (
        "What the correction had to cut; above a few percent the sampler is too far off.",
        "Cutting hides the drift from the loss and not from the data."),
    "drift/tokens drift/sequences": (
        "What the ratios and divergences rest on; less than was trained where the sampler gave no log-probs.",
        "Tokens of one completion drift together: the completions are the sample."),
    "drift/lag": (
        "0 in synchronous training with one update a batch; else at most (max_lag + 1) x updates_per_rollout - 1.",
        "An extreme: one old group among fresh ones makes it. What the age costs is in drift/ess."),

    "entropy/mean": (
        "How undecided the policy is; towards 0 exploration ends.",
        "It depends on the temperature and on the mix of tasks, and falls when answers merely get shorter."),
    "entropy/planning": (
        "Staying up while execution falls: plans are still being explored.",
        "With a few dozen planning tokens it is noise, and it is only as good as the tagger's phrases fit the texts."),
    "entropy/execution": (
        "Falls first, as procedures become routine; flat and low means consolidation is over.",
        "Mostly prose it follows the prose: another format moves it without any learning."),
    "entropy/gap entropy/gap_low entropy/gap_high": (
        "Above 0 the policy is less sure of plans than of carrying them out. Trust a move only where the interval "
        "leaves the old level.",
        "The interval is of one step: it counts that prompts differ, not that a curriculum changes which are drawn. "
        "Of a single prompt it is over that prompt's completions. Both entropies falling together shrink the gap: "
        "see entropy/ratio."),
    "entropy/ratio entropy/ratio_low entropy/ratio_high": (
        "The comparison that survives when both entropies fall together.",
        "It grows without bound as execution goes to 0: read it beside the gap."),
    "entropy/ceiling entropy/ceiling_low entropy/ceiling_high": (
        "Near today's outcome it says that more steps buy little. Believe it when narrow and steady.",
        "An extrapolation to zero entropy: a bonus for entropy or a curriculum breaks the law it rests on. Noise of "
        "single steps does no harm, but entropy that wanders for many steps without the outcome draws the ceiling "
        "towards today's outcome (by up to a fifth of the rise where it wanders by a quarter of its fall), out of the "
        "interval where the whole fall was in the first steps of a long run. In the first tens of steps it is given "
        "where the slope came out steep by chance as well: up to 0.05 too high on average, inside the interval."),
    "entropy/spent": (
        "Near 1 exploration is over.",
        "Relative to the first three steps: an odd start shifts the whole curve; rising entropy makes it negative."),
    "entropy/covariance entropy/covariance_top": (
        "Above 0 the step lowers entropy, below 0 it raises it; the top says how few tokens carry that.",
        "First order in the step size: large steps and the optimizer's momentum do something else."),
    "entropy/planning_tokens entropy/execution_tokens ppl/planning_tokens ppl/execution_tokens "
    "entropy/covariance_tokens": (
        "What the curves beside it rest on; below some tens they are noise.",
        "Many tokens from few completions are not many independent ones."),
    "entropy/nonfinite_tokens": (
        "Should not be there at all.",
        "Such tokens are left out, so the curves look well while the numbers overflow."),

    "plan/credit": (
        "How much of the push goes to planning phrases; a rise without better outcomes is phrase stuffing.",
        "It is a share of sizes: praise and blame both count."),
    "plan/ratio plan/completions": (
        "How much is planned. Watch it when planning is rewarded.",
        "A count of phrases, not of plans: a policy can learn to say them."),
    "plan/variety": (
        "Its lasting rise is the beginning of planning; the phase is judged by it.",
        "A richer mix of tasks raises it too. At 1 no two completions share a phrase, which says nothing of more."),
    "plan/semantic_entropy": (
        "How many phrases are in use, as the logarithm of a number of equally common ones.",
        "Longer completions and a richer mix of tasks raise it too where most phrases are seen once (plan/coverage "
        "below one half), in spite of the correction; unsure below some dozens of them (plan/grams)."),
    "phase/values entropy/ceiling_steps": (
        "How many steps the verdict or the fit rests on.",
        "Neighbouring steps are alike: their worth is less than their number."),
    "plan/grams plan/distinct_grams plan/next_pairs": (
        "What the plan measures rest on.",
        "One phrase said in every completion fills the count and adds no variety."),
    "plan/coverage": (
        "Near 1 the step has shown most of the phrases in use; below 0.5 the variety is a guess.",
        "It is about the phrases the tagger knows."),
    "plan/next_entropy": (
        "Low: after a phrase always comes the same; a habit and no choice.",
        "Only phrases seen five times count: early on that is few and not typical."),
    "phase/state phase/confidence": (
        "Act on a state that stands for many steps with a high probability; `undecided` is an answer.",
        "Each step judges with what was known then. A confidence holds as far as docs/phases.md measured it, on runs "
        "like those."),
    "phase/onset phase/onset_low phase/onset_high": (
        "Settles as steps come in, and the interval narrows.",
        "An onset that keeps moving along with the run is a slow drift and no onset."),
    "ppl/planning_rel ppl/execution_rel": (
        "1 at the start; execution falls by a fifth and more where procedures are being learned.",
        "Measured on the policy's own samples: a policy that narrows to what it is sure of looks the same."),
    "ppl/planning_logprob ppl/execution_logprob": (
        "The same in nats, not related to the start.",
        "A changed mix of tasks moves it."),
    "reward/failed": (
        "Should be 0; the kind says whether rewards raise, hang or cannot read the judge.",
        "Timeouts on a machine that is too busy are no fault of the reward."),
}
# fmt: on
