"""Structured logs: one JSON object a line on stderr, secrets removed before they are written."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

# API keys (`sk-ih-…`), bearer tokens, and passwords in both forms of connection strings; Redis's URLs have no user's name.
_SECRETS = re.compile(
    r"sk-ih-[0-9A-Za-z]{16}-[0-9A-Za-z]+|(?i:bearer\s+)\S+|(?<=://)[^:/@\s]*:[^@\s]+(?=@)"
    r"|(?i:password\s*=\s*)(?:'(?:[^'\\]|\\.)*'|\S+)"
)
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


def redact(text: str) -> str:
    """The text without API keys, bearer tokens and connection-string passwords."""
    return _SECRETS.sub("[redacted]", text)


def _clean(value: object) -> object:
    """The value as JSON takes it, each text in it redacted. Before it becomes JSON: cutting afterwards would break the line."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): _clean(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(part) for part in value]
    return redact(str(value))


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
        entry |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: _clean(value) for name, value in entry.items()})


def configure(process: str, level: int = logging.INFO) -> None:
    """Send every log record of this process to stderr as redacted JSON. Called once, in `main`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
