"""Every route of the management API as a noun and a verb: what the client calls and the command offers.

A test compares this table with the routes, so that nothing of the API is missing here.
"""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

Type = Literal["text", "number", "flag", "instant", "texts", "numbers", "roles", "boolean"]
"""`instant`: Unix seconds, typed as a date, a time or +30d. `texts`, `numbers`: an option that may be repeated. `roles`:
PROJECT:ROLE, repeated."""

NULL = object()
"""A value that is sent as null: it takes away what is there. None is not sent at all."""
ORG_ROLES, PROJECT_ROLES = "owner, admin, billing, member or auditor", "admin, member or viewer"


@dataclass(frozen=True, slots=True)
class Field:
    """A value that is sent. `option` is how it is typed, where that differs from the API's name."""

    name: str
    help: str = ""
    type: Type = "text"
    required: bool = False
    option: str = ""
    can_clear: bool = False
    """Whether `none` takes the value away."""

    @property
    def flag(self) -> str:
        """`--name-of-it`."""
        return "--" + (self.option or self.name.removesuffix("[]")).replace("_", "-")


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. `many`: a list in pages. `buckets`: a report in pages of buckets. `destroys`: what is asked before."""

    noun: str
    verb: str
    method: str
    path: str
    help: str
    body: tuple[Field, ...] = ()
    query: tuple[Field, ...] = ()
    many: bool = False
    buckets: bool = False
    creates: bool = False
    destroys: str = ""
    columns: tuple[str, ...] = field(default=())
    proof: str = ""
    """Name of the value that proves who asks: with it, no session and no key is sent."""
    hidden: bool = False
    """Called by a command of its own instead of one made of this row."""

    @property
    def ids(self) -> list[str]:
        """Names of the ids in the path, in order."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def sends_body(self) -> bool:
        """Whether it has a JSON body."""
        return self.method == "POST" and (bool(self.body) or self.creates)

    def filled(self, ids: dict[str, str] | object) -> str:
        """The path with ids in it."""
        return re.sub(r"{(\w+)}", lambda match: quote(str(ids[match[1]]), safe=""), self.path)  # type: ignore[index]


def _list(noun: str, path: str, help_: str, *query: Field, verb: str = "list", columns: str = "") -> Operation:
    return Operation(noun, verb, "GET", path, help_, query=query, many=True, columns=tuple(columns.split()))


def _get(noun: str, path: str, help_: str = "") -> Operation:
    return Operation(noun, "get", "GET", path, help_ or f"One {noun}.")


def _create(noun: str, path: str, help_: str, *body: Field) -> Operation:
    return Operation(noun, "create", "POST", path, help_, body=body, creates=True)


def _update(noun: str, path: str, help_: str, *body: Field) -> Operation:
    return Operation(noun, "update", "POST", path, help_, body=body)


def _post(noun: str, verb: str, path: str, help_: str, *body: Field, destroys: str = "") -> Operation:
    return Operation(noun, verb, "POST", path, help_, body=body, destroys=destroys)


def _delete(noun: str, verb: str, path: str, help_: str, destroys: str, *query: Field) -> Operation:
    return Operation(noun, verb, "DELETE", path, help_, query=query, destroys=destroys)


NAME = Field("name", "What people read.", required=True)
NEW_NAME = Field("name", "What people read.")
ZONE = Field("time_zone", "As Europe/Berlin; days and months of budgets and invoices are in it.")
ROLE = Field("role", ORG_ROLES + ".", required=True)
PROJECT_ROLE = Field("role", PROJECT_ROLES + ".", required=True)
MODELS = Field(
    "models", "A model that it may use; repeat it for more. Without: every model.", "texts", option="model", can_clear=True
)
CIDRS = Field("cidrs", "A network that it works from, as 10.0.0.0/8; repeat it for more.", "texts", option="cidr", can_clear=True)
EXPIRES = Field("expires_at", "When it ends: a date, a time, or +30d.", "instant", option="expires", can_clear=True)
SCOPES = Field("scopes", "inference, usage.read or admin; repeat it for more.", "texts", option="scope")
REVOKED = Field("include_revoked", "Those that were revoked, too.", "flag", option="revoked")
SCOPE = (
    Field("project_id", "Only of this project.", option="project"),
    Field("api_key_id", "Only of this key.", option="key"),
    Field("model", "Only of this model."),
)
SCOPE_OF_BUDGET = (
    Field("user_id", "Only of this user.", option="user"),
    Field("service_account_id", "Only of this service account.", option="service-account"),
)
RATES = (
    Field("requests_per_minute", "", "number", can_clear=True),
    Field("input_tokens_per_minute", "", "number", can_clear=True),
    Field("output_tokens_per_minute", "", "number", can_clear=True),
    Field("requests_at_once", "", "number", can_clear=True),
)
LIMIT_USD = Field("limit_usd", "USD, as 250 or 0.50; exact.", option="usd")
MODE = Field("mode", "hard, soft or shadow.")
ALERTS = Field("alert_percents", "Tell at this share of the limit; repeat it for more.", "numbers", option="alert-at")
PRICES = tuple(
    Field(f"{kind}_usd_per_million", f"USD for a million {said} tokens, as 0.25.", required=True, option=f"{kind}_usd")
    for kind, said in (("input", "input"), ("cached_input", "cached input"), ("output", "output"))
)
REPORT = (
    Field("start_time", "From: a date, a time, or -7d.", "instant", required=True, option="from"),
    Field("end_time", "Until, not part of it; without it, now.", "instant", option="until"),
    Field("bucket_width", "1h or 1d.", option="width"),
    Field("group_by[]", "project_id, user_id, api_key_id or model; repeat it for more.", "texts"),
    Field("project_ids[]", "Only this project; repeat it for more.", "texts", option="project"),
    Field("user_ids[]", "Only this user; repeat it for more.", "texts", option="user"),
    Field("api_key_ids[]", "Only this key; repeat it for more.", "texts", option="key"),
    Field("models[]", "Only this model; repeat it for more.", "texts", option="model"),
)
LOG = (
    Field("event_types[]", "Only this type, as api_key.created; repeat it for more.", "texts", option="event"),
    Field("actor_ids[]", "Only by this user or key; repeat it for more.", "texts", option="actor"),
    Field("actor_emails[]", "Only by who has this address; repeat it for more.", "texts", option="email"),
    Field("resource_ids[]", "Only about this thing; repeat it for more.", "texts", option="resource"),
    Field("project_ids[]", "Only in this project; repeat it for more.", "texts", option="project"),
    Field("effective_at[gte]", "From: a date, a time, or -7d.", "instant", option="from"),
    Field("effective_at[lt]", "Until, not part of it.", "instant", option="until"),
)
CODE = Field("code", "A code of the authenticator.", required=True)

_P, _O = "/organization/projects/{project_id}", "/organization"
_KEYS, _ACCOUNTS, _MEMBERS = f"{_P}/api_keys", f"{_P}/service_accounts", f"{_P}/users"
_LOG_COLUMNS = "effective_at type actor target_id id"

OPERATIONS: tuple[Operation, ...] = (
    _list(
        "org",
        "/organizations",
        "Organizations, for platform admins.",
        Field("name", "How its name begins."),
        Field("status", "active or suspended."),
        columns="id name status time_zone created_at",
    ),
    _create(
        "org",
        "/organizations",
        "Make an organization, with its first owner.",
        NAME,
        ZONE,
        Field("owner_email", "Address of a user who becomes its owner.", required=True, option="owner"),
    ),
    _get("org", "/organizations/{organization_id}", "One organization, for platform admins."),
    _update("org", "/organizations/{organization_id}", "Change name or time zone, as a platform admin.", NEW_NAME, ZONE),
    _post(
        "org",
        "suspend",
        "/organizations/{organization_id}/suspend",
        "Its keys stop at once; its data stays.",
        destroys="stop every key of",
    ),
    _post("org", "resume", "/organizations/{organization_id}/resume", "Its keys work again."),
    _delete(
        "org", "delete", "/organizations/{organization_id}", "Its keys stop at once; its data stays in the database.", "delete"
    ),
    Operation("org", "show", "GET", _O, "Your organization, with its policy."),
    Operation(
        "org",
        "set",
        "POST",
        _O,
        "Change your organization, and what its members' keys may be.",
        body=(
            NEW_NAME,
            ZONE,
            Field("key_days_max", "Longest life of a key in days.", "number", can_clear=True),
            Field("keys_per_member_max", "Keys of one member.", "number", can_clear=True),
            Field("key_models", "A model that keys may use; repeat it for more.", "texts", option="key-model", can_clear=True),
            Field("key_cidrs", "A network that keys work from; repeat it for more.", "texts", option="key-cidr", can_clear=True),
            Field("totp_required", "Members need a second factor: true or false.", "boolean", option="second-factor"),
        ),
    ),
    _list(
        "project",
        f"{_O}/projects",
        "Projects of your organization.",
        Field("include_archived", "Archived ones, too.", "flag", option="archived"),
        columns="id name status created_at",
    ),
    _create("project", f"{_O}/projects", "Make a project.", NAME),
    _get("project", _P),
    _update("project", _P, "Rename a project.", NAME),
    _post("project", "archive", f"{_P}/archive", "Its keys stop at once; its data stays.", destroys="stop every key of"),
    _list("member", _MEMBERS, "People of a project.", columns="id email name role"),
    _create(
        "member",
        _MEMBERS,
        "Give somebody of the organization a role in a project.",
        Field("user_id", "Id of the user.", required=True, option="user"),
        PROJECT_ROLE,
    ),
    _get("member", f"{_MEMBERS}/{{user_id}}"),
    _update("member", f"{_MEMBERS}/{{user_id}}", "Another role in the project.", PROJECT_ROLE),
    _delete("member", "remove", f"{_MEMBERS}/{{user_id}}", "Out of the project; own keys there stop.", "remove from the project"),
    _list(
        "user",
        f"{_O}/users",
        "People of your organization.",
        Field("emails[]", "Only this address; repeat it for more.", "texts", option="email"),
        Field("role", ORG_ROLES + "."),
        columns="id email name role",
    ),
    _get("user", f"{_O}/users/{{user_id}}"),
    _update("user", f"{_O}/users/{{user_id}}", "Another role in the organization.", ROLE),
    _delete("user", "remove", f"{_O}/users/{{user_id}}", "Out of the organization; own keys stop at once.", "remove"),
    _delete(
        "user",
        "reset-second-factor",
        f"{_O}/users/{{user_id}}/totp",
        "Take away a second factor that was lost.",
        "take away the second factor of",
    ),
    _list(
        "invite",
        f"{_O}/invites",
        "Invites, open or not.",
        Field("email", "Only for this address."),
        Field("status", "pending, accepted, expired or revoked."),
        columns="id email role status expires_at",
    ),
    _create(
        "invite",
        f"{_O}/invites",
        "Invite somebody; the token is shown once.",
        Field("email", "Address.", required=True),
        ROLE,
        Field("projects", "PROJECT:ROLE in a project as well; repeat it for more.", "roles", option="project"),
        Field("expires_in_days", "Days for which it is open; 7 unless you say.", "number", option="days"),
    ),
    _get("invite", f"{_O}/invites/{{invite_id}}"),
    _post(
        "invite",
        "resend",
        f"{_O}/invites/{{invite_id}}/resend",
        "A new token; the old one is worth nothing.",
        Field("expires_in_days", "Days for which it is open.", "number", option="days"),
    ),
    _delete("invite", "delete", f"{_O}/invites/{{invite_id}}", "Withdraw an invite.", "withdraw"),
    Operation(
        "invite",
        "accept",
        "POST",
        "/invites/accept",
        "Join by the token of an invite: with a password, or as who is signed in.",
        body=(
            Field("token", "The token.", required=True),
            Field("name", "Your name, if you are new here."),
            Field("password", "Your password."),
            Field("totp_code", "A code.", option="code"),
        ),
        proof="password",
    ),
    _list("service-account", _ACCOUNTS, "Service accounts of a project.", columns="id name role created_at"),
    _create(
        "service-account", _ACCOUNTS, "Make a service account; its key is shown once.", NAME, Field("role", "member or viewer.")
    ),
    _get("service-account", f"{_ACCOUNTS}/{{service_account_id}}"),
    _delete("service-account", "delete", f"{_ACCOUNTS}/{{service_account_id}}", "Its keys stop at once.", "delete"),
    _list(
        "key",
        _KEYS,
        "Keys of a project.",
        Field("owner", "user or service_account."),
        Field("owner_id", "Only of this owner."),
        REVOKED,
        columns="id name status redacted_value owner expires_at last_used_at",
    ),
    _create(
        "key",
        _KEYS,
        "Make a key; it is shown once.",
        NAME,
        SCOPES,
        MODELS,
        CIDRS,
        EXPIRES,
        Field("service_account_id", "For this service account; without it, your own.", option="service-account"),
    ),
    _get("key", f"{_KEYS}/{{key_id}}"),
    _update("key", f"{_KEYS}/{{key_id}}", "Change what is named.", NEW_NAME, SCOPES, MODELS, CIDRS, EXPIRES),
    _post(
        "key",
        "rotate",
        f"{_KEYS}/{{key_id}}/rotate",
        "Another secret, shown once; id, budget and history stay.",
        Field("grace_seconds", "For so long the old secret works, too.", "number", option="grace-seconds"),
        destroys="replace the secret of",
    ),
    _delete("key", "revoke", f"{_KEYS}/{{key_id}}", "It stops within a second, for good.", "revoke"),
    _list("admin-key", f"{_O}/admin_api_keys", "Keys for this API.", REVOKED, columns="id name redacted_value scopes expires_at"),
    _create("admin-key", f"{_O}/admin_api_keys", "Make a key for this API; it is shown once.", NAME, SCOPES, CIDRS, EXPIRES),
    _get("admin-key", f"{_O}/admin_api_keys/{{key_id}}"),
    _delete("admin-key", "revoke", f"{_O}/admin_api_keys/{{key_id}}", "It stops within a second, for good.", "revoke"),
    _list(
        "platform-key",
        "/platform/api_keys",
        "Keys of the whole installation, for platform admins.",
        REVOKED,
        columns="id name redacted_value expires_at",
    ),
    _create("platform-key", "/platform/api_keys", "Make one; it is shown once.", NAME, CIDRS, EXPIRES),
    _delete("platform-key", "revoke", "/platform/api_keys/{key_id}", "It stops within a second, for good.", "revoke"),
    _list("model", f"{_O}/models", "Models that your organization can use.", columns="id context_tokens_max output_tokens_max"),
    _list(
        "model",
        "/platform/models",
        "Every model of the catalogue, for platform admins.",
        Field("include_retired", "Retired ones, too.", "flag", option="retired"),
        verb="catalogue",
        columns="id context_tokens_max output_tokens_max retired_at version",
    ),
    _create(
        "model",
        "/platform/models",
        "Add a model to the catalogue.",
        Field("id", "Its name.", required=True),
        Field("context_tokens_max", "", "number", required=True, option="context-tokens"),
        Field("output_tokens_max", "", "number", required=True, option="output-tokens"),
    ),
    _get("model", "/platform/models/{model_id}"),
    _update(
        "model",
        "/platform/models/{model_id}",
        "Change its bounds.",
        Field("context_tokens_max", "", "number", option="context-tokens"),
        Field("output_tokens_max", "", "number", option="output-tokens"),
    ),
    _post(
        "model", "retire", "/platform/models/{model_id}/retire", "No request uses it any more; its rows stay.", destroys="retire"
    ),
    _post("model", "restore", "/platform/models/{model_id}/restore", "It can be used again."),
    Operation(
        "engine", "list", "GET", f"{_O}/engines", "Engines and their health.", columns=("name", "model", "kind", "healthy")
    ),
    _list(
        "engine",
        "/platform/engines",
        "Every engine of the catalogue, for platform admins.",
        Field("model", "Only of this model."),
        Field("enabled", "true or false.", "boolean"),
        verb="catalogue",
        columns="id kind base_url model enabled version",
    ),
    _create(
        "engine",
        "/platform/engines",
        "Add an engine.",
        Field("id", "Its name.", required=True),
        Field("kind", "vllm or simulated.", required=True),
        Field("base_url", "Where it is.", required=True, option="url"),
        Field("model", "What it serves.", required=True),
    ),
    _get("engine", "/platform/engines/{engine_id}"),
    _update(
        "engine",
        "/platform/engines/{engine_id}",
        "Change what is named.",
        Field("kind", "vllm or simulated."),
        Field("base_url", "Where it is.", option="url"),
        Field("model", "What it serves."),
    ),
    _post("engine", "enable", "/platform/engines/{engine_id}/enable", "It gets requests again."),
    _post(
        "engine", "disable", "/platform/engines/{engine_id}/disable", "It gets no new requests.", destroys="send nothing more to"
    ),
    _list(
        "price",
        "/platform/prices",
        "Price versions, for platform admins.",
        Field("model", "Only of this model."),
        Field("organization", "An id, or `list` for list prices."),
        Field("at", "Only what is in force then.", "instant"),
        columns="id model organization input_usd_per_million cached_input_usd_per_million output_usd_per_million effective_from "
        "effective_until",
    ),
    _create(
        "price",
        "/platform/prices",
        "A new price from an instant on; what was billed stays.",
        Field("model", "For this model.", required=True),
        Field("organization", "Only for this one; without it, list price.", option="for"),
        *PRICES,
        Field("effective_from", "From; without it, now.", "instant", option="from"),
        Field("effective_until", "Until.", "instant", option="until"),
        Field("reason", "Why, for the audit log.", required=True),
    ),
    _get("price", "/platform/prices/{price_id}"),
    _delete(
        "price",
        "delete",
        "/platform/prices/{price_id}",
        "Take back a price that is not in force yet.",
        "take back",
        Field("extend_before", "The price before goes on.", "flag", option="extend-before"),
    ),
    _list(
        "budget",
        f"{_O}/budgets",
        "Budgets.",
        *SCOPE,
        *SCOPE_OF_BUDGET,
        columns="id period limit_usd mode project_id api_key_id user_id model",
    ),
    _create(
        "budget",
        f"{_O}/budgets",
        "What may be spent, by the organization or a part of it.",
        Field("period", "day, week, month or lifetime.", required=True),
        Field("limit_usd", LIMIT_USD.help, required=True, option="usd"),
        MODE,
        ALERTS,
        *SCOPE,
        *SCOPE_OF_BUDGET,
    ),
    _get("budget", f"{_O}/budgets/{{budget_id}}"),
    _update("budget", f"{_O}/budgets/{{budget_id}}", "Change what is named.", LIMIT_USD, MODE, ALERTS),
    _delete("budget", "delete", f"{_O}/budgets/{{budget_id}}", "Take a budget away.", "delete"),
    _list(
        "limit",
        f"{_O}/limits",
        "Limits.",
        *SCOPE,
        columns="id requests_per_minute input_tokens_per_minute "
        "output_tokens_per_minute requests_at_once project_id api_key_id model",
    ),
    _create("limit", f"{_O}/limits", "How fast the organization or a part of it may go.", *RATES, *SCOPE),
    _get("limit", f"{_O}/limits/{{limit_id}}"),
    _update("limit", f"{_O}/limits/{{limit_id}}", "Change what is named.", *RATES),
    _delete("limit", "delete", f"{_O}/limits/{{limit_id}}", "Take a limit away.", "delete"),
    Operation(
        "usage",
        "",
        "GET",
        f"{_O}/usage/completions",
        "Tokens and requests by hour or day.",
        query=REPORT,
        many=True,
        buckets=True,
    ),
    Operation("costs", "", "GET", f"{_O}/costs", "Cost by day.", query=REPORT, many=True, buckets=True),
    _list("audit", f"{_O}/audit_logs", "Changes in your organization, the newest first.", *LOG, columns=_LOG_COLUMNS),
    _list(
        "audit",
        "/platform/audit_logs",
        "Changes in the whole installation, for platform admins.",
        *LOG,
        verb="platform",
        columns=_LOG_COLUMNS,
    ),
    Operation(
        "audit", "verify", "POST", "/platform/audit_logs/verify", "Is any entry altered, missing or reordered?", hidden=True
    ),
    _list("sql-access", f"{_O}/sql_access", "Read-only SQL logins.", columns="id name database created_at rotated_at"),
    _create("sql-access", f"{_O}/sql_access", "Make a read-only SQL login; its password is shown once.", NAME),
    _get("sql-access", f"{_O}/sql_access/{{login_id}}"),
    _post(
        "sql-access",
        "rotate",
        f"{_O}/sql_access/{{login_id}}/rotate",
        "Another password, shown once.",
        destroys="replace the password of",
    ),
    _delete("sql-access", "delete", f"{_O}/sql_access/{{login_id}}", "Its sessions end.", "delete"),
    _list("session", "/sessions", "Where you are signed in.", columns="id method current ip user_agent created_at expires_at"),
    _delete("session", "end", "/sessions/{session_id}", "End one of your sessions.", "end"),
    _post("session", "end-others", "/sessions/revoke_others", "End every session but this one.", destroys="end every other"),
    _post(
        "session",
        "find-device",
        "/sessions/device/find",
        "Where a device asked from.",
        Field("user_code", "The code that it shows.", required=True, option="code"),
    ),
    _post(
        "session",
        "approve-device",
        "/sessions/device/approve",
        "Let a device sign in as you.",
        Field("user_code", "The code that it shows.", required=True, option="code"),
    ),
    _post(
        "session",
        "deny-device",
        "/sessions/device/deny",
        "Do not let a device sign in.",
        Field("user_code", "The code that it shows.", required=True, option="code"),
    ),
    _post(
        "account",
        "set-up-second-factor",
        "/users/me/totp",
        "A secret for an authenticator; confirm it next.",
        Field("password", "Your password."),
    ),
    _post("account", "confirm-second-factor", "/users/me/totp/confirm", "Turn it on; recovery codes are shown once.", CODE),
    _post("account", "turn-off-second-factor", "/users/me/totp/disable", "Turn it off.", CODE, destroys="turn off"),
    Operation(
        "account",
        "password",
        "POST",
        "/users/me/password",
        "Another password; other sessions end.",
        body=(Field("current_password", required=True), Field("new_password", required=True)),
        hidden=True,
    ),
    Operation("login", "methods", "GET", "/sessions/methods", "How people sign in here.", hidden=True),
    Operation(
        "login",
        "password",
        "POST",
        "/sessions",
        "Sign in with a password.",
        hidden=True,
        body=(Field("email", required=True), Field("password", required=True), Field("totp_code")),
    ),
    Operation("login", "device", "POST", "/sessions/device", "Begin to sign in by a code.", creates=True, hidden=True),
    Operation(
        "login",
        "device-token",
        "POST",
        "/sessions/device/token",
        "Ask whether a code was approved.",
        hidden=True,
        body=(Field("device_code", required=True),),
    ),
    Operation(
        "login",
        "oidc-start",
        "POST",
        "/sessions/oidc/start",
        "Begin at the identity provider.",
        hidden=True,
        body=(Field("redirect_uri", required=True),),
    ),
    Operation(
        "login",
        "oidc",
        "POST",
        "/sessions/oidc",
        "Come back from the identity provider.",
        hidden=True,
        body=(Field("state", required=True), Field("code", required=True)),
    ),
    Operation("login", "current", "GET", "/sessions/current", "Who is signed in.", hidden=True),
    Operation("login", "rotate", "POST", "/sessions/current/rotate", "A new token for this session.", hidden=True),
    Operation("login", "out", "DELETE", "/sessions/current", "Sign out.", hidden=True),
    Operation("platform", "health", "GET", "/platform/health", "What is well and what is not.", hidden=True),
)


def find(noun: str, verb: str) -> Operation:
    """The operation. Raises: KeyError."""
    for operation in OPERATIONS:
        if (operation.noun, operation.verb) == (noun, verb):
            return operation
    raise KeyError(f"{noun} {verb}")
