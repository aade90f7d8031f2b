"""Who may import what, how long a file may be, and what importing costs. See docs for why."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("rltrain", "rewards", "curricula", "diagnostics")
PLUGINS = ("rewards", "curricula", "diagnostics")
FOR_PLUGINS = {"rltrain.types", "rltrain.metrics", "rltrain.records", "rltrain.posterior"}
HEAVY = ("torch", "ray", "vllm", "trl", "wandb", "plotly", "pandas", "transformers", "datasets", "reasoning_gym")
LIGHT = ("rltrain.cli", "rltrain.config", "rltrain.types", "rltrain.metrics", "rltrain.plugins", "rltrain.tasks")
RAY = {"rltrain/rollouts/pool.py", "rltrain/scoring_pool.py", "rltrain/distributed.py"}
LAUNCHER = {"rltrain/launch.py", "rltrain/cluster.py", "rltrain/lending.py"}
ONE_FILE_EACH = ("trl", "vllm", "wandb")
MAY_IMPORT = {  # rooms whose neighbours the design names
    "rltrain/types.py": set(),
    "rltrain/metrics.py": set(),
    "rltrain/config.py": {"types"},
    "rltrain/contracts.py": {"types"},
    "rltrain/events.py": set(),
    "rltrain/plugins.py": {"types", "contracts"},
    "rltrain/tables.py": {"plugins"},
    "rltrain/words.py": {"tables"},
    "rltrain/sources.py": {"plugins", "tables"},
    "rltrain/tasks.py": {"types", "contracts", "plugins", "config", "tables"},
    "rltrain/judging.py": {"types", "config"},
    "rltrain/scoring.py": {"types", "plugins", "config", "judging"},
    "rltrain/scoring_worker.py": {"types", "config", "judging", "scoring"},
    "rltrain/posterior.py": set(),
    "rltrain/advantages.py": {"types"},
    "rltrain/batch.py": {"types", "advantages"},
}

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path):
    """Full names of what a file imports: `from a import b` gives a.b. Type-checking blocks count as imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def name(path):
    return str(path.relative_to(ROOT))


def of(package, found):
    return {module for module in found if module.split(".")[0] == package}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_keep_the_layers(path):
    found = imports(path)
    home = path.relative_to(ROOT).parts[0]
    for other in PLUGINS:
        if other != home:
            assert not of(other, found), f"{name(path)} imports from {other}"
    if home in PLUGINS:
        for module in of("rltrain", found):
            assert any(f"{module}.".startswith(f"{allowed}.") for allowed in FOR_PLUGINS), f"{name(path)}: {module}"
    if name(path) in MAY_IMPORT:
        rooms = {module.split(".")[1] for module in of("rltrain", found) if "." in module}
        assert rooms <= MAY_IMPORT[name(path)], f"{name(path)} imports {rooms - MAY_IMPORT[name(path)]}"


@pytest.mark.parametrize("library", ONE_FILE_EACH)
def test_a_framework_is_imported_in_one_file(library):
    users = [name(path) for path in FILES if of(library, imports(path))]
    assert len(users) <= 1, f"{library} is imported in {users}"


def test_ray_stays_in_its_rooms():
    assert {name(path) for path in FILES if of("ray", imports(path))} <= RAY | LAUNCHER


def test_types_are_standard_library_and_numpy():
    for module in imports(ROOT / "rltrain" / "types.py"):
        assert module.split(".")[0] in {*sys.stdlib_module_names, "numpy"}, module


def test_light_modules_import_nothing_heavy():
    there = [module for module in LIGHT if (ROOT / f"{module.replace('.', '/')}.py").is_file()]
    plugins = [
        name(p).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for p in FILES if p.is_relative_to(ROOT)
    ]
    wanted = there + [module for module in plugins if module.split(".")[0] in PLUGINS]
    code = f"import sys\nimport {', '.join(wanted)}\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [], "imported on the way"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= 300, f"{name(path)} has {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{name(path)}: {node.name} has {length} lines"
