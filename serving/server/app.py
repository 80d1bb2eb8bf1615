"""The server's routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...errors import RequestRefused, ShuntyardError
from ...messages import Frozen
from ...settings import Settings
from ..program import ProgramRequest
from .answers import Health, ModelList, ModelRow
from .asked import ChatRequest, CompletionRequest, EmbeddingRequest
from .chat import ChatJob
from .completions import CompletionJob
from .door import Door, read
from .embeddings import EmbeddingDesk
from .events import fault_of, headers_of, status_of
from .generation import Asking, Generation, Job, Rooms
from .hall import Hall
from .message_models import CountRequest, MessageRequest
from .metrics import Metrics
from .openapi import PROGRAMS, document
from .places import told_of
from .pool import Pool
from .program_desk import ProgramDesk
from .programs import Run
from .response_models import ResponseRequest
from .responses import ResponseJob
from .sending import LEFT
from .talk import MessageJob, count

ENDPOINTS = {
    "/v1/chat/completions": ChatJob.endpoint,
    "/v1/completions": CompletionJob.endpoint,
    "/v1/responses": ResponseJob.endpoint,
    "/v1/messages": MessageJob.endpoint,
    PROGRAMS: Run.endpoint,
    "/v1/messages/count_tokens": "count_tokens",
    "/v1/embeddings": "embeddings",
    "/v1/models": "models",
    "/health": "health",
    "/metrics": "metrics",
    "/openapi.json": "openapi",
}
"""Names of paths in the figures."""
Endpoint = Callable[[Request], Awaitable[Response]]
JOBS: Mapping[str, tuple[type[Frozen], Callable[[Any], Job]]] = {
    "/v1/chat/completions": (ChatRequest, ChatJob),
    "/v1/completions": (CompletionRequest, CompletionJob),
    "/v1/responses": (ResponseRequest, ResponseJob),
    "/v1/messages": (MessageRequest, MessageJob),
}
"""Paths that generate: what is asked, and what answers it."""


def build(settings: Settings, *, key: str = "", choose: Callable[[Asking], str] | None = None) -> Starlette:
    """Return the ASGI application. ``choose`` names the model of a request for ``auto``; without it none is offered."""
    pool, metrics = Pool(settings), Metrics()
    count = _Counting(metrics)
    rooms = Rooms(pool, Hall(settings.serve.concurrency, settings.serve.queue), metrics, choose)
    most = int(settings.serve.body_mib * 1024 * 1024)
    plain = _Plain(settings, rooms, most)
    programs = ProgramDesk(rooms, settings.serve)
    described = document({**{path: kind for path, (kind, _) in JOBS.items()}, PROGRAMS: ProgramRequest})

    async def openapi(request: Request) -> Response:
        return JSONResponse(described)

    def plainly(path: str, endpoint: Endpoint, *methods: str) -> Route:
        return Route(path, count.all(endpoint), methods=methods or ["GET"])

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await programs.close()
        await pool.close()

    routes = [
        *(Route(path, _generating(rooms, *job, most), methods=["POST"]) for path, job in JOBS.items()),
        # Its runs are counted as they end, also those in the background.
        Route(PROGRAMS, programs.post, methods=["POST"]),
        # One route: the methods that a refusal lists are those of the first route of a path.
        plainly(f"{PROGRAMS}/{{id}}", programs.one, "GET", "DELETE"),
        plainly("/v1/embeddings", plain.embeddings, "POST"),
        plainly("/v1/messages/count_tokens", plain.count, "POST"),
        plainly("/v1/models", plain.models),
        plainly("/v1/models/{name:path}", plain.model),
        plainly("/health", plain.health),
        plainly("/metrics", plain.figures),
        plainly("/openapi.json", openapi),
    ]
    faults: Mapping[Any, Any] = {ShuntyardError: count.fault, HTTPException: count.http_fault, Exception: count.fault}
    middleware = [Middleware(Door, key=key, told=count.told)]
    app = Starlette(routes=routes, exception_handlers=faults, lifespan=lifespan, middleware=middleware)
    app.state.hall = rooms.hall
    return app


def _generating(rooms: Rooms, kind: type[Frozen], job: Callable[[Any], Job], most: int) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        asked = await read(request, kind, most)
        told = told_of(request.scope["headers"], getattr(asked, "shuntyard", None))
        return Generation(rooms, job(asked), told)

    return endpoint


class _Plain:
    """Endpoints that generate nothing."""

    def __init__(self, settings: Settings, rooms: Rooms, most: int) -> None:
        self._rooms = rooms
        self._most = most
        self._desk = EmbeddingDesk(settings)

    async def embeddings(self, request: Request) -> Response:
        asked = await read(request, EmbeddingRequest, self._most)
        async with self._rooms.hall.place():
            return _json(await self._desk.answer(asked, request.is_disconnected))

    async def count(self, request: Request) -> Response:
        asked = await read(request, CountRequest, self._most)
        async with (
            self._rooms.hall.place(),
            self._rooms.pool.using(asked.model or self._rooms.pool.default()) as engine,
        ):
            return _json(await count(engine, asked))

    async def models(self, request: Request) -> Response:
        return _json(ModelList(data=self._rows()))

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = next((row for row in self._rows() if row.id == name), None)
        if found is None:
            raise RequestRefused(f"unknown model {name!r}; GET /v1/models lists them.", param="model", status=404)
        return _json(found)

    def _rows(self) -> tuple[ModelRow, ...]:
        rows = self._rooms.pool.rows()
        most = max(row.context for row in rows)
        auto = ModelRow(id="auto", owned_by="shuntyard", context=most, resident=False, installed=True)
        return (*rows, *([auto] if self._rooms.choose is not None else []), self._desk.row())

    async def health(self, request: Request) -> Response:
        hall = self._rooms.hall
        return _json(Health(running=hall.running, queued=hall.waiting, resident=self._rooms.pool.resident))

    async def figures(self, request: Request) -> Response:
        text = self._rooms.metrics.text(self._rooms.hall, self._rooms.pool)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _json(body: Frozen, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = body.model_dump_json(exclude_none=True)
    return Response(content, status, media_type="application/json", headers=headers)


class _Counting:
    """Counts what no generation counts: requests that generate nothing, and those refused before they could."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def all(self, endpoint: Endpoint) -> Endpoint:
        async def counted(request: Request) -> Response:
            response = await endpoint(request)
            self.told(request.url.path, response.status_code)
            return response

        return counted

    def told(self, path: str, status: int) -> None:
        self._metrics.counted(_named(path), status)

    async def fault(self, request: Request, error: Exception) -> Response:
        status = LEFT if isinstance(error, ClientDisconnect) else status_of(error)
        self.told(request.url.path, status)
        return _json(fault_of(error), status, headers_of(error))

    async def http_fault(self, request: Request, error: HTTPException) -> Response:
        mend = "GET /openapi.json lists what there is."
        refused = RequestRefused(
            f"{request.method} {request.url.path!r}: {error.detail}; {mend}", status=error.status_code
        )
        self.told(request.url.path, error.status_code)
        return _json(fault_of(refused), error.status_code, error.headers)


def _named(path: str) -> str:
    """What a path is counted under; what clients make up is one."""
    parent, _, _ = path.rpartition("/")
    return ENDPOINTS.get(path) or {PROGRAMS: "program", "/v1/models": "models"}.get(parent, "other")
