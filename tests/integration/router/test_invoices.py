"""A month from preview to final invoice and its corrections, by API and command; what tenants see of it, down to the raw rows."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

from tests.dbt_runs import Dbt
from tests.factories import Tenant, add_tenant, copy_events, month_of_events
from tests.integration.router.callers import add_user, demo, error, owner, signed_in
from tests.integration.router.command import Command
from tests.integration.router.conftest import Stack

PASSED = Jsonb([{"name": "parity", "passed": True, "figures": {}, "words": ""}])
REFUSED = Jsonb([{"name": "prices", "passed": False, "figures": {}, "words": "2 rows are quarantined: put the price in"}])


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


@pytest.fixture
def command(stack: Stack, tmp_path: Path) -> Command:
    """Somebody who has not signed in."""
    (tmp_path / "home").mkdir()
    return Command(stack, tmp_path / "home")


@pytest.fixture
def tenant(stack: Stack, dbt: Dbt) -> Tenant:
    """An organization with a month of rows, and the marts of it."""
    tenant = add_tenant(stack.db, name="Kunde (Müller) GmbH")
    model = stack.db.execute(
        "select model_id, id from control.prices where model_id = (select id from control.models where name = 'simulated')"
    ).fetchone()
    assert model is not None
    copy_events(stack.db, month_of_events([tenant], model, 150))
    price = "update raw.usage_events as e set cost_picousd = (e.input_tokens - e.cached_input_tokens) * p.input_picousd"
    stack.db.execute(
        f"{price} + e.cached_input_tokens * p.cached_input_picousd + e.output_tokens * p.output_picousd"
        " from control.prices as p where p.id = e.price_id".encode()
    )
    stack.db.commit()
    dbt.run("run", "--select", "+invoices")
    return tenant


def _certify(stack: Stack, found: Jsonb, passed: bool) -> None:
    stack.db.execute(
        "select billing.certify(public_id, digest, %s, %s, 'test') from billing.invoices where status = 'draft'", [passed, found]
    )
    stack.db.commit()


def test_a_month_is_previewed_drafted_frozen_and_explained(stack: Stack, client: httpx.Client, tenant: Tenant) -> None:
    whose = {"organization": tenant.organization, "month": "2026-03"}
    assert client.post(f"/platform/organizations/{tenant.organization}/tax_region", json={"region": "DE"}).status_code == 200
    vat = {"region": "DE", "name": "VAT", "basis_points": 1900, "first_month": "2020-01"}
    assert client.post("/platform/tax_rates", json=vat).status_code == 200
    assert error(client.post("/platform/tax_rates", json=vat))[:2] == (409, "already_exists")
    preview = client.get("/platform/invoices/preview", params=whose).json()
    draft = client.post("/platform/invoices", json=whose).json()
    assert {name: draft[name] for name in ("amount", "tax_amount", "total", "subtotal_usd")} == {
        name: preview[name] for name in ("amount", "tax_amount", "total", "subtotal_usd")
    }
    assert draft["status"] == "draft"
    path = f"/platform/invoices/{draft['id']}"
    # Only a passing certificate of exactly this draft lets it become final.
    refused = client.post(f"{path}/finalize")
    assert error(refused)[:2] == (409, "conflict")
    assert "the gate has not looked" in refused.json()["error"]["message"]
    _certify(stack, REFUSED, passed=False)
    assert "put the price in" in client.post(f"{path}/finalize").json()["error"]["message"]
    assert client.get(f"{path}/certificate").json()["passed"] is False
    _certify(stack, PASSED, passed=True)
    final = client.post(f"{path}/finalize").json()
    assert (final["status"], final["number"][:4], final["digest"]) == ("final", "INV-", draft["digest"])
    assert error(client.post(f"{path}/finalize"))[:2] == (409, "conflict")
    with signed_in(stack, add_user(stack, tenant.org_id, "billing")) as billing:
        _as_the_tenant(billing, final)
    with signed_in(stack, add_user(stack, demo(stack).org_id, "owner")) as stranger:
        assert stranger.get("/organization/invoices").json()["data"] == []
        for kind in ("", "/lines", "/pdf", "/csv", "/certificate"):
            assert error(stranger.get(f"/organization/invoices/{final['id']}{kind}"))[:2] == (404, "not_found")
    note = client.post(f"{path}/credit", json={"amount_usd": "0.01", "reason": "slow"}).json()
    assert (note["kind"], note["amount"], note["corrects"]) == ("credit_note", "-0.01", final["id"])
    assert error(client.post(f"{path}/void", json={"reason": "wrong"}))[:2] == (409, "conflict")
    assert client.post(f"/platform/invoices/{note['id']}/void", json={"reason": "wrong"}).status_code == 200
    assert client.post(f"{path}/void", json={"reason": "wrong"}).json()["total"] == f"-{final['total']}"
    told = [
        row["type"] for row in client.get("/organization/audit_logs", params={"limit": 100}, headers=_of(tenant)).json()["data"]
    ]
    assert [name for name in reversed(told) if name.startswith("invoice.")] == [
        "invoice.drafted", "invoice.finalized", "invoice.credited", "invoice.voided", "invoice.voided",
    ]  # fmt: skip


def _of(tenant: Tenant) -> dict[str, str]:
    return {"OpenAI-Organization": tenant.organization}


def _as_the_tenant(client: httpx.Client, final: dict[str, Any]) -> None:
    (listed,) = client.get("/organization/invoices", params={"month": "2026-03"}).json()["data"]
    assert listed == final
    path = f"/organization/invoices/{final['id']}"
    assert client.get(f"{path}/certificate").json()["digest"] == final["digest"]
    lines = client.get(f"{path}/lines", params={"limit": 100}).json()["data"]
    assert f"{sum(round(float(line['amount']) * 100) for line in lines) / 100:.2f}" == final["amount"]
    pdf = client.get(f"{path}/pdf").json()
    assert pdf == client.get(f"{path}/pdf").json(), "the same bytes each time"
    content = base64.b64decode(pdf["content_base64"])
    assert content.startswith(b"%PDF-1.4")
    assert content.endswith(b"%%EOF\n")
    for text in (final["number"], final["total"], "Kunde \\(M\xfcller\\) GmbH", "VAT DE 19 %"):
        assert text.encode("cp1252") in content
    csv = base64.b64decode(client.get(f"{path}/csv").json()["content_base64"]).decode()
    assert len(csv.splitlines()) == 1 + len(lines) + 1
    for line in lines:
        explained = client.get(f"/organization/invoice_lines/{line['id']}").json()
        assert explained["agrees"], explained
        rows = list(_rows_of(client, line["id"]))
        assert len({(row["request_id"], row["attempt"]) for row in rows}) == len(rows) == line["usage_rows"]
        assert sum(row["quantity"] for row in rows) == line["quantity"]


def _rows_of(client: httpx.Client, line: str) -> Iterator[dict[str, Any]]:
    params: dict[str, Any] = {"limit": 60}
    while True:
        page = client.get(f"/organization/invoice_lines/{line}/rows", params=params).json()
        yield from page["data"]
        if not page["has_more"]:
            return
        params["after"] = page["last_id"]


def test_the_command_drafts_shows_and_explains(stack: Stack, command: Command, tenant: Tenant, tmp_path: Path) -> None:
    command.login()
    draft = command.json("invoice", "draft", "--for", tenant.organization, "--month", "2026-03")
    assert command("invoice", "finalize", draft["id"], "--yes", expects=5).stderr.startswith("the gate has not looked")
    _certify(stack, PASSED, passed=True)
    final = command.json("invoice", "finalize", draft["id"], "--yes")
    of_tenant = ("--organization", tenant.organization)
    file = tmp_path / "out.pdf"
    command(*of_tenant, "invoice", "pdf", final["id"], "--to", str(file))
    assert file.read_bytes().startswith(b"%PDF")
    lines = command.json(*of_tenant, "invoice", "lines", final["id"])
    done = command(*of_tenant, "explain", "invoice-line", lines[0]["id"], "--rows", "3")
    assert "Sum and digest agree." in done.stderr
    # A raw row that was changed behind everybody's back is found.
    stack.db.execute("update raw.usage_events set input_tokens = input_tokens + 1 where org_id = %s", [tenant.org_id])
    stack.db.commit()
    assert "do not agree" in command(*of_tenant, "explain", "invoice-line", lines[0]["id"], expects=8).stderr


def test_a_running_month_can_be_seen_and_not_frozen(stack: Stack, client: httpx.Client) -> None:
    """Without marts there is nothing to see, and the answer says so."""
    month = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m}"
    whose = {"organization": client.headers["OpenAI-Organization"], "month": month}
    for answer in (client.get("/platform/invoices/preview", params=whose), client.post("/platform/invoices", json=whose)):
        assert error(answer)[:2] == (409, "conflict")
        assert "never been built" in answer.json()["error"]["message"]
    assert error(client.get("/platform/invoices/preview", params=whose | {"month": "2026-13"}))[:2] == (400, "invalid_request")
