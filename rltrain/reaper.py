"""Ends what a run left behind. Started beside each run; `python -m rltrain.reaper FOLDER MARK`.

Its standard input is a pipe from the run: the run writes `done` when it ends in order, and the kernel
closes it when the run dies, however it dies. Then every process that carries the run's mark in its
environment is ended, the folder removed, and said what the run itself could not say.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time

import psutil

GRACE_S = 5.0  # Ray ends most of its processes by itself within four seconds
LAST_WORD = (
    "rltrain: failed: the process ended without a word: killed from outside, out of memory, or its Ray died and took "
    "it along. What it had started is ended too; a run goes on with --resume"
)


def marked(mark: str, value: str) -> list[psutil.Process]:
    """Processes whose environment has `mark=value`, this one excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(mark) == value:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # ended meanwhile, or somebody else's
    return found


def main(folder: str, mark: str) -> None:
    """Wait for the run's end, then clean up."""
    if sys.stdin.buffer.read() == b"done":
        return
    deadline = time.monotonic() + GRACE_S
    while (left := marked(mark, folder)) and time.monotonic() < deadline:
        time.sleep(0.25)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=10)
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # nobody reads
        print(LAST_WORD, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
