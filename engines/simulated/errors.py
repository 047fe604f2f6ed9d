"""Errors in vLLM's shape: OpenAI's envelope with the HTTP status as `code`."""

from typing import Any

import orjson


class CallError(Exception):
    """The call is refused before anything is generated."""

    def __init__(
        self, status: int, kind: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        self.body = orjson.dumps(envelope(status, kind, message, param))


class BrokenOff(Exception):
    """A fault has ended the connection; nothing more can be said."""


class ModelNotFound(CallError):
    """The engine serves another model."""

    def __init__(self, model: str) -> None:
        super().__init__(404, "NotFoundError", f"The model `{model}` does not exist.", param="model")


class WrongField(CallError):
    """A field has the wrong type or value. vLLM's validation says `body.` before the field."""

    def __init__(self, field: str, complaint: str) -> None:
        super().__init__(400, "Bad Request", f"1 validation error:\n  {field}: {complaint}", param=f"body.{field}")


class UnsupportedMediaType(CallError):
    """The content type does not say JSON."""

    def __init__(self) -> None:
        message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
        super().__init__(400, "Bad Request", message)


class BadCall(CallError):
    """The fields are right one by one and wrong together."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(400, "BadRequestError", message, param=param)


class Overloaded(CallError):
    """No room in the queue."""

    def __init__(self, waiting: int) -> None:
        message = f"{waiting} requests are waiting already"
        super().__init__(503, "ServiceUnavailableError", message, retry_after_s=1)


def envelope(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}
