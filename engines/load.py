"""/metrics text of vLLM, or of the simulated engine, -> how busy it is and what it has counted. Pure."""

import math
from dataclasses import dataclass, field

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_CACHE = "vllm:kv_cache_usage_perc"
PROMPT = "vllm:prompt_tokens_total"
CACHED = "vllm:prompt_tokens_cached_total"
GENERATION = "vllm:generation_tokens_total"
FINISHED = "vllm:request_success_total"
NEEDED = (RUNNING, WAITING, PROMPT, GENERATION)


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


class MetricsUnreadable(ValueError):
    """The text is not what vLLM prints."""


def parse_load(text: str) -> EngineLoad:
    """Sums over models and data-parallel parts (label `engine`).

    Raises: MetricsUnreadable: a metric that every vLLM has is missing, or a value is no number.
    Source: names as in vLLM 0.32, vllm/v1/metrics/loggers.py.
    """
    sums: dict[str, float] = {}
    finished: dict[str, float] = {}
    kv_cache_usage = 0.0
    for line in text.splitlines():
        if not line.startswith("vllm:"):
            continue
        name, labels, value = _split(line)
        if name == KV_CACHE:
            kv_cache_usage = max(kv_cache_usage, value)
        elif name == FINISHED:
            reason = _label(labels, "finished_reason")
            finished[reason] = finished.get(reason, 0) + value
        else:
            sums[name] = sums.get(name, 0) + value
    for name in NEEDED:
        if name not in sums:
            raise MetricsUnreadable(f"{name} is missing")
    return EngineLoad(
        running=int(sums[RUNNING]),
        waiting=int(sums[WAITING]),
        kv_cache_usage=kv_cache_usage,
        prompt_tokens=int(sums[PROMPT]),
        cached_tokens=int(sums.get(CACHED, 0)),
        generation_tokens=int(sums[GENERATION]),
        finished={reason: int(count) for reason, count in finished.items()},
    )


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
