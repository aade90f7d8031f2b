"""From a spec string to an object.

A spec is the name of an entry point (`exact`), `module:attr`, or `path/to/file.py:attr`. Spec strings and
arguments travel through Ray, never objects: a worker resolves the same string to the same code.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rltrain import contracts

PACKAGES = ("rewards", "curricula", "diagnostics", "configs")


class Installed(NamedTuple):
    """A plugin that some distribution registers."""

    name: str
    target: str  # "module:attr"
    file: Path | None  # None: the module is not there


def resolve(spec: str, group: str) -> Any:
    """The object a spec names; `group` is the entry-point group of bare names, e.g. `rltrain.rewards`.

    Paths are relative to the current directory. ValueError where nothing is found or an import fails.
    """
    target = spec if ":" in spec else _entry_point(spec, group).value
    place, _, attribute = target.rpartition(":")
    if not place or not attribute:
        raise ValueError(f"plugin {spec!r}: expected a name, `module:attr` or `path/to/file.py:attr`")
    module = _load_file(Path(place), spec) if _is_file(place) else _import(place, spec)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            own = [n for n, value in vars(found).items() if getattr(value, "__module__", None) == module.__name__]
            raise ValueError(f"plugin {spec!r}: {place} has no {part!r}{suggest(part, own, 'it has')}")
        found = getattr(found, part)
    return found


def absolute(spec: str) -> str:
    """The same plugin for a process in another directory: file paths are made absolute."""
    place, colon, attribute = spec.rpartition(":")
    return f"{Path(place).resolve()}:{attribute}" if colon and _is_file(place) else spec


def bind(target: Any, args: Mapping[str, Any], *, given: Iterable[str] = ()) -> frozenset[str]:
    """Check arguments against a signature, before anything is called.

    `given` are the names the framework may supply; those that `target` asks for by name are returned.
    ValueError names an argument that is unknown, missing, or the framework's own.
    """
    name = getattr(target, "__name__", repr(target))
    if not callable(target):
        raise ValueError(f"plugin {name}: expected something that can be called, got {type(target).__name__}")
    given = set(given)
    signature = contracts.signature(target)
    if signature is None:  # it keeps its parameters to itself; the call will tell
        return frozenset()
    parameters = signature.parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    own = [n for n in named if n not in given]
    for argument in args:
        if argument in given:
            raise ValueError(f"{name}: argument {argument!r} is supplied by rltrain; leave it out")
        if argument not in named and not anything:
            raise ValueError(f"{name}: no argument {argument!r}{suggest(argument, own, 'it takes')}")
    missing = [n for n in own if named[n].default is inspect.Parameter.empty and n not in args]
    if missing:
        raise ValueError(f"{name}: argument {missing[0]!r} is required and not given")
    return frozenset(given & named.keys())


def built(spec: str, group: str, args: dict[str, Any], **lent: Any) -> Any:
    """A plugin's object; of what is `lent` it gets what it asks for by parameter name.

    ValueError where it is not found, takes other arguments, raises, or is not what its kind has to be.
    """
    factory = resolve(spec, group)
    try:
        wanted = bind(factory, args, given=lent)
    except ValueError as error:
        if inspect.isclass(factory) or group not in contracts.CONTRACTS:
            raise
        raise ValueError(
            f"{error}; expected a class, or a function that makes an object, with {contracts.expected(group)}"
        ) from error
    made = contracts.built(spec, factory, **args, **{name: lent[name] for name in wanted})
    return contracts.fulfilled(made, spec, group)


def suggest(wrong: str, valid: Collection[str], lead: str) -> str:
    """The end of an error message: the nearest valid name, then all of them."""
    near = difflib.get_close_matches(wrong, list(valid), n=1)
    listed = ", ".join(sorted(valid)[:40]) + (", ..." if len(valid) > 40 else "")
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" {lead}: {listed or 'nothing'}"


def installed(group: str) -> list[Installed]:
    """All entry points of a group by name; finds files without importing the plugins themselves."""
    return [
        Installed(name, target, _file_of(target))
        for name, target in sorted({(point.name, point.value) for point in _registered(group)})
    ]


def check_shadowing() -> None:
    """ValueError where `import rewards` (or another of our packages) finds somebody else's package."""
    beside = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        found = Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
        if found != beside / package:
            raise ValueError(
                f"package {package!r} resolves to {found or 'nothing'}, expected beside rltrain at {beside / package}; "
                "another distribution installs the same name, or a directory of that name comes first on the path"
            )


def _entry_point(name: str, group: str) -> EntryPoint:
    points = {point.value: point for point in _registered(group).select(name=name)}
    if len(points) > 1:
        raise ValueError(
            f"plugin {name!r}: several distributions install this name in {group} ({', '.join(sorted(points))}); "
            "give the one you mean as module:attr"
        )
    if not points:
        names = _registered(group).names
        raise ValueError(
            f"plugin {name!r}: no such name in {group}{suggest(name, names, 'installed')}. "
            "A plugin of your own is given as module:attr or path/to/file.py:attr"
        )
    return next(iter(points.values()))


def _registered(group: str) -> EntryPoints:
    return _all_registered(tuple(sys.path)).select(group=group)


@cache
def _all_registered(path: tuple[str, ...]) -> EntryPoints:
    """Of all distributions on `path`, which is sys.path: read once, for `check` asks a hundred times."""
    return entry_points()


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _load_file(path: Path, spec: str) -> ModuleType:
    """Import a file under a name made of its path, so that every process gives it the same name."""
    path = path.resolve()
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ValueError(f"plugin {spec!r}: no file {path}{suggest(path.name, beside, 'beside it')}")
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None, path
    module = sys.modules[name] = importlib.util.module_from_spec(found)  # there while it runs: dataclasses look it up
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script that ends itself when it is imported
        del sys.modules[name]
        raise _import_error(spec, path, error) from error
    return module


def _import(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and (name == absent or name.startswith(f"{absent}.")):
            here = Path(*name.split(".")).with_suffix(".py")
            advice = f"; {here} is a file: use {here}:{spec.rpartition(':')[2]}" if here.is_file() else ""
            raise ValueError(f"plugin {spec!r}: no module {absent!r}{advice}") from error
        raise _import_error(spec, _file_of(name), error) from error


def _import_error(spec: str, file: Path | None, error: Exception) -> ValueError:
    """What went wrong while a plugin was imported, at the last line of its own that ran."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    own = [f for f in frames if file and Path(f.filename) == file] or frames
    where, line = (own[-1].filename, own[-1].lineno) if own else (file, None)
    if isinstance(error, SyntaxError) and error.filename:
        where, line = error.filename, error.lineno
    return ValueError(f"plugin {spec!r}: import failed at {where}, line {line}: {type(error).__name__}: {error}")


def _file_of(target: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(target.partition(":")[0])
    except ImportError:  # a parent package is not there
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None
