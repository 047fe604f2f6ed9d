"""What is tested against the simulated engine holds for real vLLM: same keys, same chunks, same usage, same errors."""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from engines.load import parse_load
from tests.processes import running, simulated_engine
from tests.services import free_port

HELLO = [{"role": "user", "content": "hello, whole world"}]
CALLS = {
    "/v1/chat/completions": {"messages": HELLO, "max_tokens": 4, "ignore_eos": True},
    "/v1/completions": {"prompt": "hello, whole world", "max_tokens": 4, "ignore_eos": True},
}
STREAM_OPTIONS: list[Any] = [
    None,
    {"include_usage": True},
    {"include_usage": True, "continuous_usage_stats": True},
    {"include_usage": False, "continuous_usage_stats": True},
]
ABSENT = object()
# (what is wrong, body over a good one); the messages differ, all that a program reads does not.
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("no messages", {"messages": ABSENT}),
    ("empty messages", {"messages": []}),
    ("limit of the wrong type", {"max_tokens": "many"}),
    ("limit below one", {"max_tokens": 0}),
    ("limit above the context", {"max_tokens": 10**6}),
    ("options without a stream", {"stream_options": {"include_usage": True}}),
    ("empty stop", {"stop": [""]}),
    ("other model", {"model": "no-such-model"}),
    ("prompt above the context", {"messages": [{"role": "user", "content": "many words " * 2000}]}),
]


@pytest.fixture(scope="module")
def vllm(stack: Mapping[str, str]) -> tuple[str, str]:
    """(address, model) of the real engine."""
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"]) as conn:
        row = conn.execute(
            "select e.base_url, m.name from control.engines as e inner join control.models as m on m.id = e.model_id "
            "where e.kind = 'vllm' and e.enabled"
        ).fetchone()
    assert row is not None, "there is no vLLM on this machine, and the end-to-end tests need it"
    return row[0], row[1]


@pytest.fixture(scope="module")
def simulated(vllm: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, model) of a simulated engine under the same name, with the flag that vLLM is started with."""
    log = tmp_path_factory.mktemp("engine") / "log"
    flags = ("--model", vllm[1], "--force-include-usage", "--context-tokens-max", "2048")
    with running(simulated_engine(free_port(), log, *flags)) as server:
        yield server.url, vllm[1]


def shape(value: object) -> object:
    """Keys and kinds, without the values."""
    match value:
        case dict():
            return {key: shape(item) for key, item in sorted(value.items())}
        case list():
            return [shape(item) for item in value]
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return value


def chunks_of(engine: tuple[str, str], path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The chunks of a stream, which must end in `[DONE]`."""
    answer = httpx.post(engine[0] + path, json={"model": engine[1], "stream": True, **body}, timeout=120)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("path", list(CALLS))
def test_answers_in_one_piece_have_the_same_keys(vllm: tuple[str, str], simulated: tuple[str, str], path: str) -> None:
    real, ours = (
        httpx.post(url + path, json={"model": model, **CALLS[path]}, timeout=120).raise_for_status().json()
        for url, model in (vllm, simulated)
    )
    assert shape(ours) == shape(real)
    assert ours["usage"]["completion_tokens"] == real["usage"]["completion_tokens"] == 4
    assert ours["choices"][0]["finish_reason"] == real["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("options", STREAM_OPTIONS, ids=str)
@pytest.mark.parametrize("path", list(CALLS))
def test_streams_have_the_same_chunks(vllm: tuple[str, str], simulated: tuple[str, str], path: str, options: Any) -> None:
    """Several tokens may share a chunk when vLLM is busy, so runs of chunks of one shape count as one."""
    body = {**CALLS[path], "stream_options": options}
    real, ours = (chunks_of(engine, path, body) for engine in (vllm, simulated))
    kinds = [[kind for kind, _ in itertools.groupby(shape(chunk) for chunk in chunks)] for chunks in (ours, real)]
    assert kinds[0] == kinds[1]
    for chunks in (ours, real):
        # --enable-force-include-usage: whatever was asked, every chunk counts, and the last one counts all.
        assert all("usage" in chunk for chunk in chunks)
        assert not chunks[-1]["choices"]
        assert chunks[-1]["usage"]["completion_tokens"] == 4
        assert chunks[-2]["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize(("what", "wrong"), WRONG, ids=[what for what, _ in WRONG])
def test_errors_have_the_same_status_and_fields(
    vllm: tuple[str, str], simulated: tuple[str, str], what: str, wrong: dict[str, Any]
) -> None:
    body = {name: value for name, value in {**CALLS["/v1/chat/completions"], **wrong}.items() if value is not ABSENT}
    answers = [
        httpx.post(f"{url}/v1/chat/completions", json={"model": model, **body}, timeout=120) for url, model in (simulated, vllm)
    ]
    ours, real = (
        (answer.status_code, {key: value for key, value in answer.json()["error"].items() if key != "message"})
        for answer in answers
    )
    assert ours == real


def test_metrics_have_the_names_and_labels_of_vllm(vllm: tuple[str, str], simulated: tuple[str, str]) -> None:
    def series(engine: tuple[str, str]) -> set[str]:
        text = httpx.get(f"{engine[0]}/metrics").raise_for_status().text
        samples = [line.rpartition(" ")[0] for line in text.splitlines() if line.startswith("vllm:")]
        return {sample for sample in samples if "_bucket" not in sample or 'le="1.0"' in sample or 'le="+Inf"' in sample}

    assert series(simulated) <= series(vllm)


def test_vllm_counts_in_its_metrics_what_it_says_in_usage(vllm: tuple[str, str]) -> None:
    """What reconciliation rests on: nobody else may be calling this engine meanwhile."""
    before = parse_load(httpx.get(f"{vllm[0]}/metrics").text)
    usage = chunks_of(vllm, "/v1/chat/completions", CALLS["/v1/chat/completions"])[-1]["usage"]
    after = parse_load(httpx.get(f"{vllm[0]}/metrics").text)
    assert after.generation_tokens - before.generation_tokens == usage["completion_tokens"]
    assert after.prompt_tokens - before.prompt_tokens == usage["prompt_tokens"]


def test_vllm_stops_generating_when_the_client_leaves(vllm: tuple[str, str], tmp_path: Path) -> None:
    """The last running count that the client saw is what the engine has generated, give or take what was on its way."""
    url, model = vllm
    body = {"model": model, "messages": HELLO, "max_tokens": 1500, "ignore_eos": True, "stream": True}
    before = parse_load(httpx.get(f"{url}/metrics").text)
    seen = 0
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                seen = json.loads(line.removeprefix("data: "))["usage"]["completion_tokens"]
            if seen >= 20:
                break
    settled = None
    for _ in range(100):
        load = parse_load(httpx.get(f"{url}/metrics").text)
        if load.running == 0 and load == settled:
            break
        settled = load
    assert load.running == 0
    assert seen <= load.generation_tokens - before.generation_tokens < seen + 100
