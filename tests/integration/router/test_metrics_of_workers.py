"""A scrape of a router with several workers shows all of them, whichever it reaches."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.integration.router.conftest import Stack

REPLACED_S_MAX = 60


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_WORKERS": "2"}


def samples(stack: Stack, name: str) -> list[Sample]:
    return list(_samples(httpx.get(stack.router.url + "/metrics").text, name))


def _samples(text: str, name: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from (sample for sample in family.samples if sample.name == name)


def pids(stack: Stack) -> set[int]:
    """Of the workers that a scrape shows."""
    return {int(sample.labels["pid"]) for sample in samples(stack, "inferhouse_redis_up")}


def two(stack: Stack, *, without: int = 0) -> set[int]:
    """Those of both workers, once they are there."""
    deadline = time.monotonic() + REPLACED_S_MAX
    while len(now := pids(stack) - {without}) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return now


def test_each_worker_is_in_every_scrape(stack: Stack, hello: dict[str, Any]) -> None:
    both = two(stack)
    for _ in range(40):  # each on a connection of its own
        assert stack.post(hello).status_code == 200
    for _ in range(10):
        counted = samples(stack, "inferhouse_requests_total")
        assert sum(sample.value for sample in counted) == 40
        assert pids(stack) == both
    text = httpx.get(stack.router.url + "/metrics").text
    assert text.count("# TYPE inferhouse_requests_total counter") == 1
    assert text.count("# HELP inferhouse_http_seconds ") == 1


def test_a_worker_that_has_died_is_in_no_scrape_and_one_that_hangs_holds_up_none(stack: Stack) -> None:
    dies, stays = two(stack)
    os.kill(dies, signal.SIGKILL)
    (new,) = two(stack, without=dies) - {stays}
    os.kill(new, signal.SIGSTOP)
    try:
        for _ in range(3):  # the other one accepts them all
            assert pids(stack) == {stays}
    finally:
        os.kill(new, signal.SIGCONT)
    assert two(stack) == {stays, new}
