"""The twin's engine: answers are scripted, everything else is real.

For each task it emits a seeded mixture of the gold answer and corrupted ones in several formats. The
log-probs come from one teacher-forced forward of the weights it last loaded, so versions, digests,
ratios and the parity gate mean what they mean in a real run. Only the ticket decides what is said:
any engine gives the same samples.
"""

from __future__ import annotations

import collections
import random

import numpy as np
import torch

from rltrain.rollouts.engine import Finished, NamedWeights
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import load_into
from rltrain.types import Completion, Task, Ticket

FORMATS = (
    "{answer}",
    "Answer: {answer}",
    "\\boxed{{{answer}}}",
    "Let me think step by step.\n1. Look at it.\n2. Decide.\nAnswer: {answer}",
    "- first idea\n- wait, let me check\n\nAnswer: {answer}",
    '{{"answer": "{answer}"}}',
)
GOLD_SHARE = 0.5


class TwinEngine:
    """One group per poll."""

    def __init__(self, spec: EngineSpec) -> None:
        from rltrain.models import load_model, load_tokenizer
        from rltrain.tokenizers import TokenText

        torch.set_num_threads(1)  # bit-equal whatever the machine, and fast enough for a tiny model
        self._model = load_model(spec.model, "float32").eval()
        self._tokenizer = load_tokenizer(spec.model)
        self._text = TokenText(self._tokenizer)
        self._name = spec.name
        self._version, self._digest = -1, ""
        self._queue: collections.deque[Ticket] = collections.deque()

    def submit(self, ticket: Ticket) -> None:
        """Queue a group."""
        self._queue.append(ticket)

    def unfinished(self) -> int:
        """Groups not yet finished."""
        return len(self._queue)

    def poll(self) -> list[Finished]:
        """Write the next group."""
        ticket = self._queue.popleft()
        samples = [self._sample(ticket, index) for index in range(ticket.num_samples)]
        logprobs = self._logprobs(ticket, [ids for ids, _ in samples])
        return [Finished(ticket.id, tuple(self._completion(*s, lp) for s, lp in zip(samples, logprobs, strict=True)))]

    def _sample(self, ticket: Ticket, index: int) -> tuple[list[int], bool]:
        """Token ids of one sample, and whether it ended by itself."""
        said = say(ticket.task, random.Random(ticket.seed + index))
        ids = [*self._tokenizer.encode(said, add_special_tokens=False), self._tokenizer.eos_token_id]
        return ids[: ticket.sampling.max_tokens], len(ids) <= ticket.sampling.max_tokens

    @torch.no_grad()
    def _logprobs(self, ticket: Ticket, samples: list[list[int]]) -> list[np.ndarray]:
        """Log-probs of each sample's tokens at the ticket's temperature; one forward for the group."""
        prompt = ticket.prompt_ids.tolist()
        width = max(map(len, samples))
        rows = torch.tensor([prompt + ids + [0] * (width - len(ids)) for ids in samples])
        logits = self._model(rows).logits[:, len(prompt) - 1 : -1] / (ticket.sampling.temperature or 1.0)
        chosen = logits.log_softmax(-1).gather(-1, rows[:, len(prompt) :].unsqueeze(-1)).squeeze(-1)
        return [row[: len(ids)].numpy() for row, ids in zip(chosen, samples, strict=True)]

    def _completion(self, ids: list[int], ended: bool, logprobs: np.ndarray) -> Completion:
        array = np.asarray(ids, dtype=np.int32)
        text, offsets = self._text(array)
        reason = "stop" if ended else "length"
        return Completion(array, logprobs, offsets, text, reason, self._version, self._digest, self._name)

    def load(self, version: int, weights: NamedWeights) -> str:
        """Copy the weights into the model; the digest of what was consumed."""
        self._digest = load_into(self._model, weights)
        self._version = version
        return self._digest

    def health(self) -> dict[str, float]:
        """Groups queued."""
        return {"running": float(len(self._queue))}


def say(task: Task, chance: random.Random) -> str:
    """The gold answer or a corrupted one, in one of the formats."""
    answer = task.answer if task.answer is not None else _invent(task, chance)
    if chance.random() > GOLD_SHARE:
        answer = _corrupt(answer, chance)
    return chance.choice(FORMATS).format(answer=answer)


def _invent(task: Task, chance: random.Random) -> str:
    """A sentence out of the prompt's own words, for tasks without a gold answer."""
    words = [word for word in task.prompt[-1]["content"].split() if word.isalpha()] or ["word"]
    return " ".join(chance.choices(words, k=chance.randint(4, 16))).capitalize() + "."


def _corrupt(answer: str, chance: random.Random) -> str:
    """The answer with one character changed, another of its kind in its place."""
    if not answer:
        return "?"
    at = chance.randrange(len(answer))
    kind = "0123456789" if answer[at].isdigit() else "abcdefghijklmnopqrstuvwxyz"
    other = chance.choice([c for c in kind if c != answer[at]])
    return answer[:at] + other + answer[at + 1 :]
