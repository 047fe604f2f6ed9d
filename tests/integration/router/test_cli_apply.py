"""`apply` and `diff`: a file says what an organization is, and a second time there is nothing to do."""

import json
import re
import stat
from pathlib import Path

import pytest

from tests.integration.router.callers import add_user, demo
from tests.integration.router.command import Command
from tests.integration.router.conftest import Stack
from tests.services import ROOT

PAGE = ROOT / "docs" / "how-to" / "declare-an-organization.md"


@pytest.fixture
def owner(stack: Stack, tmp_path: Path) -> Command:
    """The demo's owner and platform admin, signed in."""
    home = tmp_path / "home"
    home.mkdir()
    command = Command(stack, home)
    command.login()
    return command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "organization.yaml"


def test_the_examples_of_the_page_are_applied_and_then_there_is_nothing_to_do(owner: Command, file: Path, tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 2
    file.write_text("\n".join(examples))
    plan = owner("diff", "-f", str(file), expects=7).stdout
    assert "+ project Search" in plan
    assert "+ budget day of Search (period: day, limit_usd: 25.50, mode: soft)" in plan
    assert "~ organization Demo (key_days_max: none -> 90" in plan
    assert owner.json("project", "list")[0]["name"] == "Default project"
    secrets = tmp_path / "secrets"
    done = owner("apply", "--yes", "-f", str(file), "--secrets", str(secrets))
    kept = [json.loads(line) for line in secrets.read_text().splitlines()]
    assert {entry["kind"] for entry in kept} == {"service account", "sql access"}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    for entry in kept:
        secret = entry.get("password") or entry["api_key"]["value"]
        assert secret not in done.stdout + done.stderr
    assert "Nothing to do" in owner("diff", "-f", str(file)).stderr
    assert "Nothing to do" in owner("apply", "-f", str(file)).stderr


def test_what_differs_is_changed_and_prune_takes_away(owner: Command, file: Path) -> None:
    email = add_user(owner.stack, demo(owner.stack).org_id, "member")
    file.write_text(
        f"members: [{{email: {email.upper()}, role: billing}}, {{email: {owner.stack.email}, role: owner}}]\n"
        f"projects: [{{name: A, members: [{{email: {email}, role: viewer}}], budgets: [{{period: day, limit_usd: 1}}]}},"
        " {name: B}]\n"
    )
    owner("apply", "-y", "-f", str(file))
    assert owner.json("user", "list", "--email", email)[0]["role"] == "billing"
    file.write_text("projects: [{name: A, members: [], budgets: [{period: day, limit_usd: 2.50}]}]\n")
    assert owner("diff", "-f", str(file), expects=7).stdout == "~ budget day of A (limit_usd: 1.00 -> 2.50)\n"
    owner("apply", "-y", "--prune", "-f", str(file))
    (project,) = owner.json("project", "list")
    assert (project["name"], owner.json("member", "list", project["id"])) == ("A", [])
    assert owner.json("budget", "list")[0]["limit_usd"] == "2.50"


def test_a_wrong_file_says_where_and_changes_nothing(owner: Command, file: Path) -> None:
    for text, says in (
        ("projects:\n  - name: A\n    budget: []\n", f"{file}, line 3: an entry of projects has no 'budget'"),
        ("projects: [{name: A}, {name: a}]\n", "'a' twice"),
        ("limits: [{requests_at_once: 1}, {requests_per_minute: 1}]\n", "two limits of the organization"),
        ("members: [{email: nobody@demo.example, role: member}]\n", "inferhouse invite create"),
    ):
        file.write_text(text)
        assert says in owner("apply", "-y", "-f", str(file), expects=2).stderr


def test_prune_takes_away_what_is_there_twice(owner: Command, file: Path) -> None:
    for usd in ("3", "2", "1"):
        owner("budget", "create", "--period", "day", "--usd", usd)
    file.write_text("budgets: [{period: day, limit_usd: 3}]\n")
    assert "Nothing to do" in owner("apply", "-f", str(file)).stderr
    assert owner("diff", "--prune", "-f", str(file), expects=7).stdout == "- budget day of the organization\n" * 2
    owner("apply", "-y", "--prune", "-f", str(file))
    assert [budget["limit_usd"] for budget in owner.json("budget", "list")] == ["3.00"]


def test_a_price_that_is_to_come_is_not_taken_for_the_one_in_force(owner: Command, file: Path) -> None:
    """The file says what it costs today: neither is each run another version, nor is tomorrow's price today's."""
    declared = "platform: {{prices: [{{model: simulated, input_usd_per_million: {}, cached_input_usd_per_million: 0.05, "
    declared += "output_usd_per_million: 0.40}}]}}\n"
    owner(
        "price", "create", "--model", "simulated", "--input-usd", "0.20", "--cached-input-usd", "0.05", "--output-usd", "0.40",
        "--from", "+7d", "--reason", "next week",
    )  # fmt: skip
    file.write_text(declared.format("0.10"))
    assert "Nothing to do" in owner("apply", "-f", str(file)).stderr
    file.write_text(declared.format("0.20"))
    owner("apply", "-y", "-f", str(file))
    assert "Nothing to do" in owner("apply", "-f", str(file)).stderr
    assert len(owner.json("price", "list", "--model", "simulated", "--at", "+1m")) == 1
    assert len(owner.json("price", "list", "--model", "simulated")) == 3


def test_secrets_are_made_only_where_they_can_be_kept(owner: Command, file: Path, tmp_path: Path) -> None:
    file.write_text("sql_access: [{name: finance}]\n")
    nowhere, before = str(tmp_path / "missing" / "secrets"), owner.json("sql-access", "list")
    assert "Nothing was changed" in owner("apply", "-y", "-f", str(file), "--secrets", nowhere, expects=2).stderr
    assert owner.json("sql-access", "list") == before
    secrets = tmp_path / "secrets"
    secrets.touch(mode=0o644)
    assert str(secrets) in owner("apply", "-y", "-f", str(file), "--secrets", str(secrets)).stderr
    assert json.loads(secrets.read_text())["name"] == "finance"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600


def test_a_missing_file_and_no_terminal(owner: Command, file: Path) -> None:
    assert "cannot be read" in owner("diff", "-f", str(file), expects=2).stderr
    file.write_text("projects: [{name: A}]\n")
    assert "--yes" in owner("apply", "-f", str(file), expects=2).stderr
    assert len(owner.json("project", "list")) == 1


def test_a_failure_in_the_middle_says_what_is_done_and_the_next_run_goes_on(owner: Command, file: Path) -> None:
    file.write_text("projects: [{name: A, budgets: [{period: day, limit_usd: 1}, {period: year, limit_usd: 1}]}, {name: B}]\n")
    failed = owner("apply", "-y", "-f", str(file), expects=1)
    assert "2 of 4 changes were made" in failed.stderr
    assert "budget year of A" in failed.stderr
    file.write_text(file.read_text().replace("year", "week"))
    assert owner("diff", "-f", str(file), expects=7).stdout.count("\n") == 2
    owner("apply", "-y", "-f", str(file))
    assert owner("diff", "-f", str(file)).stdout == ""
