"""Several engines: a dead one costs nobody an answer, an alias goes on to the next model, and each attempt is a row."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.integration.router.callers import demo
from tests.integration.router.conftest import Stack
from tests.integration.router.reservations_world import USD, add_budget
from tests.processes import ServerProcess, running, simulated_engine
from tests.services import free_port

SEEN_S = 3.0  # a change of the catalogue is in every router by then


@pytest.fixture
def second(stack: Stack, tmp_path: Path) -> Iterator[ServerProcess]:
    """Another engine of the model `simulated`."""
    with running(simulated_engine(free_port(), tmp_path / "second.log")) as engine:
        _add_engine(stack.db, "engine-second", engine.url, "simulated")
        _until(lambda: _healthy(stack) == 2)
        yield engine


def _add_engine(db: psycopg.Connection, name: str, url: str, model: str) -> None:
    db.execute(
        "insert into control.engines (name, kind, base_url, model_id)"
        " select %s, 'simulated', %s, id from control.models where name = %s",
        [name, url, model],
    )
    db.commit()


def _healthy(stack: Stack) -> int:
    lines = httpx.get(stack.router.url + "/metrics").text.splitlines()
    return sum(line.startswith("inferhouse_engine_up{") and line.endswith(" 1.0") for line in lines)


def _in_flight(stack: Stack) -> int:
    lines = httpx.get(stack.router.url + "/metrics").text.splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("inferhouse_engine_in_flight{"))


def _until(true: Callable[[], bool], within_s: float = SEEN_S) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _calls(engine: ServerProcess) -> int:
    return int(httpx.get(engine.url + "/simulated/ledger").json()["totals"]["calls"])


def test_both_engines_get_requests(stack: Stack, second: ServerProcess, hello: dict[str, Any]) -> None:
    for number in range(40):
        assert stack.post(hello | {"user": f"person {number}"}).status_code == 200
    assert _calls(stack.engine) > 4
    assert _calls(second) > 4


def test_an_engine_that_dies_under_load_costs_nobody_an_answer(
    stack: Stack, second: ServerProcess, hello: dict[str, Any]
) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            statuses.append(stack.post(hello).status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    second.kill()
    time.sleep(2)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    stack.router.stop()  # which writes all rows
    attempts = stack.db.execute(
        "select count(distinct request_id), count(*) filter (where status = 'completed') from raw.usage_events"
    ).fetchone()
    assert attempts == (len(statuses), len(statuses)), "each request is answered, and charged, once"


def test_an_engine_that_dies_while_the_other_is_full_costs_nobody_an_answer(
    stack: Stack, second: ServerProcess, hello: dict[str, Any]
) -> None:
    stack.db.execute("update control.engines set requests_at_once = 1")
    stack.db.commit()
    time.sleep(1)  # in which the router knows
    slow, answers = {"x-simulated-fault": "stall-first=1.5"}, list[httpx.Response]()
    clients = [threading.Thread(target=lambda: answers.append(stack.post(hello, headers=slow))) for _ in range(2)]
    for client in clients:
        client.start()
    _until(lambda: _in_flight(stack) == 2)
    second.kill()
    for client in clients:
        client.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    rows = stack.rows(3)
    assert sorted(row["status"] for row in rows) == ["completed", "completed", "engine_failed"]


def test_an_engine_that_fails_while_the_other_is_full_costs_nobody_an_answer(
    stack: Stack, second: ServerProcess, hello: dict[str, Any], tmp_path: Path
) -> None:
    """The one that fails has room, and is not asked again: whom it has failed waits for the other."""
    fails = "--fault-probability", "1", "--faults", "500"
    with running(simulated_engine(free_port(), tmp_path / "broken.log", *fails)) as broken:
        _add_engine(stack.db, "engine-broken", broken.url, "simulated")
        _until(lambda: _healthy(stack) == 3)
        stack.db.execute("update control.engines set requests_at_once = 1, weight = (name = 'engine-second')::int")
        stack.db.commit()
        time.sleep(1)  # in which the router knows
        slow, answers = {"x-simulated-fault": "stall-first=5"}, list[httpx.Response]()
        client = threading.Thread(target=lambda: answers.append(stack.post(hello, headers=slow)))
        client.start()
        _until(lambda: _in_flight(stack) == 1)
        stack.db.execute("update control.engines set weight = 1 where name = 'engine-broken'")
        stack.db.commit()
        time.sleep(1)
        answers.append(stack.post(hello))
        client.join()
        assert _calls(broken) == 1
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sorted(row["status"] for row in stack.rows(3)) == ["completed", "completed", "engine_failed"]


def test_an_engine_without_weight_gets_no_new_requests(stack: Stack, second: ServerProcess, hello: dict[str, Any]) -> None:
    stack.db.execute("update control.engines set weight = 0 where name = 'engine-second'")
    stack.db.commit()
    time.sleep(1)
    before = _calls(second)
    for number in range(20):
        assert stack.post(hello | {"user": f"person {number}"}).status_code == 200
    assert _calls(second) == before


def test_a_session_stays_with_its_engine(stack: Stack, second: ServerProcess, hello: dict[str, Any]) -> None:
    before = _calls(stack.engine), _calls(second)
    for _ in range(12):
        assert stack.post(hello | {"prompt_cache_key": "one conversation"}).status_code == 200
    gained = _calls(stack.engine) - before[0], _calls(second) - before[1]
    assert sorted(gained) == [0, 12]


@pytest.fixture
def alias(stack: Stack, tmp_path: Path) -> Iterator[ServerProcess]:
    """`best`: the model `large`, whose engine this is, then `simulated`."""
    with running(simulated_engine(free_port(), tmp_path / "large.log", "--model", "large")) as engine:
        stack.db.execute("insert into control.models (name, context_tokens_max, output_tokens_max) values ('large', 8192, 4096)")
        stack.db.execute(
            "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason)"
            " select id, 7000000, 7000000, 7000000, tstzrange('2020-01-01+00', null), 'test' from control.models"
            " where name = 'large'"
        )
        _add_engine(stack.db, "engine-large", engine.url, "large")
        stages = [[{"model": "large", "weight": 1}], [{"model": "simulated", "weight": 1}]]
        stack.db.execute(
            "insert into control.model_aliases (public_id, name, stages) values ('alias_00000000000000000001', 'best', %s)",
            [Jsonb(stages)],
        )
        stack.db.commit()
        _until(lambda: _healthy(stack) == 2)
        yield engine


def test_an_alias_is_answered_by_its_model_and_falls_back_to_the_next(
    stack: Stack, alias: ServerProcess, hello: dict[str, Any]
) -> None:
    first = stack.post(hello | {"model": "best"})
    assert (first.status_code, first.headers["x-inferhouse-model"]) == (200, "large")
    failing = stack.post(hello | {"model": "best"}, headers={"x-simulated-fault": "500"})
    assert failing.status_code == 502, "every model of it fails on request"
    alias.kill()
    second = stack.post(hello | {"model": "best"})
    assert (second.status_code, second.headers["x-inferhouse-model"]) == (200, "simulated")
    names = dict(stack.db.execute("select id, name from control.models").fetchall())
    stack.db.commit()
    _until(lambda: _answered(stack) == 2)
    rows = stack.db.execute(
        "select model_id, model_asked, attempt, status, cost_picousd, input_tokens, output_tokens from raw.usage_events"
        " where status = 'completed' order by started_at"
    ).fetchall()
    assert [(names[row[0]], row[1]) for row in rows] == [("large", "best"), ("simulated", "best")]
    assert rows[0][4] == 7_000_000 * (rows[0][5] + rows[0][6]), "priced as the model that ran"


@pytest.mark.parametrize("fails", [True, False])
def test_a_request_that_goes_on_to_another_model_counts_once(
    stack: Stack, alias: ServerProcess, hello: dict[str, Any], *, fails: bool
) -> None:
    organization = stack.db.execute("select id from control.organizations").fetchone()
    assert organization is not None
    # What it could use of either model fits into each rate once, and not twice.
    stack.db.execute(
        "insert into control.limits (public_id, org_id, requests_per_minute, input_tokens_per_minute, output_tokens_per_minute,"
        " requests_at_once) values ('limit_00000000000000000001', %s, 1, 400, 30, 1)",
        organization,
    )
    stack.db.commit()
    if not fails:
        alias.kill()
    time.sleep(1)
    answer = stack.post(hello | {"model": "best"}, headers={"x-simulated-fault": "500"} if fails else None)
    if fails:  # on request, whichever model it is
        assert (answer.status_code, len(stack.rows(2))) == (502, 2), answer.text
    else:
        assert (answer.status_code, answer.headers["x-inferhouse-model"]) == (200, "simulated"), answer.text
    refused = stack.post(hello | {"max_tokens": 1})
    assert (refused.status_code, refused.json()["error"]["details"]["dimension"]) == (429, "requests_per_minute")


def test_a_model_that_stands_in_is_held_to_its_own_budget(stack: Stack, alias: ServerProcess, hello: dict[str, Any]) -> None:
    tenant = demo(stack)
    add_budget(stack.db, tenant, 100 * USD)
    model = stack.db.execute("select id from control.models where name = 'simulated'").fetchone()
    assert model is not None
    add_budget(stack.db, tenant, 0, model_id=model[0])
    _until(lambda: stack.post(hello).status_code == 429)
    assert stack.post(hello | {"model": "best"}).status_code == 200
    before = _calls(stack.engine)
    alias.kill()
    refused = stack.post(hello | {"model": "best"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded"), refused.text
    assert _calls(stack.engine) == before


def _answered(stack: Stack) -> int:
    row = stack.db.execute("select count(*) from raw.usage_events where status = 'completed'").fetchone()
    stack.db.commit()
    assert row is not None
    return int(row[0])


def test_aliases_are_in_the_list_of_models(stack: Stack, alias: ServerProcess) -> None:
    listed = httpx.get(f"{stack.base_url}/models", headers={"authorization": f"Bearer {stack.api_key}"}).json()["data"]
    assert {"simulated": "simulated", "large": "large", "best": "large"}.items() <= {
        model["id"]: model["root"] for model in listed
    }.items()
