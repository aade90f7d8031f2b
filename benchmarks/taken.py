"""What a command takes in a process of its own, as the system counts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import NamedTuple


class Taken(NamedTuple):
    """By one process and those it waited for."""

    said: str  # on stderr
    peak_gb: float  # largest resident memory
    cpu_s: float  # seconds of one core
    wall_s: float


def taken(*command: str) -> Taken:
    """What `rltrain COMMAND` took; AssertionError with the end of what it said where it failed."""
    begun = time.perf_counter()
    whole = [sys.executable, "-m", "rltrain", *command]
    process = subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said[-2000:]
    peak = used.ru_maxrss * 1024 / 1e9  # Linux counts in KiB
    return Taken(said, peak, used.ru_utime + used.ru_stime, time.perf_counter() - begun)
