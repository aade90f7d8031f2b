"""Where the time goes, and which stage is stuck when nothing moves."""

from __future__ import annotations

import contextlib
import faulthandler
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator


class Stages:
    """Names the stage the run is in; sums seconds per stage; warns when one stage lasts too long."""

    def __init__(self, stuck_s: float, warn: Callable[[str, float, str], None]) -> None:
        """`warn(stage, seconds, stacks)` is called once per stay in a stage that exceeds `stuck_s`."""
        self._stuck_s, self._warn = stuck_s, warn
        self._seconds: dict[str, float] = defaultdict(float)
        self._stack: list[tuple[str, float]] = [("start", time.monotonic())]
        self._warned = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Be in a stage; stages nest, and a nested stage's seconds are not its parent's."""
        begun = time.monotonic()
        self._stack.append((name, begun))
        self._warned = False
        try:
            yield
        finally:
            spent = time.monotonic() - begun
            self._stack.pop()
            self._seconds[name] += spent
            if len(self._stack) > 1:
                self._seconds[self._stack[-1][0]] -= spent
            self._warned = False

    @property
    def current(self) -> str:
        """The innermost stage."""
        return self._stack[-1][0]

    def take(self) -> dict[str, float]:
        """Seconds per stage since the last call, as time/<stage>_s."""
        taken = {f"time/{name}_s": seconds for name, seconds in self._seconds.items()}
        self._seconds.clear()
        return taken

    def close(self) -> None:
        """End the watchdog."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(min(5.0, self._stuck_s / 4)):
            name, begun = self._stack[-1]
            stay = time.monotonic() - begun
            if len(self._stack) > 1 and stay > self._stuck_s and not self._warned:
                self._warned = True
                self._warn(name, stay, _stacks())


def _stacks() -> str:
    """What every thread is doing now."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()
