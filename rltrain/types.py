"""The nouns every room speaks, and the protocols plugins implement.

Standard library and numpy only, so that a plugin can import this file anywhere.

Shape legend, used as suffixes: `_G` completions of one group, `_T` tokens of one completion,
`_B` rows of a micro-batch. Per-token fields are numpy arrays from the engine on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

Kind = Literal["structured", "creative"]
Role = Literal["outcome", "shaping"]
Severity = Literal["info", "warning", "error"]
Message = Mapping[str, str]
REFORMULATED = "reformulated"  # in the meta of a task asked in place of another: {"of": its key, "how": kind of form}


# --- nouns ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt with what is needed to judge an answer to it."""

    key: str  # stable across runs: "<source>/<id within the source>"
    source: str
    kind: Kind
    prompt: tuple[Message, ...]  # chat messages, {"role", "content"}
    answer: str | None = None
    level: float | None = None  # difficulty, if the source knows it
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an engine samples; the log-probs it returns are those of exactly this distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0 = off
    max_tokens: int = 256
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine sampled for one prompt, with the weights it was sampled from."""

    token_ids: np.ndarray  # (T,) int32, the end-of-sequence token included where it was sampled
    logprobs: np.ndarray  # (T,) float32, after temperature and truncation
    offsets: np.ndarray  # (T,) int32, end of each token in `text`; token_text[i] = text[o[i-1]:o[i]]
    text: str
    finish_reason: Literal["stop", "length"]
    policy_version: int
    weight_digest: str
    engine: str

    def token_text(self) -> list[str]:
        """The characters each token completes; they join to `text` exactly."""
        ends = self.offsets.tolist()
        return [self.text[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)] if ends else []


@dataclass(frozen=True, slots=True)
class Score:
    """The judgement of one completion. Filters look at `outcome`, advantages at `values`."""

    values: Mapping[str, float | None] = field(default_factory=dict)  # raw value of each reward; None = n/a
    parts: Mapping[str, float] = field(default_factory=dict)  # named terms inside the values
    outcome: float | None = None  # raw task result in [0, 1]
    total: float = 0.0  # sum of weight x value
    error: str | None = None  # a typed failure "Kind: message", never a silent zero


class Advantage(NamedTuple):
    """How one completion's advantage came about: `value = (reward - baseline) / scale`."""

    value: float
    baseline: float
    scale: float


@dataclass(frozen=True, slots=True)
class Group:
    """A task and everything that happened to its completions."""

    ticket: int  # position in the run's order of requests
    task: Task
    prompt_ids: np.ndarray  # (P,) int32
    completions: tuple[Completion, ...]  # G of them
    scores: tuple[Score, ...] = ()
    advantages: tuple[Advantage, ...] = ()
    planning: tuple[np.ndarray, ...] = ()  # G masks (T,) bool, from the tagger
    planning_bonus: tuple[np.ndarray, ...] = ()  # G arrays (T,) float32, token-level credit
    entropy_bonus: tuple[float, ...] = ()  # G sizes of credit on tokens of high entropy, given in the forward
    formats: tuple[str, ...] = ()  # G names from the format classifier
    admitted: bool = True
    reject_reason: str | None = None
    withheld: float = 0.0  # sum of the positive advantage that the rare-success guard took

    @property
    def outcomes(self) -> list[float]:
        """The outcomes that are known; a failed or non-applicable score is left out."""
        return [s.outcome for s in self.scores if s.outcome is not None]


@dataclass(frozen=True, slots=True)
class TokenArrays:
    """Per-token arrays of one trained completion, from the training forward. All (T,)."""

    train_logprob: np.ndarray  # float32
    entropy: np.ndarray  # float32, Shannon entropy in nats at the sampling temperature
    ratio: np.ndarray  # float32, exp(trainer now - sampler), before truncation, whatever the loss calls old
    loss_mask: np.ndarray  # bool
    token_advantage: np.ndarray  # float32, as it entered the loss


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer step: all groups seen, the admitted ones' token arrays, and the scalars."""

    step: int
    groups: tuple[Group, ...]
    tokens: Mapping[tuple[int, int], TokenArrays]  # (group's ticket, sample) -> arrays
    metrics: Mapping[str, float]

    def completions(self, admitted_only: bool = True) -> Iterator[tuple[Group, int, Completion, TokenArrays | None]]:
        """Each completion with its group, its index in the group and its arrays (None if untrained)."""
        for group in self.groups:
            if group.admitted or not admitted_only:
                for i, completion in enumerate(group.completions):
                    yield group, i, completion, self.tokens.get((group.ticket, i))


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person should know, with the numbers it rests on."""

    step: int
    name: str
    severity: Severity
    evidence: Mapping[str, Any]
    advice: str


class Panel(NamedTuple):
    """A picture a diagnostic asks for; report, dashboard and wandb draw it from the metric files."""

    title: str
    metrics: tuple[str, ...]  # metric stems
    kind: Literal["line", "area", "heat"]
    how_to_read: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request for one group; any engine that serves it gives the same samples for the same seed."""

    id: int
    task: Task
    prompt_ids: np.ndarray  # (P,) int32
    num_samples: int
    sampling: Sampling
    seed: int  # from (run seed, task key, visit); sample i adds i
    version: int  # policy version the group must be sampled from


# --- protocols: plugins --------------------------------------------------------------------------


class TaskTable(Protocol):
    """Columns over all tasks of a run; a Task is built when asked for."""

    keys: Sequence[str]
    sources: np.ndarray  # (N,) str
    kinds: np.ndarray  # (N,) str
    levels: np.ndarray  # (N,) float, NaN where unknown

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Task: ...


Judged = float | Mapping[str, float] | Score | None
"""What a reward may return: a value, named parts with "value", a Score, or None = does not apply."""

Reward = Callable[..., Any]
"""`(task, completion, **args) -> Judged`, `(task, completions, **args) -> [Judged]`, or TRL's
`(completions, **columns) -> [float | None]`; told apart by the first parameters' names."""


@runtime_checkable
class Curriculum(Protocol):
    """Chooses tasks and learns from results. Built as `Factory(tasks, *, seed, inner=None, **args)`.

    `inner(tasks, seed=...)` builds the curriculum nested in this one, once for each part of the tasks.
    """

    def sample(self, n: int) -> Sequence[Task]: ...
    def observe(self, groups: Sequence[Group]) -> None: ...
    def admit(self, group: Group) -> str | None:
        """None to admit the group into the batch, else the reason why not."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
    def metrics(self) -> dict[str, float]: ...


@runtime_checkable
class Accountable(Protocol):
    """What a curriculum may offer besides: its decisions and events since the last call. The loop adds the step."""

    def decisions(self) -> list[dict[str, Any]]: ...
    def events(self) -> list[Event]: ...


@runtime_checkable
class Diagnostic(Protocol):
    """Reads records; never touches the learner."""

    panels: Sequence[Panel]

    def observe(self, record: StepRecord) -> dict[str, float]: ...
    def events(self) -> list[Event]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Tagger(Protocol):
    """Finds planning phrases."""

    def spans(self, text: str) -> list[tuple[int, int]]: ...


@runtime_checkable
class BatchTagger(Tagger, Protocol):
    """A tagger that is faster on the completions of a group at once; it marks what `spans` marks."""

    def batch(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]: ...


class FormatClassifier(Protocol):
    """Names the output format of a completion."""

    def format(self, text: str) -> str: ...


# --- protocols: what the launcher lends to a plugin that asks by parameter name ------------------


Prompt = str | Sequence[Message]
"""A text, or chat messages; a last message of the assistant is how the answer begins."""


class Unanswered(NamedTuple):
    """What a generator gives in place of an answer it could not have."""

    kind: str  # Down, Slow, Refused, Nonsense or TooLong
    message: str


class Generator(Protocol):
    """`judge`: text in, text out; an engine of ours or an address."""

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float) -> list[str | Unanswered]: ...


class Scorer(Protocol):
    """`scorer`: log-probs (T,) of continuations under frozen weights; the same tokens behind every prompt."""

    def logprobs(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[np.ndarray]: ...


class Forced(NamedTuple):
    """What a policy makes of a text that it is made to say."""

    logprob: np.ndarray  # (T,) float32
    likeliest: np.ndarray  # (T,) bool, whether it is the token the policy finds likeliest


class Policy(Protocol):
    """`policy`: the same under the trainer's weights as they are after the step."""

    def forced(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[Forced]: ...


class GradientProbe(Protocol):
    """`gradients`: a step's gradient on chosen layers, taken apart by source in the training's own backward pass."""

    def watch(self, layers: Sequence[str], *, every: int, neurons: int | None) -> None:
        """Look at steps 1, 1 + every, ...; `layers`: shell patterns; `neurons`: outputs of a layer, evenly chosen."""

    def by_source(self) -> Mapping[str, np.ndarray]:
        """Source -> (2, N): prompts with even and odd tickets; their sum is its part. Empty if not looked at."""
