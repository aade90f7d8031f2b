"""The process that is shut in and forks a child for each job. Speaks to `pool.py` by its standard input and output:
four bytes of length, then JSON, both ways. Ends when its input does."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rewards.sandbox import kernel, syscalls

NOBODY = 65534
SCRATCH = "/tmp"
SCRATCH_BYTES = 16 << 20
PRELOADED = (
    "bisect collections copy dataclasses datetime decimal enum fractions functools heapq io itertools math operator "
    "random re statistics string typing"
)
_MOUNT_POINTS = ("/sys", "/mnt", "/srv")
_LIBRARIES = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64")
_SLACK_S = 1  # of processor time beyond the wall clock's deadline


def main(mode: str) -> NoReturn:
    """Shut this process in as `mode` says, tell how that went, and serve."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)
    for name in PRELOADED.split():
        __import__(name)
    os.environ.clear()
    try:
        if mode == "namespaces":
            _new_namespaces()
        places = _readable()
        writable = _new_root(places) if mode == "namespaces" else []
        barriers = _drop(mode, places, writable)
    except (OSError, AttributeError) as error:
        _send(replies, {"failed": f"{type(error).__name__}: {error}"})
        os._exit(1)
    _send(replies, {"barriers": [mode, *barriers]})
    rules = kernel.landlock_rules(places, writable) if "landlock" in barriers else None
    program = syscalls.program() if "seccomp" in barriers else None
    while (job := _receive(requests)) is not None:
        told = _judged(job, rules, program)
        for folder in writable:
            _emptied(scratch := os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
            os.close(scratch)
        _send(replies, told)
    os._exit(0)


# --- shutting in ---


def _new_namespaces() -> None:
    """Go on as the first process of new namespaces; the old process only waits."""
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEW_NAMESPACES | (0 if user == 0 else kernel.NEW_USER))
    if user:
        for file, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{NOBODY} {user} 1"),
            ("gid_map", f"{NOBODY} {group} 1"),
        ):
            with open(f"/proc/self/{file}", "w") as map_:
                map_.write(text)
    if child := os.fork():
        os.closerange(0, 256)
        os.waitpid(child, 0)
        os._exit(0)
    kernel.die_with_parent()


def _readable() -> list[str]:
    """Where Python's library and the shared libraries are."""
    library = os.path.dirname(os.__file__)
    own = os.path.join(sys.base_prefix, "lib")
    shared = [os.path.join(own, name) for name in os.listdir(own) if name.startswith("libpython")]
    return [library, *shared, *(place for place in _LIBRARIES if os.path.isdir(place))]


def _new_root(places: Sequence[str]) -> list[str]:
    """A root that holds these places, /dev/null, and a scratch folder; what may be written to."""
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    root = next(place for place in _MOUNT_POINTS if os.path.isdir(place))
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=1m")
    for place in [*places, "/dev/null"]:
        inside = root + place
        os.makedirs(os.path.dirname(inside), exist_ok=True)
        if os.path.isdir(place):
            os.makedirs(inside, exist_ok=True)
        else:
            os.close(os.open(inside, os.O_CREAT | os.O_WRONLY))
        if place == "/dev/null":
            kernel.mount(place, inside, None, kernel.MS_BIND)
        else:
            kernel.bind_read_only(os.path.realpath(place), inside)
    os.mkdir(root + SCRATCH)
    limits = f"mode=1777,size={SCRATCH_BYTES},nr_inodes=512"
    kernel.mount("tmpfs", root + SCRATCH, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, limits)
    kernel.enter_root(root)
    flags = kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", "/", None, flags, "mode=755,size=1m")
    os.chdir(SCRATCH)
    return [SCRATCH]


def _drop(mode: str, places: Sequence[str], writable: Sequence[str]) -> list[str]:
    """Give up privileges; try in a child what only a child may give up. The barriers that every job will have."""
    if mode == "namespaces":
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        kernel.die_with_parent()  # again: a change of user clears it
        kernel.drop_capabilities()
    kernel.no_new_privileges()
    found = ["rlimits"]
    for name, attempt in (
        ("landlock", lambda: kernel.landlock(kernel.landlock_rules(places, writable))),
        ("seccomp", lambda: kernel.seccomp(syscalls.program())),
    ):
        if (child := os.fork()) == 0:
            try:
                attempt()
            except OSError:
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            found.append(name)
    return found


# --- one job ---


def _judged(job: Mapping[str, Any], rules: int | None, program: bytes | None) -> dict[str, Any]:
    """How a job ended, its results and its output, both as far as they go."""
    data = os.memfd_create("stdin")
    os.write(data, job.get("stdin", "").encode(errors="surrogatepass"))
    os.lseek(data, 0, 0)
    (out, theirs_out), (results, theirs_results) = os.pipe(), os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(job, (data, theirs_out, theirs_results), rules, program)
    for fd in (data, theirs_out, theirs_results):
        os.close(fd)
    ended, read = _drained({results: job["output_bytes"], out: job["output_bytes"]}, started + job["seconds"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    for fd in (out, results):
        os.close(fd)
    if ended == "done" and os.WIFSIGNALED(status) and (sign := os.WTERMSIG(status)) != signal.SIGKILL:
        ended = "time" if sign == signal.SIGXCPU else f"signal {sign}"
    return {
        "ended": ended,
        "results": read[results].decode(errors="replace"),
        "output": read[out].decode(errors="replace"),
        "seconds": time.monotonic() - started,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def _drained(limits: Mapping[int, int], deadline: float) -> tuple[str, dict[int, bytearray]]:
    """What comes out of pipes until they are closed, the deadline is there or one has given too much."""
    read = {fd: bytearray() for fd in limits}
    poll = select.poll()
    for fd in limits:
        poll.register(fd, select.POLLIN)
    open_ = set(limits)
    while open_:
        left = deadline - time.monotonic()
        if left <= 0:
            return "time", read
        for fd, _ in poll.poll(left * 1000):
            some = os.read(fd, 1 << 16)
            read[fd] += some
            if len(read[fd]) > limits[fd]:
                del read[fd][limits[fd] :]
                return "output", read
            if not some:
                poll.unregister(fd)
                open_.discard(fd)
    return "done", read


def _child(job: Mapping[str, Any], fds: Sequence[int], rules: int | None, program: bytes | None) -> NoReturn:
    """Give up everything, then run the code."""
    try:
        kernel.die_with_parent()
        if rules is not None:
            kernel.landlock(rules)
        held = [os.dup(fd) for fd in fds]  # above the numbers they are to have
        for number, fd in zip((0, 1, 3), held, strict=True):
            os.dup2(fd, number)
        os.closerange(4, 1024)
        _limited(job)
        sys.stdin = os.fdopen(0, encoding="utf-8", errors="replace")
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace")
        from rewards.sandbox import runner

        sys.modules["random"].seed(0)
        sys.modules.pop("rewards.sandbox.kernel"), sys.modules.pop("rewards.sandbox.server", None)
        if program is not None:
            kernel.seccomp(program)
        runner.run(job)
    finally:
        os._exit(1)


def _limited(job: Mapping[str, Any]) -> None:
    """rlimits: soft and hard, so that they cannot be raised again."""
    memory, files = job["memory_mb"] << 20, job["file_bytes"]
    seconds = int(job["seconds"]) + _SLACK_S
    for what, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, files),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _emptied(folder: int) -> None:
    """Remove all that a job left in an open folder, by descriptors: its paths may be longer than a path may be.

    Two descriptors at a time, however deep the folders are: there may be more of them than a process may open.
    """
    here, above = os.dup(folder), []
    while True:
        inner = None
        for entry in list(os.scandir(here)):
            if entry.is_dir(follow_symlinks=False):
                inner = entry.name
            else:
                os.unlink(entry.name, dir_fd=here)
        if inner is None and not above:
            break
        if inner is not None:
            os.chmod(inner, 0o700, dir_fd=here)
        there = os.open(inner or "..", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        os.close(here)
        here = there
        if inner is not None:
            above.append(inner)
        else:
            os.rmdir(above.pop(), dir_fd=here)
    os.close(here)


# --- messages ---


def _receive(fd: int) -> Any:
    header = _exactly(fd, 4)
    body = _exactly(fd, struct.unpack("<I", header)[0]) if header else None
    return json.loads(body) if body is not None else None


def _exactly(fd: int, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        if not (some := os.read(fd, count - len(data))):
            return None
        data += some
    return data


def _send(fd: int, message: Any) -> None:
    body = json.dumps(message).encode()
    data = struct.pack("<I", len(body)) + body
    while data:
        data = data[os.write(fd, data) :]
