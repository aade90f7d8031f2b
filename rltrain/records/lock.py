"""One process at a time writes a run's directory: a lock of the operating system, on a file in it.

The kernel frees it when the process ends, however it ends. Processes that a run starts do not keep it alive: Python
opens files so that another program does not inherit them, and after a fork the child closes this one.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(directory: Path) -> Iterator[str | None]:
    """Hold the run of a directory, inside this process and towards all others, also on machines that share its locks.

    Yields None, or a note for a person where the file system has no locks. ValueError names the process that holds it,
    OSError says that the file cannot be made. An orderly end removes the file.
    """
    path = directory / NAME
    file, note = _taken(path)
    mine = [file]

    def let_go() -> None:
        while mine:
            os.close(mine.pop())

    os.register_at_fork(after_in_child=let_go)  # else a child that outlives this process would hold it on
    try:
        yield note
    finally:
        if mine and note is None and _is_at(file, path):
            path.unlink()
        let_go()


def _taken(path: Path) -> tuple[int, str | None]:
    """The open file, locked, and the note. What another process has removed meanwhile is no lock, and made again."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            note = _lock(file, path.parent)
            if note is not None:
                return file, note
            if _is_at(file, path):
                _sign(file, path)
                return file, None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _sign(file: int, path: Path) -> None:
    """Write down who holds it. On a full disk the file goes again."""
    now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
    holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now})
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, holder.encode(), 0)
    except OSError:
        path.unlink()
        raise


def _lock(file: int, directory: Path) -> str | None:
    """None when it is ours; a note where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"run directory {str(directory)!r} is in use: {_holder(file)}; wait until it ends, or end it, and give "
            "--resume again; another run has another run.name or run.dir"
        ) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return (
            f"{directory} cannot be locked ({os.strerror(error.errno)}), as on some network file systems: take care "
            "that no second process goes on with this run"
        )
    return None


def _holder(file: int) -> str:
    """Who holds it, as far as it wrote that down."""
    try:
        told = json.loads(os.pread(file, 4096, 0))
        return f"process {told['pid']} on {told['host']} has held it since {told['since']}"
    except (ValueError, KeyError, TypeError):  # it took it this moment
        return "another process holds it"


def _is_at(file: int, path: Path) -> bool:
    """Whether the open file is the one at the path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
