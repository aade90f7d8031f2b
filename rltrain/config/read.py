"""Reading a config: YAML, overrides, and errors that name the nearest valid key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from rltrain.config.plugins import BadValue, GeneratorSpec
from rltrain.config.root import Config


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (`1e-5` is a float) and no duplicate keys."""

    def construct_mapping(self, node, deep=False):
        seen: set[str] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ValueError(f"line {line}: expected a plain key, got a {key_node.id}")
            if key_node.value in seen:
                raise ValueError(f"line {line}: key {key_node.value!r} is given twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_FLOAT = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
for _first in "-+.0123456789":
    _Loader.yaml_implicit_resolvers.setdefault(_first, []).insert(0, ("tag:yaml.org,2002:float", _FLOAT))


def read_yaml(text: str, origin: str) -> Any:
    """Parse YAML; a ValueError names the file and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{origin}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    except ValueError as error:
        raise ValueError(f"{origin}, {error}") from None


def find(path: str | Path) -> Path:
    """The config file: a path, or the name of one shipped with the package."""
    path = Path(path)
    shipped = Path(__file__).resolve().parents[2] / "configs"
    by_name = path.parent in (Path(), Path(shipped.name))  # a path to elsewhere means the file there and no other
    for candidate in (path, *((shipped / path.name, shipped / f"{path.name}.yaml") if by_name else ())):
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise ValueError(f"config {str(path)!r}: a directory, expected a YAML file{_inside(path)}")
    names = sorted(p.name for p in shipped.glob("*.yaml"))
    near = difflib.get_close_matches(path.name, names, n=1)
    raise ValueError(
        f"config {str(path)!r}: no such file"
        + (f"; did you mean {near[0]!r}?" if near else "")
        + f" Shipped configs: {', '.join(names) or 'none'}"
    )


def _inside(directory: Path) -> str:
    """What in a directory was probably meant."""
    if (directory / "config.yaml").is_file():
        return f"; give {directory / 'config.yaml'}, with --resume {directory} to go on with the run that is there"
    found = sorted(str(path) for pattern in ("*.yaml", "*.yml") for path in directory.glob(pattern))
    return f"; in it: {', '.join(found[:5])}" if found else ", and there is none in it"


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config and apply `section.key=value` overrides (values are YAML). ValueError on bad input."""
    path = find(path)
    data = read_yaml(_text(path), str(path))
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a mapping of sections, got {type(data).__name__}")
    for override in overrides:
        _apply(data, override)
    return parse(data, str(path))


def _text(path: Path) -> str:
    """The file's text; ValueError with the line that is not UTF-8."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: byte {raw[error.start]:#04x} is not UTF-8; save it as UTF-8") from None


def parse(data: dict[str, Any], origin: str) -> Config:
    """Validate a mapping; ValueError with one line per fault, each with the nearest valid key."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise ValueError(f"{origin}: " + "\n  ".join(lines)) from None


def parse_generator(given: dict[str, Any]) -> GeneratorSpec:
    """A `judge` section from the command line. ValueError names the key and what is wrong with it."""
    try:
        return GeneratorSpec.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise ValueError("\n  ".join(_explain(item, GeneratorSpec) for item in error.errors())) from None


def dump(config: Config) -> str:
    """The resolved config as YAML, readable by `load`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, raw = override.partition("=")
    if not equals or not key:
        raise ValueError(f"override {override!r}: expected section.key=value, for example training.steps=20")
    value = read_yaml(raw, f"override {override!r}")
    target: Any = data
    *parents, last = key.split(".")
    if parents and parents[0] not in data and parents[0] in Config.model_fields:
        data[parents[0]] = _default(parents[0])
    for i, part in enumerate(parents):
        if isinstance(target, list):
            target = target[_index(part, target, override)]
        else:
            if not isinstance(target.get(part), dict | list):
                target[part] = {}
            target = target[part]
        if not isinstance(target, dict | list):
            raise ValueError(f"override {override!r}: {'.'.join(parents[: i + 1])} is a value, not a section")
    if isinstance(target, list):
        target[_index(last, target, override)] = value
    else:
        target[last] = value


def _default(section: str) -> Any:
    """What a section is where nothing is given, as YAML would have it: an override changes it in place."""
    field = Config.model_fields[section]
    value = {} if field.is_required() else field.get_default(call_default_factory=True)
    if isinstance(value, list):
        return [item.model_dump(exclude_unset=True) for item in value]
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value


def _index(part: str, items: list[Any], override: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise ValueError(f"override {override!r}: expected an index 0 to {len(items) - 1}, got {part!r}")
    return int(part)


def _explain(item: Any, root: type[BaseModel] = Config) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        valid = _keys_at(item["loc"][:-1], root)
        near = difflib.get_close_matches(str(item["loc"][-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
        return f"{where}: unknown key; {hint}"
    if item["type"] == "missing":
        return f"{where}: missing; it has no default"
    wrong = item["ctx"]["error"] if item["type"] == "value_error" else None
    if wrong is not None and not isinstance(wrong, BadValue):  # of several keys at once: it names them itself
        return str(wrong)
    if wrong is not None and wrong.inside is not None:
        key, value = wrong.inside
        return f"{where}.{key}: {wrong}, got {value!r}"
    message = str(wrong or item["msg"][0].lower() + item["msg"][1:])
    return f"{where}: {message}, got {item['input']!r}"


def _keys_at(location: Sequence[str | int], root: type[BaseModel]) -> list[str]:
    """Valid keys of the section at a location under `root`."""
    section = root
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        for inner in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                section = inner
    return list(section.model_fields)
