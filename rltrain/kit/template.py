"""`rltrain new KIND NAME`: a plugin and its test, working as written. What is written stands in `starters/`."""

from __future__ import annotations

import keyword
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from rltrain import plugins
from rltrain.kit.rows import GROUPS, Kind, class_name


def new(kind: Kind, name: str, directory: Path) -> list[Path]:
    """Write NAME.py and test_NAME.py, or nothing. ValueError for a name that is none or taken, or files that are there.

    A reward is a function called NAME; a curriculum or diagnostic is a class of that name in its own spelling.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"new {kind} {name!r}: expected a Python name, such as my_{kind}")
    if any(name == found.name for group in GROUPS.values() for found in plugins.installed(group)):
        raise ValueError(f"new {kind} {name!r}: a plugin of this name is installed; choose another")
    written = {directory / f"{name}.py": f"{kind}.txt", directory / f"test_{name}.py": f"test_{kind}.txt"}
    if there := [path for path in written if path.exists()]:
        raise ValueError(f"new {kind} {name!r}: {there[0]} is there already; choose another name or move it away")
    if name in sys.stdlib_module_names or find_spec(name):  # a json.py would stand before Python's in its folder
        raise ValueError(f"new {kind} {name!r}: a Python module of this name is installed; choose another")
    for path, starter in written.items():
        text = files("rltrain.kit").joinpath("starters", starter).read_text(encoding="utf-8")
        path.write_text(text.replace("<name>", name).replace("<Name>", class_name(name)), encoding="utf-8")
    return list(written)


def in_config(kind: Kind, name: str) -> str:
    """The line that names the plugin in a config."""
    if kind == "reward":
        return f'rewards: [{{use: "{name}.py:{name}", role: outcome}}]'
    use = f'{{use: "{name}.py:{class_name(name)}"}}'
    return f"curriculum: {use}" if kind == "curriculum" else f"diagnostics: [{{use: reward}}, {use}]"
