"""The events that `actions` may wait for, and who writes each; a plugin of one's own may write others.

What is written when nothing can follow on it any more (`scores_failed`, `order_forecast`), or beside the loop
(`action`, `stuck`, `checkpoint_torn`), is not among them.
"""

from __future__ import annotations

from types import MappingProxyType

# By writer: nobody is the run itself, the others are curricula and diagnostics as in `use`.
_BY = {
    (): "base_probed engine_restarted nothing_admitted parity planning_credit_resumed planning_stuffed resumed",
    ("difficulty",): "forgotten no_easier_form no_outcomes nothing_learnable quarantined related_improved released",
    ("difficulty", "uniform"): "tasks_changed",
    ("mixture",): "source_lowered source_raised sources_changed",
    ("staged",): "stage_ended stages_changed",
    ("continuous",): "metric_jump",
    ("entropy",): "creative_diversity_lost too_few_planning_tokens",
    ("formats",): "format_collapse format_recovered format_single format_wrong_winner",
    ("interference",): "task_overruled task_starved",
    ("mechanism",): "entropy_spent",
    ("perplexity",): "perplexity_restarted",
    ("phase",): "phase_changed",
    ("plan",): "lexicon_changed",
    ("shortcuts",): "shortcut_advantage_mass shortcut_copied shortcut_divergence shortcut_looped shortcut_lucky "
    "shortcut_repeated shortcut_same_answer shortcut_skipped",
}

EVENTS = MappingProxyType({name: writers for writers, names in _BY.items() for name in names.split()})
"""Name -> the plugins that write it; none: the run itself."""

_SHORTCUT = "onset_step value usual ceiling completions outcome misdirected"
# By event: the keys of its evidence; of the numbers behind a phase none, since `when` asks for equality.
_ASKED = {
    "creative_diversity_lost": "signal before now lost onset_step groups",
    "entropy_spent": "spent entropy at_start",
    "engine_restarted": "engine cause detail groups_redone",
    "forgotten quarantined released": "prompts first from to",
    "format_collapse": "onset_step rise_step winner share base_share effective base_effective structures "
    "accuracy completions",
    "format_recovered": "onset_step until_step winner share effective base_effective",
    "format_single": "winner share completions",
    "format_wrong_winner": "onset_step winner better difference standard_error groups",
    "lexicon_changed": "before now",
    "metric_jump": "onset_step pass_before pass_change pass_error nearness_change nearness_error groups "
    "token_probability_change answer_probability_change",
    "nothing_admitted": "sampled admitted reasons",
    "nothing_learnable": "pools then",
    "perplexity_restarted": "hash_before hash_now",
    "phase_changed": "from to confidence why onset_step interval",
    "planning_stuffed planning_credit_resumed": "planning_ratio at_start",
    "shortcut_advantage_mass shortcut_copied shortcut_looped": _SHORTCUT,
    "shortcut_lucky shortcut_repeated shortcut_same_answer": _SHORTCUT,
    "shortcut_divergence": f"{_SHORTCUT} reward reward_usual reward_ceiling outcome_usual outcome_floor",
    "shortcut_skipped": f"{_SHORTCUT} outcome_skipped outcome_worked",
    "task_overruled": "task onset_step others signal looks frequency",
    "task_starved": "task last_step gap",
    "too_few_planning_tokens": "planning_tokens min_planning_tokens",
}

EVIDENCE = MappingProxyType({name: keys.split() for names, keys in _ASKED.items() for name in names.split()})
"""Name -> the keys that an action may ask for; of an event that is not here any."""

PHASES = ("undecided", "consolidating", "planning", "stalled")
VALUES = MappingProxyType({("phase_changed", "from"): PHASES, ("phase_changed", "to"): PHASES})
"""(Name, key) -> all that can stand there; of a pair that is not here anything."""
