"""What the panels show and what an event asks a person to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rltrain.types import Panel

PANELS: Sequence[Panel] = (
    Panel(
        "Work left out",
        ("shortcut/skipped", "shortcut/skipped_correct", "shortcut/steps"),
        "line",
        "Completions that work out less than half of what was usual at the start. Skipping that rises while held-out "
        "tasks get worse is a shortcut; among successes it shows whether the shortcut pays. Rising with a rising "
        "held-out result, it is skill that needs fewer words. It begins after the baseline steps.",
    ),
    Panel(
        "Luck in the training signal",
        ("shortcut/lucky", "shortcut/advantage_mass", "shortcut/misdirected"),
        "line",
        "How much of the success and of the gradient comes from groups with one success or none. Above a half, the "
        "run learns from accidents: whatever the lucky completion did is praised. Misdirected is praise for failures, "
        "from shaping rewards.",
    ),
    Panel(
        "Degenerate texts",
        ("shortcut/repeated", "shortcut/looped", "shortcut/copied", "shortcut/same_answer"),
        "line",
        "Answers stated over and over, ends that go in circles, prompts copied out, one answer for every question. "
        "All should stay where they were at the start; read a few completions when one rises.",
    ),
    Panel(
        "What the shortcut measures rest on",
        (
            "shortcut/completions",
            "shortcut/skippable",
            "shortcut/successes",
            "shortcut/answered",
            "shortcut/advantage_groups",
        ),
        "line",
        "Shares over a handful of completions, successes or groups jump about; the alarms wait for enough.",
    ),
)

ADVICE: Mapping[str, str] = {
    "skipped": "Read ten completions of this step. If answers come without work and outcome_skipped is below "
    "outcome_worked, drop prompts with one success or none (min_successes: 2), or do not divide by the group's spread.",
    "repeated": "The answer is stated again and again, often to catch a lenient parser. Let the reward read one "
    "answer, the last, and fail completions that state several.",
    "copied": "The prompt is copied out. Check that no reward pays for length or for words of the prompt.",
    "looped": "Completions end in loops. Look at length/truncated_frac, lower the temperature's tail (top_p), and go "
    "back to a checkpoint before the onset if the outcome fell too.",
    "same_answer": "Many prompts get one and the same answer. Check the balance of the gold answers; a constant "
    "guess that pays is a matter of the data, not of the optimizer.",
    "lucky": "Most successes are the only one of their group: the prompts are too hard for this policy. Use a "
    "curriculum that drops or defers prompts below 2 successes in a group.",
    "advantage_mass": "More than half of the gradient comes from groups with one success or none. Require two "
    "successes a group, or set advantages.scale to none, which takes the weight off rare successes.",
    "divergence": "The reward rises while the outcome falls: shaping is being gamed. Lower the weight of the shaping "
    "rewards, or pay them only together with the outcome.",
}
