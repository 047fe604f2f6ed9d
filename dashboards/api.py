"""The management API as the portal uses it."""

import base64
from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_S = 5  # a page waits for it; everything asked for here is answered in milliseconds, but for a password: 0.1 s


class ApiRefused(Exception):
    """The API said no; the message is its own, written for people."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class ApiUnreachable(Exception):
    """Nobody answers at the API's address, or what answers cannot work now."""


@dataclass(frozen=True, slots=True)
class ManagementApi:
    """Calls of the portal. Raises from every method: ApiRefused, ApiUnreachable."""

    base_url: str
    viewer_address: str | None = None
    """Where the viewer's browser is, for the audit log and for the bounds on sign-ins; believed by a router that trusts us."""
    viewer_agent: str | None = None
    """What the viewer's browser calls itself, for the list of sessions."""

    def methods(self) -> dict[str, Any]:
        """How people sign in here."""
        return self._call("GET", "/sessions/methods")

    def sign_in(self, email: str, password: str, totp_code: str | None = None) -> dict[str, Any]:
        """A new session, with its token."""
        code = {"totp_code": totp_code} if totp_code else {}
        return self._call("POST", "/sessions", json={"email": email, "password": password} | code)

    def oidc_start(self, redirect_uri: str) -> dict[str, Any]:
        """Where the browser goes to sign in with the identity provider."""
        return self._call("POST", "/sessions/oidc/start", json={"redirect_uri": redirect_uri})

    def oidc_finish(self, state: str, code: str) -> dict[str, Any]:
        """A new session for whoever came back from the identity provider."""
        return self._call("POST", "/sessions/oidc", json={"state": state, "code": code})

    def sign_out(self, token: str) -> None:
        """End the session."""
        self._call("DELETE", "/sessions/current", token=token)

    def sessions(self, token: str) -> list[dict[str, Any]]:
        """The viewer's open sessions, the newest first."""
        rows: list[dict[str, Any]] = self._call("GET", "/sessions?limit=100", token=token)["data"]
        return rows

    def revoke_session(self, token: str, session_id: str) -> None:
        """End one of the viewer's sessions."""
        self._call("DELETE", f"/sessions/{session_id}", token=token)

    def change_password(self, token: str, current: str, new: str) -> int:
        """Another password; how many other sessions it ended."""
        body = {"current_password": current, "new_password": new}
        return int(self._call("POST", "/users/me/password", token=token, json=body)["revoked_sessions"])

    def begin_totp(self, token: str, password: str) -> dict[str, Any]:
        """A second factor to be confirmed: its secret and the address for a QR code."""
        return self._call("POST", "/users/me/totp", token=token, json={"password": password} if password else {})

    def confirm_totp(self, token: str, code: str) -> list[str]:
        """The second factor is on; the recovery codes."""
        codes: list[str] = self._call("POST", "/users/me/totp/confirm", token=token, json={"code": code})["recovery_codes"]
        return codes

    def disable_totp(self, token: str, code: str) -> None:
        """The second factor is off."""
        self._call("POST", "/users/me/totp/disable", token=token, json={"code": code})

    def accept_invite(self, token: str | None, invite: str, **person: str) -> dict[str, Any]:
        """Join an organization: as the viewer of this session, or as whom name, password and totp_code say."""
        said = {name: value for name, value in person.items() if value}
        return self._call("POST", "/invites/accept", token=token, json={"token": invite} | said)

    def find_device(self, token: str, user_code: str) -> dict[str, Any]:
        """Where the device that shows this code asked from."""
        return self._call("POST", "/sessions/device/find", token=token, json={"user_code": user_code})

    def decide_device(self, token: str, user_code: str, *, approve: bool) -> None:
        """Let a device sign in as the viewer, or not."""
        verb = "approve" if approve else "deny"
        self._call("POST", f"/sessions/device/{verb}", token=token, json={"user_code": user_code})

    def session(self, token: str) -> dict[str, Any]:
        """The session of a token."""
        return self._call("GET", "/sessions/current", token=token)

    def engines(self, token: str, organization: str) -> list[dict[str, Any]]:
        """Every engine with its health, asked for as a member of an organization (its public id)."""
        engines: list[dict[str, Any]] = self._call("GET", "/organization/engines", token=token, organization=organization)["data"]
        return engines

    def invoice_file(self, token: str, organization: str, invoice: str, kind: str) -> tuple[str, bytes]:
        """(name, content) of an invoice as `pdf` or `csv`."""
        file = self._call("GET", f"/organization/invoices/{invoice}/{kind}", token=token, organization=organization)
        return file["filename"], base64.b64decode(file["content_base64"])

    def _call(
        self, method: str, path: str, *, token: str | None = None, organization: str | None = None, json: Any = None
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if organization:
            headers["OpenAI-Organization"] = organization
        if self.viewer_agent:
            headers["User-Agent"] = self.viewer_agent
        if self.viewer_address:
            headers["X-Forwarded-For"] = self.viewer_address
        try:
            answer = httpx.request(method, self.base_url + path, headers=headers, json=json, timeout=TIMEOUT_S)
            body = answer.json()
        except (httpx.TransportError, ValueError) as error:
            raise ApiUnreachable from error
        if answer.status_code >= 500 or not isinstance(body, dict):
            raise ApiUnreachable(f"HTTP {answer.status_code}")
        if answer.status_code != 200:
            error = body.get("error", {})
            raise ApiRefused(error.get("message", "the request was refused"), answer.status_code, error.get("code", ""))
        return body
