"""Install what pip cannot: `python3 requirements/system.py`. Standard library only.

Does nothing where nothing is missing. Where it may not install (not root, no apt) it names the command
and ends well: only the tests that need the part will fail.
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
    """Exit status: 0, or apt's where it was allowed and failed."""
    if not (packages := missing()):
        return 0
    commands = [["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"system: not installed: {', '.join(packages)}. As root, on Debian or Ubuntu: {' '.join(commands[1])}")
        return 0
    print(f"system: installing {', '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in commands:
        if status := subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode:
            print(f"system: `{' '.join(command)}` failed; see its message above", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
