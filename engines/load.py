"""/metrics text of vLLM, of the simulated engine or of SGLang -> how busy it is and what it has counted. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

PROCESS_START = "process_start_time_seconds"
VLLM_FINISHED = "vllm:request_success_total"
MICROSECONDS = 1_000_000
LAST_SECOND = 2**36  # a start beyond it is no instant that a database keeps
COUNT_LIMIT = 2**62  # a database's bigint holds it, of microseconds too


@dataclass(frozen=True, slots=True)
class Names:
    """What an engine calls each thing; a sum of seconds ends in `_sum`. Those of `needed` every version prints."""

    running: str
    waiting: str
    kv_cache_usage: str
    prompt_tokens: str
    cached_tokens: str
    generation_tokens: str
    preemptions: str
    prefix_cache_queries: str
    prefix_cache_hits: str
    queue: str
    request: str
    finished: Mapping[str, str] = field(default_factory=dict)  # of an engine that has a counter for each reason

    @property
    def read(self) -> frozenset[str]:
        """What is looked at. Of what else an engine prints, some is beyond any count: bytes read, operations done."""
        named = {getattr(self, name) for name in self.__slots__ if name != "finished"}
        return frozenset({PROCESS_START, VLLM_FINISHED, *named, *self.finished.values()})

    @property
    def needed(self) -> tuple[str, ...]:
        """Without these it is no such engine."""
        return self.running, self.waiting, self.prompt_tokens, self.generation_tokens


VLLM = Names(
    running="vllm:num_requests_running",
    waiting="vllm:num_requests_waiting",
    kv_cache_usage="vllm:kv_cache_usage_perc",
    prompt_tokens="vllm:prompt_tokens_total",
    cached_tokens="vllm:prompt_tokens_cached_total",
    generation_tokens="vllm:generation_tokens_total",
    preemptions="vllm:num_preemptions_total",
    prefix_cache_queries="vllm:prefix_cache_queries_total",
    prefix_cache_hits="vllm:prefix_cache_hits_total",
    queue="vllm:request_queue_time_seconds_sum",
    request="vllm:e2e_request_latency_seconds_sum",
)
SGLANG = Names(
    running="sglang:num_running_reqs",
    waiting="sglang:num_queue_reqs",
    kv_cache_usage="sglang:token_usage",
    prompt_tokens="sglang:prompt_tokens_total",
    cached_tokens="sglang:cached_tokens_total",
    generation_tokens="sglang:generation_tokens_total",
    preemptions="sglang:num_retracted_requests_total",
    prefix_cache_queries="sglang:prompt_tokens_total",
    prefix_cache_hits="sglang:cached_tokens_total",
    queue="sglang:queue_time_seconds_sum",
    request="sglang:e2e_request_latency_seconds_sum",
    finished={"stop": "sglang:num_requests_total", "abort": "sglang:num_aborted_requests_total"},
)


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """One reading. Requests and tokens are whole numbers; totals count from the start of the engine's process."""

    running: int
    waiting: int
    kv_cache_usage: float  # 0 to 1, of the fullest of its data-parallel parts
    prompt_tokens: int
    cached_tokens: int  # part of prompt_tokens
    generation_tokens: int
    finished: dict[str, int] = field(default_factory=dict)  # by reason: stop, length, abort, error
    preemptions: int = 0
    prefix_cache_queries: int = 0  # tokens looked up in the prefix cache
    prefix_cache_hits: int = 0  # tokens found there
    queue_us: int = 0  # of all requests together, as is request_us
    request_us: int = 0
    started_at: datetime | None = None  # of the process; None where it does not say (several servers behind one port)


class MetricsUnreadable(ValueError):
    """The text is not what vLLM or SGLang prints."""


def parse_load(text: str) -> EngineLoad:
    """Sums over models and data-parallel parts (label `engine`).

    Raises: MetricsUnreadable: a metric that every such engine has is missing, or a value is no number.
    Source: names as in vLLM 0.32, vllm/v1/metrics/loggers.py, and as in SGLang's production metrics.
    """
    names = SGLANG if "\nsglang:" in f"\n{text}" else VLLM
    read = names.read
    sums: dict[str, float] = {}
    finished: dict[str, float] = {}
    kv_cache_usage = 0.0
    for line in text.splitlines():
        if line.partition(" ")[0].partition("{")[0] not in read:
            continue
        name, labels, value = _split(line)
        if name == names.kv_cache_usage:
            kv_cache_usage = max(kv_cache_usage, value)
        elif name == VLLM_FINISHED:
            reason = _label(labels, "finished_reason")
            finished[reason] = finished.get(reason, 0) + value
        else:
            sums[name] = sums.get(name, 0) + value
    for name in names.needed:
        if name not in sums:
            raise MetricsUnreadable(f"{name} is missing")
    finished |= {reason: sums[name] for reason, name in names.finished.items() if name in sums}
    absurd = [name for name, value in (sums | finished).items() if not 0 <= value * MICROSECONDS < COUNT_LIMIT]
    if absurd or not 0 <= kv_cache_usage <= 1:
        raise MetricsUnreadable(f"{(*absurd, names.kv_cache_usage)[0]} is no such count")
    return EngineLoad(
        running=int(sums[names.running]),
        waiting=int(sums[names.waiting]),
        kv_cache_usage=kv_cache_usage,
        prompt_tokens=int(sums[names.prompt_tokens]),
        cached_tokens=int(sums.get(names.cached_tokens, 0)),
        generation_tokens=int(sums[names.generation_tokens]),
        finished={reason: int(count) for reason, count in finished.items()},
        preemptions=int(sums.get(names.preemptions, 0)),
        prefix_cache_queries=int(sums.get(names.prefix_cache_queries, 0)),
        prefix_cache_hits=int(sums.get(names.prefix_cache_hits, 0)),
        queue_us=int(sums.get(names.queue, 0) * MICROSECONDS),
        request_us=int(sums.get(names.request, 0) * MICROSECONDS),
        started_at=_instant(sums.get(PROCESS_START)),
    )


def _instant(seconds: float | None) -> datetime | None:
    if seconds is None or not 0 < seconds < LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _split(line: str) -> tuple[str, str, float]:
    """(name, labels, value) of a sample line; label values may hold blanks and braces."""
    head, _, rest = line.rpartition("}") if "{" in line else line.partition(" ")
    name, _, labels = head.partition("{")
    value_text = rest.split()[0] if rest.split() else ""
    try:
        value = float(value_text)
    except ValueError as error:
        raise MetricsUnreadable(f"{name}: {value_text!r} is no number") from error
    if not math.isfinite(value):
        raise MetricsUnreadable(f"{name}: {value_text!r} is no finite number")
    return name, labels, value


def _label(labels: str, name: str) -> str:
    return labels.partition(f'{name}="')[2].partition('"')[0]
