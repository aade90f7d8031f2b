"""Readings of what is written and how near it comes. An entry: stems, then (how to read it, when it lies)."""

from __future__ import annotations

# fmt: off
ANSWERS = {
    "format/share": (
        "One form that swallows the others is a collapse.",
        "A form the classifier does not know counts as `other`, and a changed mix of tasks changes the forms."),
    "format/completions format/judged shortcut/skippable length/completions": (
        "What the shares and accuracies rest on.",
        "Completions of one prompt are not independent: many of them can come from few prompts."),
    "format/unclassified": (
        "High: the classifier does not fit these texts; look at the structures instead.",
        "Low says that the texts are named, not that the names are right."),
    "format/entropy format/effective": (
        "As if so many forms were used equally often; 1 is a single one.",
        "New forms that all count as `other` look like a collapse: structures that stay up say no."),
    "format/effective_in_group": (
        "What one prompt still gets, as if so many forms were used equally often. Hold it against itself.",
        "A small group cannot show all forms: of 2.8 forms in use (shares .5, .3, .2) four completions show 2.1 in the "
        "mean, eight 2.4, sixteen 2.6. Runs with other group sizes cannot be compared by it."),
    "format/structures format/structures_other": (
        "Variety without classes; should fall together with the effective number in a true collapse.",
        "It sees line shapes: two ways of arguing in the same layout are one structure."),
    "format/leading": (
        "The alarm fires when it stands at nine tenths, and was not there at the start.",
        "Smoothed: it lags behind a sudden takeover by a few steps."),
    "format/accuracy": (
        "The form that wins should be the one that is most often right.",
        "Easy prompts may prefer a form; the alarm compares inside groups for that reason. Few completions jump."),
    "format/base_distance format/base_distance_same": (
        "At or below the noise line nothing has moved from the first steps.",
        "The base is the first steps of the run: what was lost before them is not seen."),
    "format/base_distance_noise": (
        "The line to hold the distance against.",
        "It takes completions for independent; those of a group are not, so a distance a little above may be chance."),
    "format/base_prompts": (
        "What the comparison on equal prompts rests on.",
        "The prompts that come again are those the curriculum likes."),

    "shortcut/completions shortcut/successes shortcut/advantage_groups": (
        "What the shares beside it rest on; a handful jumps about.",
        "Completions of one prompt are not independent."),
    "shortcut/steps": (
        "Falling with a falling held-out result: work is left out. Falling with a rising one: skill.",
        "It counts lines and sentences: another layout changes it."),
    "shortcut/skipped shortcut/skipped_correct": (
        "Rising together with the reward while held-out results do not: answers without the work.",
        "A policy that learns to be brief skips too; compare with the outcome of those that work."),
    "shortcut/repeated": (
        "Answers stated over and over, often to catch a lenient parser.",
        "Checking an answer states it again."),
    "shortcut/same_answer": (
        "One answer for every question: a constant guess pays.",
        "Tasks with few possible answers share them by chance."),
    "shortcut/copied": (
        "The prompt copied out; rises where length or words of the prompt are paid.",
        "Tasks that ask to quote have it from the start: the rise counts, not the level."),
    "shortcut/looped": (
        "Ends that go in circles, mostly cut off at the longest length.",
        "Tables and lists compress well too."),
    "shortcut/lucky": (
        "Above a half most successes are accidents: whatever the lucky completion did is praised.",
        "In groups of 8 at a pass rate of 0.1 a lonely success is the usual one."),
    "shortcut/advantage_mass": (
        "Above a half the gradient comes mostly from groups that got it by luck or not at all.",
        "Shaping gives such groups advantages of their own; groups below 8 count as none of them."),
    "shortcut/misdirected": (
        "Praise for failures, from shaping rewards. Should stay small.",
        "With partial outcomes a good failure may deserve it."),
    "shortcut/answered": (
        "How many groups the share of one answer is of.",
        "Groups without any final answer are not in it."),
    "length/mean length/max": (
        "Growing with the outcome is usual; growing alone is padding, or loops.",
        "It is over the trained completions: a filter changes it."),
    "length/truncated_frac": (
        "High: the limit decides the outcome, and not the policy.",
        "A completion that loops ends here too, whatever the limit."),

    "continuous/pass continuous/pass_low continuous/pass_high": (
        "Should move together with the measures that move by degrees.",
        "The interval is over the groups of one step; a jump of this alone is a change of the parser or the form."),
    "continuous/edit continuous/edit_rel": (
        "Meaningful where the completion is the answer.",
        "Where the policy reasons first it mostly follows the length."),
    "continuous/edit_nearest": (
        "How near the nearest stretch comes to the gold answer; moves before anything passes.",
        "Of answers of one or two tokens it is nearly pass/fail itself, and long texts hit short answers by chance."),
    "continuous/completions continuous/prompts continuous/brier_prompts": (
        "What the measures beside it rest on.",
        "The same prompts all along: what holds for them need not hold for others."),
    "continuous/answer_logprob continuous/answer_logprob_total": (
        "Rising long before anything passes is learning that pass/fail does not show.",
        "It says little of a policy that has to reason before it answers."),
    "continuous/token_accuracy": (
        "Moves by degrees where exact match jumps.",
        "Earlier tokens of the answer are given: later ones are easier than in a sample."),
    "continuous/brier": (
        "Falling: the odds among the options get better, even if the favourite stays the same.",
        "Odds of long options suffer from their length."),
    "infogain/total infogain/step": (
        "Above 0 the reasoning leads to the answer; wrong completions should have less of it.",
        "The frozen model judges: what it cannot follow tells it nothing, and a stated answer tells it all."),
    "infogain/negative": (
        "Steps that lead away. Some are honest checks.",
        "Small steps scatter around 0 by chance."),
    "infogain/steps infogain/completions infogain/before": (
        "What the gains rest on, and where they start from.",
        "Prompts the frozen model can answer at once leave nothing to gain."),
    "entropy/variety": (
        "Falling while creative reward rises: the policy settles on one text for a prompt.",
        "Word pairs do not know synonyms, and longer texts differ more by their length alone."),
}
# fmt: on
