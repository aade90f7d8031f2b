"""Text in, text out: a model behind an address, one in an engine of ours, the twin's. Knows nothing of Ray.

What could not be had comes back as `types.Unanswered`, in its place among the answers, so that one request that fails
costs its own sample and no other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import random
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any

import numpy as np

from rltrain.config import GeneratorSpec
from rltrain.types import Generator, Message, Prompt, Sampling, Task, Ticket, Unanswered

Answer = str | Unanswered
TOLD = 300  # characters of an address's complaint that are passed on


@dataclasses.dataclass(frozen=True)
class Address:
    """A chat model behind an OpenAI-compatible address. Implements types.Generator; may travel to another process."""

    url: str
    model: str
    key: str | None = dataclasses.field(default=None, repr=False)
    timeout_s: float = 30.0  # of one attempt
    retries: int = 3
    concurrency: int = 8  # requests at once, over all callers

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[Answer]:
        """The answers in the order asked; connections, 408, 409, 429 and 5xx are tried again with growing pauses."""
        return list(self._threads.map(partial(self._ask, max_tokens, temperature), prompts))

    def _ask(self, max_tokens: int, temperature: float, prompt: Prompt) -> Answer:
        import openai

        try:
            reply = self._client.chat.completions.create(
                model=self.model, messages=messages(prompt), max_tokens=max_tokens, temperature=temperature
            )
        except openai.APITimeoutError:
            tries = self.retries + 1
            return Unanswered("Slow", f"{self.url} gave no answer within {self.timeout_s:g} s, {tries} time(s)")
        except openai.APIConnectionError as error:
            return Unanswered("Down", f"{self.url} cannot be reached ({error.__cause__ or error})"[:TOLD])
        except openai.APIStatusError as error:
            told = " ".join(error.message.split())
            kind = "Down" if error.status_code >= 500 else "Refused"
            return Unanswered(kind, f"{self.url} says {error.status_code}: {told}"[:TOLD])
        except (openai.OpenAIError, ValueError, RecursionError) as error:  # a body that is no JSON
            return Unanswered("Nonsense", f"{self.url} does not speak the protocol ({error})"[:TOLD])
        try:
            text = reply.choices[0].message.content
        except (AttributeError, IndexError, TypeError):
            return Unanswered("Nonsense", f"{self.url} sent no chat completion")
        if not isinstance(text, str):
            return Unanswered("Nonsense", f"{self.url} sent a completion without text; is max_tokens too small for it?")
        return text

    @cached_property
    def _client(self) -> Any:
        import openai

        return openai.OpenAI(
            base_url=self.url, api_key=self.key or "none", timeout=self.timeout_s, max_retries=self.retries
        )

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.concurrency, thread_name_prefix="generator")

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, dataclasses.astuple(self)  # without client and threads


class LocalEngine:
    """A model in an engine of ours, in this process. Implements types.Generator; one call at a time."""

    def __init__(self, spec: Any) -> None:
        """`spec`: an EngineSpec whose environment this process has. ValueError when the model cannot be had."""
        from rltrain.models import load_tokenizer, render

        self._longest = spec.max_model_len
        self._render = partial(render, load_tokenizer(spec.model))
        self._engine = spec.build()
        self._numbers = itertools.count()
        self._turn = threading.Lock()

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[Answer]:
        """The answers in the order asked. Prompts that come twice are sampled from two seeds."""
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        with self._turn:
            answers: dict[int, Answer] = {}
            numbers = [next(self._numbers) for _ in prompts]
            for number, prompt in zip(numbers, prompts, strict=True):
                ids = np.asarray(self._render(messages(prompt)), np.int32)
                if len(ids) + max_tokens > self._longest:
                    told = f"{len(ids)} tokens of prompt and {max_tokens} to answer are over max_length {self._longest}"
                    answers[number] = Unanswered("TooLong", told)
                else:
                    task = Task(str(number), "generator", "creative", ())
                    self._engine.submit(Ticket(number, task, ids, 1, sampling, seed=number, version=-1))
            while self._engine.unfinished():
                for ticket, completions in self._engine.poll():
                    answers[ticket] = completions[0].text
        return [answers[number] for number in numbers]


class Scripted:
    """The twin's generator, and `check`'s: no model. Implements types.Generator.

    Where the last line of a prompt is a JSON schema, an object that it accepts, else a number in [0, 1]; which one is
    decided by a hash of the prompt.
    """

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[Answer]:
        """See types.Generator."""
        return [self._answer(messages(prompt)[-1]["content"]) for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        chance = random.Random(prompt)
        try:
            schema = json.loads(prompt.rstrip().rpartition("\n")[2])
            properties = schema["properties"]
        except (ValueError, TypeError, KeyError):
            return f"{chance.random():.2f}"
        return json.dumps({name: chance.choice(wanted.get("enum", ["so"])) for name, wanted in properties.items()})


class Served:
    """A generator with a memory of its answers and counts of its work; what an actor serves. Safe to call at once."""

    def __init__(self, inner: Generator, remembered: int) -> None:
        """`remembered`: answers at temperature 0 that are kept, the latest ones."""
        self._inner, self._remembered = inner, remembered
        self._answers: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[Answer]:
        """As the inner one; at temperature 0 the same prompt is asked once."""
        begun = time.monotonic()
        names = [_name(prompt, max_tokens) for prompt in prompts]
        if temperature > 0:
            said: dict[Any, Answer] = dict(enumerate(self._ask(prompts, max_tokens, temperature)))
            names = list(range(len(prompts)))
        else:
            with self._lock:
                said = {name: self._answers[name] for name in names if name in self._answers}
            new = {name: prompt for name, prompt in zip(names, prompts, strict=True) if name not in said}
            said |= zip(new, self._ask(list(new.values()), max_tokens, temperature), strict=True)
            self._keep({name: said[name] for name in names})
        answers = [said[name] for name in names]
        with self._lock:
            self._counts["answers"] += len(answers)
            self._counts["failed"] += sum(isinstance(answer, Unanswered) for answer in answers)
            self._counts["seconds"] += time.monotonic() - begun
        return answers

    def take(self) -> dict[str, float]:
        """Counts since the last call: `answers`, `asked` of the model, `failed`, and `seconds` of all calls."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return {name: float(counts[name]) for name in ("answers", "asked", "failed", "seconds")}

    def _ask(self, prompts: Sequence[Prompt], max_tokens: int, temperature: float) -> list[Answer]:
        with self._lock:
            self._counts["asked"] += len(prompts)
        return self._inner.generate(prompts, max_tokens=max_tokens, temperature=temperature) if prompts else []

    def _keep(self, said: Mapping[bytes, Answer]) -> None:
        with self._lock:
            for name, answer in said.items():
                if isinstance(answer, str):
                    self._answers[name] = answer
                    self._answers.move_to_end(name)
            while len(self._answers) > self._remembered:
                self._answers.popitem(last=False)


def messages(prompt: Prompt) -> list[Message]:
    """Chat messages; a text is the user's."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(message) for message in prompt]


def address(spec: GeneratorSpec, key: str | None) -> Address:
    """What stands at the address of a spec that has one."""
    assert spec.url is not None and spec.model is not None, spec
    return Address(spec.url, spec.model, key, spec.timeout_s, spec.retries, spec.concurrency)


def _name(prompt: Prompt, max_tokens: int) -> bytes:
    content = json.dumps([messages(prompt), max_tokens], sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=16).digest()
