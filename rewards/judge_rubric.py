"""What a judge gives the completion for single skills, each on a scale of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rewards.judge import answers, asking
from rewards.judge.skills import named, rubric
from rltrain.types import Completion, Generator, Score, Task, Unanswered

HELD_OUT = ("insightfulness", "readability")
NOT_APPLICABLE = "N/A"
INSTRUCTION = (
    "You score a response to a request, skill by skill, with whole numbers from 1 to 5; 2 and 4 lie between what is "
    f'described. A skill that the request gives no occasion for gets "{NOT_APPLICABLE}". The skills are independent of '
    "each other: a response may excel in one and fail in the next.\n{skills}\nFirst say in a sentence for each skill "
    "what you saw."
)
# tasks it is for, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "Explain to a child why the sky is blue.",
        "meta": {"skills": ["comprehension", "factuality", "conciseness"]},
        "completion": "Sunlight is made of many colours. Air scatters the blue ones most, so blue comes from all over.",
    },
)


def judge_rubric(
    task: Task,
    completions: Sequence[Completion],
    *,
    judge: Generator,
    skills: Sequence[str] | None = None,
    held_out: Sequence[str] = HELD_OUT,
    max_tokens: int = 600,
) -> list[dict[str, float] | Score | None]:
    """The mean of (score - 1) / 4 over the task's skills that apply, in [0, 1]; None for a task without skills.

    The skills are `skills`, else `task.meta["skills"]`, of FLASK's twelve (arXiv 2307.10928). Those `held_out` are
    asked about in a request of their own and never rewarded: where the value rises and the part `held_out` does not,
    the policy learns to please the judge. Each skill is a part, on the same scale; "N/A" is left out of means. What the
    judge does not answer readably is an error. ValueError for a skill that is none of the twelve.
    """
    wanted = named(task.meta.get("skills", ()) if skills is None else skills)
    kept = named(held_out)
    rewarded = [name for name in wanted if name not in kept]
    if not rewarded:
        return [None] * len(completions)
    texts = {"request": asking.conversation(task.prompt)} | ({"reference": task.answer} if task.answer else {})
    sets = [names for names in (rewarded, kept) if names]
    prompts = [
        asking.prompt(INSTRUCTION.format(skills=rubric(names)), {**texts, "response": completion.text}, schema(names))
        for completion in completions
        for names in sets
    ]
    said = judge.generate(prompts, max_tokens=max_tokens, temperature=0.0)
    rows = [said[i : i + len(sets)] for i in range(0, len(said), len(sets))]
    return [_score(row, sets) for row in rows]


def schema(names: Sequence[str]) -> dict[str, Any]:
    """What an answer about these skills looks like."""
    points = {"enum": [1, 2, 3, 4, 5, NOT_APPLICABLE]}
    return {"type": "object", "properties": dict.fromkeys(names, points), "required": list(names)}


def _score(said: Sequence[str | Unanswered], sets: Sequence[Sequence[str]]) -> dict[str, float] | Score | None:
    """From the answer about the rewarded skills, and the one about those held out."""
    found: list[Mapping[str, float]] = []
    for answer, names in zip(said, sets, strict=True):
        if isinstance(answer, Unanswered):
            return answers.failed("judge_rubric", answer)
        try:
            points = answers.verdict(answer, schema(names))
        except answers.Unreadable as error:
            return answers.failed("judge_rubric", error)
        found.append({name: (point - 1) / 4 for name, point in points.items() if point != NOT_APPLICABLE})
    rewarded, *rest = found
    if not rewarded:
        return None
    aside = rest[0] if rest else {}
    return {"value": fmean(rewarded.values()), **rewarded, **aside} | (
        {"held_out": fmean(aside.values())} if aside else {}
    )
