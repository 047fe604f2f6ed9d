"""vLLM's metrics are read as they are printed."""

from datetime import UTC, datetime

import pytest

from engines.load import EngineLoad, MetricsUnreadable, parse_load

# As vLLM 0.32 prints them, with two data-parallel parts.
TEXT = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a model {1}"} 3.0
vllm:num_requests_running{engine="1",model_name="a model {1}"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a model {1}"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="a model {1}"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a model {1}"} 0.75
vllm:prompt_tokens_total{engine="0",model_name="a model {1}"} 1.000001e+06
vllm:prompt_tokens_created{engine="0",model_name="a model {1}"} 1.7e+09
vllm:prompt_tokens_cached_total{engine="0",model_name="a model {1}"} 64.0
vllm:generation_tokens_total{engine="0",model_name="a model {1}"} 512.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="a model {1}"} 4.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="a model {1}"} 1.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="a model {1}"} 2.0
vllm:num_preemptions_total{engine="0",model_name="a model {1}"} 3.0
vllm:num_preemptions_total{engine="1",model_name="a model {1}"} 1.0
vllm:prefix_cache_queries_total{engine="0",model_name="a model {1}"} 1.000001e+06
vllm:prefix_cache_hits_total{engine="0",model_name="a model {1}"} 64.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="a model {1}"} 7.0
vllm:e2e_request_latency_seconds_sum{engine="0",model_name="a model {1}"} 12.5
vllm:request_queue_time_seconds_sum{engine="0",model_name="a model {1}"} 0.25
vllm:estimated_flops_per_gpu_total{engine="0",model_name="a model {1}"} 7.5e+21
process_start_time_seconds 1.7672256005e+09
process_resident_memory_bytes 1.0e+09
"""


def test_parts_are_summed_and_the_fullest_cache_counts() -> None:
    assert parse_load(TEXT) == EngineLoad(
        running=5,
        waiting=7,
        kv_cache_usage=0.75,
        prompt_tokens=1_000_001,
        cached_tokens=64,
        generation_tokens=512,
        finished={"stop": 5, "abort": 2},
        preemptions=4,
        prefix_cache_queries=1_000_001,
        prefix_cache_hits=64,
        queue_us=250_000,
        request_us=12_500_000,
        started_at=datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
    )


SGLANG = """\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m"} 5.0
sglang:num_queue_reqs{model_name="m"} 2.0
sglang:token_usage{model_name="m"} 0.28
sglang:prompt_tokens_total{model_name="m"} 8128902.0
sglang:generation_tokens_total{model_name="m"} 7557572.0
sglang:cached_tokens_total{cache_source="device",model_name="m"} 900.0
sglang:cached_tokens_total{cache_source="host",model_name="m"} 100.0
sglang:num_requests_total{model_name="m"} 40.0
sglang:e2e_request_latency_seconds_sum{model_name="m"} 3.5
"""


def test_sglang_is_read_by_its_own_names() -> None:
    load = parse_load(SGLANG)
    assert (load.running, load.waiting, load.kv_cache_usage) == (5, 2, 0.28)
    assert (load.prompt_tokens, load.generation_tokens, load.cached_tokens) == (8_128_902, 7_557_572, 1000)
    assert (load.prefix_cache_queries, load.prefix_cache_hits, load.finished) == (8_128_902, 1000, {"stop": 40})
    assert (load.request_us, load.started_at) == (3_500_000, None)


@pytest.mark.parametrize(
    ("true", "absurd"), [("512.0", "-1"), ("512.0", "1e30"), ("12.5", "1e18"), ("0.75", "1.5"), ("4.0", "-4")]
)
def test_counts_that_cannot_be_are_refused(true: str, absurd: str) -> None:
    with pytest.raises(MetricsUnreadable, match="no such count"):
        parse_load(TEXT.replace(f" {true}\n", f" {absurd}\n"))


@pytest.mark.parametrize("seconds", ["0", "1e11"])
def test_a_start_that_is_no_instant_is_none(seconds: str) -> None:
    assert parse_load(TEXT.replace("1.7672256005e+09", seconds)).started_at is None


def test_other_texts_are_refused_by_name() -> None:
    with pytest.raises(MetricsUnreadable, match="vllm:num_requests_running"):
        parse_load("up 1\n")
    with pytest.raises(MetricsUnreadable, match="vllm:num_requests_running"):
        parse_load(TEXT.replace("3.0", "three"))
    with pytest.raises(MetricsUnreadable, match="finite"):
        parse_load(TEXT.replace("3.0", "NaN"))
    with pytest.raises(MetricsUnreadable, match="generation_tokens"):
        parse_load(TEXT.replace("vllm:generation_tokens_total", "vllm:other"))
