"""Ray, started and ended so that nothing of a run outlives it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

MARK = "RLTRAIN_SESSION"  # in the environment of every process of a run; its reaper knows them by it
ANSWER_S = 10.0  # for a cluster's address to answer
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def address() -> str:
    """This node, as other nodes of the cluster reach it."""
    import ray

    return ray.util.get_node_ip_address()


@contextlib.contextmanager
def session(address: str | None = None, processes: int = 1) -> Iterator[None]:
    """Ray, our own or a running cluster's; our own is gone with everything it started when this ends.

    `processes`: trainer processes that Ray Train is to start.

    A reaper process watches this one: when it dies without a word (kill -9), the reaper ends what is
    left of the run and removes its temporary folder.
    """
    import ray

    if ray.is_initialized():  # a test's, or a notebook's: whoever started it ends it
        yield
        return
    if address:
        _join(address)
        heed()
        end_in_order()
        try:
            yield
        finally:
            with uninterrupted():
                ray.shutdown()
        return
    with reaped() as folder:
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 would starve the engines beside the trainer
        try:
            with _spared_the_hangup():
                ray.init(
                    address="local",  # whatever RAY_ADDRESS says, which a node of a cluster may have set
                    # actors ask for none; Ray Train's workers one each
                    num_cpus=max(4, os.cpu_count() or 1, processes),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                    _temp_dir=folder,
                )
            heed()
            end_in_order()
            yield
        finally:
            with uninterrupted():
                ray.shutdown()


def _join(address: str) -> None:
    """Join a running cluster. ValueError where none answers there."""
    import ray

    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "/" not in host:  # Ray itself would try for a minute and then end the process
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError) as error:  # ConnectionError among them, for `auto`
        raise ValueError(
            f"distributed.ray_address: no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one "
            "with `ray start --head`, give another address, or leave it out to start Ray here"
        ) from error


@contextlib.contextmanager
def reaped() -> Iterator[str]:
    """A temporary folder; when this process dies without a word, all it started inside are ended, and the folder goes.

    Processes are known by a mark in their environment.
    """
    # Unix sockets allow 107 characters: a short path, whatever TMPDIR is.
    folder = tempfile.mkdtemp(prefix="rlt-", dir="/tmp" if os.path.isdir("/tmp") else None)
    reaper = subprocess.Popen(
        [sys.executable, "-m", "rltrain.reaper", folder, MARK],
        stdin=subprocess.PIPE,
        start_new_session=True,  # survives a Ctrl-C in the terminal, to clean up after it
        env={k: v for k, v in os.environ.items() if k != MARK},
    )
    os.environ[MARK] = folder
    try:
        yield folder
    finally:
        reaper.communicate(b"done", timeout=60)  # an orderly end: nothing to reap
        os.environ.pop(MARK, None)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """While a run is ending, Ctrl-C, SIGTERM and SIGHUP are answered with a word.

    An ending cut short would leave threads behind that, once Ray is shut down, start another one by asking it. A second
    SIGTERM while Ray ends is the end all the same: its core has taken the handler away by then; the reaper cleans up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, frame: object) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, b"rltrain: it is ending already, and takes a moment\n")  # print may be under way itself

    before = {number: signal.signal(number, told) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextlib.contextmanager
def _spared_the_hangup() -> Iterator[None]:
    """What is started inside does not hear SIGHUP: a terminal that goes away tells all it holds, and Ray's own
    processes would end at once and take this one along before it could end in order.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


class Farewell:
    """Raises KeyboardInterrupt at a signal, and knows that one came: finalizers swallow what is raised in them."""

    def __init__(self) -> None:
        self.heard = False

    def __call__(self, number: int, frame: object) -> None:
        """Called by a signal."""
        self.heard = True
        raise KeyboardInterrupt


def end_in_order() -> None:
    """A scheduler's farewell and a terminal's end a run as Ctrl-C does; `nohup` keeps it going.

    Again after `ray.init`, which sets a handler of its own.
    """
    if threading.current_thread() is threading.main_thread():
        present = _farewell()
        farewell = Farewell() if present is None or present.heard else present
        for number in ENDINGS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, farewell)


def heed() -> None:
    """Raise the KeyboardInterrupt of a signal that came since `end_in_order` and was swallowed on the way."""
    present = _farewell()
    if present is not None and present.heard:
        raise KeyboardInterrupt


def _farewell() -> Farewell | None:
    return next((handler for handler in map(signal.getsignal, ENDINGS) if isinstance(handler, Farewell)), None)
