"""The `inferhouse` command against a real router: refusals and their exit codes first, then every noun."""

import csv
import io
import json
import re
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from tests.integration.router.callers import PASSWORD, add_key, add_user, demo, signed_in
from tests.integration.router.command import Command
from tests.integration.router.conftest import Stack, becomes
from tests.services import ROOT, free_port


@pytest.fixture
def command(stack: Stack, tmp_path: Path) -> Command:
    """Somebody who has not signed in."""
    home = tmp_path / "home"
    home.mkdir()
    return Command(stack, home)


@pytest.fixture
def owner(command: Command) -> Command:
    """The demo's owner and platform admin, signed in."""
    command.login()
    return command


def _profile(command: Command) -> dict[str, Any]:
    profile: dict[str, Any] = json.loads(command.credentials.read_text())["profiles"]["default"]
    return profile


def test_without_credentials_it_says_how_to_get_some(command: Command) -> None:
    refused = command("project", "list", expects=3)
    assert "inferhouse login" in refused.stderr
    assert refused.stdout == ""


def test_a_wrong_key_a_wrong_password_and_nobody_at_the_address(command: Command) -> None:
    command("project", "list", expects=3, INFERHOUSE_ADMIN_KEY="sk-ih-wrong")
    refused = command("login", "--password", "--email", command.stack.email, typed="wrong\n", expects=3)
    assert "wrong e-mail address or password" in refused.stderr
    away = f"http://127.0.0.1:{free_port()}/v1"
    unreachable = command("--base-url", away, "--api-key", command.stack.admin_key, "org", "list", expects=6)
    assert away in unreachable.stderr
    assert not command.credentials.exists()
    no_api = command("--base-url", command.stack.router.url, "--api-key", command.stack.admin_key, "org", "list", expects=4)
    assert "there is nothing at" in no_api.stderr


def test_who_may_not_is_told_who_may(command: Command) -> None:
    command.login(add_user(command.stack, demo(command.stack).org_id, "member"), PASSWORD)
    refused = command("project", "create", "--name", "Mine", expects=3)
    assert "organization owners and admins" in refused.stderr


def test_wrong_usage_is_exit_code_two(owner: Command) -> None:
    owner("nothing", expects=2)
    owner("project", "create", expects=2)
    owner("limit", "create", "--requests-per-minute", "6e3", expects=2)
    owner("key", "create", "proj_0", "--name", "k", "--expires", "tomorrow", expects=2)
    owner("invite", "create", "--email", "a@b.example", "--role", "member", "--project", "proj_0", expects=2)
    assert "no such" in owner("project", "get", "proj_000000000000", expects=4).stderr


def test_a_refusal_names_the_option_and_not_the_field_of_the_api(owner: Command, command: Command) -> None:
    """A key of the platform, such as the one of `make up`, is nobody to make a key for."""
    (project,) = owner.json("project", "list")
    (organization,) = owner.json("org", "list")
    ours = ("--api-key", command.stack.admin_key, "--organization", organization["id"])
    refused = command(*ours, "key", "create", project["id"], "--name", "ci", expects=1)
    assert refused.stderr.strip().endswith("name a service account (--service-account)")
    account = command.json(*ours, "service-account", "create", project["id"], "--name", "ci")["id"]
    made = command.json(*ours, "key", "create", project["id"], "--name", "ci", "--service-account", account)
    assert made["value"].startswith("sk-ih-")


def test_what_a_script_left_empty_is_not_taken_for_everything(owner: Command) -> None:
    """With a variable that is not set, a project's budget would be the organization's, and an id would be of another thing."""
    for arguments in (
        ("budget", "create", "--period", "day", "--usd", "1", "--project", ""),
        ("limit", "create", "--requests-at-once", "1", "--key", ""),
        ("budget", "get", ""),
        ("budget", "get", ".."),
        ("project", "archive", "", "--yes"),
    ):
        assert "Traceback" not in owner(*arguments, expects=2).stderr
    assert owner.json("budget", "list") == owner.json("limit", "list") == []


def test_what_no_header_can_hold_is_said_before_anything_is_sent(command: Command) -> None:
    assert "this is no key" in command("--api-key", "ключ", "budget", "list", expects=3).stderr
    assert "this is no key" in command("budget", "list", expects=3, INFERHOUSE_ADMIN_KEY="sk-ih-a\nb").stderr
    key = command.stack.admin_key
    assert "no id" in command("--api-key", key, "--organization", "ж", "budget", "list", expects=2).stderr
    assert "--organization" in command("--api-key", key, "budget", "list", expects=1).stderr


def test_credentials_that_others_can_read_are_not_used(owner: Command) -> None:
    assert stat.S_IMODE(owner.credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(owner.credentials.parent.stat().st_mode) == 0o700
    owner.credentials.chmod(0o644)
    assert "chmod 600" in owner("project", "list", expects=3).stderr
    owner.credentials.chmod(0o600)
    owner.credentials.write_text("{")
    assert "damaged" in owner("whoami", expects=3).stderr


def test_what_destroys_asks_first(owner: Command) -> None:
    project = owner.json("project", "create", "--name", "Short-lived")["id"]
    refused = owner("project", "archive", project, expects=2)
    assert (project in refused.stderr, "--yes" in refused.stderr) == (True, True)
    assert owner.json("project", "get", project)["status"] == "active"
    assert owner.json("project", "archive", project, "--yes")["status"] == "archived"


def test_sign_in_stays_until_sign_out(command: Command) -> None:
    command.login()
    said = command.json("whoami")
    assert (said["email"], said["platform_admin"]) == (command.stack.email, True)
    token = _profile(command)["token"]
    command("logout")
    command("whoami", expects=3)
    bearer = {"authorization": f"Bearer {token}"}
    assert httpx.get(command.stack.base_url + "/sessions/current", headers=bearer).status_code == 401
    assert "not signed in" in command("logout").stderr


def test_an_old_token_is_replaced_and_an_ended_session_says_so(owner: Command) -> None:
    before = _profile(owner)
    file = json.loads(owner.credentials.read_text())
    file["profiles"]["default"]["rotated_at"] -= 3600
    owner.credentials.write_text(json.dumps(file))
    owner("project", "list")
    after = _profile(owner)
    assert (after["token"] != before["token"], after["rotated_at"] >= before["rotated_at"]) == (True, True)
    owner.stack.db.execute("update control.sessions set revoked_at = now()")
    owner.stack.db.commit()
    assert "sign in" in owner("project", "list", expects=3).stderr


def test_a_second_factor_is_asked_for(command: Command) -> None:
    email = add_user(command.stack, demo(command.stack).org_id, "admin")
    with signed_in(command.stack, email) as client:
        secret = client.post("/users/me/totp", json={"password": PASSWORD}).json()["secret"]
        codes = client.post("/users/me/totp/confirm", json={"code": pyotp.TOTP(secret).now()}).json()["recovery_codes"]
    command("login", "--password", "--email", email, typed=f"{PASSWORD}\n000000\n", expects=3)
    command.login(email, PASSWORD, typed=f"{codes[0]}\n")
    assert command.json("whoami")["second_factor"] is True


def test_keys_of_programs_need_no_sign_in(command: Command) -> None:
    tenant = demo(command.stack)
    key = add_key(command.stack, tenant.org_id, None, ["admin"])
    assert [project["status"] for project in command.json("project", "list", INFERHOUSE_ADMIN_KEY=key)] == ["active"]
    assert "a key has not: sign in" in command("whoami", expects=3, INFERHOUSE_ADMIN_KEY=key).stderr
    refused = command("project", "list", expects=1, INFERHOUSE_ADMIN_KEY=command.stack.admin_key)
    assert "OpenAI-Organization" in refused.stderr
    named = {"INFERHOUSE_ADMIN_KEY": command.stack.admin_key, "INFERHOUSE_ORGANIZATION": tenant.organization}
    assert len(command.json("project", "list", **named)) == 1


def test_projects_accounts_and_keys(owner: Command) -> None:
    project = owner.json("project", "create", "--name", "Search [red]")
    assert owner.json("project", "update", project["id"], "--name", "Find", "--if-version", "1")["version"] == 2
    owner("project", "update", project["id"], "--name", "Lost", "--if-version", "1", expects=5)
    account = owner.json("service-account", "create", project["id"], "--name", "indexer")
    assert account["api_key"]["value"].startswith("sk-ih-")
    made = owner.json(
        "key", "create", project["id"], "--name", "ci", "--model", "simulated", "--cidr", "127.0.0.0/8", "--expires", "+30d",
        "--scope", "inference", "--scope", "usage.read",
    )  # fmt: skip
    assert (made["models"], made["cidrs"], made["scopes"]) == (["simulated"], ["127.0.0.0/8"], ["inference", "usage.read"])
    assert abs(made["expires_at"] - time.time() - 30 * 86_400) < 60
    assert _chat(owner.stack, made["value"]) == 200
    assert owner.json("key", "update", project["id"], made["id"], "--model", "none", "--name", "CI")["models"] is None
    owner("key", "rotate", project["id"], made["id"], "--if-version", "1", "--yes", expects=5)
    rotated = owner.json("key", "rotate", project["id"], made["id"], "--grace-seconds", "60", "--if-version", "2", "--yes")
    assert (rotated["id"], _chat(owner.stack, rotated["value"]), _chat(owner.stack, made["value"])) == (made["id"], 200, 200)
    assert {key["name"] for key in owner.json("key", "list", project["id"])} == {"CI", account["api_key"]["name"]}
    owner("key", "revoke", project["id"], made["id"], "-y")
    assert becomes(lambda: _chat(owner.stack, rotated["value"]) == 401)
    table = owner("project", "list").stdout
    assert re.search(rf"^{project['id']} +Find +active", table, re.MULTILINE)


def _chat(stack: Stack, key: str) -> int:
    return stack.post(
        {"model": "simulated", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1}, key=key
    ).status_code


def test_people_invites_and_members(owner: Command) -> None:
    tenant = demo(owner.stack)
    email = add_user(owner.stack, tenant.org_id, "member")
    (user,) = owner.json("user", "list", "--email", email)
    assert owner.json("user", "update", user["id"], "--role", "billing")["role"] == "billing"
    project = owner.json("project", "create", "--name", "Search")["id"]
    assert owner.json("member", "create", project, "--user", user["id"], "--role", "viewer")["role"] == "viewer"
    assert owner.json("member", "update", project, user["id"], "--role", "member")["role"] == "member"
    owner("member", "remove", project, user["id"], "--yes")
    invite = owner.json("invite", "create", "--email", "new@demo.example", "--role", "member", "--project", f"{project}:viewer")
    assert invite["projects"] == [{"id": project, "role": "viewer"}]
    joined = owner.json("invite", "accept", "--token", invite["token"], "--name", "New", "--password", PASSWORD)
    assert joined["user"]["email"] == "new@demo.example"
    assert [row["status"] for row in owner.json("invite", "list")] == ["accepted"]
    owner("user", "remove", user["id"], "--yes")
    assert owner("user", "get", user["id"], expects=4).stdout == ""


def test_organization_budgets_limits_and_sql(owner: Command) -> None:
    assert owner.json("org", "set", "--key-days-max", "90", "--key-cidr", "10.0.0.0/8")["key_days_max"] == 90
    assert owner.json("org", "set", "--key-days-max", "none", "--key-cidr", "none")["key_cidrs"] is None
    budget = owner.json("budget", "create", "--period", "month", "--usd", "0.10", "--alert-at", "50", "--alert-at", "90")
    assert (budget["limit_usd"], budget["alert_percents"]) == ("0.10", [50, 90])
    assert owner.json("budget", "update", budget["id"], "--usd", "250")["limit_usd"] == "250.00"
    owner("budget", "delete", budget["id"], "--yes")
    limit = owner.json("limit", "create", "--requests-per-minute", "1_000")
    assert (
        owner.json("limit", "update", limit["id"], "--requests-per-minute", "none", "--requests-at-once", "5")["requests_at_once"]
        == 5
    )
    login = owner.json("sql-access", "create", "--name", "finance")
    assert len(login["password"]) >= 20
    assert owner.json("sql-access", "rotate", login["id"], "--yes")["password"] != login["password"]
    owner("sql-access", "delete", login["id"], "--yes")


def test_catalogue_and_prices(owner: Command) -> None:
    owner("model", "create", "--id", "other", "--context-tokens", "1000", "--output-tokens", "100")
    assert owner.json("model", "update", "other", "--output-tokens", "50")["output_tokens_max"] == 50
    amounts = ["--input-usd", "0.25", "--cached-input-usd", "0.1", "--output-usd", "1"]
    price = owner.json("price", "create", "--model", "other", *amounts, "--from", "+1d", "--reason", "first")
    assert price["input_usd_per_million"] == "0.25"
    owner("price", "delete", price["id"], "--yes")
    own = ["--model", "simulated", "--for", owner.json("org", "show")["id"], *amounts, "--confirm", "--reason", "own"]
    before, after = (owner.json("price", "create", *own, *start) for start in ([], ["--from", "+1d"]))
    owner("price", "delete", after["id"], "--extend-before", "false", "--yes")
    assert owner.json("price", "get", before["id"])["effective_until"] == after["effective_from"]
    seen = owner.json("price", "preview", "--model", "simulated", *amounts, "--tag", "service=batch", "--priority", "1")
    assert (seen["closes"], seen["needs_confirmation"]) == (None, False)
    amounts[1] = "100"
    batch = ["--model", "simulated", *amounts, "--tag", "service=batch", "--tag", "team=a", "--priority", "1", "--reason", "x"]
    assert "confirm" in owner("price", "create", *batch, expects=5).stderr
    made = owner.json("price", "create", *batch, "--confirm", "--request-usd", "0")
    assert made["tags"] == {"service": "batch", "team": "a"}
    assert owner.json("price", "end", made["id"], "--at", "+1d", "--yes")["effective_until"] > made["effective_from"]
    terms = ["--basis-points", "250", "--from", "2101-01", "--reason", "by contract"]
    tier = owner.json("volume-tier", "create", "--model", "other", "--class", "output", "--above", "1_000_000", *terms)
    assert tier["above_quantity"] == 10**6
    owner("volume-tier", "delete", tier["id"], "--yes")
    organization = owner.json("org", "show")["id"]
    discount = owner.json("discount", "create", "--for", organization, "--until", "2101-06", *terms)
    assert [row["last_month"] for row in owner.json("discount", "list")] == [discount["last_month"]] == ["2101-06"]
    url = owner.json("engine", "get", "engine-simulated")["base_url"]
    owner("engine", "create", "--id", "second", "--kind", "simulated", "--url", url, "--model", "other")
    assert owner.json("engine", "disable", "second", "--yes")["enabled"] is False
    assert {row["id"] for row in owner.json("engine", "catalogue")} == {"engine-simulated", "second"}
    owner("model", "retire", "other", "--yes")
    assert "other" not in {row["id"] for row in owner.json("model", "list")}


def test_lists_go_on_over_all_pages_and_csv_is_well_formed(owner: Command) -> None:
    tenant = demo(owner.stack)
    owner.stack.db.execute(
        "insert into control.projects (public_id, org_id, name) select 'proj_' || lpad(i::text, 12, '0'), %s,"
        " case i when 1 then '=1+1, \"quoted\"' else 'P' || i end from generate_series(1, 230) i",
        [tenant.org_id],
    )
    owner.stack.db.commit()
    assert len(owner.json("project", "list")) == 231
    assert len(owner.json("project", "list", "--rows", "7")) == 7
    rows = list(csv.DictReader(io.StringIO(owner("project", "list", "-o", "csv").stdout)))
    assert len(rows) == 231
    assert rows[1]["name"] == '\'=1+1, "quoted"'


def test_the_audit_log_is_listed_and_checked(owner: Command) -> None:
    owner("project", "create", "--name", "Search")
    (entry,) = owner.json("audit", "list", "--event", "project.created")
    assert (entry["type"], entry["actor"]["session"]["user"]["email"]) == ("project.created", owner.stack.email)
    assert "each as it was written" in owner("audit", "verify").stderr
    owner.stack.db.execute("update control.audit_log set actor_email = 'eve@demo.example' where event_type = 'project.created'")
    owner.stack.db.commit()
    found = owner("audit", "verify", expects=8)
    assert "was changed" in found.stderr
    assert str(entry["sequence"]) in found.stdout


def test_roles_and_empty_reports(owner: Command) -> None:
    table = list(csv.DictReader(io.StringIO(owner("role", "list", "-o", "csv").stdout)))
    assert {row["permission"]: row["member"] for row in table}["projects.create"] == ""
    assert owner.json("usage", "--from", "-1d") == []
    assert "Nothing found" in owner("costs", "--from", "-1d").stderr


def test_sessions_and_devices(owner: Command) -> None:
    owner.login()
    sessions = owner.json("session", "list")
    assert [row["current"] for row in sessions] == [True, False]
    owner("session", "end", sessions[1]["id"], "--yes")
    assert len(owner.json("session", "list")) == 1


def test_doctor_says_what_is_not_well_and_what_to_do(owner: Command) -> None:
    """Nothing has built the marts here, and somebody has forgotten a price."""
    owner("model", "create", "--id", "unpriced", "--context-tokens", "1000", "--output-tokens", "100")
    ill = owner("doctor", expects=8)
    assert "prices" in ill.stderr
    checks = {check["name"]: check for check in json.loads(owner("doctor", "-o", "json", expects=8).stdout)}
    assert checks["prices"]["message"].endswith("unpriced")
    assert "inferhouse price create" in checks["prices"]["what_to_do"]
    assert checks["completeness"]["status"] == "warning"
    ours = {"database", "migrations", "clock", "connections", "audit", "engines", "redis", "journal"}
    well = {"address", "this machine's clock"} | ours
    assert {name for name, check in checks.items() if check["status"] == "ok"} == well
    owner("model", "retire", "unpriced", "--yes")
    owner("doctor")


class TestWithoutRedis:
    """Whoever has a budget is refused."""

    @pytest.fixture
    def router_env(self) -> dict[str, str]:
        return {"ROUTER_REDIS_URL": f"redis://127.0.0.1:{free_port()}"}

    def test_doctor_says_that_budgets_and_limits_cannot_be_held(self, owner: Command) -> None:
        checks = {check["name"]: check for check in json.loads(owner("doctor", "-o", "json", expects=8).stdout)}
        assert checks["redis"]["status"] == "failed"
        assert checks["redis"]["message"].startswith("cannot be reached: requests under a budget or a limit are refused")
        assert "redis-down.md" in checks["redis"]["what_to_do"]


def test_doctor_sees_what_is_missing_in_the_database(owner: Command) -> None:
    owner.stack.db.execute("delete from migrations.applied where name = (select max(name) from migrations.applied)")
    owner.stack.db.commit()
    checks = {check["name"]: check for check in json.loads(owner("doctor", "-o", "json", expects=8).stdout)}
    assert checks["migrations"]["status"] == "failed"
    assert "warehouse.migrations" in checks["migrations"]["what_to_do"]


def test_it_runs_as_a_program(stack: Stack, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "INFERHOUSE_BASE_URL": stack.base_url}
    done = subprocess.run(
        [ROOT / "bin" / "inferhouse", "project", "list"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("you are not signed in")


class TestWithAPortal:
    """Where devices can be confirmed."""

    @pytest.fixture
    def router_env(self) -> dict[str, str]:
        return {"ROUTER_PORTAL_URL": "http://portal.example"}

    def test_login_by_a_code(self, stack: Stack, tmp_path: Path) -> None:
        """The person confirms it while the command waits."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "INFERHOUSE_BASE_URL": stack.base_url}
        with subprocess.Popen(
            [ROOT / "bin" / "inferhouse", "login", "--no-browser"], env=environment, stderr=subprocess.PIPE, text=True
        ) as waiting:
            assert waiting.stderr is not None
            said = waiting.stderr.readline()
            code = re.search(r"[A-Z]{4}-[A-Z]{4}", said)
            assert code is not None, said
            with signed_in(stack, stack.email, stack.password) as person:
                assert person.post("/sessions/device/approve", json={"user_code": code[0]}).status_code == 200
            assert stack.email in waiting.communicate(timeout=30)[1]
            assert waiting.returncode == 0
        assert Command(stack, tmp_path).json("whoami")["method"] == "device"
