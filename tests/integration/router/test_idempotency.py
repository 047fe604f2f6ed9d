"""A request that is sent twice with one Idempotency-Key is answered once and never charged twice."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, LiteralString
from uuid import uuid4

import httpx
import psycopg
import pytest

from router.inference import idempotency
from router.inference.idempotency import (
    KEY_CHARACTERS_MAX,
    LEASE_SLACK_S,
    Claim,
    Idempotency,
    IdempotencyConflict,
    Replay,
)
from router.settings import RouterSettings
from tests.factories import Tenant
from tests.integration.router.conftest import Stack, becomes
from tests.integration.router.reservations_world import caller_of
from tests.routing_world import in_loop
from warehouse.access import idempotent_answers
from warehouse.base.clock import now
from warehouse.base.ids import uuid7
from warehouse.identity.keys import ApiKeySecret

LATE: LiteralString = """
create function raw.late() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return null; end $$;
create trigger late before delete on raw.idempotent_answers execute function raw.late();
"""


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "100"]


def _keep(stack: Stack, seconds: int) -> None:
    stack.db.execute("update control.organizations set answers_kept_s = %s", [seconds])
    stack.db.commit()


def _held(stack: Stack) -> list[tuple[Any, ...]]:
    """(request, whether it was charged) of the keys that are taken."""
    rows = stack.db.execute("select request_id, finished from raw.idempotent_answers").fetchall()
    stack.db.commit()
    return rows


def _charged(rows: list[dict[str, Any]]) -> list[str]:
    return [row["charge_class"] for row in rows]


def test_a_finished_answer_is_sent_again_to_the_byte_and_costs_nothing(stack: Stack, hello: dict[str, Any]) -> None:
    _keep(stack, 3600)
    key = {"idempotency-key": str(uuid4())}
    first, second = stack.post(hello, headers=key), stack.post(hello, headers=key)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-inferhouse-original-request-id"] == first.headers["x-request-id"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert second.headers["x-inferhouse-cost-usd"] == "0"
    rows = stack.rows(2)
    assert _charged(rows) == ["charged", "free_replayed"]
    assert (rows[1]["attempt"], rows[1]["cost_picousd"], rows[1]["output_tokens"]) == (0, 0, 0)
    assert (rows[1]["status"], rows[1]["http_status"], rows[1]["error_code"]) == ("completed", 200, None)
    assert rows[1]["model_id"] == rows[0]["model_id"] is not None, "it is an answer of the model that gave it"
    assert stack.ledger()["totals"]["calls"] == 1


def test_without_keeping_answers_the_second_is_told_of_the_first(stack: Stack, hello: dict[str, Any]) -> None:
    key = {"idempotency-key": str(uuid4())}
    first, second = stack.post(hello, headers=key), stack.post(hello, headers=key)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert first.headers["x-request-id"] in second.json()["error"]["message"]
    assert "an organization's admin can have answers kept" in second.json()["error"]["message"]
    assert second.headers["x-should-retry"] == "false"
    assert _charged(stack.rows(2)) == ["charged", "free_refused"]
    stored = stack.db.execute("select finished, answer from raw.idempotent_answers").fetchall()
    assert stored == [(True, None)], "no answer's text is kept unless it was asked for"


def test_who_has_answers_kept_is_told_which_are_not(stack: Stack, hello: dict[str, Any]) -> None:
    _keep(stack, 3600)
    key, body = {"idempotency-key": str(uuid4())}, hello | {"stream": True}
    assert stack.post(body, headers=key).status_code == 200
    second = stack.post(body, headers=key)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert "for 3600 s (answers_kept_s), and no streams" in second.json()["error"]["message"]
    assert "an organization's admin can" not in second.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_twice_at_the_same_time_is_once(stack: Stack, hello: dict[str, Any], stream: bool) -> None:
    key, body, statuses = {"idempotency-key": str(uuid4())}, hello | {"stream": stream, "min_tokens": 20}, []

    def post() -> None:
        statuses.append(stack.post(body, headers=key).status_code)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7
    assert sorted(_charged(stack.rows(8))) == ["charged"] + ["free_refused"] * 7


def test_a_request_that_was_not_charged_gives_its_key_back(stack: Stack, hello: dict[str, Any]) -> None:
    key = {"idempotency-key": str(uuid4())}
    assert stack.post(hello, headers=key | {"x-simulated-fault": "500"}).status_code == 502
    assert stack.post(hello | {"model": "none"}, headers=key).status_code == 404
    assert stack.post(hello, headers=key).status_code == 200


def test_who_is_told_of_a_failure_may_send_the_request_again_at_once(stack: Stack, hello: dict[str, Any]) -> None:
    """However late the database gives the key back. The last one's engine is asked no more until it has said so."""
    stack.db.execute(LATE)
    stack.db.commit()
    for changes, fault, said in (
        ({"model": "none"}, "", [404, 404]),
        ({}, "no fault that there is", [400, 400]),
        ({}, "500", [502, 502]),
        ({"stream": True}, "die=2", [200, 200]),
        ({}, "429=60", [429, 503]),
    ):
        headers = {"idempotency-key": str(uuid4())} | ({"x-simulated-fault": fault} if fault else {})
        assert [stack.post(hello | changes, headers=headers).status_code for _ in said] == said
    assert {"charged"}.isdisjoint(_charged(stack.rows(10)))


def test_a_key_is_for_one_request_only(stack: Stack, hello: dict[str, Any]) -> None:
    key = {"idempotency-key": "x" * KEY_CHARACTERS_MAX}
    assert stack.post(hello, headers=key).status_code == 200
    headers = {"authorization": f"Bearer {stack.api_key}"} | key
    for answer in (
        stack.post(hello | {"max_tokens": 3}, headers=key),
        httpx.post(f"{stack.base_url}/messages", json=hello, headers=headers),  # the same bytes, and they ask for something else
    ):
        assert answer.status_code == 400
        assert "came with another request before" in answer.json()["error"]["message"]
    assert stack.post(hello | {"max_tokens": 3}, headers=key).json()["error"]["param"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_no_key_is_refused(stack: Stack, hello: dict[str, Any], key: str) -> None:
    assert stack.post(hello, headers={"idempotency-key": key}).status_code == 400


def test_a_client_that_left_finds_its_answer_when_it_comes_back(stack: Stack, hello: dict[str, Any]) -> None:
    _keep(stack, 3600)
    key, body = {"idempotency-key": str(uuid4())}, hello | {"max_tokens": 60, "min_tokens": 60}
    headers = {"authorization": f"Bearer {stack.api_key}"} | key
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{stack.base_url}/chat/completions", json=body, headers=headers, timeout=0.3)
    assert stack.row()["status"] == "completed"
    answer = stack.post(body, headers=key)
    assert (answer.status_code, answer.headers["idempotent-replayed"]) == (200, "true")
    assert _charged(stack.rows(2)) == ["charged", "free_replayed"]


def test_a_client_that_left_before_any_engine_was_asked_is_not_waited_for(stack: Stack, hello: dict[str, Any]) -> None:
    """Also where answers are kept: what comes next, as here the refusal of a model that there is not, is for nobody."""
    _keep(stack, 3600)
    headers = {"authorization": f"Bearer {stack.api_key}", "idempotency-key": str(uuid4())}
    stack.db.execute("lock table raw.idempotent_answers in exclusive mode")  # the router's claim waits for its end
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{stack.base_url}/chat/completions", json=hello | {"model": "none"}, headers=headers, timeout=0.5)
    stack.db.commit()
    assert stack.row()["status"] == "client_closed"
    assert becomes(lambda: _held(stack) == []), "it was not charged: its key is free"


def test_a_client_that_left_and_was_charged_has_used_its_key_up(stack: Stack, hello: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {stack.api_key}", "idempotency-key": str(uuid4())}
    body = hello | {"stream": True, "max_tokens": 400, "min_tokens": 400}
    with httpx.stream("POST", f"{stack.base_url}/chat/completions", json=body, headers=headers) as answer:
        next(answer.iter_bytes())
    row = stack.row()
    assert (row["status"], row["charge_class"]) == ("client_closed", "charged")
    assert becomes(lambda: _held(stack) == [(row["request_id"], True)]), "it is not charged a second time"
    again = stack.post(body, headers=headers)
    assert (again.status_code, "was charged" in again.json()["error"]["message"]) == (409, True)


def test_a_key_is_held_for_longer_than_any_call_takes(stack: Stack, hello: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {stack.api_key}", "idempotency-key": str(uuid4())}
    body = hello | {"stream": True, "max_tokens": 400, "min_tokens": 400}
    with httpx.stream("POST", f"{stack.base_url}/chat/completions", json=body, headers=headers) as answer:
        next(answer.iter_bytes())
        query = "select extract(epoch from expires_at - started_at)::float from raw.idempotent_answers"
        held_s = stack.db.execute(query).fetchone()
        stack.db.commit()
    assert held_s is not None
    lease_s = RouterSettings.model_fields["total_s_max"].default + LEASE_SLACK_S
    assert lease_s <= held_s[0] < lease_s + 30


def test_a_router_that_died_after_its_answer_does_not_charge_again(stack: Stack, hello: dict[str, Any]) -> None:
    key = {"idempotency-key": str(uuid4())}
    assert stack.post(hello, headers=key).status_code == 200
    stack.row()
    stack.db.execute("update raw.idempotent_answers set finished = false, expires_at = now() - interval '1 s'")
    stack.db.commit()
    assert stack.post(hello, headers=key).status_code == 409
    stack.db.execute("update raw.idempotent_answers set request_id = gen_random_uuid()")  # and one that had charged nothing
    stack.db.commit()
    assert stack.post(hello, headers=key).status_code == 200


def test_a_key_whose_answer_is_kept_briefly_stays_taken_for_a_day(stack: Stack, hello: dict[str, Any]) -> None:
    _keep(stack, 1)
    key = {"idempotency-key": str(uuid4())}
    assert [stack.post(hello, headers=key).status_code for _ in range(2)] == [200, 200]
    time.sleep(1.1)
    assert stack.post(hello, headers=key).status_code == 409
    assert _charged(stack.rows(3)) == ["charged", "free_replayed", "free_refused"]
    stored: LiteralString = "select answer is null, expires_at > now() + interval '23 hours' from raw.idempotent_answers"
    assert stack.db.execute(stored).fetchall() == [(False, True)]
    stack.db.execute(idempotent_answers.QUERIES["forget_answers"], {"rows_max": 10})
    assert stack.db.execute(stored).fetchall() == [(True, True)]
    stack.db.commit()
    assert stack.post(hello, headers=key).status_code == 409


def test_a_key_is_not_free_while_a_journal_from_its_time_is_unread(stack: Stack, hello: dict[str, Any]) -> None:
    key = {"idempotency-key": str(uuid4())}
    assert stack.post(hello, headers=key).status_code == 200
    started_at = stack.row()["started_at"]
    # As if its router had died before its row was written: only its journal has it.
    stack.db.execute("update raw.idempotent_answers set finished = false, expires_at = now() - interval '1 s'")
    stack.db.execute("delete from raw.usage_events")
    stack.db.execute(
        "insert into raw.journal_positions (worker, complete_to, reported_at) values ('dead', %s, now())", [started_at]
    )
    stack.db.commit()
    refused = stack.post(hello, headers=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert "has not been read yet" in refused.json()["error"]["message"]
    sweep = idempotent_answers.QUERIES["remove_expired"]
    stack.db.execute("update raw.idempotent_answers set expires_at = now() - interval '2 days'")
    assert stack.db.execute(sweep, {"rows_max": 10}).rowcount == 0, "it may stay unread for days"
    stack.db.execute("update raw.journal_positions set complete_to = now() where worker = 'dead'")
    stack.db.commit()
    assert stack.post(hello, headers=key).status_code == 200
    stack.db.execute("update raw.idempotent_answers set expires_at = now() - interval '2 days'")
    assert stack.db.execute(sweep, {"rows_max": 10}).rowcount == 1
    stack.db.commit()


def test_another_key_may_use_the_same_word(stack: Stack, hello: dict[str, Any]) -> None:
    other = ApiKeySecret.generate()
    stack.db.execute(
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id)"
        " select %s, %s, 'inference', 'another', org_id, id from control.projects limit 1",
        [other.public_id, other.hash(stack.pepper)],
    )
    stack.db.commit()
    key = {"idempotency-key": "the same word"}
    assert stack.post(hello, headers=key).status_code == 200
    assert stack.post(hello, headers=key, key=other.reveal()).status_code == 200


@pytest.fixture
def keys(role_url: Callable[..., str]) -> Idempotency:
    """Those of a router, without the router."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[psycopg.AsyncConnection]:
        async with await psycopg.AsyncConnection.connect(role_url("inferhouse_router")) as conn:
            yield conn

    return Idempotency(connect, request_s_max=60)


@in_loop
async def test_an_answer_is_kept_up_to_its_bound_and_where_it_is_too_large_it_is_said(
    tenant: Tenant, keys: Idempotency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "ANSWER_BYTES_MAX", 10)
    caller = caller_of(tenant, answers_kept_s=3600)
    for size in (10, 11):
        key = b"of %d bytes" % size
        claim = await keys.claim(caller, key, b"the request", uuid7(), now())
        assert isinstance(claim, Claim)
        await keys.finish(claim, model_id=None, answer=b"a" * size)
        if size == 10:
            again = await keys.claim(caller, key, b"the request", uuid7(), now())
            assert again == Replay(claim.request_id, None, b"a" * size)
        else:
            with pytest.raises(IdempotencyConflict, match="at most 10 bytes"):
                await keys.claim(caller, key, b"the request", uuid7(), now())


@in_loop
async def test_what_has_expired_is_forgotten_however_much_it_is_and_though_the_database_was_away(
    db: psycopg.Connection, tenant: Tenant, keys: Idempotency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "SWEEP_S", 0.01)
    monkeypatch.setattr(idempotency, "SWEPT_ROWS_MAX", 2)
    count, left = 5, []
    for number in range(3 * count):
        claim = await keys.claim(caller_of(tenant, answers_kept_s=3600), b"%d" % number, b"the request", uuid7(), now())
        assert isinstance(claim, Claim)
        await keys.finish(claim, model_id=None, answer=b"an answer")
    change: LiteralString = "update raw.idempotent_answers set {} where idempotency_key_hash in (select idempotency_key_hash"
    change += " from raw.idempotent_answers where answer_until > now() and expires_at > now() limit 5)"
    db.execute(change.format("answer_until = now() - interval '1 second'"))
    db.execute(change.format("expires_at = now() - interval '2 days'"))
    db.commit()
    connect, tries = keys._connect, 0

    def away_at_first() -> contextlib.AbstractAsyncContextManager[psycopg.AsyncConnection]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("away")
        return connect()

    keys._connect = away_at_first
    sweeping = asyncio.create_task(keys.run())
    async with asyncio.timeout(10):
        while left != [(count, count)]:
            await asyncio.sleep(0.02)
            left = db.execute("select count(answer), count(*) - count(answer) from raw.idempotent_answers").fetchall()
            db.commit()
    assert not sweeping.done()
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
