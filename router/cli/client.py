"""A client of the management API, shaped like an SDK: `client.project.create(name="Search")`.

Nouns and verbs are those of `operations.py`. Lists are iterators over all pages. Creates carry an idempotency key, so that a
connection that broke is tried again and nothing is made twice.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx

from router.cli.operation import NULL, Operation
from router.cli.operations import OPERATIONS

TIMEOUT_S = 60.0
TRIES_MAX = 3
PAGE_ROWS = 100
_PAUSE_S_MAX = 10.0


class ApiError(Exception):
    """The API refused. `message` is its own, written for people."""

    def __init__(self, status: int, error: Mapping[str, Any], retry_after_s: float | None) -> None:
        self.status = status
        self.message = str(error.get("message") or f"HTTP {status}")
        self.code = str(error.get("code") or "")
        self.param: str | None = error.get("param")
        self.request_id: str | None = error.get("request_id")
        self.retry_after_s = retry_after_s
        super().__init__(self.message)


class Unreachable(Exception):
    """Nobody answers at the base URL, or what answers is not this API."""


class Client:
    """One connection for many calls. Raises from every call: ApiError, Unreachable.

    Args: base_url: with /v1.  token: of a key or a session.  organization: public id, for callers who have several.
    """

    def __init__(self, base_url: str, token: str | None = None, organization: str | None = None) -> None:
        headers = {"user-agent": "inferhouse-cli"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if organization:
            headers["OpenAI-Organization"] = organization
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(headers=headers, timeout=TIMEOUT_S)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def __getattr__(self, noun: str) -> "Noun":
        verbs = {operation.verb: operation for operation in OPERATIONS if operation.noun.replace("-", "_") == noun}
        if not verbs:
            raise AttributeError(noun)
        return Noun(self, verbs)

    def call(self, operation: Operation, ids: Mapping[str, str], values: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """One call. Options: if_match (a version), idempotency_key. None is not sent, NULL is."""
        path = operation.filled(ids)
        sent = {name: None if value is NULL else value for name, value in values.items() if value is not None}
        query = {field.name: sent.pop(field.name) for field in operation.query if field.name in sent}
        headers = {}
        if options.get("if_match") is not None:
            headers["if-match"] = f'"{options["if_match"]}"'
        if operation.creates:
            headers["idempotency-key"] = options.get("idempotency_key") or str(uuid4())
        body = sent if operation.sends_body else None
        return self.request(operation.method, path, query, body, headers)

    def pages(self, operation: Operation, ids: Mapping[str, str], values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Every row of a list, or every bucket of a report, page by page."""
        query = {name: value for name, value in values.items() if value is not None}
        cursor = "page" if operation.buckets else "after"
        if not operation.buckets:
            query["limit"] = PAGE_ROWS
        while True:
            page = self.request("GET", operation.filled(ids), query)
            yield from page["data"]
            following = page.get("next_page") if operation.buckets else page.get("last_id")
            if not page.get("has_more") or following is None:
                return
            query[cursor] = following

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """One request; again after a broken connection or a 429 or 503, where that changes nothing twice."""
        repeatable = method in {"GET", "DELETE"} or "idempotency-key" in (headers or {})
        for left in range(TRIES_MAX - 1, -1, -1):
            try:
                answer = self._http.request(method, self.base_url + path, params=query, json=body, headers=headers)
            except httpx.InvalidURL as error:
                raise Unreachable(f"{self.base_url} is no address: {error}") from error
            except httpx.TransportError as error:
                if not left or not (repeatable or isinstance(error, httpx.ConnectError)):
                    raise Unreachable(f"{self.base_url} does not answer ({error})") from error
                time.sleep(0.2)
                continue
            if answer.status_code in {429, 503} and left and repeatable:
                time.sleep(min(_retry_after_s(answer) or 1.0, _PAUSE_S_MAX))
                continue
            return _read(answer, self.base_url)
        raise AssertionError

    @property
    def server_time_s(self) -> float | None:
        """The server's clock by its Date header, in Unix seconds; None where it says none."""
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
            from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only doctor asks

            answer = self._http.get(self.base_url.removesuffix("/v1") + "/health/live")
            return parsedate_to_datetime(answer.headers["date"]).timestamp()
        return None


class Noun:
    """The verbs of a noun, as methods: positional arguments are the ids of the path, in order."""

    def __init__(self, client: Client, verbs: Mapping[str, Operation]) -> None:
        self._client, self._verbs = client, verbs

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        operation = self._verbs.get(verb.replace("_", "-"))
        if operation is None:
            raise AttributeError(verb)

        def call(*ids: str, if_match: int | None = None, idempotency_key: str | None = None, **values: Any) -> Any:
            named = dict(zip(operation.ids, ids, strict=True))
            if operation.many:
                return self._client.pages(operation, named, values)
            return self._client.call(operation, named, values, if_match=if_match, idempotency_key=idempotency_key)

        return call


def _retry_after_s(answer: httpx.Response) -> float | None:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdigit() else None


def _read(answer: httpx.Response, base_url: str) -> dict[str, Any]:
    try:
        body = json.loads(answer.content, parse_float=Decimal)  # money stays exact
    except ValueError as error:
        raise Unreachable(
            f"{base_url} answers, but is no Inferhouse API (HTTP {answer.status_code}): check /v1 at its end"
        ) from error
    if answer.is_success and isinstance(body, dict):
        return body
    error_body = body.get("error") if isinstance(body, dict) else None
    raise ApiError(answer.status_code, error_body if isinstance(error_body, dict) else {}, _retry_after_s(answer))
