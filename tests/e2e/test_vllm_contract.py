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
from router.inference.shapes import SHAPES, Call, Reading, Tap
from router.inference.shapes.call import JSON_DEPTH_MAX
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
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"sky": {"type": "string", "enum": ["blue", "grey"]}}, "required": ["sky"]}
SKY = {"type": "json_schema", "json_schema": {"name": "sky", "schema": SCHEMA}}
# (what is asked for, path, body)
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("chat", "/v1/chat/completions", {"messages": HELLO}),
    ("capped chat", "/v1/chat/completions", {"messages": HELLO, "max_tokens": 4}),
    ("two choices", "/v1/chat/completions", {"messages": HELLO, "n": 2, "temperature": 1}),
    ("tools at hand", "/v1/chat/completions", {"messages": HELLO, "tools": [TOOL], "tool_choice": "none"}),
    ("json_schema", "/v1/chat/completions", {"messages": HELLO, "response_format": SKY, "max_tokens": 40}),
    ("log-probabilities", "/v1/chat/completions", {"messages": HELLO, "logprobs": True, "top_logprobs": 2}),
    ("completion", "/v1/completions", {"prompt": "hello, whole world"}),
    ("two prompts, two choices", "/v1/completions", {"prompt": ["hello", "whole world"], "n": 2, "temperature": 1}),
    ("log-probabilities of a completion", "/v1/completions", {"prompt": "hello", "logprobs": 2, "echo": True}),
    ("response", "/v1/responses", {"input": "hello, whole world"}),
    ("response to messages", "/v1/responses", {"input": HELLO, "instructions": "be brief", "max_output_tokens": 4}),
    ("message", "/v1/messages", {"messages": HELLO, "max_tokens": 4, "system": "be brief"}),
    ("message without a cap", "/v1/messages", {"messages": HELLO, "max_tokens": None}),
]
CAP_TOKENS = 7


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


def ask(engine: tuple[str, str], path: str, body: Mapping[str, Any]) -> tuple[Call, httpx.Response]:
    """The engine's answer to a body as the router would send it: under another model's name, capped, usage asked for."""
    shape = SHAPES[path]
    sent = json.dumps({"model": "an alias", **body, "x_unknown": "passes"}).encode()[:-1] + b',"x_number":1e400}'
    call = shape.parse(sent)
    prepared = shape.prepare(sent, call, model=engine[1], output_tokens_max=CAP_TOKENS)
    headers = {"content-type": "application/json"}
    return call, httpx.post(engine[0] + path, content=prepared, headers=headers, timeout=120)


def counters(engine: tuple[str, str]) -> tuple[float, float]:
    load = parse_load(httpx.get(f"{engine[0]}/metrics").raise_for_status().text)
    return load.prompt_tokens, load.generation_tokens


def assert_counted(engine: tuple[str, str], before: tuple[float, float], reading: Reading) -> None:
    """What was read is what the engine says in its metrics that it has done."""
    assert reading.usage is not None
    prompt, generated = (now - then for now, then in zip(counters(engine), before, strict=True))
    assert (reading.usage.prompt_tokens, reading.usage.completion_tokens) == (prompt, generated)


@pytest.mark.parametrize(("what", "path", "body"), ASKED, ids=[what for what, _, _ in ASKED])
def test_whole_answers_of_vllm_are_read_as_it_counts(vllm: tuple[str, str], what: str, path: str, body: dict[str, Any]) -> None:
    before = counters(vllm)
    call, answer = ask(vllm, path, body)
    assert answer.status_code == 200, answer.text
    reading = SHAPES[path].read(answer.content, call)
    assert reading.finish_reason in {"stop", "length"}
    if call.output_tokens_max is None:
        assert reading.usage is not None
        assert reading.usage.completion_tokens <= CAP_TOKENS * call.choices
    if call.choices == 1:  # of several choices vLLM's metrics count the prompt of each, its usage that of one
        assert_counted(vllm, before, reading)


@pytest.mark.parametrize(("what", "path", "body"), ASKED, ids=[what for what, _, _ in ASKED])
def test_streams_of_vllm_are_read_as_it_counts(vllm: tuple[str, str], what: str, path: str, body: dict[str, Any]) -> None:
    before = counters(vllm)
    call, answer = ask(vllm, path, {**body, "stream": True})
    assert answer.status_code == 200, answer.text
    tap, broken = (SHAPES[path].tap(call) for _ in range(2))
    assert tap is not None
    assert broken is not None
    passed = tap.feed(answer.content)
    assert tap.done
    assert not tap.engine_error
    assert tap.reading.finish_reason in {"stop", "length"}
    if call.choices == 1:
        assert_counted(vllm, before, tap.reading)
    if SHAPES[path].has_options:
        assert b'"usage"' not in passed
        assert tap.tail == b"data: [DONE]\n\n"
        # Without its last two events, the usage of all and the end, the running counts say the same.
        broken.feed(b"".join(event + b"\n\n" for event in answer.content.split(b"\n\n")[:-3]))
        assert not broken.done
        assert_same_tokens(broken, tap)
    else:
        assert passed + tap.tail == answer.content
        assert tap.reading.usage is not None
        # A piece for each token, but for those without text, as the last one often is.
        assert 0 < tap.pieces <= tap.reading.usage.completion_tokens


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/tokenize"])
def test_messages_and_counts_have_the_same_keys(vllm: tuple[str, str], simulated: tuple[str, str], path: str) -> None:
    body = {"messages": HELLO} | ({"max_tokens": 4} if path == "/v1/messages" else {})
    ours, real = (ask(engine, path, body)[1].raise_for_status().json() for engine in (simulated, vllm))
    for answer in (ours, real):
        if "tokens" in answer:
            assert len(answer["tokens"]) == answer["count"]
            del answer["tokens"]
    assert shape(ours) == shape(real)


def test_streams_of_messages_have_the_same_events(vllm: tuple[str, str], simulated: tuple[str, str]) -> None:
    def kinds(engine: tuple[str, str]) -> list[object]:
        text = ask(engine, "/v1/messages", {"messages": HELLO, "max_tokens": 4, "stream": True})[1].text
        events = [event.partition("\ndata: ") for event in text.split("\n\n") if event]
        return [kind for kind, _ in itertools.groupby((name, shape(json.loads(data))) for name, _, data in events)]

    assert kinds(simulated) == kinds(vllm)


def assert_same_tokens(one: Tap, other: Tap) -> None:
    readings = one.reading.usage, other.reading.usage
    tokens = [usage and (usage.prompt_tokens, usage.completion_tokens) for usage in readings]
    assert tokens[0] == tokens[1] is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"prompt": "hello, whole world"}),
        ("/tokenize", {"messages": HELLO}),
        ("/detokenize", {"tokens": [9690, 198, 2683]}),
        ("/v1/messages/count_tokens", {"messages": HELLO}),
    ],
)
def test_what_is_only_counted_is_read_and_never_reaches_the_model(vllm: tuple[str, str], path: str, body: dict[str, Any]) -> None:
    before = counters(vllm)
    call, answer = ask(vllm, path, body)
    assert answer.status_code == 200, answer.text
    usage = SHAPES[path].read(answer.content, call).usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens == 0
    assert counters(vllm) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "hello"}),
        ("/v1/rerank", {"query": "hello", "documents": ["whole", "world"]}),
        ("/v1/score", {"text_1": "hello", "text_2": "world"}),
    ],
)
def test_vllm_has_no_such_path_for_a_model_that_generates(vllm: tuple[str, str], path: str, body: dict[str, Any]) -> None:
    _, answer = ask(vllm, path, body)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_tool_calls_need_a_parser_that_this_model_has_not(vllm: tuple[str, str]) -> None:
    for choice in ("auto", {"type": "function", "function": {"name": "weather"}}):
        _, answer = ask(vllm, "/v1/chat/completions", {"messages": HELLO, "tools": [TOOL], "tool_choice": choice})
        assert answer.status_code == 400
        assert "--tool-call-parser" in answer.json()["error"]["message"]


def test_errors_of_the_messages_api_are_anthropics(vllm: tuple[str, str]) -> None:
    _, answer = ask(vllm, "/v1/messages", {"messages": HELLO, "max_tokens": 10**6})
    assert answer.status_code == 400
    assert shape(answer.json()) == {"type": "text", "error": {"type": "text", "message": "text"}}


def test_json_as_deep_as_we_let_through_is_no_fault_of_vllm(vllm: tuple[str, str]) -> None:
    """A body that made an engine fail would open its breaker, and one client could shut out all others."""
    deep: Any = 1
    for _ in range(JSON_DEPTH_MAX - 1):
        deep = [deep]
    for path, field in (("/v1/chat/completions", "x"), ("/v1/chat/completions", "tools"), ("/v1/responses", "text")):
        body = {"messages": HELLO, "input": "hello", "max_tokens": 1, "max_output_tokens": 1, field: deep}
        assert ask(vllm, path, body)[1].status_code < 500
