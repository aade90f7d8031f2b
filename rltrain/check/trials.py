"""Plugins bound and tried: the curriculum on the table, tagger, formats and diagnostics on a step."""

from __future__ import annotations

import pickle
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from rltrain import build, plugins
from rltrain.check.lent import lent
from rltrain.check.sources import Tasks
from rltrain.check.verdicts import Section, where
from rltrain.config import Config, CurriculumSpec
from rltrain.contracts import numbers
from rltrain.metrics import METRICS
from rltrain.types import (
    Accountable,
    BatchTagger,
    Completion,
    Curriculum,
    Event,
    Group,
    Panel,
    Score,
    StepRecord,
    Task,
    TokenArrays,
)

DRESSES = ("{}", "Answer: {}", "\\boxed{{{}}}", "<think>So.</think><answer>{}</answer>")
GARBAGE = "\u00e9\u4e2d\U0001f600 }{ \\boxed{ <answer> 1e999 NaN\n```"
TEXT = "First, we need to find the total. So 2 + 2 = 4.\nAnswer: 4"


def trial_group(task: Task, texts: list[str], scores: tuple[Score, ...] = (), ticket: int = 0) -> Group:
    """A group as an engine would hand it over; a character is a token."""
    completions = tuple(_completion(text) for text in texts)
    masks = tuple(np.arange(len(c.token_ids)) % 3 == 0 for c in completions)
    bonus = tuple(np.zeros(len(c.token_ids), np.float32) for c in completions)
    formats = ("prose",) * len(texts)
    prompt = np.zeros(4, np.int32)
    return Group(ticket, task, prompt, completions, scores, planning=masks, planning_bonus=bonus, formats=formats)


def _completion(text: str) -> Completion:
    letters = np.fromiter(map(ord, text), np.int32, len(text))
    offsets = np.arange(1, len(text) + 1, dtype=np.int32)
    return Completion(letters, np.full(len(text), -1.0, np.float32), offsets, text, "stop", 0, "", "check")


def check_curriculum(config: Config, tasks: Tasks, scores: Mapping[str, tuple[Score, ...]]) -> Section:
    """Built with what it nests, and asked everything the loop asks, once."""
    section = Section("curriculum")
    for spec in _nested(config.curriculum):
        factory = section.attempt(
            f"curriculum {spec.use!r}", lambda spec=spec: plugins.resolve(spec.use, "rltrain.curricula")
        )
        if factory is not None:
            section.fact(f"{spec.use}: {where(factory)}" + "".join(f", {k} {v!r}" for k, v in spec.args.items()))
    if tasks.sets is None or any(line.verdict == "error" for line in section.lines):
        section.unchecked("curriculum", "something it is built from is in error")
        return section
    table, seed = tasks.sets.train, config.run.seed
    made = section.attempt("curriculum", lambda: build.build_curriculum(config.curriculum, table, seed))
    if made is None:
        return section
    for judge in (made[0], *made[1]):
        section.attempt(f"curriculum {type(judge).__name__}", partial(_try_curriculum, judge, config, scores))
    if not any(line.verdict == "error" for line in section.lines):
        on = f"{len(table):,} prompts" if tasks.whole else "declared rows and the first of each source"
        section.ok(f"built on {on}; sample, observe, admit, metrics and its state answer")
    return section


def _nested(spec: CurriculumSpec) -> list[CurriculumSpec]:
    inner = _nested(spec.inner) if spec.inner else []
    return [spec, *inner, *(deeper for gate in spec.gates for deeper in _nested(gate))]


def _try_curriculum(curriculum: Curriculum, config: Config, scores: Mapping[str, tuple[Score, ...]]) -> None:
    """Ask once for everything the loop asks; ValueError where an answer is not what the loop can use."""
    wanted = config.groups_per_rollout
    chosen = _listed(f"sample({wanted})", curriculum.sample(wanted), Task, "tasks")
    if len(chosen) != wanted:
        raise ValueError(f"sample({wanted}): expected {wanted} tasks, got {len(chosen)}")
    texts = [*(dress.format(chosen[0].answer or "") for dress in DRESSES), "", GARBAGE]
    group = trial_group(chosen[0], texts, scores.get(chosen[0].source) or (Score(outcome=0.0),) * len(texts))
    curriculum.observe([group])
    reason = curriculum.admit(group)
    if reason is not None and not isinstance(reason, str):
        raise ValueError(f"admit: expected None or a reason as str, got {reason!r}")
    curriculum.load_state_dict(_state(curriculum))
    numbers("metrics()", curriculum.metrics())
    if isinstance(curriculum, Accountable):
        _listed("decisions()", curriculum.decisions(), Mapping, "dicts")
        _listed("events()", curriculum.events(), Event, "events")


def check_readers(config: Config, tasks: Tasks, scores: Mapping[str, tuple[Score, ...]]) -> Section:
    """Tagger, format classifier and diagnostics: built, and tried on a text and on a step."""
    section = Section("diagnostics, tagger, formats")
    tagger = _made(section, "tagger", config.tagger.use, config.tagger.args, "rltrain.taggers")
    if tagger is not None:
        section.attempt(f"tagger {config.tagger.use!r}", lambda: _try_tagger(tagger))
    formats = _made(section, "formats", config.formats.use, config.formats.args, "rltrain.formats")
    if formats is not None:
        section.attempt(f"formats {config.formats.use!r}", lambda: _try_formats(formats))
    borrowed = lent(section, config) | {"tagger": tagger}
    for spec in config.diagnostics:
        diagnostic = _made(section, "diagnostic", spec.use, spec.args, "rltrain.diagnostics", **borrowed)
        record = _step(tasks, scores)
        if diagnostic is not None and record is not None:
            strange = section.attempt(f"diagnostic {spec.use!r}", partial(_try_diagnostic, diagnostic, record))
            if strange:
                section.warn(f"{spec.use}: metrics that are not declared are drawn nowhere: {', '.join(strange)}")
    return section


def _made(section: Section, kind: str, use: str, args: dict[str, Any], group: str, **borrowed: Any) -> Any:
    made = section.attempt(f"{kind} {use!r}", lambda: build.built(use, group, args, **borrowed))
    if made is not None:
        section.ok(f"{kind} {use}: {where(type(made))}")
    return made


def _try_tagger(tagger: Any) -> None:
    given = tagger.spans(TEXT)
    spans = list(given) if isinstance(given, Iterable) else [None]
    if not all(map(_inside, spans)):
        raise ValueError(
            f"spans: expected a list of (start, end) inside a text of {len(TEXT)} characters, got {_short(given)}"
        )
    if isinstance(tagger, BatchTagger) and (several := tagger.batch([TEXT, TEXT])) != [spans, spans]:
        raise ValueError(f"batch: expected for each text what `spans` says of it, {spans}, got {_short(several)}")


def _inside(span: Any) -> bool:
    """Whether it is a pair of places in the text, the first before the second."""
    pair = isinstance(span, Sequence) and len(span) == 2 and all(isinstance(place, int | np.integer) for place in span)
    return pair and 0 <= span[0] < span[1] <= len(TEXT)


def _try_formats(formats: Any) -> None:
    if not isinstance(name := formats.format(TEXT), str):
        raise ValueError(f"format: expected a name as str, got {name!r}")


def _try_diagnostic(diagnostic: Any, record: StepRecord) -> list[str]:
    """Metrics a diagnostic gives that nobody declared."""
    metrics = numbers("observe()", diagnostic.observe(record))
    diagnostic.load_state_dict(_state(diagnostic))
    _listed("events()", diagnostic.events(), Event, "events")
    panels = _listed("panels", diagnostic.panels, Panel, "panels (rltrain.types.Panel)")
    asked = [*metrics, *(stem for panel in panels for stem in panel.metrics)]
    return sorted({name.partition("@")[0] for name in asked} - METRICS.keys())


def _listed(what: str, given: Any, kind: type, plural: str) -> list[Any]:
    """The items of a list; ValueError where it is none, or holds something else."""
    if not isinstance(given, Iterable) or isinstance(given, str | Mapping):
        raise ValueError(f"{what}: expected a list of {plural}, got {_short(given)}")
    items = list(given)
    if others := {type(item).__name__ for item in items if not isinstance(item, kind)}:
        raise ValueError(f"{what}: expected a list of {plural}, got {', '.join(sorted(others))} in it")
    return items


def _short(given: Any) -> str:
    return f"{type(given).__name__} {reprlib.repr(given)}"


def _state(plugin: Any) -> dict[str, Any]:
    """Its state; ValueError where a checkpoint could not hold it."""
    state = plugin.state_dict()
    try:
        pickle.dumps(state, protocol=5)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(f"state_dict(): expected what can be pickled, for checkpoints; {error}") from error
    return state


def _step(tasks: Tasks, scores: Mapping[str, tuple[Score, ...]]) -> StepRecord | None:
    """A step made of the samples and their scores."""
    groups = []
    for ticket, (source, task) in enumerate(tasks.samples.items()):
        texts = [*(dress.format(task.answer or "") for dress in DRESSES), TEXT, GARBAGE]
        groups.append(trial_group(task, texts, scores.get(source) or (Score(outcome=0.0),) * len(texts), ticket))
    tokens = {}
    for group in groups:
        for i, completion in enumerate(group.completions):
            ones = np.ones(len(completion.token_ids), np.float32)
            tokens[group.ticket, i] = TokenArrays(-ones, ones, ones, ones.astype(bool), ones)
    return StepRecord(1, tuple(groups), tokens, {}) if groups else None
