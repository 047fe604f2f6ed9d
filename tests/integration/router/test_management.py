"""Sign-in and what the portal asks of the management API."""

from typing import Any

import httpx

from tests.integration.router.callers import error, owner
from tests.integration.router.conftest import Stack


def test_sign_in_gives_a_session_with_the_organizations(stack: Stack) -> None:
    answer = httpx.post(stack.base_url + "/sessions", json={"email": stack.email.upper(), "password": stack.password})
    session = answer.json()
    assert answer.status_code == 200, answer.text
    assert session["user"]["platform_admin"] is True
    assert [(org["name"], org["role"], org["time_zone"]) for org in session["organizations"]] == [
        ("Demo", "owner", "Europe/Berlin")
    ]
    token = {"authorization": f"Bearer {session['token']}"}
    current = httpx.get(stack.base_url + "/sessions/current", headers=token).json()
    assert (current["user"], "token" in current) == (session["user"], False)
    engines = httpx.get(stack.base_url + "/organization/engines", headers=token).json()["data"]
    assert [(engine["name"], engine["healthy"]) for engine in engines] == [("engine-simulated", True)]
    organizations = httpx.get(stack.base_url + "/organizations", headers=token).json()["data"]
    assert [org["name"] for org in organizations] == ["Demo"]


def test_a_wrong_password_and_an_unknown_address_are_refused_alike(stack: Stack) -> None:
    wrong = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": "wrong"})
    unknown = httpx.post(stack.base_url + "/sessions", json={"email": "nobody@demo.example", "password": "wrong"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["error"]["message"] == unknown.json()["error"]["message"]


def test_bad_credentials_name_the_field(stack: Stack) -> None:
    answer = httpx.post(stack.base_url + "/sessions", json={"email": stack.email})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "password")
    assert stack.password not in answer.text
    answer = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": stack.password, "x": 1})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x")


def test_a_disabled_user_is_signed_out(stack: Stack) -> None:
    session = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": stack.password}).json()
    token = {"authorization": f"Bearer {session['token']}"}
    stack.db.execute("update control.users set disabled_at = now()")
    stack.db.commit()
    assert httpx.get(stack.base_url + "/sessions/current", headers=token).status_code == 401
    tampered = {"authorization": f"Bearer {session['token'][:-2]}xx"}
    assert httpx.get(stack.base_url + "/sessions/current", headers=tampered).status_code == 401


def test_organizations_are_for_platform_admins(stack: Stack) -> None:
    by_key = httpx.get(stack.base_url + "/organizations", headers={"authorization": f"Bearer {stack.admin_key}"})
    assert by_key.status_code == 200
    assert (
        httpx.get(stack.base_url + "/organizations", headers={"authorization": f"BEARER  {stack.admin_key}"}).status_code == 200
    )
    refused = httpx.get(stack.base_url + "/organizations", headers={"authorization": f"Bearer {stack.api_key}"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
    assert httpx.get(stack.base_url + "/organizations").status_code == 401


def test_metrics_count_what_rows_count(stack: Stack, hello: dict[str, object]) -> None:
    stack.post(hello)
    stack.post(hello | {"model": "nothing"})
    rows = stack.rows(2)
    metrics = httpx.get(stack.router.url + "/metrics").text
    assert 'inferhouse_requests_total{endpoint="chat.completions",status="completed"} 1.0' in metrics
    assert 'inferhouse_requests_total{endpoint="chat.completions",status="refused"} 1.0' in metrics
    assert f'inferhouse_tokens_total{{kind="input"}} {float(sum(row["input_tokens"] for row in rows))}' in metrics
    assert httpx.get(stack.router.url + "/health/live").json() == {"status": "live"}


def test_no_list_goes_on_from_an_id_that_it_does_not_have(stack: Stack) -> None:
    paths: dict[str, Any] = httpx.get(stack.router.url + "/openapi.json").json()["paths"]
    lists = [
        path.removeprefix("/v1")
        for path, methods in paths.items()
        if any(parameter["name"] == "after" for parameter in methods.get("get", {}).get("parameters", ()))
    ]
    seen = set()
    with owner(stack) as client:
        project = client.get("/organization/projects").json()["data"][0]["id"]
        for path in lists:
            url = path.replace("{project_id}", project)
            if "{" in url:  # of an invoice, or of a line of one
                continue
            seen.add(path)
            first = client.get(url, params={"limit": 1})
            assert first.status_code == 200, path
            for id_ in [row["id"] for row in first.json()["data"] if "id" in row]:
                assert client.get(url, params={"after": id_}).status_code == 200, (path, id_)
            assert client.get(url, params={"after": "", "limit": 1}).json() == first.json(), path
            unknown = client.get(url, params={"after": "x_000000000000"})
            if not path.endswith("/sql_access"):
                assert error(unknown) == (400, "invalid_request", "after"), path
    assert len(seen) > 20


def test_what_was_taken_away_is_a_place_to_go_on_from(stack: Stack) -> None:
    """So that who takes everything away page by page comes to the end."""
    with owner(stack) as client:
        made = [client.post("/organization/projects", json={"name": name}).json()["id"] for name in "abc"]
        client.post(f"/organization/projects/{made[0]}/archive")
        rest = client.get("/organization/projects", params={"after": made[0]}).json()["data"]
    assert [project["id"] for project in rest] == made[1:]
