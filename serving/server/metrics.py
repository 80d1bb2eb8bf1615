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
        self._memory = Gauge("shuntyard_engine_bytes", "Resident memory of an engine", ["model"], registry=kept)

    def ended(self, job: Asking, status: int, meter: Meter) -> None:
        """Count a generation."""
        self.refused(job.endpoint, status)
        self._seconds.labels(job.endpoint).observe(time.monotonic() - meter.began)
        if meter.first:
            self._ttft.labels(job.model).observe(meter.first)
        for model, part in meter.models.items():
            prompt, completion, cached = part.sums
            if prompt or completion:
                self._tokens.labels(model, "prompt").inc(prompt)
                self._tokens.labels(model, "cached").inc(cached)
                self._tokens.labels(model, "completion").inc(completion)

    def refused(self, endpoint: str, status: int) -> None:
        """Count a request that ended with ``status``."""
        self._requests.labels(endpoint, str(status)).inc()

    def text(self, hall: Hall, pool: Pool) -> bytes:
        """Return all of it."""
        self._running.set(hall.running)
        self._waiting.set(hall.waiting)
        self._memory.clear()
        for model, count in pool.bytes().items():
            self._memory.labels(model).set(count)
        return generate_latest(self._registry)
