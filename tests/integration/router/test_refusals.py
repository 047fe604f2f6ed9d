"""What is refused before any engine: the right status, an envelope that says what to do, and a row where it is known whose."""

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.integration.router.conftest import Stack, becomes
from tests.processes import router
from warehouse.identity.keys import ApiKeySecret


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_BODY_BYTES_MAX": "100000"}


def test_without_a_key_in_force_nothing_is_answered(stack: Stack, hello: dict[str, Any]) -> None:
    wrong = ("", "Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz", f"Bearer {ApiKeySecret.generate().reveal()}")
    for headers in ({}, *({"authorization": value} for value in wrong)):
        answer = httpx.post(stack.base_url + "/chat/completions", json=hello, headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (401, "invalid_api_key", "authentication_error"), headers
        assert answer.headers["www-authenticate"] == "Bearer"
        assert error["request_id"] == answer.headers["x-request-id"]
    assert stack.ledger()["totals"]["calls"] == 0


def test_a_right_public_id_with_a_wrong_secret_is_refused(stack: Stack, hello: dict[str, Any]) -> None:
    wrong = stack.api_key[:-1] + ("a" if stack.api_key[-1] != "a" else "b")
    answer = stack.post(hello, key=wrong)
    assert answer.status_code == 401
    assert wrong[-40:] not in answer.text


def test_the_sdk_raises_its_own_errors(stack: Stack, hello: dict[str, Any]) -> None:
    with pytest.raises(openai.AuthenticationError):
        stack.sdk.with_options(api_key="sk-wrong").chat.completions.create(**hello)
    with pytest.raises(openai.NotFoundError, match="it may use: simulated"):
        stack.sdk.chat.completions.create(**hello | {"model": "gpt-4"})


def test_a_platform_key_cannot_call_models(stack: Stack, hello: dict[str, Any]) -> None:
    answer = stack.post(hello, key=stack.admin_key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")


BAD_BODIES: list[tuple[bytes, int, str | None]] = [
    (b"{", 400, None),
    (b"", 400, None),
    (b"\xff\xfe", 400, None),
    (b"[]", 400, None),
    (b"null", 400, None),
    (b'{"messages":[{"role":"user","content":"x"}]}', 400, "model"),
    (b'{"model":"simulated"}', 400, "messages"),
    (b'{"model":"simulated","messages":[]}', 400, "messages"),
    (b'{"model":"simulated","messages":"x"}', 400, "messages"),
    (b'{"model":"simulated","messages":[{"content":"x"}]}', 400, "messages[0].role"),
    (b'{"model":7,"messages":[{"role":"user","content":"x"}]}', 400, "model"),
    (b'{"model":"simulated","stream":"yes","messages":[{"role":"user","content":"x"}]}', 400, "stream"),
    (b'{"model":"simulated","messages":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, None),
    (b"x" * 100_001, 413, None),
]


def test_a_body_that_cannot_be_used_is_refused_naming_the_field(stack: Stack) -> None:
    for body, status, param in BAD_BODIES:
        answer = stack.post(body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (status, param), (body[:100], answer.text)
    rows = stack.rows(len(BAD_BODIES))
    for row, (body, status, _) in zip(rows, BAD_BODIES, strict=True):
        assert (row["attempt"], row["status"], row["http_status"]) == (0, "refused", status), body[:100]
        assert (row["charge_class"], row["cost_picousd"]) == ("free_refused", 0)
    assert stack.ledger()["totals"]["calls"] == 0


def test_a_large_body_without_a_length_is_refused_too(stack: Stack) -> None:
    def drip() -> Any:
        for _ in range(200):
            yield b"x" * 1000

    answer = httpx.post(
        stack.base_url + "/chat/completions", content=drip(), headers={"authorization": f"Bearer {stack.api_key}"}
    )
    assert answer.status_code == 413


def test_an_unknown_model_names_those_that_the_key_may_use(stack: Stack, hello: dict[str, Any]) -> None:
    stack.db.execute("update control.api_keys set models = array['simulated'] where kind = 'inference'")
    stack.db.commit()
    answer = stack.post(hello | {"model": "smollm2-135m-instruct"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert answer.json()["error"]["message"].endswith("it may use: simulated")
    assert stack.row()["model_asked"] == "smollm2-135m-instruct"


def test_no_healthy_engine_is_503_with_a_time_to_come_back(stack: Stack, hello: dict[str, Any]) -> None:
    stack.engine.kill()
    answer = stack.post(hello)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_healthy_engine"
    assert int(answer.headers["retry-after"]) > 0
    assert stack.row()["attempt"] == 0
    stack.engine.start()
    assert becomes(lambda: stack.post(hello).status_code == 200), "the engine came back, the router did not notice"


def test_a_revoked_key_stops_at_once(stack: Stack, hello: dict[str, Any]) -> None:
    assert stack.post(hello).status_code == 200
    stack.db.execute("update control.api_keys set revoked_at = now() where kind = 'inference'")
    stack.db.commit()
    assert becomes(lambda: stack.post(hello).status_code == 401)


def test_a_suspended_organization_stops_at_once(stack: Stack, hello: dict[str, Any]) -> None:
    assert stack.post(hello).status_code == 200
    stack.db.execute("update control.organizations set suspended_at = now()")
    stack.db.commit()
    assert becomes(lambda: stack.post(hello).status_code == 401)


def test_an_expired_key_is_refused_even_from_memory(stack: Stack, hello: dict[str, Any]) -> None:
    stack.db.execute("update control.api_keys set expires_at = now() + interval '1 second' where kind = 'inference'")
    stack.db.commit()
    assert stack.post(hello).status_code in (200, 401)
    assert becomes(lambda: stack.post(hello).status_code == 401)


def test_unknown_paths_answer_in_the_same_envelope(stack: Stack) -> None:
    answer = httpx.get(stack.base_url + "/nothing/here")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "http_404")
    behind_tls = {"host": "inferhouse.example"}  # a redirect of ours would say http, and the prompt would go there
    for path in ("/chat/completions/", "/sessions/"):
        answer = httpx.post(stack.base_url + path, headers=behind_tls, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "http_404")


@pytest.mark.parametrize(
    ("name", "said"),
    [("ROUTER_PROT", "did you mean ROUTER_PORT?"), ("ROUTER_JOURNAL_DIRR", "did you mean ROUTER_JOURNAL_DIR?")],
)
def test_a_misspelt_setting_stops_the_start(tmp_path: Path, name: str, said: str) -> None:
    process = router(0, tmp_path / "router.log", {name: "1"})
    with pytest.raises(AssertionError):
        process.start()
    assert said in (tmp_path / "router.log").read_text()
    assert process.process is not None
    assert process.process.wait() == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_journal_folder_that_cannot_be_written_to_stops_the_start_in_one_line(tmp_path: Path, workers: str) -> None:
    (tmp_path / "file").touch()
    env = {
        "ROUTER_DATABASE_URL": "postgresql://nowhere/none",
        "ROUTER_SERVES": "inference",
        "ROUTER_JOURNAL_DIR": str(tmp_path / "file" / "journal"),
        "ROUTER_KEY_PEPPER": "a pepper of the tests",
        "ROUTER_WORKERS": workers,
    }
    process = router(0, tmp_path / "router.log", env)
    with pytest.raises(AssertionError):
        process.start()
    (said,) = (tmp_path / "router.log").read_text().splitlines()
    assert said.startswith("settings_error: ROUTER_JOURNAL_DIR cannot be written to")
    assert said.endswith("Not a directory")
    assert process.process is not None
    assert process.process.wait() == 1


def test_an_error_never_contains_the_key_even_sent_as_something_else(stack: Stack) -> None:
    said = {"messages": [{"role": "user", "content": "Hello."}]}
    for body in (b"{", said | {"model": stack.api_key}, said | {"model": "simulated", "user": stack.api_key}):
        assert stack.api_key[-40:] not in stack.post(body).text
    by_path = httpx.get(f"{stack.base_url}/models/{stack.api_key}", headers={"authorization": f"Bearer {stack.api_key}"})
    assert (by_path.status_code, stack.api_key[-40:] in by_path.text) == (404, False)
    assert stack.api_key[-40:] not in stack.router.log.read_text()
    assert stack.api_key[-40:] not in str(stack.rows(3))


def test_another_method_than_post_is_said_to_be_that(stack: Stack) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = httpx.request(method, stack.base_url + "/chat/completions")
        assert (answer.status_code, answer.json()["error"]["code"], answer.headers["allow"]) == (405, "http_405", "POST")
