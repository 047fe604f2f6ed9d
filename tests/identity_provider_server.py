"""`identity_provider_server.py PORT SETTINGS`: Canaille with its data in SQLite, run in its own environment.

SETTINGS is JSON: database (a file that is made), client_id, client_secret, redirect_uris, and people as [{name, email,
password, groups}]. Every client must send a nonce, and a code challenge that was sent is checked (PKCE).
"""

import json
import secrets
import signal
import sys
from typing import Any

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server


def main(port: int, settings: dict[str, Any]) -> None:
    """Serve on the loopback until the process ends."""
    config = {
        "SERVER_NAME": f"127.0.0.1:{port}",
        "SECRET_KEY": secrets.token_hex(16),
        "PREFERRED_URL_SCHEME": "http",
        "SESSION_COOKIE_SECURE": False,
        "CANAILLE": {"LANGUAGE": "en", "JAVASCRIPT": False, "HTMX": False, "LOGGING": None, "DATABASE": "sql"},
        "CANAILLE_SQL": {
            "DATABASE_URI": f"sqlite:///{settings['database']}",
            "PASSWORD_HASH_PARAMS": {"pbkdf2_sha512__rounds": 1000},
        },
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [RSAKey.generate_key(2048, {"kid": "tests", "use": "sig"}).as_dict(private=True)]},
    }
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a parent that ignores it has us ignore it too
    app = create_app(config, init_backend=True)
    with app.app_context():
        store(settings, port)
    make_server("127.0.0.1", port, app, threaded=True).serve_forever()


def store(settings: dict[str, Any], port: int) -> None:
    """The client, the people and their groups."""
    backend = Backend.instance
    client = models.Client(
        client_id=settings["client_id"],
        client_secret=settings["client_secret"],
        client_name="Inferhouse",
        client_uri=f"http://127.0.0.1:{port}",
        redirect_uris=settings["redirect_uris"],
        grant_types=["authorization_code"],
        response_types=["code"],
        scope=["openid", "profile", "email", "groups"],
        token_endpoint_auth_method="client_secret_basic",
    )
    backend.save(client)
    client.audience = [client]
    backend.save(client)
    groups: dict[str, Any] = {}
    for person in settings["people"]:
        user = models.User(
            user_name=person["name"],
            formatted_name=person["name"].title(),
            family_name=person["name"],
            emails=[person["email"]],
            password=person["password"],
        )
        backend.save(user)
        for name in person["groups"]:
            group = groups.setdefault(name, models.Group(display_name=name, members=[]))
            group.members = [*group.members, user]
            backend.save(group)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
