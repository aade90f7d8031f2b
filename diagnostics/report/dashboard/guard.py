"""Who may read the dashboard: the host it was asked by, the token, and what a browser may do with the page."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Collection
from urllib.parse import quote, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, no script but the dashboard's files. Plotly sets styles of its own on what it draws."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Wraps the application. `token`: what a reader must know, None on loopback."""

    def __init__(self, app: ASGIApp, *, host: str, token: str | None, cookie: str):
        self._app, self._token, self._cookie = app, token, cookie
        self._names = LOOPBACK | {host.strip("[]").lower()}
        self._machine = None if token is None else socket.gethostname().lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refused = self._refusal(scope)
            await (refused or self._app)(scope, receive, _with_headers(send))
        else:
            await PlainTextResponse("no such thing here", 404)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer instead of the page; None where it may be read."""
        connection = HTTPConnection(scope)
        asked = connection.headers.get("host", "")
        if not is_known(asked, self._names, self._machine):
            return PlainTextResponse(f"unknown host {asked!r}: open the address that the dashboard printed", 400)
        if self._token is None:
            return None
        query = connection.query_params.multi_items()
        given = connection.query_params.getlist("token")
        if given and _same(given[-1], self._token):
            return self._let_in(scope["path"], [pair for pair in query if pair[0] != "token"])
        if not given and _same(connection.cookies.get(self._cookie, ""), self._token):
            return None
        return PlainTextResponse("this dashboard wants its token: open the address that it printed", 403)

    def _let_in(self, path: str, query: list[tuple[str, str]]) -> Response:
        """The same page without the token in its address, which would stay in the browser's history."""
        assert self._token is not None
        there = "/" + quote(path.lstrip("/\\"))  # never `//elsewhere`
        answer = RedirectResponse(f"{there}?{urlencode(query)}" if query else there, 303)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer


def is_known(asked: str, names: Collection[str], machine: str | None) -> bool:
    """Whether a Host header is one of ours: a page elsewhere that points its own name here is not (DNS rebinding).

    `machine`: this machine's name where others may come in; then any numeric address is known too.
    """
    try:
        host = (urlsplit(f"//{asked}").hostname or "").lower()
    except ValueError:
        return False
    if host in names:
        return True
    if machine is None:
        return False
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        return host.partition(".")[0] == machine.partition(".")[0]


def _same(given: str, token: str) -> bool:
    """In a time that does not tell how much of it is right."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), token.encode("utf-8", "replace"))


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
