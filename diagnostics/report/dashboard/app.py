"""The dashboard's addresses. Every answer is made from files; nothing is changed by any of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from string import Template
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from diagnostics.report.cards import Card
from diagnostics.report.dashboard.glance import Glances
from diagnostics.report.dashboard.store import Missing, Run, Store
from diagnostics.report.figures import VIEWS
from diagnostics.report.viewer import script, style

STATIC = Path(__file__).with_name("static")
REPORT = Path(__file__).parent.parent
FILES = (REPORT / "page.css", REPORT / "plots.js", STATIC / "dashboard.js", STATIC / "dashboard.css")
POLL_S = 0.7  # between two looks at a run that someone follows
ALIVE_S = 15.0  # after so long without news a comment is sent, so that a broken line is noticed


def application(root: Path, stopping: Callable[[], bool] = lambda: False) -> Starlette:
    """The dashboard over the runs in `root`. `stopping`: whether the server is about to end."""
    return Starlette(
        routes=_Pages().routes() + _Answers(Store(root), stopping).routes(),
        exception_handlers=dict.fromkeys((Missing, FileNotFoundError), _missing)
        | dict.fromkeys((ValueError, PermissionError), _wrong),
    )


class _Pages:
    """The page and its files, each under a name that changes with its content, so that browsers may keep it."""

    def __init__(self) -> None:
        files = {
            "viewer.js": script(),
            "viewer.css": style(),
        } | {path.name: path.read_text(encoding="utf-8") for path in FILES}
        self._files = {name: text.encode() for name, text in files.items()}
        views = [{"anchor": v.name, "title": v.title, "how_to_read": v.how_to_read, "lies": v.lies} for v in VIEWS]
        marks = {name.replace(".", "_"): _digest(data) for name, data in self._files.items()}
        template = Template((STATIC / "page.html").read_text(encoding="utf-8"))
        self._page = template.substitute(marks, views=json.dumps(views).replace("<", "\\u003c"))

    def routes(self) -> list[Route]:
        """`/` and `/static/NAME`."""
        return [Route("/", self._index), Route("/static/plotly.js", self._plotly), Route("/static/{name}", self._file)]

    async def _index(self, request: Request) -> Response:
        return HTMLResponse(self._page, headers={"Cache-Control": "no-cache"})

    async def _plotly(self, request: Request) -> Response:
        from plotly.offline import get_plotlyjs

        text = await run_in_threadpool(get_plotlyjs)
        return Response(text, media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})

    async def _file(self, request: Request) -> Response:
        data = self._files.get(request.path_params["name"])
        if data is None:
            return PlainTextResponse("no such file", 404)
        kind = "text/css" if request.path_params["name"].endswith(".css") else "text/javascript"
        return Response(data, media_type=kind, headers={"Cache-Control": "max-age=31536000, immutable"})


class _Answers:
    """What the page asks for. Reading and drawing happen in threads: the server goes on listening."""

    def __init__(self, store: Store, stopping: Callable[[], bool]):
        self._store, self._stopping = store, stopping
        self._glances = Glances()

    def routes(self) -> list[Route]:
        """Everything under `/api`."""
        run = "/api/run/{name}"
        return [
            Route("/api/runs", self._runs),
            Route(run, self._about),
            Route(run + "/follow", self._follow),
            Route(run + "/cards", self._cards),
            Route(run + "/step/{step:int}", self._step),
            Route(run + "/step/{step:int}/group", self._group),
            Route(run + "/step/{step:int}/row/{row:int}", self._text),
            Route(run + "/history", self._history),
        ]

    def _runs(self, request: Request) -> Response:
        return _json([{"name": name} | self._glances.of(path) for name, path in self._store.paths().items()])

    def _about(self, request: Request) -> Response:
        return _json(self._store.run(request.path_params["name"]).about())

    def _cards(self, request: Request) -> Response:
        """The cards of a run, and of those in `with` beside it; figures only of those named in `only`."""
        names = [request.path_params["name"], *request.query_params.getlist("with")]
        x = "tokens" if request.query_params.get("x") == "tokens" else "step"
        made = self._store.cards(list(dict.fromkeys(names)), x, request.query_params.getlist("only"))
        return _json([_card(card) for card in made])

    def _step(self, request: Request) -> Response:
        run = self._store.run(request.path_params["name"])
        return _json(run.step(request.path_params["step"]))

    def _group(self, request: Request) -> Response:
        run = self._store.run(request.path_params["name"])
        return _json(run.group(request.path_params["step"], request.query_params.get("group", "")))

    def _text(self, request: Request) -> Response:
        run = self._store.run(request.path_params["name"])
        return PlainTextResponse(
            run.text(request.path_params["step"], request.path_params["row"]).encode("utf-8", "replace")
        )

    def _history(self, request: Request) -> Response:
        run = self._store.run(request.path_params["name"])
        return _json(run.history(request.query_params.get("key", "")))

    async def _follow(self, request: Request) -> Response:
        name = request.path_params["name"]
        await run_in_threadpool(self._store.run, name)  # an error before the stream begins
        return StreamingResponse(
            self._news(name), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _news(self, name: str) -> AsyncIterator[str]:
        """A message for each change of the run's files; the first at once: a page that comes back catches up."""
        last, quiet = None, 0.0
        yield "retry: 1000\n\n"
        while not self._stopping():
            try:
                run = await run_in_threadpool(self._store.run, name)
                version = await run_in_threadpool(run.look)
            except Missing as gone:
                yield _message("gone", {"words": str(gone)})
                return
            if version != last:
                last, quiet = version, 0.0
                yield _message("news", await run_in_threadpool(self._state, run, version))
            elif (quiet := quiet + POLL_S) >= ALIVE_S:
                quiet = 0.0
                yield ": alive\n\n"
            await asyncio.sleep(POLL_S)

    def _state(self, run: Run, version: str) -> dict[str, Any]:
        return {"version": version, "steps": run.steps()} | self._glances.of(run.path)


def _card(card: Card) -> dict[str, Any]:
    return card._asdict() | {"terms": [metric._asdict() for metric in card.terms]}


def _json(value: Any) -> Response:
    """JSON in ASCII, which carries any text."""
    return Response(json.dumps(value), media_type="application/json", headers={"Cache-Control": "no-store"})


def _message(kind: str, value: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=6).hexdigest()


def _missing(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error).encode("utf-8", "replace"), 404)


def _wrong(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error).encode("utf-8", "replace"), 422)
