"""Receivers of what the outbox sends: a web server and a mail server, on loopback, that keep what they are sent."""

import socketserver
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True, slots=True)
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class WebReceiver:
    """Answers with 204, or as it is told. Args: tls: HTTPS with this context."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.posted: list[Posted] = []
        self.statuses: list[int] = []
        """Of the next answers; 204 after them."""
        self.headers: dict[str, str] = {}
        self.pause_s = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posted.append(Posted(self.path, headers, body))
                time.sleep(receiver.pause_s)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{self.port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class MailReceiver:
    """SMTP as far as a client needs it. `refuse(address)`: the code that a recipient is answered with, or None."""

    mails: list[EmailMessage] = field(default_factory=list)
    connections: int = 0
    refuse: Callable[[str], int | None] = lambda _: None

    def __post_init__(self) -> None:
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                receiver.connections += 1
                self._say("220 ready")
                while (line := self.rfile.readline().decode().strip()) and self._command(line):
                    pass

            def _command(self, line: str) -> bool:
                verb = line.partition(" ")[0].upper()
                if verb == "DATA":
                    self._say("354 go on")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    parsed: Any = message_from_bytes(b"".join(lines), policy=policy.default)
                    receiver.mails.append(parsed)
                code = receiver.refuse(line) if verb == "RCPT" else None
                self._say(f"{code} refused" if code else "221 bye" if verb == "QUIT" else "250 ok")
                return verb != "QUIT"

            def _say(self, text: str) -> None:
                self.wfile.write(text.encode() + b"\r\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.port = int(self._server.server_address[1])

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
