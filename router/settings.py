"""Settings of the router, read from ROUTER_*. `docs/limits.md` lists every bound."""

import re
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from warehouse.access.addresses import DatabaseUrl, RedisUrl
from warehouse.base.settings import Settings
from warehouse.identity.groups import GroupRole, parse_group_roles
from warehouse.identity.networks import Network, parse_networks
from warehouse.identity.sealed import KEY_CHARACTERS_MIN, Sealer

SESSION_SECRET_CHARACTERS_MIN = 16


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


class RouterSettings(Settings):
    """Bounds have the unit last in their name. Too high: memory or waiting grows. Too low: honest calls are refused."""

    PREFIX: ClassVar[str] = "ROUTER_"

    serves: Literal["all", "inference", "management"] = "all"
    """What this process answers: everything, only inference, or only the management API, which probes no engine and keeps no
    journal. The settings of the other half are then not needed."""
    database_url: DatabaseUrl
    """Connection string of role inferhouse_router: reads keys and catalogue, adds usage rows."""
    management_database_url: DatabaseUrl = SecretStr("")
    """Connection string of role inferhouse_management; not needed by a process that serves only inference."""
    redis_url: RedisUrl | None = None
    """Where budgets and limits are held: one server, or what stands before a replicated one; no cluster. Without it, requests
    under a budget or a limit are refused."""
    journal_dir: Path
    """Folder on a local disk that survives a restart; one sub-folder a worker."""
    key_pepper: SecretStr = Field(min_length=16)
    """Secret under which API keys are hashed. Another pepper makes every key unknown."""
    session_secret: SecretStr = SecretStr("")
    """Secret that signs portal sessions. Another secret signs everybody out. Not needed by a process that serves only
    inference."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that share the port; one core each."""

    trusted_proxies: str = ""
    """Networks of proxies whose X-Forwarded-For is believed, as `10.0.0.0/8,2001:db8::/32`; without any, a request comes from
    the other end of its connection. It decides for keys that work from some networks only, and for the audit log."""
    body_bytes_max: int = Field(default=8 * 1024 * 1024, gt=0)
    """Larger bodies get 413 before they are read."""
    receive_s_max: float = Field(default=60, gt=0)
    """From the first byte of a request to the last of its body, and from a new connection to its first request."""
    stall_s_max: float = Field(default=60, gt=0)
    """For which a client may take nothing of its answer; then its connection is closed."""
    answer_bytes_max: int = Field(default=64 * 1024 * 1024, gt=0)
    """A larger non-stream answer of an engine is refused as a fault; it would have to be held in memory."""
    journal_bytes_max: int = Field(default=1024 * 1024 * 1024, gt=0)
    """At this size of the journal new requests get 503: about 2 million rows with the database away."""
    key_cache_entries_max: int = Field(default=50_000, gt=0)
    """Keys held in memory per worker, about 1 KB each."""
    key_cache_s: float = Field(default=60, gt=0)
    """A key is read again after this long even if no change was announced."""
    key_stale_s_max: float = Field(default=600, ge=0)
    """While the database is away, keys read at most this long ago go on working. It cannot be told of a revocation then."""
    connect_s_max: float = Field(default=2, gt=0)
    """To reach an engine."""
    first_token_s_max: float = Field(default=120, gt=0)
    """From the engine having the request to the first byte of its answer."""
    between_tokens_s_max: float = Field(default=30, gt=0)
    """Between two chunks of a stream."""
    total_s_max: float = Field(default=900, gt=0, le=1800)
    """A whole call, with all that it waits for; the duration column holds at most 35 minutes."""
    keepalive_s: float = Field(default=15, gt=0)
    """A stream is silent no longer: from half of this on it gets a comment; also one whose first token is late."""
    engine_connections_max: int = Field(default=4096, gt=0)
    """Open connections to one engine per worker."""
    queue_max: int = Field(default=1000, gt=0)
    """Requests per model and worker that wait while all its engines are at their bound; above it they get 429."""
    queue_s_max: float = Field(default=10, ge=0, le=300)
    """A request waits at most this long for an engine that is at its bound, then it gets 503."""
    budget_wait_s_max: float = Field(default=10, ge=0, le=300)
    """A request waits at most this long for others that hold what is left of a budget, then it gets 429."""
    sealing_key: SecretStr = SecretStr("")
    """Secret under which keys of hosted providers are encrypted; without it none can be stored or used."""
    sealing_key_previous: SecretStr = SecretStr("")
    """The secret before, while it is being replaced: what was encrypted under it still opens."""
    health_interval_s: float = Field(default=1, gt=0)
    """Between two looks at each engine's /health."""
    flush_interval_s: float = Field(default=0.2, gt=0)
    """A usage row waits at most this long for others to share its COPY."""
    flush_rows_max: int = Field(default=10_000, gt=0)
    """Rows in one COPY."""
    shutdown_s_max: int = Field(default=900, gt=0)
    """Running calls may finish for this long after SIGTERM; a router that has none ends at once. Shorter than ROUTER_TOTAL_S_MAX,
    a restart cuts long streams."""
    otlp_endpoint: str | None = None
    """Base URL of an OpenTelemetry collector that takes OTLP over HTTP; without it no traces are made."""
    trace_share: float = Field(default=0.05, ge=0, le=1)
    """Share of the requests that are traced; one whose `traceparent` says so is traced anyhow."""
    session_s_max: int = Field(default=12 * 3600, gt=0)
    """A session ends this long after sign-in, however often its token is rotated."""
    portal_url: str | None = None
    """Address of the portal, without a slash at its end: where people approve devices, accept invites and come back to from the
    identity provider. Without it, no device signs in by a code."""
    password_sign_in: bool = True
    """Whether people may sign in with a password; without it, only with the identity provider."""
    oidc_issuer: str | None = None
    """Issuer of an OpenID Connect provider, as its discovery document has it; without it there is no single sign-on."""
    oidc_client_id: str = ""
    """What the provider knows this installation as."""
    oidc_client_secret: SecretStr = SecretStr("")
    """The client's secret at the provider; empty for a public client, which PKCE protects alone."""
    oidc_scopes: str = "openid email profile"
    """What is asked for; some providers need one more for groups."""
    oidc_groups_claim: str = "groups"
    """Claim of the ID token that lists a person's groups."""
    oidc_group_roles: str = ""
    """Roles that groups give, as `group=org_…:role`, separated by commas. Who leaves a group loses its role at the next
    sign-in."""
    oidc_email_trusted: bool = False
    """Whether addresses are taken that the provider does not call verified. Only where nobody but you fills its directory:
    whoever has an address there becomes the user who has it here."""

    @property
    def sealer(self) -> Sealer | None:
        """What seals and opens providers' keys; None without a key."""
        secrets = [self.sealing_key.get_secret_value(), self.sealing_key_previous.get_secret_value()]
        return Sealer(secrets) if secrets[0] else None

    @field_validator("sealing_key", "sealing_key_previous")
    @classmethod
    def _is_long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < KEY_CHARACTERS_MIN:
            raise ValueError(f"at least {KEY_CHARACTERS_MIN} characters")
        return value

    @property
    def serves_inference(self) -> bool:
        """Whether this process answers the inference API."""
        return self.serves != "management"

    @property
    def serves_management(self) -> bool:
        """Whether this process answers the management API."""
        return self.serves != "inference"

    @field_validator("database_url", "host", "journal_dir", mode="before")
    @classmethod
    def _is_not_empty(cls, value: object) -> object:
        """Empty, they would be the database of whoever starts it, every address of the machine, and the folder it stands in."""
        if isinstance(value, str) and not value.strip():
            raise ValueError("it is empty")
        return value

    @field_validator("portal_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/]+(/.*[^/])?", value):
            raise ValueError("write it as https://portal.example, without a slash at its end")
        return value

    @field_validator("otlp_endpoint", "oidc_issuer")
    @classmethod
    def _is_an_url(cls, value: str | None) -> str | None:
        """An empty one is none: so a container's environment has a variable that nobody set."""
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("write it as https://host.example, or with http://")
        return value or None

    @field_validator("oidc_group_roles")
    @classmethod
    def _are_group_roles(cls, value: str) -> str:
        parse_group_roles(value)
        return value

    @property
    def group_roles(self) -> tuple[GroupRole, ...]:
        """`oidc_group_roles`, read."""
        return parse_group_roles(self.oidc_group_roles)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        parse_networks(_listed(value))
        return value

    @property
    def proxies(self) -> tuple[Network, ...]:
        """`trusted_proxies`, read."""
        return parse_networks(_listed(self.trusted_proxies))

    @model_validator(mode="after")
    def _has_what_it_serves(self) -> Self:
        if self.serves_management and not self.management_database_url.get_secret_value():
            raise ValueError("ROUTER_MANAGEMENT_DATABASE_URL is not set; only ROUTER_SERVES=inference does without")
        if self.serves_management and len(self.session_secret.get_secret_value()) < SESSION_SECRET_CHARACTERS_MIN:
            raise ValueError(
                f"ROUTER_SESSION_SECRET is not set or shorter than {SESSION_SECRET_CHARACTERS_MIN} characters;"
                " only ROUTER_SERVES=inference does without"
            )
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError("ROUTER_OIDC_ISSUER is set, so ROUTER_OIDC_CLIENT_ID must be: what the provider knows this as")
        if not self.password_sign_in and not self.oidc_issuer:
            raise ValueError("ROUTER_PASSWORD_SIGN_IN is off and ROUTER_OIDC_ISSUER is not set: nobody could sign in")
        return self
