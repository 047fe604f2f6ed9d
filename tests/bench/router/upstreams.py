"""What stands for the engine: nginx with one canned answer, or a small server of event streams."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.router.machine import Cores, tool
from tests.services import ROOT, free_port

START_S_MAX = 10
_ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1760000000,"model":"m","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"Hello there, this is a canned answer of about twenty tokens for benchmarking a proxy in '
    'front of it."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":25,"completion_tokens":20,'
    '"total_tokens":45,"prompt_tokens_details":{"cached_tokens":0}}}'
)
_NGINX = """\
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    location /v1/chat/completions {{ return 200 '{answer}'; }}
    location /v1/models {{ return 200 '{{"object":"list","data":[{{"id":"m","object":"model","created":1,"owned_by":"b"}}]}}'; }}
    location /health {{ return 200 'ok'; }}
    location /metrics {{ return 200 ''; }}
  }}
}}
"""


@contextmanager
def nginx(cores: Cores, folder: Path) -> Iterator[int]:
    """The port of an nginx that answers every chat completion with the same 500 bytes."""
    home, port = folder / "nginx", free_port()
    home.mkdir(exist_ok=True)
    (home / "nginx.conf").write_text(_NGINX.format(port=port, answer=_ANSWER))
    program = tool("nginx")
    assert program is not None
    with _running(cores.on_load([program, "-p", str(home), "-c", "nginx.conf", "-e", "error.log"]), home, port):
        yield port


@contextmanager
def event_streams(cores: Cores, folder: Path, *, chunks: int, gap_s: float) -> Iterator[int]:
    """The port of a server whose every answer is a stream of `chunks` events, `gap_s` seconds apart."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.router.sse_upstream", str(port), str(chunks), str(gap_s)]
    with _running(cores.on_load(argv), folder, port):
        yield port


@contextmanager
def _running(argv: list[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "upstream.log").open("ab") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S_MAX
        while True:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            said = (folder / "upstream.log").read_text()[-2000:]
            assert process.poll() is None, f"the upstream ended:\n{said}"
            assert time.monotonic() < deadline, f"the upstream does not start:\n{said}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)
