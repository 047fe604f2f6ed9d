"""Secrets of an instance: made once at random, kept in `secrets.json` that only the services' user (and root) can read."""

import json
import secrets
import string
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.account import Account
from warehouse.base.ids import public_id
from warehouse.identity.keys import ApiKeySecret

SERVICE_ROLES = (
    "inferhouse_router", "inferhouse_management", "inferhouse_transform",
    "inferhouse_portal", "inferhouse_platform", "inferhouse_dagster",
)  # fmt: skip
DEMO_EMAIL = "admin@demo.example"
DEMO_SQL_LOGIN = "demo_analyst"
_PASSWORD_CHARACTERS = 32  # 165 bits


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything that must survive a restart and must not be guessed."""

    postgres_password: str
    redis_password: str
    owner_password: str
    role_passwords: dict[str, str]
    key_pepper: str
    session_secret: str
    demo_organization: str
    demo_project: str
    demo_user: str
    demo_password: str
    demo_sql_password: str
    api_key: str
    admin_key: str


def load_or_make(path: Path, account: Account) -> Credentials:
    """The instance's credentials; made and kept when there are none."""
    if path.is_file():
        return Credentials(**json.loads(path.read_text()))
    made = Credentials(
        postgres_password=_text(),
        redis_password=_text(),
        owner_password=_text(),
        role_passwords={role: _text() for role in SERVICE_ROLES},
        key_pepper=_text(),
        session_secret=_text(),
        demo_organization=public_id("org"),
        demo_project=public_id("proj"),
        demo_user=public_id("user"),
        demo_password=_text(20),
        demo_sql_password=_text(),
        api_key=ApiKeySecret.generate().reveal(),
        admin_key=ApiKeySecret.generate().reveal(),
    )
    account.write(path, json.dumps(asdict(made), indent=1))
    return made


def _text(characters: int = _PASSWORD_CHARACTERS) -> str:
    """Random letters and digits: nothing that a URL, a shell or a configuration file would read otherwise."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(characters))
