"""Metrics are taken from this router's own workers only: any process on the machine can have the name of a socket."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from router.siblings import _name, _text_of, answering

NAME, NOBODY = _name(0).strip("\0").removesuffix("0") + "PID", 65534
# The kernel notes who listens as the listening begins.
SERVER = """
import os, socket, sys
name, uid = sys.argv[1].replace("PID", str(os.getpid())), int(sys.argv[2])
if uid != os.getuid():
    os.setuid(uid)
listening = socket.socket(socket.AF_UNIX)
listening.bind("\\0" + name)
listening.listen()
print(os.getpid(), flush=True)
while True:
    line, _ = listening.accept()
    line.sendall(b"metrics")
    line.close()
"""


@contextmanager
def serving(name: str, uid: int) -> Iterator[int]:
    """Another process of a user, which listens under a name; its id."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, name, str(uid)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_a_worker_is_believed() -> None:
    with serving(NAME, os.getuid()) as pid:
        assert _text_of(pid) == "metrics"


def test_another_users_process_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getuid()
    if own:  # only root becomes another user; whoever is not is taken for one
        monkeypatch.setattr(os, "getuid", lambda: NOBODY)
    with serving(NAME, own or NOBODY) as pid:
        assert _text_of(pid) is None


def test_a_process_that_has_taken_a_workers_name_is_not_believed() -> None:
    with serving(NAME.replace("PID", str(os.getpid())), os.getuid()):
        assert _text_of(os.getpid()) is None


def test_a_router_with_the_same_process_ids_takes_no_workers_name() -> None:
    """As of two containers with the host's network, each with process ids of its own."""
    name = "import sys; from router.siblings import _name; print(_name(int(sys.argv[1])).strip(chr(0)))"
    elsewhere = subprocess.check_output([sys.executable, "-c", name, str(os.getpid())], text=True).strip()

    async def answer() -> str | None:
        async with answering(lambda: b"of this router"):
            return await asyncio.to_thread(_text_of, os.getpid())

    with serving(elsewhere, os.getuid()):
        assert asyncio.run(answer()) == "of this router"
