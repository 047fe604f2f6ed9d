"""A small world for the matrix of route x role x tenant: two organizations, somebody in every role, one of every thing."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from warehouse.base.ids import public_id
from warehouse.identity.keys import ApiKeySecret
from warehouse.identity.passwords import hash_password
from warehouse.identity.policy import Principal

PASSWORD = "a password of the matrix"
LATER = datetime.now(UTC) + timedelta(days=30)
FOREIGN = "Zzforeign"  # in every name of the other tenant
SIBLING = "Yysibling"  # in every name of the project beside the caller's own


@dataclass(frozen=True, slots=True)
class Home:
    """An organization with two projects and one of every noun in each; values by the name of a path parameter."""

    org_id: int
    organization: str
    projects: tuple[int, int]
    things: tuple[dict[str, str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Role:
    """Somebody who asks: what the policy knows of him, and what he sends."""

    name: str
    principal: Principal | None
    email: str | None = None
    key: ApiKeySecret | None = field(default=None, repr=False)
    own: dict[str, str] = field(default_factory=dict)
    """What belongs to him, by the name of a path parameter."""


@dataclass
class World:
    """Written by the owner of the database, so that it needs none of the routes that are tested."""

    db: psycopg.Connection
    pepper: bytes
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    logins: dict[str, int] = field(default_factory=dict)
    """SQL logins, and the organization of each."""
    shared: dict[str, str] = field(init=False)
    """What belongs to the platform, by the name of a path parameter."""
    own: Home = field(init=False)
    foreign: Home = field(init=False)
    roles: list[Role] = field(init=False)
    password_hash: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.password_hash = hash_password(PASSWORD)
        self.own, self.foreign = self._home("Own"), self._home(FOREIGN)
        self.shared = {"engine_id": "engine-simulated", "model_id": "simulated"}
        for noun, table in (("price", "prices"), ("discount", "discounts"), ("tier", "volume_tiers")):
            last = self.db.execute(SQL("select max(id) from control.{}").format(Identifier(table))).fetchone()
            self.shared[f"{noun}_id"] = f"{noun}_{last[0] if last else 1}"
        self.shared["platform_alias_id"] = public_id("alias")
        stages = Jsonb([[{"model": "simulated", "weight": 1}]])
        self.insert("model_aliases", public_id=self.shared["platform_alias_id"], name="everybodys", stages=stages)
        _, key = self.api_key("platform target", "platform", ["admin"])
        self.shared["platform_key_id"] = f"key_{key.public_id}"
        self.roles = [*self._users(), *self._keys(), Role("anonymous", None), Role("expired session", None)]
        self.db.commit()

    def insert(self, table: str, **values: Any) -> int:
        """A new row; its `id`, or 0 where it has none."""
        columns, has_id = list(values), "id" in self._columns(table)
        statement = SQL("insert into control.{} ({}) values ({}) returning {}").format(
            Identifier(table), SQL(", ").join(map(Identifier, columns)), SQL(", ").join(SQL("%s") for _ in columns),
            SQL("id" if has_id else "0"),
        )  # fmt: skip
        row = self.db.execute(statement, list(values.values())).fetchone()
        assert row is not None
        return int(row[0])

    def _columns(self, table: str) -> set[str]:
        rows = self.db.execute(
            "select column_name from information_schema.columns where table_schema = 'control' and table_name = %s", [table]
        )
        return {name for (name,) in rows}

    def user(self, name: str, **fields: Any) -> tuple[int, str, str]:
        """(id, public id, e-mail address) of a new user who can sign in."""
        name_id = public_id("user")
        email = f"{name.replace(' ', '.').lower()}@matrix.example"
        made = self.insert("users", public_id=name_id, email=email, name=name, password_hash=self.password_hash, **fields)
        return made, name_id, email

    def member(self, name: str, home: Home, role: str, project_role: str | None = None) -> tuple[int, str, str]:
        """A new user of an organization, and perhaps of its first project."""
        user = self.user(name)
        self.insert("org_members", org_id=home.org_id, user_id=user[0], role=role)
        if project_role:
            self.insert("project_members", org_id=home.org_id, project_id=home.projects[0], user_id=user[0], role=project_role)
        return user

    def api_key(self, name: str, kind: str, scopes: list[str], **fields: Any) -> tuple[int, ApiKeySecret]:
        """A new key of any kind."""
        secret = ApiKeySecret.generate()
        made = self.insert(
            "api_keys", public_id=secret.public_id, secret_hash=secret.hash(self.pepper), kind=kind, name=name, scopes=scopes,
            **fields,
        )  # fmt: skip
        return made, secret

    def add_login(self, login: str) -> None:
        """A SQL login, anew if it was dropped: a role is no row that a snapshot could bring back."""
        self.db.execute("select control.create_sql_login(%s, %s, 'a password of the matrix')", [login, self.logins[login]])

    def _home(self, name: str) -> Home:
        organization = public_id("org")
        org_id = self.insert("organizations", public_id=organization, name=name)
        self.insert("alert_recipients", org_id=org_id, roles=["owner"], emails=[])
        self._book(org_id)
        invoice = self._invoice(org_id, name)
        _, owner, _ = self._owner(org_id, name)
        projects, things = [], []
        for part in (name, f"{name} {SIBLING}"):
            project_id, made = self._project(org_id, part)
            projects.append(project_id)
            things.append(made | invoice | {"organization_id": organization, "org_id": organization, "owner_id": owner})
        return Home(org_id, organization, (projects[0], projects[1]), (things[0], things[1]))

    def _book(self, org_id: int) -> None:
        """What the price book has for this organization alone."""
        model = self.db.execute("select max(id) from control.models").fetchone()
        if model is None or model[0] is None:
            return
        months = {"months": "[2026-01-01,)", "basis_points": 500, "reason": "of one tenant"}
        self.insert("discounts", org_id=org_id, model_id=model[0], **months)
        self.insert("volume_tiers", org_id=org_id, model_id=model[0], token_class="input", above_quantity=10**9, **months)

    def _invoice(self, org_id: int, name: str) -> dict[str, str]:
        """A final invoice with a line, and its certificate."""
        made = {"invoice_id": public_id("inv"), "line_id": f"il_{secrets.token_hex(12)}"}
        month = ("2026-01-01", "2026-01-01 00:00+00", "2026-02-01 00:00+00")
        row = self.db.execute(
            "insert into billing.invoices (public_id, org_id, kind, purpose, period_month, period_starts_at, period_ends_at,"
            " currency, rounding_rule, drafted_by) values (%s, %s, 'invoice', 'month', %s, %s, %s, 'USD', 'half_up_to_cent', 'x')"
            " returning id",
            [made["invoice_id"], org_id, *month],
        ).fetchone()
        assert row is not None
        self.db.execute(
            "insert into billing.invoice_lines (public_id, invoice_id, line_key, kind, org_id, period_month, period_starts_at,"
            " period_ends_at, usage_rows, quantity, subtotal_picousd, amount, rows_after_xid, as_of_xid, query)"
            " values (%s, %s, %s, 'discount', %s, %s, %s, %s, 0, 1, 0, 0, '0', '1', 'select 0')",
            [made["line_id"], row[0], f"of {name}", org_id, *month],
        )
        self.db.execute(
            "insert into billing.certificates (public_id, invoice_id, invoice_digest, passed, checks, made_by)"
            " values (%s, %s, sha256('x'), true, %s, 'x')",
            [public_id("cert"), row[0], Jsonb([{"name": "of", "passed": True, "figures": {}, "words": name}])],
        )
        self.db.execute(
            "update billing.invoices set status = 'final', number = %s, digest = sha256('x'), finalized_at = now(),"
            " finalized_by = 'x' where id = %s",
            [f"INV-{name}", row[0]],
        )
        return made

    def _owner(self, org_id: int, name: str) -> tuple[int, str, str]:
        user = self.user(f"{name} Keeper")
        self.insert("org_members", org_id=org_id, user_id=user[0], role="owner")
        return user

    def _project(self, org_id: int, name: str) -> tuple[int, dict[str, str]]:
        """A project with one of every thing: a member, a service account, keys, an invite, a budget and a limit."""
        made = {noun: public_id(prefix) for noun, prefix in PREFIXES.items()}
        project_id = self.insert("projects", public_id=made["project_id"], org_id=org_id, name=f"{name} project")
        user_id, made["user_id"], _ = self.user(f"{name} Target", totp_secret=b"\0" * 32, totp_enabled_at=datetime.now(UTC))
        home = {"org_id": org_id, "project_id": project_id}
        self.insert("org_members", org_id=org_id, user_id=user_id, role="member")
        self.insert("project_members", **home, user_id=user_id, role="member")
        account = self.insert("service_accounts", public_id=made["service_account_id"], name=f"{name} account", **home)
        _, key = self.api_key(f"{name} key", "inference", ["inference"], user_id=user_id, **home)
        self.api_key(f"{name} robot key", "inference", ["inference"], service_account_id=account, **home)
        _, admin_key = self.api_key(f"{name} admin key", "admin", ["usage.read"], org_id=org_id)
        made |= {"key_id": f"key_{key.public_id}", "admin_key_id": f"key_{admin_key.public_id}"}
        self.insert(
            "invites", public_id=made["invite_id"], org_id=org_id, email=f"{made['invite_id']}@matrix.example", role="member",
            token_hash=made["invite_id"].ljust(32, "0").encode()[:32], invited_by=made["user_id"], expires_at=LATER,
        )  # fmt: skip
        self.insert(
            "sessions", public_id=made["session_id"], user_id=user_id, expires_at=LATER, method="password", second_factor=False
        )
        budget = self.insert("budgets", public_id=made["budget_id"], period="month", limit_picousd=10**12, **home)
        self.insert(
            "budget_alerts", org_id=org_id, budget_id=budget, window_start=LATER, percent=50, spent_picousd=1, limit_picousd=2
        )
        self.insert("shadow_refusals", org_id=org_id, budget_id=budget, day=LATER, requests=1)
        webhook = self.insert(
            "webhooks", public_id=made["webhook_id"], org_id=org_id, name=f"{name} hook", url="https://hooks.matrix.example/"
        )
        event = self.insert(
            "outbox_events", public_id=made["event_id"], org_id=org_id, event_type="budget.exhausted",
            data=Jsonb({"of": name}), happened_once=made["event_id"],
        )  # fmt: skip
        self.insert(
            "outbox_deliveries", public_id=made["delivery_id"], org_id=org_id, event_id=event, webhook_id=webhook,
            status="failed", tries=9,
        )  # fmt: skip
        self.insert("limits", public_id=made["limit_id"], requests_per_minute=100, **home)
        stages = Jsonb([[{"model": "simulated", "weight": 1}]])
        self.insert("model_aliases", public_id=made["alias_id"], org_id=org_id, name=made["alias_id"], stages=stages)
        made["login_id"] = f"inferhouse_sql_{made['project_id'][5:17]}_x"
        granted = self.db.execute(
            "select ledger.grant_credit(%s, 10, 'prepaid', null, 'of the matrix', 'nobody', %s)", [org_id, made["project_id"]]
        ).fetchone()
        made["credit_id"] = granted[0] if granted else ""
        self.logins[made["login_id"]] = org_id
        self.add_login(made["login_id"])
        return project_id, made

    def _users(self) -> list[Role]:
        org_id = self.own.org_id
        id_, name, email = self.user("platform admin", platform_admin=True)
        roles = [Role("platform admin", Principal("user", name, email=email, user_id=id_, platform_admin=True), email)]
        for role in ("owner", "admin", "billing", "member", "auditor"):
            id_, name, email = self.member(f"{role} of the house", self.own, role)
            principal = Principal("user", name, email=email, user_id=id_, organization_roles={org_id: role})
            roles.append(Role(role, principal, email))
        for role in ("admin", "member", "viewer"):
            id_, name, email = self.member(f"project {role}", self.own, "member", role)
            principal = Principal(
                "user", name, email=email, user_id=id_, organization_roles={org_id: "member"},
                project_roles={self.own.projects[0]: role},
            )  # fmt: skip
            home = {"org_id": org_id, "project_id": self.own.projects[0]}
            _, key = self.api_key(f"key of the project {role}", "inference", ["inference"], user_id=id_, **home)
            roles.append(Role(f"project {role}", principal, email, own={"key_id": f"key_{key.public_id}"}))
        return roles

    def _keys(self) -> list[Role]:
        org_id, project_id = self.own.org_id, self.own.projects[0]
        roles = []
        for name, kind, scopes in (
            ("platform key", "platform", ["admin"]),
            ("admin key", "admin", ["admin"]),
            ("usage key", "admin", ["usage.read"]),
            ("inference key", "inference", ["inference"]),
            ("inference key that reads usage", "inference", ["inference", "usage.read"]),
        ):
            home = {} if kind == "platform" else {"org_id": org_id}
            bound = {"project_id": project_id} if kind == "inference" else {}
            made, key = self.api_key(name, kind, scopes, **home, **bound)
            kinds = {"platform": "platform_key", "admin": "admin_key", "inference": "api_key"}
            principal = Principal(
                kinds[kind], f"key_{key.public_id}", api_key_id=made, platform_admin=kind == "platform",  # type: ignore[arg-type]
                org_id=home.get("org_id"), project_id=bound.get("project_id"), scopes=frozenset(scopes),
            )  # fmt: skip
            roles.append(Role(name, principal, key=key))
        return roles

    def names_of(self, org_id: int) -> set[str]:
        """Every public id of an organization's rows, and the mark in its names."""
        found = set()
        tables = self.db.execute(
            "select table_name, bool_or(column_name = 'org_id') from information_schema.columns where table_schema = 'control'"
            " group by table_name having bool_or(column_name = 'public_id') and (bool_or(column_name = 'org_id')"
            " or table_name = 'organizations')"
        ).fetchall()
        for table, has_org_id in tables:
            query = SQL("select public_id from control.{} where {} = %s").format(
                Identifier(table), Identifier("org_id" if has_org_id else "id")
            )
            found |= {name for (name,) in self.db.execute(query, [org_id])}
        found |= {
            str(name) for (name,) in self.db.execute("select role_name from control.sql_logins where org_id = %s", [org_id])
        }
        users = "select u.public_id from control.users u join control.org_members m on m.user_id = u.id where m.org_id = %s"
        return found | {name for (name,) in self.db.execute(users, [org_id])}


PREFIXES = {
    "project_id": "proj", "service_account_id": "svc", "invite_id": "invite", "budget_id": "budget", "limit_id": "limit",
    "session_id": "sess", "alias_id": "alias", "webhook_id": "webhook", "event_id": "event", "delivery_id": "delivery",
}  # fmt: skip


class Snapshot:
    """The control tables as they were, and back to it within some milliseconds: triggers and foreign keys look away."""

    def __init__(self, superuser: psycopg.Connection) -> None:
        self._conn = superuser
        names = superuser.execute(
            "select c.relname from pg_class c where c.relnamespace = 'control'::regnamespace and c.relkind = 'r' order by 1"
        )
        self._tables = [name for (name,) in names]
        superuser.execute("create schema snapshot")
        superuser.execute("create table snapshot.touched (name text primary key)")
        superuser.execute(
            "create function snapshot.touch() returns trigger language plpgsql security definer as $$ begin"
            " insert into snapshot.touched values (tg_table_name) on conflict do nothing; return null; end $$"
        )
        for table in self._tables:
            superuser.execute(SQL("create table snapshot.{0} as table control.{0}").format(Identifier(table)))
            superuser.execute(
                SQL(
                    "create trigger zz_touch after insert or update or delete on control.{}"
                    " for each statement execute function snapshot.touch()"
                ).format(Identifier(table))
            )
        self._restore = {table: self._statements(table) for table in self._tables}
        superuser.commit()

    def _statements(self, table: str) -> list[str]:
        rows = self._conn.execute(
            "select column_name from information_schema.columns where table_schema = 'control' and table_name = %s"
            " and is_generated = 'NEVER' order by ordinal_position",
            [table],
        )
        columns = SQL(", ").join(Identifier(name) for (name,) in rows)
        insert = SQL("insert into control.{0} ({1}) overriding system value select {1} from snapshot.{0}")
        delete = SQL("delete from control.{}").format(Identifier(table))
        return [delete.as_string(), insert.format(Identifier(table), columns).as_string()]

    def restore(self) -> None:
        """Everything as it was; only tables that were touched are looked at."""
        with self._conn.transaction():
            self._conn.execute("set local session_replication_role = replica")
            touched = [name for (name,) in self._conn.execute("delete from snapshot.touched returning name")]
            for table in touched:
                self._conn.execute("; ".join(self._restore[table]).encode())
