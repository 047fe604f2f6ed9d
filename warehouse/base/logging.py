"""Structured logs: one JSON object a line on stderr, secrets removed before they are written."""

import json
import logging
import re
import sys
from datetime import UTC, datetime

# API keys (`sk-ih-…`), bearer tokens, and passwords inside connection strings.
_SECRETS = re.compile(r"sk-ih-[0-9A-Za-z]{16}-[0-9A-Za-z]+|(?<=://)([^:/@\s]+):[^@\s]+(?=@)|(?i:bearer\s+)\S+")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


def redact(text: str) -> str:
    """The text without API keys, bearer tokens and connection-string passwords."""
    return _SECRETS.sub("[redacted]", text)


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
        return redact(json.dumps(entry, default=str))


def configure(process: str, level: int = logging.INFO) -> None:
    """Send every log record of this process to stderr as redacted JSON. Called once, in `main`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
