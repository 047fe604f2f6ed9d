"""Sign in and out: by a code that is confirmed in the portal, at the identity provider, or with a password."""

import getpass
import html
import secrets
import sys
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from router.cli import config, output
from router.cli.client import ApiError, Client
from router.cli.config import Profile
from router.cli.context import Context, NotSignedIn
from router.cli.output import Format

BROWSER_S_MAX = 300


def login(  # noqa: PLR0917 - typer calls it by its names
    context: typer.Context,
    password: Annotated[bool, typer.Option("--password", help="Type e-mail address and password here.")] = False,
    oidc: Annotated[bool, typer.Option("--oidc", help="At the identity provider, in this machine's browser.")] = False,
    email: Annotated[str | None, typer.Option("--email", help="Your address, for --password.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="To come back to, for --oidc; 0: any.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Sign in. Without an option by a code that you confirm in the portal, on this machine or another."""
    if password and oidc:
        raise typer.BadParameter("say --password or --oidc, not both")
    asked: Context = context.obj
    with asked.anonymous() as client:
        if password:
            session = _by_password(client, email)
        elif oidc:
            session = _by_provider(client, port, opens=not no_browser)
        else:
            session = _by_device(client, opens=not no_browser)
        organizations = session["organizations"]
        chosen = asked.organization or (organizations[0]["id"] if len(organizations) == 1 else None)
        now = int(time.time())
        profile = Profile(client.base_url, session["token"], session["user"]["email"], int(session["expires_at"]), now, chosen)
        config.save(asked.file, asked.profile, profile)
    output.note(f"Signed in as {profile.email} until {output.instant(profile.expires_at)}.")
    if chosen is None and organizations:
        known = ", ".join(f"{org['id']} ({org['name']})" for org in organizations[:10])
        output.note(f"You have several organizations: say --organization or set INFERHOUSE_ORGANIZATION. {known}")


def logout(context: typer.Context) -> None:
    """End the session, here and at the server."""
    asked: Context = context.obj
    profile = config.load(asked.file, asked.profile)
    if profile is None:
        output.note("You were not signed in.")
        return
    with Client(profile.base_url, profile.token) as client:
        try:
            client.login.out()
        except ApiError as error:
            if error.status != 401:
                raise
    config.save(asked.file, asked.profile, None)
    output.note("Signed out.")


def whoami(
    context: typer.Context, form: Annotated[Format | None, typer.Option("--output", "-o", help="table, json or csv.")] = None
) -> None:
    """Who you are signed in as, and where."""
    asked: Context = context.obj
    with asked.client() as client:
        session = client.login.current()
        shown = {
            "email": session["user"]["email"],
            "base_url": client.base_url,
            "platform_admin": session["user"]["platform_admin"],
            "method": session["method"],
            "second_factor": session["second_factor"],
            "expires_at": session["expires_at"],
            "organizations": [f"{org['id']} ({org['name']}, {org['role']})" for org in session["organizations"]],
        }
    output.one(shown, form or asked.output)


def change_password(context: typer.Context) -> None:
    """Another password; every other session of yours ends."""
    asked: Context = context.obj
    with asked.client() as client:
        current, new = _secret("Password now: "), _secret("New password: ")
        if new != _secret("New password again: "):
            raise typer.BadParameter("the two new passwords differ: nothing was changed")
        answer = client.account.password(current_password=current, new_password=new)
    output.note(f"Changed. {answer['revoked_sessions']} other sessions were ended.")


def _secret(prompt: str) -> str:
    """Typed without being shown; one line of stdin where there is no terminal."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\n")


def _by_password(client: Client, email: str | None) -> Any:
    if email is None:
        email = output.ask("E-mail: ")
    password = _secret("Password: ")
    try:
        return client.login.password(email=email, password=password)
    except ApiError as error:
        if error.code != "totp_required":
            raise
    return client.login.password(email=email, password=password, totp_code=_secret("Code of your authenticator: "))


def _by_device(client: Client, *, opens: bool) -> Any:
    if not client.login.methods()["device"]:
        raise NotSignedIn("this installation has no portal to confirm a code in: sign in with --password or --oidc")
    begun = client.login.device()
    output.note(f"Open {begun['verification_uri']} and enter the code {begun['user_code']}")
    if opens:
        webbrowser.open(begun["verification_uri_complete"])
    until, interval_s = time.monotonic() + begun["expires_in"], begun["interval"]
    while time.monotonic() < until:
        time.sleep(interval_s)
        try:
            return client.login.device_token(device_code=begun["device_code"])
        except ApiError as error:
            if error.code == "slow_down":
                interval_s += 2
            elif error.code != "authorization_pending":
                raise
    raise NotSignedIn("nobody has confirmed the code in time: run `inferhouse login` again")


def _by_provider(client: Client, port: int, *, opens: bool) -> Any:
    """The browser comes back to a port of this machine (RFC 8252)."""
    if client.login.methods()["oidc"] is None:
        raise NotSignedIn("this installation has no identity provider: sign in with --password, or without an option")
    back = _Back(port)
    try:
        begun = client.login.oidc_start(redirect_uri=back.url)
        output.note(f"Open {begun['authorization_url']}")
        if opens:
            webbrowser.open(begun["authorization_url"])
        came = back.wait(begun["state"])
    finally:
        back.close()
    return client.login.oidc(state=begun["state"], code=came)


class _Back:
    """One request of the browser that comes back. Raises: NotSignedIn: the port is taken."""

    def __init__(self, port: int) -> None:
        came: dict[str, str] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                if urlsplit(self.path).path != "/callback" or "state" not in query:
                    self.send_error(404)
                    return
                came.update(query)
                said = f"<p>{html.escape('Signed in: go back to the terminal.' if 'code' in query else 'Not signed in.')}</p>"
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._came = came
        try:
            self._server = HTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise NotSignedIn(f"port {port} of this machine cannot be used ({error.strerror}): say another --port") from error
        self._server.timeout = 1
        self.url = f"http://127.0.0.1:{self._server.server_port}/callback"

    def wait(self, state: str) -> str:
        """The code. Raises: NotSignedIn."""
        until = time.monotonic() + BROWSER_S_MAX
        while time.monotonic() < until:
            self._server.handle_request()
            if self._came and not secrets.compare_digest(self._came.get("state", "").encode(), state.encode()):
                self._came.clear()  # somebody else's link; ours may still come
            elif "code" in self._came:
                return self._came["code"]
            elif self._came:
                raise NotSignedIn(f"the identity provider refused: {self._came.get('error', 'it says no reason')}")
        raise NotSignedIn(f"the browser did not come back within {BROWSER_S_MAX} s: run `inferhouse login --oidc` again")

    def close(self) -> None:
        """Free the port."""
        self._server.server_close()
