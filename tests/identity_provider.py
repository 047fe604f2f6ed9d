"""Canaille, a real OpenID Connect provider, as a process in an environment of its own: its packages bring a `tests` of theirs."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local import packages
from tests.processes import ServerProcess
from tests.services import ROOT

LOCK = ROOT / "requirements" / "oidc-provider.txt"
ENVIRONMENT = ROOT / ".local" / "oidc-provider"
CLIENT_ID, CLIENT_SECRET = "inferhouse", "a secret of the client in the tests"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the provider knows."""

    name: str
    email: str
    password: str = field(repr=False)
    groups: list[str]


def environment() -> Path:
    """Its Python; installed as the lock says where it is not."""
    stamp, python = ENVIRONMENT / "inferhouse-lock", ENVIRONMENT / "bin" / "python"
    wanted = f"{ENVIRONMENT}\n{LOCK.read_text()}"
    if not stamp.is_file() or stamp.read_text() != wanted:
        settings = packages.pip_settings()
        uv = Path(sys.executable).with_name("uv")
        base = Path(sys.executable).resolve()
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", base, ENVIRONMENT], check=True)
        command = packages.sync_command(ENVIRONMENT, LOCK, settings)
        subprocess.run(command, env=packages.sync_environment(settings), check=True)
        stamp.write_text(wanted)
    return python


def identity_provider(port: int, log: Path, people: list[Person], redirect_uris: list[str]) -> ServerProcess:
    """The provider on this port; its issuer is the URL."""
    script = Path(__file__).with_name("identity_provider_server.py")
    said = {
        "database": str(log.with_suffix(".sqlite")),
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": redirect_uris,
        "people": [asdict(person) for person in people],
    }
    argv = [str(environment()), str(script), str(port), json.dumps(said)]
    return ServerProcess(argv, {}, f"http://127.0.0.1:{port}", "/.well-known/openid-configuration", log)
