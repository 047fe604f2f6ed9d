"""Structured logs: one JSON object a line on stderr, secrets removed before they are written."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from warehouse.base import requests

# API keys (`sk-ih-…`), tokens of invites (`inv-ih-…`), bearer tokens, passwords in both forms of connection strings (Redis's URLs
# have no user's name), SQL that sets one, cookies, signed tokens (`payload.signature`), the links that set up a second factor,
# and `token=…` of any kind. What has many places to begin at is bounded, or begins nowhere but at the start of a run of its own
# characters: a long text costs no square of its length.
_NAMES = r"password|passwd|secret|token|authorization|cookie|pepper|totp|otp|totp_code|device_code|code_verifier|client_secret"
_VALUE = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s,;&})\]]+)"
_SECRETS = re.compile(
    r"sk-ih-[0-9A-Za-z]{16}-[0-9A-Za-z]+|inv-ih-[0-9A-Za-z]{16,}"
    r"|(?i:(?:bearer|basic)\s+)\S+|(?<=://)[^:/@\s]*:[^@\s]{1,1000}(?=@)|(?i:otpauth://\S+)"
    rf"|(?i:\bpassword\s+)'(?:[^']|'')*'|(?i:\b(?:set-)?cookie\s*:\s*)[^\r\n]+"
    rf"|(?i:\b(?:[a-z]+[_-])?(?:{_NAMES})[\"']?\s*[=:]\s*)(?i:(?:bearer|basic)\s+)?{_VALUE}"
    r"|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{12,}(?:\.[A-Za-z0-9_-]{8,}){0,1}\.[A-Za-z0-9_-]{43,}"
)
_REDACTED = "[redacted]"
_SECRET_NAME = re.compile(rf"(?i:(?:^|[_.-])(?:{_NAMES})$)")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


def redact(text: str) -> str:
    """The text without API keys, tokens, cookies and passwords."""
    return _SECRETS.sub(_REDACTED, text)


def _clean(value: object) -> object:
    """The value as JSON takes it, each text in it redacted. Before it becomes JSON: cutting afterwards would break the line."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): _named(str(name), part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(part) for part in value]
    return redact(str(value))


def _named(name: str, value: object) -> object:
    """The value of a field; nothing of it where the name says that it is a secret."""
    return _REDACTED if value is not None and _SECRET_NAME.search(name) else _clean(value)


class JsonFormatter(logging.Formatter):
    """One line of JSON a record: time, level, logger, message, and whatever was given as `extra`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := requests.current()) is not None:
            entry["request_id"] = str(request_id)
        entry |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: _named(name, value) for name, value in entry.items()})


def configure(process: str, level: int = logging.INFO) -> None:
    """Send every log record of this process to stderr as redacted JSON. Called once, in `main`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
