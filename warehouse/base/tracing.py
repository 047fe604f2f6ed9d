"""OpenTelemetry traces: off, and then neither loaded nor paid for, unless `main` was given a collector.

A span has a name, a time, and what `attributes` say: routes, statuses, ids. Never a query string, a body, a header or the
text of an exception, for these may hold keys and prompts.
"""

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self

QUEUE_SPANS_MAX = 2048  # waiting for the collector; above it spans are dropped, requests are not kept waiting
EXPORT_S_MAX = 5.0
NAME_CHARACTERS_MAX = 200


class Span(Protocol):
    """What a caller does with a span."""

    def set(self, name: str, value: str | int | float | bool) -> None:
        """An attribute."""

    def failed(self, code: str) -> None:
        """It ended with this error code."""

    @property
    def traceparent(self) -> str | None:
        """The W3C header for what is asked of others on its behalf; None where the span is not recorded."""


class _NoSpan:
    """Tracing is off."""

    traceparent = None

    def set(self, name: str, value: str | int | float | bool) -> None:
        pass

    def failed(self, code: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _RecordedSpan:
    """A span of OpenTelemetry's SDK."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, name: str, value: str | int | float | bool) -> None:
        self._span.set_attribute(name, value)

    def failed(self, code: str) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - loaded only where tracing is on

        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR))

    @property
    def traceparent(self) -> str | None:
        if not self._span.is_recording():
            return None
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


class _Tracing:
    """Where spans go; one a process."""

    def __init__(self, process: str, endpoint: str, share: float) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_S_MAX)
        resource = Resource({"service.name": f"inferhouse-{process}"})
        self._provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS_MAX))
        self._tracer = self._provider.get_tracer("inferhouse")
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def span(self, name: str, traceparent: str | None, attributes: dict[str, Any]) -> Iterator[Span]:
        parent = self._propagator.extract({"traceparent": traceparent}) if traceparent else None
        with self._tracer.start_as_current_span(
            name[:NAME_CHARACTERS_MAX],
            context=parent,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _RecordedSpan(span)

    def close(self) -> None:
        self._provider.shutdown()


_NO_SPAN = _NoSpan()
_tracing: _Tracing | None = None


def configure(process: str, endpoint: str | None, share: float = 1.0) -> None:
    """Send spans to an OTLP/HTTP collector, or, without an endpoint, make none. Called once, in `main`.

    Args: endpoint: base URL such as `http://collector:4318`.  share: of the traces that begin here, within [0, 1]; a trace
        that the caller began is recorded when the caller says so in `traceparent`.
    """
    global _tracing  # noqa: PLW0603 - as logging, tracing is of the whole process
    close()
    _tracing = _Tracing(process, endpoint, share) if endpoint else None


def close() -> None:
    """Send what waits, and stop."""
    global _tracing  # noqa: PLW0603
    if _tracing is not None:
        _tracing.close()
        _tracing = None


def on() -> bool:
    """Whether spans are made at all."""
    return _tracing is not None


class _Opened(Protocol):
    def __enter__(self) -> Span: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


def span(name: str, *, traceparent: str | None = None, **attributes: str | int | float | bool) -> _Opened:
    """`with span("POST /v1/x") as opened`. Args: traceparent: the W3C header of the request, if it had one."""
    return _NO_SPAN if _tracing is None else _tracing.span(name, traceparent, attributes)
