"""vLLM's metrics are read as they are printed."""

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
    )


def test_other_texts_are_refused_by_name() -> None:
    with pytest.raises(MetricsUnreadable, match="vllm:num_requests_running"):
        parse_load("up 1\n")
    with pytest.raises(MetricsUnreadable, match="vllm:num_requests_running"):
        parse_load(TEXT.replace("3.0", "three"))
    with pytest.raises(MetricsUnreadable, match="finite"):
        parse_load(TEXT.replace("3.0", "NaN"))
    with pytest.raises(MetricsUnreadable, match="generation_tokens"):
        parse_load(TEXT.replace("vllm:generation_tokens_total", "vllm:other"))
