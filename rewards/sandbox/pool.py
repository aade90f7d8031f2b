"""A warm sandbox: started once, used for many jobs, replaced when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rewards.sandbox import kernel

Mode = Literal["namespaces", "landlock", "limits"]
SAFE: tuple[Mode, ...] = ("namespaces", "landlock")
START_S = 20.0
GRACE_S = 2.0  # for a server to answer after a job's deadline
_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv[1]); from rewards.sandbox import server, runner; del sys.path[0]; "
_NEEDED = {"namespaces": {"seccomp"}, "landlock": {"landlock", "seccomp"}, "limits": set()}


@dataclass(frozen=True)
class Limits:
    """What one job may use."""

    seconds: float = 5.0  # by the clock, from the fork to the last result
    memory_mb: int = 256  # of address space, Python's own 30 included
    output_bytes: int = 1 << 20  # printed, and as much again of results
    file_bytes: int = 1 << 20  # of one file in the scratch folder, which holds 16 MB and is emptied after each job


class Told(NamedTuple):
    """How a job went."""

    ended: str  # done, time, output, "signal N", or "lost": the server itself had to be replaced
    results: list[dict[str, Any]]  # one a call: {"value": ...} or {"raised": ...}; the first is the code itself
    output: str  # what it printed
    seconds: float
    peak_mb: float


class SandboxUnavailable(RuntimeError):
    """This machine offers too little to run a model's code safely; says what is missing."""


class Sandbox:
    """One server, one job at a time. `unsafe` allows limits alone where nothing better is there.

    SandboxUnavailable from the first job where the machine offers too little.
    """

    def __init__(self, modes: Sequence[Mode] = SAFE, *, unsafe: bool = False):
        self._modes: tuple[Mode, ...] = (*modes, "limits") if unsafe else tuple(modes)
        self._server: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.barriers: list[str] = []
        self._closing = weakref.finalize(self, _nothing)

    def run(self, job: Mapping[str, Any], limits: Limits) -> Told:
        """Run `job["code"]`; with `job["calls"]` these calls afterwards, else as a program fed `job["stdin"]`."""
        whole = {**job, **vars(limits)}
        reply = self._asked(whole, limits) or self._asked(whole, limits)  # a second server, should the first have died
        if reply is None:
            return Told("lost", [], "", limits.seconds, 0.0)
        return Told(reply["ended"], _lines(reply["results"]), reply["output"], reply["seconds"], reply["peak_mb"])

    def _asked(self, job: Mapping[str, Any], limits: Limits) -> dict[str, Any] | None:
        """The server's reply; None where it has died or does not answer, and was ended."""
        server = self._started()
        try:
            _send(server, job)
            return _receive(server, limits.seconds + GRACE_S)
        except OSError:
            self.close()
            return None
        except BaseException:  # a deadline of the caller's: what comes now would answer the wrong job
            self.close()
            raise

    def close(self) -> None:
        """End the server and all that runs in it."""
        self._closing()
        self._server = None

    def _started(self) -> subprocess.Popen[bytes]:
        """The server; a new one where there is none, it has died, or it is another process's (after a fork)."""
        if self._server is not None and self._owner == os.getpid() and self._server.poll() is None:
            return self._server
        if self._server is not None and self._owner == os.getpid():
            self.close()
        missing = []
        for mode in self._modes:
            server, told = _start(mode)
            if "barriers" in told and _NEEDED[mode] <= set(told["barriers"]):
                self.barriers, self._owner, self._server = told["barriers"], os.getpid(), server
                self._closing = weakref.finalize(self, _end, server, os.getpid())
                return server
            _end(server, os.getpid())
            lacking = _NEEDED[mode] - set(told.get("barriers", ()))
            missing.append(f"{mode}: {told.get('failed') or 'no ' + ' and no '.join(sorted(lacking))}")
        raise SandboxUnavailable(
            f"this machine cannot run a model's code safely ({'; '.join(missing)}). Expected namespaces and seccomp, "
            "or landlock and seccomp, on Linux on x86-64. `unsafe: true` runs it all the same, with limits on time "
            "and memory only: files, network and other processes are then open to it"
        )


def _nothing() -> None:
    """What there is to close before a server is started."""


def _start(mode: Mode) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """A server and how it got on with shutting itself in."""
    if mode != "limits" and not kernel.supported():
        told = {"failed": "neither Linux nor x86-64"}
        return subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE), told
    server = subprocess.Popen(
        [sys.executable, "-s", "-S", "-P", "-c", f"{_START}server.main({mode!r})", _ROOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    try:
        return server, _receive(server, START_S)
    except (OSError, TimeoutError) as error:
        return server, {"failed": f"the server did not start ({error})"}


def _end(server: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a server, and with it all its children; by the process that started it only."""
    if os.getpid() != owner:
        return
    with contextlib.suppress(OSError):
        server.kill()
    for pipe in (server.stdin, server.stdout):
        with contextlib.suppress(OSError):
            pipe.close()
    server.wait()


def _send(server: subprocess.Popen[bytes], message: Mapping[str, Any]) -> None:
    body = json.dumps(message).encode()
    server.stdin.write(struct.pack("<I", len(body)) + body)
    server.stdin.flush()


def _receive(server: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
    """The next message. OSError where the server has gone, TimeoutError where it says nothing."""
    deadline = time.monotonic() + timeout_s
    (length,) = struct.unpack("<I", _exactly(server, 4, deadline))
    return json.loads(_exactly(server, length, deadline))


def _exactly(server: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    fd, data = server.stdout.fileno(), b""
    while len(data) < count:
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError("no answer")
        if not (some := os.read(fd, count - len(data))):
            raise OSError("the server has gone")
        data += some
    return data


def _lines(text: str) -> list[dict[str, Any]]:
    """The results as far as they are what was asked for; the code may have written there itself."""
    found = []
    for line in text.split("\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        found.append(row)
    return found
