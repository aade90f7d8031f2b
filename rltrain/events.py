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
