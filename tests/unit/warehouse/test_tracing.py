"""Traces cost nothing where they are off, and tell only what is given to them."""

import subprocess
import sys

import pytest

from tests.integration.router.evidence import Collector
from warehouse.base import tracing


def test_without_a_collector_nothing_is_loaded() -> None:
    program = (
        "import sys, router.__main__; from warehouse.base import tracing; tracing.configure('router', None);"
        "print(*(name for name in ('opentelemetry.sdk', 'opentelemetry.exporter', 'requests') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_span_that_is_off_takes_everything_and_is_nothing() -> None:
    assert not tracing.on()
    with tracing.span("x", traceparent="nonsense") as span:
        span.set("http.route", "/")
        span.failed("internal_error")
        assert span.traceparent is None


@pytest.mark.parametrize(("flags", "recorded"), [("01", True), ("00", False)])
def test_the_caller_says_whether_its_trace_is_recorded(flags: str, *, recorded: bool) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    collector = Collector()
    tracing.configure("test", collector.url, share=0.0)
    try:
        with tracing.span("x", traceparent=f"00-{trace}-b7ad6b7169203331-{flags}") as span:
            assert (span.traceparent is not None) == recorded
            if span.traceparent is not None:
                assert span.traceparent.split("-")[1] == trace
                assert span.traceparent.split("-")[2] != "b7ad6b7169203331", "a span of ours, below the caller's"
        with tracing.span("y") as other:
            assert other.traceparent is None, "a share of 0 begins no trace"
        with tracing.span("z", traceparent="00-nonsense") as wrong:
            assert wrong.traceparent is None
    finally:
        tracing.close()
        collector.close()
    assert bool(collector.received) == recorded
