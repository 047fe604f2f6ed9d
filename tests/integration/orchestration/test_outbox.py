"""The outbox delivers at least once, to a real web server and a real mail server, and to nobody whom it should not reach."""

import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg.rows import dict_row

from orchestration.defs.outbox import webhook
from orchestration.defs.outbox.deliverer import PAUSES_S, Outlet, deliver_due, pause_after
from orchestration.defs.outbox.mail import MailServer
from orchestration.defs.outbox.sensors import delivery_sensors
from orchestration.resources import Warehouse
from tests.factories import Tenant, add_tenant
from tests.receivers import MailReceiver, WebReceiver
from tests.services import free_port
from warehouse.access import outbox
from warehouse.base.ids import public_id
from warehouse.identity.networks import parse_networks
from warehouse.identity.webhooks import secret_of

KEY = b"k" * 32
LOOPBACK = parse_networks(["127.0.0.0/8"])
WINDOW = datetime(2026, 3, 1, tzinfo=UTC)
Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def mailbox() -> Iterator[MailReceiver]:
    receiver = MailReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def tenant(db: psycopg.Connection) -> Tenant:
    return add_tenant(db)


@pytest.fixture
def connect(role_url: Callable[..., str]) -> Connect:
    return Warehouse(database_url=role_url("inferhouse_transform")).connect


@pytest.fixture
def outlet(mailbox: MailReceiver) -> Outlet:
    return Outlet(KEY, LOOPBACK, MailServer("127.0.0.1", mailbox.port, "none", "Inferhouse <alerts@house.example>"))


def _webhook(db: psycopg.Connection, tenant: Tenant, url: str, **fields: Any) -> str:
    name = public_id("webhook")
    values = {"event_types": None, "enabled": True, "secret_serial": 1, "previous_secret_until": None} | fields
    db.execute(
        "insert into control.webhooks (public_id, org_id, name, url, event_types, enabled, secret_serial, previous_secret_until)"
        " values (%s, %s, 'hook', %s, %s, %s, %s, %s)",
        [name, tenant.org_id, url, *values.values()],
    )
    db.commit()
    return name


def _budget(db: psycopg.Connection, tenant: Tenant) -> int:
    row = db.execute(
        "insert into control.budgets (public_id, org_id, period, limit_picousd) values (%s, %s, 'month', 3) returning id",
        [public_id("budget"), tenant.org_id],
    ).fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


def _alert(db: psycopg.Connection, tenant: Tenant, budget: int, percent: int = 80, window: datetime = WINDOW) -> int:
    done = db.execute(
        "insert into control.budget_alerts (org_id, budget_id, window_start, percent, spent_picousd, limit_picousd)"
        " values (%s, %s, %s, %s, 2000000000001, 3000000000000) on conflict do nothing",
        [tenant.org_id, budget, window, percent],
    )
    db.commit()
    return done.rowcount


def _member(db: psycopg.Connection, tenant: Tenant, email: str, role: str) -> None:
    row = db.execute(
        "insert into control.users (public_id, email, name, password_hash) values (%s, %s, 'Somebody', 'x') returning id",
        [public_id("user"), email],
    ).fetchone()
    assert row is not None
    db.execute("insert into control.org_members (org_id, user_id, role) values (%s, %s, %s)", [tenant.org_id, row[0], role])
    db.commit()


def _deliveries(db: psycopg.Connection) -> list[dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cur:
        rows = cur.execute("select * from control.outbox_deliveries order by id").fetchall()
    db.commit()
    return rows


def _due_now(db: psycopg.Connection) -> None:
    db.execute("update control.outbox_deliveries set next_try_at = now() - interval '1 second' where status = 'waiting'")
    db.commit()


def _signed(secret: str, headers: dict[str, str], body: bytes) -> str:
    """What a receiver computes, by the words of Standard Webhooks."""
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def test_an_alert_reaches_webhook_and_mail_once(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver, mailbox: MailReceiver
) -> None:
    for email, role in (("Boss@own.example", "owner"), ("bills@own.example", "billing"), ("dev@own.example", "member")):
        _member(db, tenant, email, role)
    name, budget = _webhook(db, tenant, f"{web.url}/hook?a=b"), _budget(db, tenant)
    assert [_alert(db, tenant, budget) for _ in range(3)] == [1, 0, 0]
    assert deliver_due(connect, outlet) == {"delivered": 3}
    assert deliver_due(connect, outlet) == {}
    (posted,) = web.posted
    body = json.loads(posted.body)
    assert posted.path == "/hook?a=b"
    assert posted.headers["webhook-signature"] == _signed(secret_of(KEY, name, 1), posted.headers, posted.body)
    assert abs(int(posted.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert (body["type"], body["id"]) == ("budget.threshold_reached", posted.headers["webhook-id"])
    assert (body["data"]["percent"], body["data"]["spent_usd"], body["data"]["limit_usd"]) == (80, "2.000000000001", "3")
    assert body["data"]["window_start"] == "2026-03-01T00:00:00Z"
    assert sorted(str(mail["To"]) for mail in mailbox.mails) == ["bills@own.example", "boss@own.example"]
    assert mailbox.connections == 1
    assert "has reached 80 %" in mailbox.mails[0]["Subject"]
    assert "2.000000000001 of 3 USD" in mailbox.mails[0].get_content()
    assert mailbox.mails[0]["Message-ID"].endswith("@house.example>")


def test_each_threshold_and_window_is_one_event_and_full_is_exhausted(db: psycopg.Connection, tenant: Tenant) -> None:
    budget = _budget(db, tenant)
    for percent in (50, 80, 100):
        for window in (WINDOW, WINDOW + timedelta(days=31)):
            assert _alert(db, tenant, budget, percent, window) == 1
    found = db.execute("select event_type, count(*) from control.outbox_events group by 1 order by 1").fetchall()
    assert found == [("budget.exhausted", 2), ("budget.threshold_reached", 4)]


def test_an_alert_that_is_rolled_back_tells_nobody(db: psycopg.Connection, tenant: Tenant) -> None:
    budget = _budget(db, tenant)
    with db.transaction(force_rollback=True):
        db.execute(
            "insert into control.budget_alerts (org_id, budget_id, window_start, percent, spent_picousd, limit_picousd)"
            " values (%s, %s, now(), 50, 1, 1)",
            [tenant.org_id, budget],
        )
        assert db.execute("select count(*) from control.outbox_events").fetchone() == (1,)
    assert db.execute("select count(*) from control.outbox_events").fetchone() == (0,)


def test_the_router_may_note_an_alert_and_sees_nothing_of_the_outbox(
    db: psycopg.Connection, tenant: Tenant, role_url: Callable[..., str], web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    budget = _budget(db, tenant)
    with psycopg.connect(role_url("inferhouse_router")) as router:
        assert _alert(router, tenant, budget) == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            router.execute("select * from control.outbox_events")
    assert [row["status"] for row in _deliveries(db)] == ["waiting"]


def test_a_receiver_that_fails_is_tried_again_with_growing_pauses_and_then_given_up(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    web.statuses = [500] * 100
    pauses = []
    for number in range(1, len(PAUSES_S) + 1):
        assert deliver_due(connect, outlet) == {"waiting": 1}
        (row,) = _deliveries(db)
        assert (row["tries"], row["http_status"], row["error"]) == (number, 500, "answered 500")
        pauses.append((row["next_try_at"] - row["tried_at"]).total_seconds())
        assert deliver_due(connect, outlet) == {}, "tried before its pause was over"
        _due_now(db)
    assert [round(pause / expected) for pause, expected in zip(pauses, PAUSES_S, strict=True)] == [1] * len(PAUSES_S)
    assert deliver_due(connect, outlet) == {"failed": 1}
    _due_now(db)
    assert deliver_due(connect, outlet) == {}
    assert len({posted.headers["webhook-id"] for posted in web.posted}) == 1
    assert len({posted.body for posted in web.posted}) == 1
    assert len(web.posted) == len(PAUSES_S) + 1


def test_the_last_try_has_no_pause_after_it() -> None:
    assert pause_after(len(PAUSES_S) + 1) is None
    assert 4 < (pause_after(1) or 0) < 6


def test_a_deliverer_that_dies_loses_nothing(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    with connect() as conn:
        assert len(outbox.claim(conn, rows_max=10, of_organization_max=10, lease_s=60)) == 1
    with connect() as conn:
        assert outbox.claim(conn, rows_max=10, of_organization_max=10, lease_s=60) == []
    _due_now(db)  # as when the lease has ended
    assert deliver_due(connect, outlet) == {"delivered": 1}
    assert len(web.posted) == 1


def test_a_late_note_of_a_lost_try_changes_nothing(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    with connect() as conn:
        (slow,) = outbox.claim(conn, rows_max=10, of_organization_max=10, lease_s=60)
    _due_now(db)
    deliver_due(connect, outlet)
    with connect() as conn:
        outbox.note(conn, slow, outbox.Tried("too late"), None)
    assert [(row["status"], row["error"]) for row in _deliveries(db)] == [("delivered", None)]


def test_two_deliverers_share_the_work(db: psycopg.Connection, tenant: Tenant, connect: Connect, web: WebReceiver) -> None:
    for _ in range(4):
        _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    with connect() as one, connect() as other:
        first = outbox.claim(one, rows_max=2, of_organization_max=10, lease_s=60)
        second = outbox.claim(other, rows_max=10, of_organization_max=10, lease_s=60)
    assert (len(first), len(second)) == (2, 2)
    assert not {due.id for due in first} & {due.id for due in second}


def test_one_organizations_backlog_does_not_keep_another_waiting(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, web: WebReceiver
) -> None:
    for _ in range(8):
        _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    other = add_tenant(db, name="Other")
    _webhook(db, other, web.url)
    _alert(db, other, _budget(db, other))
    with connect() as conn:
        taken = outbox.claim(conn, rows_max=3, of_organization_max=2, lease_s=60)
    assert sorted(due.organization for due in taken) == ["Other", "Tenant", "Tenant"]


def test_both_secrets_sign_until_the_grace_of_a_rotation_ends(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    name = _webhook(db, tenant, web.url, secret_serial=3, previous_secret_until=until)
    budget = _budget(db, tenant)
    _alert(db, tenant, budget)
    deliver_due(connect, outlet)
    db.execute("update control.webhooks set previous_secret_until = now() - interval '1 second'")
    db.commit()
    _alert(db, tenant, budget, 90)
    deliver_due(connect, outlet)
    for posted, serials in zip(web.posted, ((3, 2), (3,)), strict=True):
        expected = [_signed(secret_of(KEY, name, serial), posted.headers, posted.body) for serial in serials]
        assert posted.headers["webhook-signature"].split(" ") == expected


def test_a_webhook_is_told_of_what_it_asked_for_only(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, f"{web.url}/full", event_types=["budget.exhausted"])
    _webhook(db, tenant, f"{web.url}/off", enabled=False)
    _webhook(db, add_tenant(db, name="Other"), f"{web.url}/foreign")
    budget = _budget(db, tenant)
    _alert(db, tenant, budget, 50)
    _alert(db, tenant, budget, 100)
    deliver_due(connect, outlet)
    assert [posted.path for posted in web.posted] == ["/full"]


def test_a_webhook_that_was_taken_away_is_sent_nothing_more(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    db.execute("update control.webhooks set deleted_at = now()")
    db.commit()
    assert deliver_due(connect, outlet) == {"failed": 1}
    assert web.posted == []


REFUSED = [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/", "https://[fd00::1]/", "https://[::ffff:127.0.0.1]:{port}/", "https://0.0.0.0:{port}/",
    "https://[64:ff9b::7f00:1]/", "https://100.64.0.1/", "https://2130706433:{port}/", "https://0x7f.1:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_is_not_of_the_internet_is_refused(
    url: str, db: psycopg.Connection, tenant: Tenant, connect: Connect, web: WebReceiver
) -> None:
    _webhook(db, tenant, url.format(port=web.port))
    _alert(db, tenant, _budget(db, tenant))
    assert deliver_due(connect, Outlet(KEY)) == {"waiting": 1}
    (row,) = _deliveries(db)
    assert "not one of the internet" in row["error"]
    assert web.posted == []


def test_plain_http_is_for_allowed_networks_only(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet
) -> None:
    _webhook(db, tenant, "http://8.8.8.8/")
    _alert(db, tenant, _budget(db, tenant))
    deliver_due(connect, outlet)
    assert "use https://" in _deliveries(db)[0]["error"]


def test_a_redirect_is_not_followed(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    web.statuses, web.headers = [302], {"location": f"{web.url}/elsewhere"}
    assert deliver_due(connect, outlet) == {"waiting": 1}
    assert _deliveries(db)[0]["error"] == "answered 302: redirects are not followed"
    assert [posted.path for posted in web.posted] == ["/"]


def test_a_slow_a_long_and_an_absent_receiver_are_bounded(
    db: psycopg.Connection,
    tenant: Tenant,
    connect: Connect,
    outlet: Outlet,
    web: WebReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "TRY_S_MAX", 0.5)
    budget = _budget(db, tenant)
    _webhook(db, tenant, web.url)
    web.pause_s = 3
    _alert(db, tenant, budget, 10)
    deliver_due(connect, outlet)
    web.pause_s, web.headers = 0, {"x-long": "x" * 60_000}
    _alert(db, tenant, budget, 20)
    deliver_due(connect, outlet)
    db.execute("update control.webhooks set url = %s", [f"http://127.0.0.1:{free_port()}"])
    db.commit()
    _alert(db, tenant, budget, 30)
    deliver_due(connect, outlet)
    errors = [row["error"] for row in _deliveries(db)]
    assert errors[0] == "no answer within 0.5 s"
    assert errors[1].startswith("the connection failed: LimitOverrunError")
    assert errors[2] == "the connection failed: ConnectionRefusedError"


def test_an_untrusted_certificate_or_no_tls_at_all_is_refused(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url.replace("http://", "https://"))
    _alert(db, tenant, _budget(db, tenant))
    assert deliver_due(connect, outlet) == {"waiting": 1}
    assert _deliveries(db)[0]["error"].startswith(("TLS failed", "the connection failed"))
    assert web.posted == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for `localhost`, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "localhost.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_https_checks_the_certificate_for_the_name_of_the_url(
    db: psycopg.Connection,
    tenant: Tenant,
    connect: Connect,
    certificate: Path,
    outlet: Outlet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection goes to the address that was looked at; name and Host are still those of the URL."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    web = WebReceiver(tls)
    try:
        _webhook(db, tenant, web.url)
        _alert(db, tenant, _budget(db, tenant))
        outlet = Outlet(KEY, parse_networks(["127.0.0.0/8", "::1/128"]))
        assert deliver_due(connect, outlet) == {"waiting": 1}
        assert _deliveries(db)[0]["error"].startswith("TLS failed: CERTIFICATE_VERIFY_FAILED")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        _due_now(db)
        assert deliver_due(connect, outlet) == {"delivered": 1}
        assert [posted.headers["host"] for posted in web.posted] == [f"localhost:{web.port}"]
        db.execute("update control.webhooks set url = %s", [f"https://127.0.0.1:{web.port}/"])
        db.commit()
        _alert(db, tenant, _budget(db, tenant))
        assert deliver_due(connect, outlet) == {"waiting": 1}, "the certificate is for another name"
    finally:
        web.close()


def test_gone_is_not_asked_again(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    web.statuses = [410]
    assert deliver_due(connect, outlet) == {"failed": 1}


def test_mail_goes_to_whom_the_organization_names(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, mailbox: MailReceiver
) -> None:
    _member(db, tenant, "boss@own.example", "owner")
    _member(db, tenant, "dev@own.example", "admin")
    db.execute(
        "insert into control.alert_recipients (org_id, roles, emails) values (%s, '{admin}', %s)",
        [tenant.org_id, ["ops@own.example", "DEV@own.example"]],
    )
    _alert(db, tenant, _budget(db, tenant), 100)
    assert deliver_due(connect, outlet) == {"delivered": 2}
    assert sorted(str(mail["To"]) for mail in mailbox.mails) == ["dev@own.example", "ops@own.example"]
    assert "is used up" in mailbox.mails[0]["Subject"]


def test_a_refused_address_fails_and_a_mail_server_that_is_away_is_tried_again(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, mailbox: MailReceiver
) -> None:
    _member(db, tenant, "nobody@own.example", "owner")
    _member(db, tenant, "boss@own.example", "owner")
    budget = _budget(db, tenant)
    _alert(db, tenant, budget)
    mailbox.refuse = lambda line: 550 if "nobody" in line else None
    assert deliver_due(connect, outlet) == {"delivered": 1, "failed": 1}
    _alert(db, tenant, budget, 90)
    away = Outlet(KEY, LOOPBACK, MailServer("127.0.0.1", free_port(), "none", "a@b.example"))
    assert deliver_due(connect, away) == {"waiting": 2}
    _due_now(db)
    assert deliver_due(connect, Outlet(KEY)) == {"failed": 2}
    assert "ORCHESTRATION_SMTP_HOST" in _deliveries(db)[-1]["error"]


def test_a_mail_server_without_tls_is_refused_unless_that_was_asked_for(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, mailbox: MailReceiver
) -> None:
    _member(db, tenant, "boss@own.example", "owner")
    _alert(db, tenant, _budget(db, tenant))
    server = MailServer("127.0.0.1", mailbox.port, "starttls", "a@b.example", "user", "a password")
    assert deliver_due(connect, Outlet(KEY, LOOPBACK, server)) == {"waiting": 1}
    assert mailbox.mails == []


def test_an_event_of_a_later_type_is_told_in_its_fields(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver, mailbox: MailReceiver
) -> None:
    _member(db, tenant, "boss@own.example", "owner")
    _webhook(db, tenant, web.url)
    with connect() as conn:
        for _ in range(2):
            conn.execute(
                "select control.put_event(%s, 'invoice.ready', '{\"invoice_id\": \"invoice_1\"}', 'invoice 1')", [tenant.org_id]
            )
    assert deliver_due(connect, outlet) == {"delivered": 2}
    assert json.loads(web.posted[0].body)["data"] == {"invoice_id": "invoice_1"}
    assert "invoice_id: invoice_1" in mailbox.mails[0].get_content()


def test_an_event_of_a_wrong_shape_keeps_no_other_waiting(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, mailbox: MailReceiver
) -> None:
    _member(db, tenant, "boss@own.example", "owner")
    with connect() as conn:
        conn.execute("select control.put_event(%s, 'budget.exhausted', '{}', 'wrong')", [tenant.org_id])
    _alert(db, tenant, _budget(db, tenant))
    assert deliver_due(connect, outlet) == {"failed": 1, "delivered": 1}
    assert "no mail can be written of it: KeyError" in str(_deliveries(db)[0]["error"])
    assert len(mailbox.mails) == 1


def test_an_address_that_no_mail_can_be_written_to_keeps_no_other_waiting(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, outlet: Outlet, web: WebReceiver, mailbox: MailReceiver
) -> None:
    other = add_tenant(db, name="Other")
    _member(db, other, "boss@other.example", "owner")
    _webhook(db, other, f"{web.url}/hook")
    db.execute("insert into control.alert_recipients (org_id, roles, emails) values (%s, '{}', '{a@[}')", [tenant.org_id])
    db.commit()
    for each in (tenant, other):
        _alert(db, each, _budget(db, each))
    assert deliver_due(connect, outlet) == {"failed": 1, "delivered": 2}
    assert (len(mailbox.mails), len(web.posted)) == (1, 1)


def test_old_events_are_forgotten_unless_something_of_them_waits(
    db: psycopg.Connection, tenant: Tenant, connect: Connect, web: WebReceiver
) -> None:
    budget = _budget(db, tenant)
    _alert(db, tenant, budget, 10)
    _webhook(db, tenant, web.url)
    _alert(db, tenant, budget, 20)
    db.execute("update control.outbox_events set created_at = now() - interval '91 days'")
    _alert(db, tenant, budget, 30)
    with connect() as conn:
        assert outbox.forget(conn, days=90, rows_max=10) == 1
    assert [row["status"] for row in _deliveries(db)] == ["waiting", "waiting"]


def test_ticks_of_the_sensors_deliver_first_tries_and_further_ones_apart(
    db: psycopg.Connection, tenant: Tenant, role_url: Callable[..., str], outlet: Outlet, web: WebReceiver
) -> None:
    _webhook(db, tenant, web.url)
    _alert(db, tenant, _budget(db, tenant))
    warehouse = Warehouse(database_url=role_url("inferhouse_transform"))

    def ticks(to: Outlet | None) -> list[str]:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse})
            return [str(sensor.evaluate_tick(context).skip_message) for sensor in delivery_sensors(to)]

    assert all("ORCHESTRATION_WEBHOOK_KEY" in said for said in ticks(None))
    web.statuses = [500]
    assert ticks(outlet) == ["1 waiting", "nothing is due"]
    _due_now(db)
    assert ticks(outlet) == ["nothing is due", "1 delivered"]
    assert len(web.posted) == 2
