"""Install what pip cannot: `python3 requirements/system.py`. Standard library only.

Does nothing where nothing is missing. Where it may not install (not root, no apt) it names the command
and ends well: only the tests that need the part will fail. Each package is installed by itself, so that
one which a machine cannot get does not keep the others away.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys

PROGRAMS = {  # program -> Debian package
    "g++": "g++",  # vLLM compiles its sampler on the CPU
    "chromium": "chromium",  # the tests look at report and dashboard in it, `make screenshots` too
}
LIBRARIES = {"numa": "libnuma1"}  # vLLM's CPU build is linked with it; library -> Debian package


def missing() -> list[str]:
    """Debian packages of what is not there."""
    programs = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return programs + [package for library, package in LIBRARIES.items() if ctypes.util.find_library(library) is None]


def main() -> int:
    """Exit status: 0, or 1 where it was allowed to install and something is still missing."""
    if not (packages := missing()):
        return 0
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends"]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        command = " ".join([*install, *packages])
        print(f"system: not installed: {', '.join(packages)}. As root, on Debian or Ubuntu: {command}")
        return 0
    print(f"system: installing {', '.join(packages)}", flush=True)
    apt(["apt-get", "update", "-q"])  # old package lists may still do when this fails
    failed = [package for package in packages if not apt([*install, package])]
    if failed:
        print(f"system: still missing: {', '.join(failed)}; see apt's messages above", file=sys.stderr)
    return 1 if failed else 0


def apt(command: list[str]) -> bool:
    """Run it, its errors shown; whether it succeeded."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
