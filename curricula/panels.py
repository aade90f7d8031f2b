"""What the report draws of the difficulty curriculum."""

from __future__ import annotations

from rltrain.types import Panel

PANELS = (
    Panel(
        "Pools",
        ("curriculum/unknown", "curriculum/learnable", "curriculum/too_easy", "curriculum/quarantined"),
        "line",
        "Where the prompts are. Learnable should not run empty; quarantined should shrink as the policy improves.",
    ),
    Panel(
        "Flow between the pools",
        ("curriculum/flow",),
        "line",
        "Prompts that moved, since the start. Out of quarantine: they became learnable. Out of too easy: forgotten.",
    ),
    Panel(
        "Beliefs about prompts",
        ("curriculum/surprise", "curriculum/lag"),
        "line",
        "Surprise is observed minus predicted pass rate. It should stay about 0: what is drawn rests on these "
        "predictions. Lag is how many groups were asked for before a result was known.",
    ),
    Panel(
        "Easier forms",
        ("curriculum/reformulated", "curriculum/reformulated_outcome"),
        "line",
        "Groups asked for in place of quarantined prompts, since the start, and how they fare. Where forms are solved "
        "and nothing is released from quarantine, what they teach does not carry over.",
    ),
)
