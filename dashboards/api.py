"""The management API as the portal uses it."""

from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_S = 5  # a page waits for it; everything asked for here is answered in milliseconds, but for a password: 0.1 s


class ApiRefused(Exception):
    """The API said no; the message is its own, written for people."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ApiUnreachable(Exception):
    """Nobody answers at the API's address, or what answers cannot work now."""


@dataclass(frozen=True, slots=True)
class ManagementApi:
    """Calls of the portal. Raises from every method: ApiRefused, ApiUnreachable."""

    base_url: str

    def sign_in(self, email: str, password: str) -> dict[str, Any]:
        """A new session, with its token."""
        return self._call("POST", "/sessions", json={"email": email, "password": password})

    def session(self, token: str) -> dict[str, Any]:
        """The session of a token."""
        return self._call("GET", "/sessions/current", token=token)

    def engines(self, token: str, organization: str) -> list[dict[str, Any]]:
        """Every engine with its health, asked for as a member of an organization (its public id)."""
        engines: list[dict[str, Any]] = self._call("GET", "/organization/engines", token=token, organization=organization)["data"]
        return engines

    def _call(
        self, method: str, path: str, *, token: str | None = None, organization: str | None = None, json: Any = None
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if organization:
            headers["OpenAI-Organization"] = organization
        try:
            answer = httpx.request(method, self.base_url + path, headers=headers, json=json, timeout=TIMEOUT_S)
            body = answer.json()
        except (httpx.TransportError, ValueError) as error:
            raise ApiUnreachable from error
        if answer.status_code >= 500 or not isinstance(body, dict):
            raise ApiUnreachable(f"HTTP {answer.status_code}")
        if answer.status_code != 200:
            raise ApiRefused(body.get("error", {}).get("message", "the request was refused"), answer.status_code)
        return body
