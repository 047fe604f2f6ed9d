"""The one error tree.

InferhouseError
├── SettingsError            a process was started with a wrong, missing or misspelt setting
├── InvalidRequest (400)     the caller sent something that cannot be used; `param` names it
├── AuthenticationFailed (401)
├── NotAllowed (403)
├── NotFound (404)           and ModelNotFound, which names the models of the key
├── BodyTooLarge (413)
├── EngineUnavailable (503), EngineFailed (502), EngineTimedOut (504)
└── NotReady (503)           this process cannot take requests now, and says why

`status`, `code` and `type` are what an OpenAI client sees; the default is 500 on purpose, so that a forgotten class shows.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class InferhouseError(Exception):
    """Base of every error that a caller can act on. The message never contains a key, a password or prompt text."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after_s = retry_after_s
        self.retry_after_ms: int | None = None
        """The same more exactly, where it is known."""
        self.lines = b""
        """Further headers of the answer, as lines of HTTP."""

    def envelope(self, request_id: str | None) -> Mapping[str, Any]:
        """OpenAI's error body, plus `request_id`. Source: the error schema of OpenAI's OpenAPI document."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return {"error": error | {"request_id": request_id}}


class SettingsError(InferhouseError):
    """A process was started with a wrong, missing or misspelt setting. Nothing was started."""

    code = "settings_error"


class InvalidRequest(InferhouseError):
    """The request cannot be used as sent. Nothing was charged."""

    status, code, type = 400, "invalid_request", "invalid_request_error"


class AuthenticationFailed(InferhouseError):
    """No key, or none that is in force."""

    status, code, type = 401, "invalid_api_key", "authentication_error"


class NotAllowed(InferhouseError):
    """The caller is known, and may not do this."""

    status, code, type = 403, "not_allowed", "permission_error"


class NotFound(InferhouseError):
    """What was asked for does not exist, or not for this caller."""

    status, code, type = 404, "not_found", "invalid_request_error"


class ModelNotFound(NotFound):
    """The model does not exist, or this key may not use it; the message names those that it may."""

    code = "model_not_found"


class BodyTooLarge(InferhouseError):
    """The body is over the limit; it was not read to its end."""

    status, code, type = 413, "body_too_large", "invalid_request_error"


class EngineUnavailable(InferhouseError):
    """No healthy engine serves the model now. Nothing was charged; try again after `retry_after_s`."""

    status, code, type = 503, "no_healthy_engine", "server_error"


class EngineFailed(InferhouseError):
    """The engine broke off or answered with something that is no answer. Nothing was charged."""

    status, code, type = 502, "engine_failed", "server_error"


class EngineTimedOut(InferhouseError):
    """The engine did not answer within a stated time. Nothing was charged."""

    status, code, type = 504, "engine_timed_out", "server_error"


class NotReady(InferhouseError):
    """This process cannot take requests now; the message says why. Nothing was charged."""

    status, code, type = 503, "not_ready", "server_error"
