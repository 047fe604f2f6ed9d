"""Projects through the management API: OpenAI's shapes, one audit entry a change, nothing of another tenant."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.router.conftest import Stack


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    session = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": stack.password}).json()
    headers = {"authorization": f"Bearer {session['token']}", "OpenAI-Organization": session["organizations"][0]["id"]}
    with httpx.Client(base_url=stack.base_url + "/organization", headers=headers) as client:
        yield client


def test_a_project_is_made_renamed_and_archived(client: httpx.Client, stack: Stack) -> None:
    made = client.post("/projects", json={"name": "Search"})
    assert made.status_code == 200, made.text
    project: dict[str, Any] = made.json()
    assert (project["object"], project["status"], project["archived_at"]) == ("organization.project", "active", None)
    path = f"/projects/{project['id']}"
    read = client.get(path)
    assert (read.json(), read.headers["etag"]) == (project, '"1"')
    renamed = client.post(path, json={"name": "Find"}, headers={"if-match": '"1"'})
    assert (renamed.json()["name"], renamed.headers["etag"]) == ("Find", '"2"')
    assert client.post(path, json={"name": "Other"}, headers={"if-match": '"1"'}).status_code == 412
    assert client.post(f"{path}/archive").json()["status"] == "archived"
    assert client.post(path, json={"name": "Other"}).status_code == 409
    assert [entry["name"] for entry in client.get("/projects").json()["data"]] == ["Default project"]
    assert len(client.get("/projects", params={"include_archived": True}).json()["data"]) == 2
    query = "select event_type, after ->> 'name' from control.audit_log where event_type like 'project.%' order by sequence"
    events = stack.db.execute(query).fetchall()
    assert events == [("project.created", "Search"), ("project.updated", "Find"), ("project.archived", "Find")]


def test_a_create_that_is_repeated_is_answered_as_before(client: httpx.Client) -> None:
    headers = {"idempotency-key": "one"}
    first = client.post("/projects", json={"name": "Search"}, headers=headers)
    assert client.post("/projects", json={"name": "Search"}, headers=headers).json() == first.json()
    other = client.post("/projects", json={"name": "Other"}, headers=headers)
    assert (other.status_code, other.json()["error"]["param"]) == (400, "Idempotency-Key")
    assert client.post("/projects", json={"name": "Search"}).status_code == 409


def test_what_will_be_no_different_is_not_tried_again_by_an_sdk(client: httpx.Client) -> None:
    taken = [client.post("/projects", json={"name": "Search"}) for _ in range(2)][1]
    assert (taken.status_code, taken.headers["x-should-retry"]) == (409, "false")


def test_one_idempotency_key_in_two_organizations_makes_two_things(client: httpx.Client, stack: Stack) -> None:
    body = {"name": "Second", "time_zone": "UTC", "owner_email": stack.email}
    made = httpx.post(stack.base_url + "/organizations", json=body, headers={"authorization": f"Bearer {stack.admin_key}"})
    second = {"OpenAI-Organization": made.json()["id"]}
    for key, who in (("of a person", client.headers["authorization"]), ("of the platform", f"Bearer {stack.admin_key}")):
        headers, body = {"idempotency-key": key, "authorization": who}, {"name": f"Search {key}"}
        wheres = ({}, {}, second, second)
        ids = [client.post("/projects", json=body, headers=headers | where).json()["id"] for where in wheres]
        assert (ids[0], ids[2], len(set(ids))) == (ids[1], ids[3], 2)
        assert ids[2] in [project["id"] for project in client.get("/projects", headers=headers | second).json()["data"]]


def test_pages_go_on_where_the_last_one_ended(client: httpx.Client) -> None:
    for number in range(4):
        client.post("/projects", json={"name": f"P{number}"})
    names, after = [], None
    while True:
        page = client.get("/projects", params={"limit": 2} | ({"after": after} if after else {})).json()
        names += [project["name"] for project in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert names == ["Default project", "P0", "P1", "P2", "P3"]
