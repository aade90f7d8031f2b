"""Faults of plugins that the loop calls: which plugin, in which method, at which line of its file."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rltrain import contracts, plugins
from rltrain.config import CurriculumSpec
from rltrain.types import Diagnostic, StepRecord


class PluginFailed(RuntimeError):
    """A plugin raised, or gave back what it may not; the message names it."""


class CurriculumFailed(PluginFailed):
    """A curriculum or gate did."""


@contextmanager
def plugin(kind: str, made: object, method: str) -> Iterator[None]:
    """A call of a method of a plugin's object. PluginFailed with its kind, class, method and line where it raises."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        file = getattr(sys.modules.get(type(made).__module__), "__file__", None)
        last = ([frame for frame in frames if frame.filename == file] or frames)[-1]
        raise PluginFailed(
            f"{kind} {type(made).__name__!r}: {method} raised {type(error).__name__}: {error} "
            f"at {last.filename}:{last.lineno}"
        ) from error


def observed(diagnostic: Diagnostic, record: StepRecord) -> Mapping[str, float]:
    """What a diagnostic says of a step. PluginFailed where it raises, ValueError where that is not a number each."""
    with plugin("diagnostic", diagnostic, "observe"):
        found = diagnostic.observe(record)
    return contracts.numbers(f"diagnostic {type(diagnostic).__name__!r}: observe()", found)


@contextmanager
def curriculum(spec: CurriculumSpec, method: str) -> Iterator[None]:
    """A call of a curriculum's method. CurriculumFailed with the plugin, the method and the line where it raises."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a plugin may not end the run without a word
        use, place = _where(spec, error)
        raise CurriculumFailed(
            f"curriculum {use!r}: {method} raised {type(error).__name__}: {error} at {place}"
        ) from error


def _where(spec: CurriculumSpec, error: BaseException) -> tuple[str, str]:
    """The innermost curriculum that was running and `file:line` in it; else where the error was raised."""
    use_of = {}  # file -> plugin
    inner: CurriculumSpec | None = spec
    while inner is not None:
        found = plugins.resolve(inner.use, "rltrain.curricula")
        use_of[getattr(sys.modules.get(found.__module__), "__file__", "")] = inner.use
        inner = inner.inner
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename in use_of]
    last = (own or frames)[-1]
    return use_of.get(last.filename, spec.use), f"{last.filename}:{last.lineno}"
