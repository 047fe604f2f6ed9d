"""Reads /metrics of every engine at once: bounded in time, size and number."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

import psycopg

from engines.load import EngineLoad, MetricsUnreadable, parse_load
from warehouse.access import engine_samples
from warehouse.access.engine_samples import EngineSample, Target
from warehouse.base.clock import now

READ_S_MAX = 3.0  # for an engine's whole answer; one that takes longer to say how it is is not well
TICK_S_MAX = 20.0  # for all of them: Dagster gives a sensor 60 s
ENGINES_MAX = 1000
AT_ONCE_MAX = 32
TEXT_BYTES_MAX = 4 * 1024 * 1024  # vLLM prints some 60 KiB for a model
PIECE_BYTES = 64 * 1024
OK = 200
Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of one round: how many engines were read, and why each of the others was not."""

    read: int
    unread: dict[str, str]

    def __str__(self) -> str:
        said = "".join(f"; {name}: {why}" for name, why in sorted(self.unread.items()))
        return f"read {self.read} engines{said}"


class NotRead(Exception):
    """Why an engine was not read."""


def sample_engines(connect: Connect) -> Sampled:
    """Read every engine that has counters, and keep what they say in one transaction."""
    with connect() as conn:
        targets = engine_samples.targets(conn, rows_max=ENGINES_MAX)
    samples, unread = _read_all(targets)
    if samples:
        with connect() as conn:
            engine_samples.add(conn, samples)
    return Sampled(len(samples), unread)


def _read_all(targets: Sequence[Target]) -> tuple[list[EngineSample], dict[str, str]]:
    pool = ThreadPoolExecutor(AT_ONCE_MAX, thread_name_prefix="engine-sample")
    reads = {pool.submit(_sample, target): target for target in targets}
    done, late = wait(reads, timeout=TICK_S_MAX)
    pool.shutdown(wait=False, cancel_futures=True)  # a name that is looked up for ever keeps a thread, and not the round
    samples, unread = [], {reads[read].name: "there was no time for it" for read in late}
    for read in done:
        try:
            samples.append(read.result())
        except NotRead as why:
            unread[reads[read].name] = str(why)
    return samples, unread


def _sample(target: Target) -> EngineSample:
    """Raises: NotRead."""
    try:
        text = read_metrics(target.base_url)
        load = parse_load(text)
    except MetricsUnreadable as error:
        raise NotRead(str(error)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise NotRead(f"no answer: {type(error).__name__}") from error
    return sample_of(target, load)


def sample_of(target: Target, load: EngineLoad) -> EngineSample:
    """The row of a reading, taken now."""
    return EngineSample(
        engine_id=target.id,
        sampled_at=now(),
        started_at=load.started_at,
        prompt_tokens=load.prompt_tokens,
        cached_tokens=load.cached_tokens,
        generation_tokens=load.generation_tokens,
        prefix_cache_queries=load.prefix_cache_queries,
        prefix_cache_hits=load.prefix_cache_hits,
        requests_finished=sum(load.finished.values()),
        requests_aborted=load.finished.get("abort", 0),
        preemptions=load.preemptions,
        queue_us=load.queue_us,
        request_us=load.request_us,
        running=load.running,
        waiting=load.waiting,
        kv_cache_usage=Decimal(f"{load.kv_cache_usage:.6f}"),
        gpus=target.gpus,
        gpu_hour_picousd=target.gpu_hour_picousd,
    )


def read_metrics(base_url: str) -> str:
    """The text of an engine's /metrics. No redirect is followed, no proxy asked.

    Raises: NotRead: it said something else, or too much, or took too long.  OSError, HTTPException: the connection failed.
    """
    until = time.monotonic() + READ_S_MAX
    parts = urlsplit(base_url)
    connection_type = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(connection_type(parts.hostname or "", parts.port, timeout=READ_S_MAX)) as connection:
        connection.request("GET", f"{parts.path}/metrics", headers={"accept": "text/plain", "connection": "close"})
        with connection.getresponse() as answer:
            if answer.status != OK:
                raise NotRead(f"answered {answer.status}")
            return _text(answer, until)


def _text(answer: HTTPResponse, until: float) -> str:
    pieces, size = [], 0
    while piece := answer.read1(PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > TEXT_BYTES_MAX:
            raise NotRead(f"said more than {TEXT_BYTES_MAX} bytes")
        if time.monotonic() > until:
            raise NotRead(f"took longer than {READ_S_MAX:g} s")
    return b"".join(pieces).decode()
