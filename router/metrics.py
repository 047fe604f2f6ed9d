"""`/health/live`, `/health/ready` and `/metrics`: what supervisors and Prometheus ask."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pydantic import BaseModel

from router import siblings
from router.inference.reservations.reservations import Reservations
from router.inference.state import InferenceState
from router.routes import routes
from warehouse.base.metrics import OTHER, Counts, Durations

router = routes("operations", prefix="")


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """How the requests beside the hot path went, by route and status."""

    def __init__(self) -> None:
        self.requests = Counts(("method", "route", "status"))
        self.seconds = Durations(("route",))

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request. Args: route: its template.  status: 0 where nothing was answered."""
        self.requests.add(method if method in METHODS else OTHER, route, str(status))
        self.seconds.add(seconds, route)


class RequestCollector(Collector):
    """What `RequestMetrics` has counted, as Prometheus asks for it."""

    def __init__(self, counted: RequestMetrics) -> None:
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "inferhouse_http_requests", "Requests beside the hot path.", labels=["method", "route", "status"]
        )
        for values, count in self._counted.requests.items():
            requests.add_metric(values, count)
        yield requests
        seconds = HistogramMetricFamily("inferhouse_http_seconds", "How long they took.", labels=["route"])
        for values, buckets, total in self._counted.seconds.items():
            seconds.add_metric(values, buckets, total)
        yield seconds


class InferenceCollector(Collector):
    """Reads plain numbers when Prometheus asks, so that a request pays only for an addition."""

    def __init__(self, shared: InferenceState) -> None:
        self._shared = shared

    def collect(self) -> Iterable[Metric]:
        shared, sink = self._shared, self._shared.sink
        requests = CounterMetricFamily("inferhouse_requests", "Usage rows by how they ended.", labels=["endpoint", "status"])
        for (endpoint, status), count in shared.requests.items():
            requests.add_metric([endpoint, status], count)
        yield requests
        refused = CounterMetricFamily("inferhouse_unauthenticated", "Requests without a key in force.", labels=["code"])
        for code, count in shared.refused.items():
            refused.add_metric([code], count)
        yield refused
        tokens = CounterMetricFamily("inferhouse_tokens", "Tokens in usage rows, as engines counted them.", labels=["kind"])
        for kind, count in shared.tokens.items():
            tokens.add_metric([kind], count)
        yield tokens
        lacking, kept = sink.journal.lacking_bytes, sink.journal.file_bytes
        yield GaugeMetricFamily("inferhouse_journal_bytes", "Bytes that the database does not have yet.", lacking)
        yield GaugeMetricFamily("inferhouse_journal_file_bytes", "Bytes of records in the files of the journal.", kept)
        yield GaugeMetricFamily("inferhouse_usage_rows_waiting", "Closed rows not committed yet.", sink.rows_waiting)
        yield CounterMetricFamily("inferhouse_usage_rows_written", "Rows committed.", sink.rows_written)
        yield CounterMetricFamily(
            "inferhouse_usage_rows_refused", "Rows set aside as refused, kept files included.", sink.rows_quarantined
        )
        yield GaugeMetricFamily(
            "inferhouse_journal_files_damaged", "Kept files that could not be read whole.", sink.files_damaged
        )
        up = GaugeMetricFamily("inferhouse_engine_up", "1 where the engine answers its probe.", labels=["engine"])
        in_flight = GaugeMetricFamily("inferhouse_engine_in_flight", "Requests under way.", labels=["engine"])
        for state in shared.engines.states.values():
            up.add_metric([state.engine.name], float(state.healthy))
            in_flight.add_metric([state.engine.name], state.requests)
        yield up
        yield in_flight
        open_ = GaugeMetricFamily("inferhouse_engine_breaker_open", "1 where calls to the engine failed.", labels=["engine"])
        for state in shared.engines.states.values():
            open_.add_metric([state.engine.name], float(state.breaker.is_open))
        yield open_
        yield GaugeMetricFamily("inferhouse_queue_waiting", "Requests that wait for an engine.", shared.dispatcher.waiting)
        yield CounterMetricFamily("inferhouse_canaries_stopped", "Canaries found worse.", shared.dispatcher.canaries_stopped)

        yield from _reservations(shared.reservations)


def _reservations(reservations: Reservations) -> Iterable[Metric]:
    outcomes = CounterMetricFamily("inferhouse_reservations", "Requests under a budget or a limit.", labels=["outcome"])
    for outcome, count in reservations.counts.items():
        outcomes.add_metric([outcome], count)
    yield outcomes
    yield GaugeMetricFamily("inferhouse_reservations_waiting", "Requests that wait for others' holds.", reservations.waiting)
    yield CounterMetricFamily("inferhouse_accounts_opened", "Accounts summed up from rows.", reservations.accounts.openings)
    yield GaugeMetricFamily("inferhouse_redis_up", "1 where Redis is connected.", float(reservations.accounts.line.up))


class Liveness(BaseModel):
    """The process runs."""

    status: Literal["live"] = "live"


class Readiness(BaseModel):
    """Whether requests can be taken; why not, and what is not as it should be although they can, by what it is about."""

    status: Literal["ready", "not ready"]
    reasons: dict[str, str]
    degraded: dict[str, str] | None = None


@router.get("/health/live", response_model=Liveness)
async def live() -> Liveness:
    """The process runs. Touches nothing else, so that a database outage restarts no router."""
    return Liveness()


@router.get("/health/ready", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready."}})
async def ready(request: Request) -> JSONResponse:
    """200 where requests can be taken, else 503 with the reasons."""
    shared: InferenceState = request.app.state.inference
    reasons = shared.not_ready()
    body: dict[str, Any] = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    if degraded := shared.degraded():
        body["degraded"] = degraded
    return JSONResponse(body, 503 if reasons else 200)


class WorkersCollector(Collector):
    """What several workers have counted; `pid` says which, as with prometheus_client's own files of many processes."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        """Args: texts: {process id: its metrics as Prometheus text}."""
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for pid, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    known.add_sample(sample.name, {**sample.labels, "pid": str(pid)}, sample.value)
        return families.values()


def text_of_this_worker(app: FastAPI) -> bytes:
    """What this process has counted, as Prometheus text."""
    registry = CollectorRegistry()
    shared: InferenceState = app.state.inference
    if shared.settings.serves_inference:
        registry.register(InferenceCollector(shared))
    registry.register(RequestCollector(app.state.requests))
    return generate_latest(registry)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus text of all workers behind this port."""
    text = text_of_this_worker(request.app)
    if siblings.has_any():
        registry = CollectorRegistry()
        registry.register(WorkersCollector({os.getpid(): text.decode(), **await siblings.texts_of_others()}))
        text = generate_latest(registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
