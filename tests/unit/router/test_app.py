"""What anybody may ask of the router holds up nobody's tokens: nothing that takes long is left to a request."""

import asyncio
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import orjson
import pydantic
import pytest

from router.app import App, create_app
from router.management import app as management
from router.settings import RouterSettings


@pytest.fixture
def app(tmp_path: Path) -> App:
    secrets = dict.fromkeys(("KEY_PEPPER", "SEALING_KEY", "SESSION_SECRET"), "a secret of the tests")
    database = "postgresql://nowhere/none"
    settings = secrets | {"DATABASE_URL": database, "MANAGEMENT_DATABASE_URL": database, "JOURNAL_DIR": str(tmp_path)}
    return create_app(RouterSettings.from_env({f"ROUTER_{name}": value for name, value in settings.items()}))


async def _asked(app: App, method: str, path: str) -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "scheme": "http",
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [(b"host", b"x")], "state": {},
        "server": ("x", 1), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), orjson.loads(sent[1]["body"])


def test_the_first_request_finds_everything_made(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(*_: Any, **__: Any) -> None:
        raise AssertionError("made while everybody waits")

    monkeypatch.setattr(pydantic.TypeAdapter, "__init__", too_late)
    monkeypatch.setattr(management, "document", too_late)
    expected = {
        ("GET", "/nothing"): (404, None),
        ("OPTIONS", "/v1/chat/completions"): (405, b"POST"),
        ("OPTIONS", "/v1/organization/projects"): (405, b"GET, POST"),
        ("PUT", "/v1/organization/projects/proj_1"): (405, b"GET, POST"),
        ("PUT", "/v1/organization/projects/?"): (405, b"GET, POST"),
        ("PUT", "/v1/models/of/somebody"): (405, b"GET"),
        ("PUT", "/v1/sessions/current"): (405, b"DELETE, GET"),
    }
    for (method, path), (status, allow) in expected.items():
        found, headers, _ = asyncio.run(_asked(app, method, path))
        assert (found, headers.get(b"allow")) == (status, allow), path


def test_the_openapi_document_is_made_once_and_beside_the_event_loop(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    made_by, is_asked_again = list[int](), threading.Event()

    def document(*_: Any) -> dict[str, Any]:
        made_by.append(threading.get_ident())
        assert is_asked_again.wait(10)
        return {"paths": {}}

    async def run() -> list[Any]:
        async def again() -> Any:
            is_asked_again.set()
            return await _asked(app, "GET", "/openapi.json")

        return [*await asyncio.gather(_asked(app, "GET", "/openapi.json"), again()), await again()]

    monkeypatch.setattr(management, "document", document)
    answers = asyncio.run(run())
    assert [(status, headers[b"content-type"]) for status, headers, _ in answers] == [(200, b"application/json")] * 3
    assert all("/v1/chat/completions" in said["paths"] for *_, said in answers)
    assert len(made_by) == 1
    assert made_by[0] != threading.get_ident()
