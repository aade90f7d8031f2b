"""Whether a judge prefers the completion to the task's reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.judge import answers, asking
from rltrain.types import Completion, Generator, Score, Task, Unanswered

CRITERION = "Which of them is the better response to the request, for the person who made it?"
INSTRUCTION = (
    "You compare two responses to one request. {criterion} Judge what is said and how well; that one stands first, or "
    "is longer, is no merit. Say in a sentence or two what decides."
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"winner": {"enum": ["first", "second", "tie"]}},
    "required": ["winner"],
}
WORTH = {"first": 1.0, "tie": 0.5, "second": 0.0}  # of the response that stands first
# tasks it is for, for `rltrain plugin check`
EXAMPLES = (
    {
        "prompt": "Write a line about the sea.",
        "meta": {"reference": "The sea is big."},
        "completion": "All night the sea turned its silver pages and read to nobody.",
    },
)


def judge_pairwise(
    task: Task,
    completions: Sequence[Completion],
    *,
    judge: Generator,
    reference: str = "reference",
    criterion: str = CRITERION,
    max_tokens: int = 400,
) -> list[dict[str, float] | Score | None]:
    """1.0 where the judge prefers the completion to the task's reference, 0.5 for a tie, 0.0 where it does not.

    The reference is `task.meta[reference]`, else the answer; None for a task with neither. Asked twice, with the
    completion first and second; the value is the mean, so that a judge who always takes the first gives 0.5. The parts
    are `as_first` and `as_second`, and `agree`: whether both orders say the same. A blank completion loses without
    being asked about. What the judge does not answer readably is an error. Source: Omni-Thinker (arXiv 2507.14783).
    """
    against = task.meta.get(reference) or task.answer
    if not against:
        return [None] * len(completions)
    request = asking.conversation(task.prompt)
    instruction = INSTRUCTION.format(criterion=criterion)
    asked = [i for i, completion in enumerate(completions) if completion.text.strip()]
    prompts = [
        asking.prompt(instruction, {"request": request, "first": first, "second": second}, SCHEMA)
        for text in (completions[i].text for i in asked)
        for first, second in ((text, against), (against, text))
    ]
    said = judge.generate(prompts, max_tokens=max_tokens, temperature=0.0)
    pairs = zip(said[::2], said[1::2], strict=True)
    scores: list[dict[str, float] | Score | None] = [{"value": 0.0} for _ in completions]
    for i, (as_first, as_second) in zip(asked, pairs, strict=True):
        scores[i] = _score(as_first, as_second)
    return scores


def _score(as_first: str | Unanswered, as_second: str | Unanswered) -> dict[str, float] | Score:
    """From the two answers; the completion stood first in one and second in the other."""
    worths = []
    for answer in (as_first, as_second):
        if isinstance(answer, Unanswered):
            return answers.failed("judge_pairwise", answer)
        try:
            worths.append(WORTH[answers.verdict(answer, SCHEMA)["winner"]])
        except answers.Unreadable as error:
            return answers.failed("judge_pairwise", error)
    first, second = worths[0], 1.0 - worths[1]
    return {"value": (first + second) / 2, "as_first": first, "as_second": second, "agree": float(first == second)}
