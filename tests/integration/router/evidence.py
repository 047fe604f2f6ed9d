"""What a run of the tests leaves behind, and what must be nowhere in it: keys, passwords, tokens and prompt texts."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import psycopg
from psycopg.sql import SQL, Identifier

CHARACTERS_MIN = 12  # a shorter text, such as a code of six digits, is in every log by chance
KINDS_MIN = 6  # of characters: "xxxxxxxxxxxx" is no secret
_KEY = re.compile(r"sk-ih-[0-9A-Za-z]{16}-([0-9A-Za-z]{40})")
_NAMES = re.compile(r"(?:^|_)(?:password|token|secret|(?<!redacted_)value|device_code|code_verifier|recovery_codes?)$")
_PROMPTS = ("content", "prompt", "input", "text")


@dataclass
class Evidence:
    """One for the whole run; files in a folder, so that grep can search them for thousands of secrets at once."""

    folder: Path
    secrets: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=count)

    def secret(self, text: str) -> None:
        """Something that must be found nowhere. A text of several lines is looked for line by line."""
        for line in text.splitlines():
            if len(line) >= CHARACTERS_MIN and len(set(line)) >= KINDS_MIN:
                self.secrets.add(line.strip())

    def add(self, kind: str, content: bytes | str) -> None:
        """Something that was left behind."""
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        (self.folder / f"{next(self.numbers):06d}.{kind}").write_bytes(data)

    def exchange(self, response: httpx.Response) -> None:
        """A request and its answer: what was sent or shown once is secret, what an error says is evidence."""
        request = response.request
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and response.status_code != 401:
            self._token(token)
        with suppress(httpx.RequestNotRead, httpx.StreamConsumed):
            self._look(_json(request.content), sent=True)
        if not response.is_closed and not response.is_stream_consumed:
            return
        with suppress(httpx.ResponseNotRead):
            if response.status_code >= 400:
                self.add("error", response.text)
            else:
                for key in _KEY.findall(response.text):
                    self.secret(key)
                self._look(_json(response.content), sent=False)

    def tables(self, database_url: str) -> None:
        """Every row of every table of ours."""
        with psycopg.connect(database_url) as conn:
            names = conn.execute(
                "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE'"
                " and table_schema in ('control', 'raw', 'marts', 'migrations', 'dagster')"
            ).fetchall()
            for schema, table in names:
                query = SQL("select t::text from {} as t").format(Identifier(schema, table))
                rows = "\n".join(str(row) for (row,) in conn.execute(query))
                if rows:
                    self.add(f"{schema}.{table}", rows)

    def found(self) -> list[str]:
        """`file: secret` of each secret that is somewhere."""
        patterns = self.folder.with_suffix(".secrets")
        patterns.write_text("\n".join(sorted(self.secrets)) + "\n")
        done = subprocess.run(
            ["grep", "-r", "-F", "-o", "-a", "-f", patterns, self.folder], capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 1}, done.stderr
        return sorted(set(done.stdout.splitlines()))

    def _token(self, token: str) -> None:
        key = _KEY.fullmatch(token)
        self.secret(key[1] if key else token)

    def _look(self, value: Any, *, sent: bool, name: str = "") -> None:
        """Secrets in JSON, by the names of its fields."""
        if isinstance(value, Mapping):
            for part, inner in value.items():
                self._look(inner, sent=sent, name=str(part))
        elif isinstance(value, list):
            for inner in value:
                self._look(inner, sent=sent, name=name)
        elif isinstance(value, str) and (_NAMES.search(name) or (sent and name in _PROMPTS)):
            self._token(value)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


class Collector:
    """An OpenTelemetry collector that keeps what it is sent: protobuf has its texts as they are."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
