"""Make `.venv` from a lock: `python3 requirements/install.py`. Standard library only.

Takes gpu.lock where an NVIDIA driver is present, else cpu.lock. A stamp in `.venv` (lock, pyproject.toml
and Python version) makes the next call end at once.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "rltrain-stamp"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
GIB_NEEDED = {"cpu": 6, "gpu": 20}


class InstallError(Exception):
    """What went wrong and what to do, for the person."""


def main() -> None:
    kind = "gpu" if has_nvidia_driver() else "cpu"
    lock = ROOT / "requirements" / f"{kind}.lock"
    stamp = fingerprint(lock)
    if STAMP.is_file() and STAMP.read_text() == stamp and runs(VENV / "bin/python"):
        print(f"install: nothing to install (.venv matches {lock.name})")
        return
    check_machine(kind)
    STAMP.unlink(missing_ok=True)
    if not runs(VENV / "bin/python"):
        step("making .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    pins = dict(line.split("==") for line in lock.read_text().splitlines() if "==" in line and line[0] != "#")
    pip = [str(VENV / "bin/python"), "-m", "pip"]
    step(f"installing uv {pins['uv']}", [*pip, "install", "-q", f"uv=={pins['uv']}"])
    if kind == "cpu":
        install_torch(pip, f"torch=={pins['torch']}")
    packages = ["install", "-q", "--no-deps", "-r", str(lock)]
    install_with_uv_or_pip(pip, f"installing the {len(pins)} packages of {lock.name}", packages)
    project = ["install", "-q", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    install_with_uv_or_pip(pip, "installing rltrain itself, editable", project)
    STAMP.write_text(stamp)


# --- what this machine has -----------------------------------------------------------------------


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is loaded, or its tool is there (containers hide /proc/driver)."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def fingerprint(lock: Path) -> str:
    """What an environment was made from; another value means it is out of date."""
    parts = (lock.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), str(ROOT).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def runs(python: Path) -> bool:
    """Whether an interpreter is there, starts, has pip and is of our Python version."""
    probe = "import sys, pip; sys.exit(sys.version_info[:2] != " + repr(tuple(sys.version_info[:2])) + ")"
    return python.exists() and not subprocess.run([python, "-c", probe], capture_output=True).returncode


def check_machine(kind: str) -> None:
    """InstallError when it cannot work here, before anything is downloaded."""
    version = platform.python_version()
    if sys.version_info < (3, 11):  # noqa: UP036 - run before there is an environment, by any python3
        raise InstallError(
            f"{sys.executable} is Python {version}; 3.11 or 3.12 is needed: make PYTHON=python3.11 quickstart "
            "(Debian and Ubuntu: apt install python3.11 python3.11-venv)"
        )
    if sys.version_info >= (3, 13):
        print(f"install: the locks are for Python 3.11 and 3.12, this is {version}; make PYTHON=python3.12 is safer")
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise InstallError(
            f"the locks are for Linux on x86_64, this is {sys.platform} on {platform.machine()}; "
            "install without a lock: pip install -e . and a vLLM for this machine"
        )
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise InstallError(f"{sys.executable} has no venv module; Debian and Ubuntu: apt install {package}")
    free = shutil.disk_usage(ROOT).free / 2**30
    if not VENV.exists() and free < GIB_NEEDED[kind]:
        raise InstallError(f"{ROOT} has {free:.1f} GiB free; an environment takes up to {GIB_NEEDED[kind]} GiB")


# --- the steps -----------------------------------------------------------------------------------


def step(what: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command; print what it is for and how long it took. InstallError with its last lines."""
    print(f"install: {what} ...", end=" ", flush=True)
    start = time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"{'failed after ' if done.returncode else ''}{time.monotonic() - start:.0f} s", flush=True)
    if done.returncode:
        raise InstallError(explain(what, done.stdout))


def explain(what: str, output: str) -> str:
    """The likely cause of a failed step, and the end of what it printed."""
    low = output.lower()
    if "no space left on device" in low:
        cause = "the disk is full; free some space and run the same command again, it goes on from here"
    elif "ensurepip" in low:
        cause = f"this Python has no working venv; Debian and Ubuntu: apt install python{sys.version_info.major}-venv"
    elif any(sign in low for sign in ("name resolution", "name or service", "dns error", "connect", "timed out")):
        cause = "no package index could be reached; check the network, the proxy and `pip config list`"
    elif "no matching distribution" in low or "not found in the package registry" in low:
        cause = "a pinned package is not on the configured index, or that cannot be reached; check `pip config list`"
    else:
        cause = "see below"
    return f"{what}: {cause}\n" + "\n".join("  " + line for line in output.strip().splitlines()[-12:])


def install_torch(pip: Sequence[str], requirement: str) -> None:
    """The CPU build of torch, as pip is configured; only if that fails also from PyTorch's own index.

    In a call of its own: an index that cannot be reached costs seconds of retries for every package.
    """
    command = [*pip, "install", "-q", "--no-deps", requirement]
    try:
        step(f"installing {requirement}", command)
    except InstallError:
        step(f"installing {requirement} from PyTorch's index", [*command, "--extra-index-url", TORCH_CPU_INDEX])


def install_with_uv_or_pip(pip: Sequence[str], what: str, arguments: Sequence[str]) -> None:
    """uv takes seconds where pip takes minutes; pip is there for the networks uv does not get through."""
    configured = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=True).stdout
    environment = {**uv_settings(pip_settings(configured)), **os.environ, "VIRTUAL_ENV": str(VENV)}
    try:
        step(what, [str(VENV / "bin/uv"), "pip", *arguments], environment)
    except InstallError as error:
        print(f"install: uv could not ({error})\ninstall: trying pip, which takes some minutes")
        step(f"{what} with pip", [*pip, *arguments])


def pip_settings(listing: str) -> dict[str, str]:
    """`pip config list` as a mapping; a setting of `install` wins over a global one, the environment over both."""
    ranked: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        scope, _, name = key.rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(scope)
        if rank is not None and rank >= ranked.get(name, (0, ""))[0]:
            ranked[name] = (rank, ast.literal_eval(value))
    return {name: value for name, (_, value) in ranked.items()}


def uv_settings(pip: Mapping[str, str]) -> dict[str, str]:
    """pip's settings as uv's environment variables, which uv would not look up by itself.

    By environment and not by arguments, since an index URL may hold a password. Local indexes that do
    not exist are left out: pip skips them, uv stops.
    """
    indexes = [url for url in pip.get("extra-index-url", "").split() if not is_missing(url)]
    settings = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(indexes),
        "UV_INDEX_STRATEGY": "unsafe-best-match" if indexes else "",  # pip looks at all of them, too
        "UV_FIND_LINKS": ",".join(place for place in pip.get("find-links", "").split() if not is_missing(place)),
        "UV_NO_INDEX": "1" if pip.get("no-index", "") in ("1", "true", "yes", "on") else "",
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
        "SSL_CERT_FILE": pip.get("cert", ""),
        "ALL_PROXY": pip.get("proxy", ""),
    }
    return {name: value for name, value in settings.items() if value}


def is_missing(place: str) -> bool:
    """Whether a path or file: URL points nowhere."""
    url = urlparse(place)
    return url.scheme in ("", "file") and not Path(unquote(url.path)).exists()


if __name__ == "__main__":
    try:
        main()
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        sys.exit(1)
