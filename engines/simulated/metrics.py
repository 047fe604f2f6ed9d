"""Counters under vLLM's names, printed as Prometheus text. Names, labels and buckets as vLLM 0.32 has them."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

FINISHED_REASONS = ("stop", "length", "abort", "error")
FIRST_TOKEN_BUCKETS_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
REQUEST_BUCKETS_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0,
    40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip


class Histogram:
    """Seconds, in cumulative buckets when printed."""

    def __init__(self, buckets: Sequence[float]) -> None:
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._buckets, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, model: str) -> Iterator[str]:
        total = 0
        for bound, count in zip((*map(str, self._buckets), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{engine="0",le="{bound}",model_name="{model}"}} {total}'
        yield f'{name}_sum{{engine="0",model_name="{model}"}} {self._sum}'
        yield f'{name}_count{{engine="0",model_name="{model}"}} {total}'


class Metrics:
    """The counters of one engine that serves one model."""

    def __init__(self, model: str) -> None:
        self._model = model.replace("\\", r"\\").replace('"', r"\"")
        self.started_s = time.time()
        self.running = 0
        self.waiting = 0
        self.held_tokens = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.finished = dict.fromkeys(FINISHED_REASONS, 0)
        self.first_token = Histogram(FIRST_TOKEN_BUCKETS_S)
        self.queue = Histogram(REQUEST_BUCKETS_S)
        self.request = Histogram(REQUEST_BUCKETS_S)

    def text(self, kv_cache_tokens: int) -> str:
        """Prometheus text. `kv_cache_tokens` is the size of the cache that the gauge is a part of."""
        usage = min(1.0, self.held_tokens / kv_cache_tokens)
        return "\n".join([*self._numbers(usage), *self._histograms()]) + "\n"

    def _numbers(self, usage: float) -> Iterator[str]:
        gauges = {
            "vllm:num_requests_running": self.running,
            "vllm:num_requests_waiting": self.waiting,
            "vllm:kv_cache_usage_perc": usage,
        }
        counters = {
            "vllm:prompt_tokens": self.prompt_tokens,
            "vllm:prompt_tokens_cached": self.cached_tokens,
            "vllm:prefix_cache_queries": self.prompt_tokens,
            "vllm:prefix_cache_hits": self.cached_tokens,
            "vllm:generation_tokens": self.generation_tokens,
            "vllm:num_preemptions": 0,
        }
        yield "# TYPE process_start_time_seconds gauge"
        yield f"process_start_time_seconds {self.started_s:.2f}"
        for name, value in gauges.items():
            yield f"# TYPE {name} gauge"
            yield f'{name}{{engine="0",model_name="{self._model}"}} {float(value)}'
        for name, count in counters.items():
            yield f"# TYPE {name}_total counter"
            yield f'{name}_total{{engine="0",model_name="{self._model}"}} {count}'
        yield "# TYPE vllm:request_success_total counter"
        for reason, count in self.finished.items():
            labels = f'engine="0",finished_reason="{reason}",model_name="{self._model}"'
            yield f"vllm:request_success_total{{{labels}}} {count}"

    def _histograms(self) -> Iterator[str]:
        histograms = {
            "vllm:time_to_first_token_seconds": self.first_token,
            "vllm:request_queue_time_seconds": self.queue,
            "vllm:e2e_request_latency_seconds": self.request,
        }
        for name, histogram in histograms.items():
            yield f"# TYPE {name} histogram"
            yield from histogram.lines(name, self._model)
