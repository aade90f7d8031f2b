"""`rltrain dashboard`: an address to open in a browser, until it is interrupted."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from diagnostics.report.text import visible

if TYPE_CHECKING:
    import uvicorn

PORT = 7117  # of the command line too
SAFE = re.compile(r"[A-Za-z0-9._~+/=-]{8,200}")  # a token that an address and a cookie carry as it is


def aloud(words: str) -> None:
    """Print at once, also into a file: who starts it by nohup looks there for the address."""
    print(words, flush=True)


def serve(
    runs: Path,
    host: str = "127.0.0.1",
    port: int = PORT,
    token: str | None = None,
    say: Callable[[str], object] = aloud,
) -> None:
    """Serve the runs in a directory, or one run, until interrupted.

    `host`: anything but loopback needs a token, which is made where none is given. ValueError where the directory is
    none, the port is taken or not allowed, or the host is none of this machine's.
    """
    import uvicorn

    from diagnostics.report.dashboard.app import application
    from diagnostics.report.dashboard.guard import Guard

    if token is not None and not SAFE.fullmatch(token):
        raise ValueError(
            "dashboard: --token: expected 8 to 200 letters, digits or . _ ~ + / = -; leave it out to have one made"
        )
    if not runs.is_dir():
        raise ValueError(f"dashboard {str(runs)!r}: no such directory; give a directory of runs, or a run")
    listening = bind(host, port)
    port = listening.getsockname()[1]
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    server: uvicorn.Server
    guarded = Guard(application(runs, lambda: server.should_exit), host=host, token=token, cookie=f"rltrain_{port}")
    server = uvicorn.Server(
        uvicorn.Config(guarded, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2)
    )
    try:
        with _ended_by_interrupt(server):
            say(f"runs in {visible(runs)}: {address(host, port, token)}   open it in a browser; Ctrl-C ends it")
            server.run(sockets=[listening])
        say("dashboard ended")
    finally:
        listening.close()


@contextmanager
def _ended_by_interrupt(server: uvicorn.Server) -> Iterator[None]:
    """Ctrl-C ends the server from before its address is known: it hears signals itself only once its loop runs."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    before = signal.signal(signal.SIGINT, server.handle_exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. ValueError with what to do instead."""
    if not 0 <= port <= 65535:
        raise ValueError(f"dashboard: port {port}: expected one from 0 (any free one) to 65535")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ValueError(
            f"dashboard: host {host!r} is not known; use 127.0.0.1, 0.0.0.0 or one of this machine's"
        ) from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ValueError(_why(host, port, error)) from None
    return listening


def _why(host: str, port: int, error: OSError) -> str:
    number = error.errno
    if number == errno.EADDRINUSE:
        return f"dashboard: port {port} is taken; end what uses it, or give another, for example --port {port + 1}"
    if number in (errno.EACCES, errno.EPERM):
        return f"dashboard: port {port} may not be used here; give one above 1023, for example --port {PORT}"
    if number == errno.EADDRNOTAVAIL:
        return f"dashboard: host {host!r} is no address of this machine; use 127.0.0.1 or 0.0.0.0"
    reason = os.strerror(number) if number else str(error)
    return f"dashboard: cannot listen on {host!r}, port {port} ({reason}); try --host 127.0.0.1 or another --port"


def is_loopback(host: str) -> bool:
    """Whether only this machine can come in by a host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def address(host: str, port: int, token: str | None) -> str:
    """What to open in a browser; a server on all addresses is named by this machine."""
    everywhere = host in ("", "0.0.0.0", "::")
    name = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={quote(token)}" if token else "")
