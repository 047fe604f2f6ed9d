"""Usage from the marts in OpenAI's shape: exact sums, and of a project only for who has a right in that project only."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import psycopg
import pytest

from dashboards.loaders import Marts
from dashboards.views.usage import totals
from tests.dbt_runs import Dbt
from tests.factories import START, Tenant, add_model, add_tenant, copy_events, usage_event
from tests.integration.router.callers import add_key, add_project, add_user, demo, error, owner, signed_in, with_key
from tests.integration.router.command import Command
from tests.integration.router.conftest import Stack
from warehouse.base.ids import public_id

USAGE = "/organization/usage/completions"
SINCE = int(START.timestamp())
DAY = 86400
WINDOW = {"start_time": SINCE, "end_time": SINCE + 3 * DAY}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def put_usage(stack: Stack, dbt: Dbt) -> tuple[Tenant, Tenant]:
    """(the demo, a second project of it with a key of nobody's) with usage of three days, and somebody else's."""
    mine, other = demo(stack), add_tenant(stack.db, name="Other")
    project_id, _ = add_project(stack, mine.org_id, "Second")
    key = stack.db.execute(
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id)"
        " values (%s, %s, 'inference', 'k', %s, %s) returning id",
        [public_id("k")[2:18], b"\0" * 32, mine.org_id, project_id],
    ).fetchone()
    assert key is not None
    second = Tenant(mine.org_id, project_id, key[0], mine.organization)
    model_id, price_id = add_model(stack.db, "m-1")
    events = []
    for number, (tenant, hours, tokens, endpoint) in enumerate(
        [
            (mine, 0, 100, "chat.completions"), (mine, 5, 10, "chat.completions"), (second, 5, 1, "completions"),
            (mine, 24, 7, "embeddings"), (second, 49, 1000, "chat.completions"), (other, 5, 9999, "chat.completions"),
        ]
    ):  # fmt: skip
        started = START + timedelta(hours=hours, minutes=number)
        cost = {"model_id": model_id, "price_id": price_id, "cost_picousd": tokens * 100 + 400, "endpoint": endpoint}
        events.append(usage_event(tenant, number, started, input_tokens=tokens, output_tokens=1, **cost))
    copy_events(stack.db, events)
    dbt.run("run")
    return mine, second


def _sums(page: httpx.Response, *names: str) -> list[tuple[Any, ...]]:
    assert page.status_code == 200, page.text
    buckets = page.json()["data"]
    return [
        ((bucket["start_time"] - SINCE) // 3600, *(row[name] for name in names))
        for bucket in buckets
        for row in bucket["results"]
    ]


def test_before_the_marts_are_built_usage_is_empty_and_complete_to_nothing(client: httpx.Client) -> None:
    page = client.get(USAGE, params=WINDOW).json()
    assert [bucket["results"] for bucket in page["data"]] == [[], [], []]
    assert (page["object"], page["has_more"], page["next_page"], page["complete_to"]) == ("page", False, None, None)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"start_time": -1}, "start_time"), ({"start_time": "x"}, "start_time"), ({"end_time": SINCE}, "end_time"),
    ({"bucket_width": "1m"}, "bucket_width"), ({"group_by": "org"}, "group_by.0"), ({"limit": 0}, "limit"),
    ({"limit": 32}, "limit"),
    ({"bucket_width": "1h", "limit": 169}, "limit"), ({"page": "x"}, "page"), ({"page": "page_5"}, "page"),
    ({"page": "page_999999999999"}, "page"), ({"models[]": ["m"] * 101}, "models[]"), ({"start_time": 10**12}, "start_time"),
]  # fmt: skip


def test_a_question_that_cannot_be_answered_is_refused(client: httpx.Client) -> None:
    for change, param in REFUSED:
        assert error(client.get(USAGE, params=WINDOW | change)) == (400, "invalid_request", param), change
    assert error(client.get(USAGE)) == (400, "invalid_request", "start_time")
    assert client.get(USAGE, params={"start_time": 253_402_214_400}).json()["data"] == []


def test_usage_by_day_and_hour_with_groups_filters_and_pages(
    client: httpx.Client,
    stack: Stack,
    dbt: Dbt,
    role_url: Callable[..., str],
) -> None:
    mine, second = put_usage(stack, dbt)
    counts = ("input_tokens", "output_tokens", "num_model_requests")
    assert _sums(client.get(USAGE, params=WINDOW), *counts) == [(0, 111, 3, 3), (48, 1000, 1, 1)], (
        "no embeddings, no other tenant"
    )
    hours = client.get(USAGE, params=WINDOW | {"bucket_width": "1h", "limit": 168})
    assert _sums(hours, *counts) == [(0, 100, 1, 1), (5, 11, 2, 2), (49, 1000, 1, 1)]
    assert len(hours.json()["data"]) == 72
    assert hours.json()["complete_to"] > SINCE
    names = stack.db.execute(
        "select p.public_id, 'key_' || k.public_id, u.public_id from control.api_keys k join control.projects p"
        " on p.id = k.project_id"
        " left join control.users u on u.id = k.user_id where k.id = any(%s) order by k.id",
        [[mine.api_key_id, second.api_key_id]],
    ).fetchall()
    grouped = client.get(USAGE, params=WINDOW | {"group_by[]": ["project_id", "api_key_id", "user_id", "model"]})
    found = _sums(grouped, "project_id", "api_key_id", "user_id", "model", "input_tokens")
    assert sorted(found, key=str) == sorted(
        [(0, *names[0], "m-1", 110), (0, *names[1], "m-1", 1), (48, *names[1], "m-1", 1000)], key=str
    )
    for filters, tokens in (
        ({"project_ids[]": [names[1][0]]}, 1001), ({"project_ids": [names[0][0]]}, 110), ({"api_key_ids": [names[1][1]]}, 1001),
        ({"user_ids": [names[0][2]]}, 110), ({"models": ["m-1"]}, 1111), ({"models": ["m-2"]}, 0),
    ):  # fmt: skip
        assert sum(row[1] for row in _sums(client.get(USAGE, params=WINDOW | filters), "input_tokens")) == tokens, filters
    pages, page = [], None
    while True:
        answer = client.get(USAGE, params=WINDOW | {"limit": 1} | ({"page": page} if page else {}))
        pages += _sums(answer, "input_tokens")
        page = answer.json()["next_page"]
        if not answer.json()["has_more"]:
            break
    assert pages == [(0, 111), (48, 1000)]
    _only_a_project(stack, mine, second)


def _only_a_project(stack: Stack, mine: Tenant, second: Tenant) -> None:
    """Who has a right in one project sees that project: by a role, or by a key with scope usage.read."""
    with signed_in(stack, add_user(stack, mine.org_id, "member", {second.project_id: "viewer"})) as viewer:
        assert [row[1] for row in _sums(viewer.get(USAGE, params=WINDOW), "input_tokens")] == [1, 1000]
    with with_key(stack, add_key(stack, mine.org_id, mine.project_id, ["usage.read"])) as key:
        assert [row[1] for row in _sums(key.get(USAGE, params=WINDOW), "input_tokens")] == [110]
        assert [row[1] for row in _sums(key.get("/organization/costs", params=WINDOW), "amount")] != []
    with with_key(stack, add_key(stack, mine.org_id, None, ["usage.read"])) as key:
        assert [row[1] for row in _sums(key.get(USAGE, params=WINDOW), "input_tokens")] == [111, 1000]
    for role in ("owner", "admin", "billing", "auditor"):
        with signed_in(stack, add_user(stack, mine.org_id, role)) as reader:
            assert len(_sums(reader.get(USAGE, params=WINDOW), "input_tokens")) == 2, role
    with signed_in(stack, add_user(stack, mine.org_id, "member")) as nobody:
        assert error(nobody.get(USAGE, params=WINDOW))[:2] == (403, "not_allowed")
    with with_key(stack, add_key(stack, mine.org_id, mine.project_id, ["inference"])) as key:
        assert error(key.get(USAGE, params=WINDOW))[:2] == (403, "not_allowed")


def test_usage_of_every_endpoint_is_what_the_portal_and_the_command_show(
    client: httpx.Client, stack: Stack, dbt: Dbt, role_url: Callable[..., str], tmp_path: Path
) -> None:
    mine, _ = put_usage(stack, dbt)
    row = stack.db.execute("select count(*), sum(input_tokens) from raw.usage_events where org_id = %s", [mine.org_id]).fetchone()
    assert row == (5, 1118)
    for width, limit in (("1d", 3), ("1h", 72)):
        page = client.get("/organization/usage", params=WINDOW | {"bucket_width": width, "limit": limit})
        sums = _sums(page, "num_model_requests", "input_tokens")
        assert (sum(found[1] for found in sums), sum(found[2] for found in sums)) == row
    assert {result["object"] for bucket in page.json()["data"] for result in bucket["results"]} == {"organization.usage.result"}
    assert sum(found[1] for found in _sums(client.get(USAGE, params=WINDOW), "input_tokens")) == 1111, "no embeddings"
    days = {"since": START, "until": START + timedelta(days=3)}
    shown = totals(Marts(role_url("inferhouse_portal")).read("usage_by_hour", mine.org_id, days))
    assert (shown.requests, shown.input_tokens) == row
    command = Command(stack, tmp_path, {"INFERHOUSE_ADMIN_KEY": stack.admin_key, "INFERHOUSE_ORGANIZATION": mine.organization})
    said = command.json("usage", "--from", f"{START:%Y-%m-%d}", "--until", f"{START + timedelta(days=3):%Y-%m-%d}")
    assert (sum(line["num_model_requests"] for line in said), sum(line["input_tokens"] for line in said)) == row


def test_the_management_role_sees_marts_of_the_organization_that_it_opened(
    stack: Stack,
    dbt: Dbt,
    role_url: Callable[..., str],
) -> None:
    mine, _ = put_usage(stack, dbt)
    with psycopg.connect(role_url("inferhouse_management"), autocommit=True) as conn:
        count = "select count(distinct org_id) from marts.usage_hourly"
        assert conn.execute(count).fetchone() == (0,)
        conn.execute("select set_config('inferhouse.org_id', %s, false)", [str(mine.org_id)])
        assert conn.execute(count).fetchone() == (1,)
        assert conn.execute("select distinct org_id from marts.requests").fetchall() == [(mine.org_id,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("delete from marts.usage_hourly")


def test_openais_sdk_reads_the_pages(stack: Stack, dbt: Dbt) -> None:
    mine, _ = put_usage(stack, dbt)
    key = add_key(stack, mine.org_id, None, ["usage.read"])
    with openai.OpenAI(base_url=stack.base_url, api_key=key, max_retries=0) as sdk:
        answer = sdk.get(USAGE, cast_to=httpx.Response, options={"params": {**WINDOW, "group_by": ["model"], "models": ["m-1"]}})
    assert [row[1:] for row in _sums(answer, "model", "input_tokens")] == [("m-1", 111), ("m-1", 1000)]
