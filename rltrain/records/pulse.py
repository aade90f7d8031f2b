"""Whether a run is at work, also while it writes nothing: a hidden file that its process touches as long as it lives.

`.pulse` in the run's directory names the process and the machine; its time of change is the last beat. A run that
ends, in order or with an error, says so in it; one that was killed leaves it behind and beats no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from rltrain.records import jsonl

FILE = ".pulse"
BEAT_S = 10.0
LAST_S = 60.0  # without a beat for so long it is over, unless its process is seen; clocks may differ a little

Pulse = Literal["beating", "ended", "lost"]
"""At work; over, as it said itself; over without a word."""


@contextlib.contextmanager
def beating(run: Path, every_s: float = BEAT_S) -> Iterator[None]:
    """Beat in a run's directory until this ends."""
    import psutil

    file, over = run / FILE, threading.Event()
    process = {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}
    _write(file, process)

    def beat() -> None:
        while not over.wait(every_s):
            with contextlib.suppress(OSError):  # a share that is away for a moment; whoever reads sees no beat
                os.utime(file)

    thread = threading.Thread(target=beat, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _write(file, process | {"ended": time.time()})


def look(run: Path, now: float | None = None) -> Pulse | None:
    """How the process of a run does; None where it left no word of itself (an older run, or one made of records)."""
    try:
        beat = (run / FILE).stat().st_mtime
        said = json.loads((run / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(said, dict):
        return None
    if "ended" in said:
        return "ended"
    fresh = (time.time() if now is None else now) - beat < LAST_S
    return "beating" if fresh or _runs_here(said) else "lost"


def _runs_here(said: dict[str, Any]) -> bool:
    """Whether the process is one of this machine, and still the one that wrote it."""
    import psutil

    pid = said.get("pid")
    if said.get("host") != socket.gethostname() or not isinstance(pid, int) or not psutil.pid_exists(pid):
        return False
    with contextlib.suppress(psutil.Error):  # it ended in this moment, or is somebody else's
        return psutil.Process(pid).create_time() == said.get("began")
    return False


def _write(file: Path, said: dict[str, Any]) -> None:
    """As well as it goes: a full disk, or a run whose directory was taken back, is told elsewhere."""
    with contextlib.suppress(OSError):
        jsonl.replace(file, json.dumps(said) + "\n")
