"""What is asked of each kind of plugin: the members of its protocol in `types.py`, and how its factory is called."""

from __future__ import annotations

import inspect
import reprlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rltrain.types import Curriculum, Diagnostic, FormatClassifier, Tagger


class Contract(NamedTuple):
    """What plugins of one entry-point group are called, and what their objects have."""

    noun: str
    protocol: type
    help: str  # where one that works is to be had


CONTRACTS = {
    "rltrain.curricula": Contract("curriculum", Curriculum, "`rltrain new curriculum NAME` writes one that works"),
    "rltrain.diagnostics": Contract("diagnostic", Diagnostic, "`rltrain new diagnostic NAME` writes one that works"),
    "rltrain.taggers": Contract("tagger", Tagger, "docs/plugins.md has one that works"),
    "rltrain.formats": Contract("format classifier", FormatClassifier, "docs/plugins.md has one that works"),
}


def numbers(what: str, metrics: Any) -> Mapping[str, float]:
    """Metrics as a plugin gives them. ValueError where they are not a number each."""
    if not isinstance(metrics, Mapping) or not all(isinstance(v, int | float | np.number) for v in metrics.values()):
        raise ValueError(f"{what}: expected a dict of numbers by name, got {reprlib.repr(metrics)}")
    return metrics


def fulfilled(made: Any, spec: str, group: str) -> Any:
    """The object of a plugin. ValueError where it lacks what the loop asks of its kind, or has it otherwise.

    A method may have further parameters if they have defaults.
    """
    if group not in CONTRACTS:
        return made
    noun, protocol, help = CONTRACTS[group]
    if absent := lacking(made, group):
        raise ValueError(
            f"{noun} {spec!r}: {_called(made)} has no {', no '.join(absent)}; expected {expected(group)}; {help}"
        )
    for name, names in _methods(protocol).items():
        given = signature(_of(made, name))
        if given is not None and (why := _unfit(given, names)):
            raise ValueError(
                f"{noun} {spec!r}: expected {name}({', '.join(names)}), got {name}{given} ({why}); take these "
                "arguments, and give others a default"
            )
    return made


def lacking(made: Any, group: str) -> list[str]:
    """The members of this kind that an object, or a class, does not have, in words."""
    protocol = CONTRACTS[group].protocol
    absent = [f"{n}({', '.join(names)})" for n, names in _methods(protocol).items() if not callable(_of(made, n))]
    return absent + [name for name in getattr(protocol, "__annotations__", {}) if not hasattr(made, name)]


def expected(group: str) -> str:
    """The members that an object of this kind has, in words."""
    protocol = CONTRACTS[group].protocol
    listed = [f"{name}({', '.join(names)})" for name, names in _methods(protocol).items()]
    return ", ".join([*getattr(protocol, "__annotations__", {}), *listed])


def built(spec: str, factory: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """What the factory returns. ValueError where it cannot be called so, or raises: with its signature and the line."""
    given = signature(factory)
    shown = f"{getattr(factory, '__name__', type(factory).__name__)}{given or ''}"
    if given is not None and (why := _unfit(given, args, named)):
        raise ValueError(f"plugin {spec!r}: {shown} cannot be called with what the config gives: {why}")
    try:
        return factory(*args, **named)
    except ValueError:  # says itself what was given and what was expected
        raise
    except (Exception, SystemExit) as error:  # somebody else's code: its fault is told, with the line it happened at
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(
            f"plugin {spec!r}: {shown} raised {type(error).__name__}: {error} ({at.filename}, line {at.lineno}); "
            "mend it, or change its arguments"
        ) from error


def curriculum_factory(spec: str, factory: Callable[..., Any]) -> str | None:
    """The name under which a curriculum's factory takes the tasks. ValueError where it does not take what it is given.

    None: under no name of its own (`*args`).
    """
    given = signature(factory) if callable(factory) else None
    if given is None:
        return None
    if why := _unfit(given, [None], {"seed": 0, "inner": None}, partial=True):
        raise ValueError(
            f"curriculum {spec!r}: expected Factory(tasks, *, seed, inner=None, ...), got "
            f"{getattr(factory, '__name__', type(factory).__name__)}{given} ({why}); take these too, whether it needs "
            f"them or not; {CONTRACTS['rltrain.curricula'].help}"
        )
    first = next(iter(given.parameters.values()))
    return None if first.kind is first.VAR_POSITIONAL else first.name


def signature(target: Any) -> inspect.Signature | None:
    """Its parameters without types; None where it keeps them to itself, as some that are written in C do."""
    try:
        full = inspect.signature(target)
    except (ValueError, TypeError):
        return None
    bare = [parameter.replace(annotation=parameter.empty) for parameter in full.parameters.values()]
    return inspect.Signature(bare)


def _methods(protocol: type) -> dict[str, list[str]]:
    """Name -> names of the arguments, as the protocol declares them."""
    own = {name: member for name, member in vars(protocol).items() if inspect.isfunction(member)}
    return {name: [*inspect.signature(member).parameters][1:] for name, member in own.items() if name[0] != "_"}


def _of(made: Any, name: str) -> Any:
    return getattr(made, name, None)


def _called(made: Any) -> str:
    return f"class {made.__name__}" if inspect.isclass(made) else type(made).__name__


def _unfit(
    given: inspect.Signature, args: Sequence[Any], named: Mapping[str, Any] = {}, *, partial: bool = False
) -> str | None:
    """Why a call with these arguments would not bind; None if it does. `partial`: others may come besides."""
    try:
        (given.bind_partial if partial else given.bind)(*args, **named)
    except TypeError as error:
        return str(error)
    return None
