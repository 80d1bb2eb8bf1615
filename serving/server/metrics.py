"""Figures in Prometheus' text format; each server has a registry of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .generate import Meter

if TYPE_CHECKING:
    from .generation import Asking
    from .hall import Hall
    from .pool import Pool

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counted as requests end; gauges are read when asked for."""

    def __init__(self) -> None:
        """All zero."""
        self._registry = CollectorRegistry()
        kept = self._registry
        self._requests = Counter(
            "shuntyard_requests", "Requests, by how they ended", ["endpoint", "status"], registry=kept
        )
        self._tokens = Counter("shuntyard_tokens", "Tokens, as engines count them", ["model", "kind"], registry=kept)
        self._ttft = Histogram(
            "shuntyard_ttft_seconds", "To the first token", ["model"], buckets=_SECONDS, registry=kept
        )
        self._seconds = Histogram(
            "shuntyard_request_seconds", "To the end", ["endpoint"], buckets=_SECONDS, registry=kept
        )
        self._running = Gauge("shuntyard_requests_running", "Requests being answered", registry=kept)
        self._waiting = Gauge("shuntyard_requests_waiting", "Requests in the queue", registry=kept)
        self._held = Gauge(
            "shuntyard_fleet_requests",
            "Requests on an instance of a fleet",
            ["model", "instance", "role", "state"],
            registry=kept,
        )
        self._freedom = Gauge(
            "shuntyard_fleet_free_tokens",
            "Free tokens per request on an instance",
            ["model", "instance"],
            registry=kept,
        )
        self._moves = Gauge("shuntyard_fleet_moves", "Moves between instances so far", ["model"], registry=kept)
        self._deaths = Gauge(
            "shuntyard_fleet_failures", "Answers that an engine failed so far", ["model"], registry=kept
        )
        self._memory = Gauge("shuntyard_engine_bytes", "Resident memory of an engine", ["model"], registry=kept)

    def ended(self, job: Asking, status: int, meter: Meter) -> None:
        """Count a generation."""
        self.counted(job.endpoint, status)
        self._seconds.labels(job.endpoint).observe(time.monotonic() - meter.began)
        if meter.first:
            self._ttft.labels(job.model).observe(meter.first)
        for tally in meter.tallies:
            if tally.prompt or tally.completion:
                self._tokens.labels(tally.model, "prompt").inc(tally.prompt)
                self._tokens.labels(tally.model, "cached").inc(tally.cached or 0)
                self._tokens.labels(tally.model, "completion").inc(tally.completion)

    def counted(self, endpoint: str, status: int) -> None:
        """Count a request that ended with ``status``, and nothing else of it."""
        self._requests.labels(endpoint, str(status)).inc()

    def text(self, hall: Hall, pool: Pool) -> bytes:
        """Return all of it."""
        self._running.set(hall.running)
        self._waiting.set(hall.waiting)
        self._memory.clear()
        for model, count in pool.bytes().items():
            self._memory.labels(model).set(count)
        self._fleets(pool)
        return generate_latest(self._registry)

    def _fleets(self, pool: Pool) -> None:
        for gauge in (self._held, self._freedom, self._moves, self._deaths):
            gauge.clear()
        for model, engine in pool.fleets().items():
            self._moves.labels(model).set(engine.fleet.moves)
            self._deaths.labels(model).set(engine.fleet.deaths)
            for at, load in enumerate(engine.loads()):
                running = sum(item.running for item in load.held)
                self._held.labels(model, str(at), load.role, "running").set(running)
                self._held.labels(model, str(at), load.role, "waiting").set(len(load.held) - running)
                self._freedom.labels(model, str(at)).set(load.freedom)
