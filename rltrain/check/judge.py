"""The judge: named, its key there, and where it is behind an address, whether it answers."""

from __future__ import annotations

import json
import os
from dataclasses import replace

from rltrain import generators, lending, models
from rltrain.check.verdicts import Section
from rltrain.config import Config, GeneratorSpec
from rltrain.types import Unanswered

PROMPT_S = 60.0  # that a call may take before a judge on a CPU is thought too slow for it
PATIENCE_S = 10.0  # for the one question that is asked
QUESTION = 'Reply with this JSON object and nothing else: {"ready": true}'
TOKENS = 64


def check_judge(section: Section, config: Config) -> None:
    """Verdicts on the judge, where a reward asks for one. One short question goes to its address."""
    try:
        asking = lending.askers(config, "judge")
    except ValueError:  # a plugin that is not there: told where it is bound
        return
    spec = config.judge
    if not asking or spec.engine == "twin":
        return
    if spec.model is None:
        section.error(
            f"{asking[0]} asks for a judge and there is none: give judge.model, and judge.url where it is behind an "
            "address"
        )
    elif spec.url is None:
        if section.attempt("judge.model", lambda: models.locate(spec.model or "")):
            section.ok(f"judge {spec.model}, {spec.engine}, in a process of its own, for {', '.join(asking)}")
            _room(section, spec)
            _hurried(section, config, asking)
    elif spec.key and not os.environ.get(spec.key):
        section.error(
            f"judge.key: the environment variable {spec.key} is not set; export it with the key to {spec.url}"
        )
    else:
        _deadlines(section, config)
        _ask(section, spec)


def _room(section: Section, spec: GeneratorSpec) -> None:
    """Whether the model reads as many tokens as it is to be given."""
    longest = models.memory_facts(spec.model or "")["positions"]
    if longest is not None and spec.max_length > longest:
        section.error(
            f"judge.max_length: {spec.max_length:,}, but {spec.model} reads {longest:,} tokens at most; lower it"
        )


def _hurried(section: Section, config: Config, asking: list[str]) -> None:
    """A reward without the time that a judge on a CPU takes for the texts of a whole group."""
    for reward in config.rewards:
        if f"reward {reward.use}" in asking and not config.judge.gpus and reward.timeout_s < PROMPT_S:
            section.warn(
                f"{reward.label}: timeout_s {reward.timeout_s:g}, in which a judge on a CPU hardly answers about the "
                f"{config.sampling.num_generations} completions of a group; what is late is a Timeout. Raise it, for "
                "example to 300"
            )


def _deadlines(section: Section, config: Config) -> None:
    """A reward that gives up before its judge's first attempt does."""
    asking = lending.askers(config, "judge")
    for reward in config.rewards:
        if f"reward {reward.use}" in asking and reward.timeout_s <= config.judge.timeout_s:
            section.warn(
                f"{reward.label}: timeout_s {reward.timeout_s:g} is not over judge.timeout_s "
                f"{config.judge.timeout_s:g}, so a slow answer fails the whole group as a Timeout; raise the first or "
                "lower the second"
            )


def _ask(section: Section, spec: GeneratorSpec) -> None:
    """One question without a second attempt."""
    key = os.environ.get(spec.key) if spec.key else None
    there = replace(generators.address(spec, key), retries=0, timeout_s=min(PATIENCE_S, spec.timeout_s), concurrency=1)
    [answer] = there.generate([QUESTION], max_tokens=TOKENS, temperature=0.0)
    if isinstance(answer, Unanswered):
        section.error(f"judge {spec.model}: {answer.message}")
        return
    begin, end = answer.find("{"), answer.rfind("}")
    try:
        json.loads(answer[begin : end + 1])
    except ValueError:
        section.warn(
            f"judge {spec.model} at {spec.url} answers, but asked for a JSON object it said {answer[:60]!r}; such "
            "answers are errors on their samples (reward/failed@JudgeUnreadable)"
        )
    else:
        section.ok(f"judge {spec.model} at {spec.url} answers")
