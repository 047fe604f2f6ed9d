"""What the workers behind one port tell each other: a scrape reaches one of them, and asks for the metrics of all.

Each listens on a socket of Linux's abstract namespace (unix(7)) that its process id names, so nothing lies about when it dies.
"""

import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

ANSWER_S_MAX = 1.0
_CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid


def has_any() -> bool:
    """Whether this process is one of several workers."""
    return multiprocessing.parent_process() is not None


@contextlib.asynccontextmanager
async def answering(text: Callable[[], bytes]) -> AsyncIterator[None]:
    """Whoever asks gets the text. Raises: OSError."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(text())
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, path=_name(os.getpid())):
        yield


async def texts_of_others() -> dict[int, str]:
    """{process id: its text} of the other workers; without one that does not answer in time, or has ended."""
    others = _others()
    answers = await asyncio.gather(*(asyncio.to_thread(_text_of, pid) for pid in others))
    return {pid: text for pid, text in zip(others, answers, strict=True) if text is not None}


def _others() -> list[int]:
    """Process ids of what the parent has started beside this worker; not all of it need be workers."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return []
    try:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    except OSError:  # it has just ended, and so will this worker
        return []
    return [int(pid) for pid in children if int(pid) != os.getpid()]


def _text_of(pid: int) -> str | None:
    """None where that process is no worker, or gives no answer. Blocks: uvloop cannot connect to such a socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:  # TimeoutError is one
        line.settimeout(ANSWER_S_MAX)
        line.connect(_name(pid))
        known = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(known)[:2] == (pid, os.getuid()):  # else somebody else on this machine has taken the name
            with line.makefile("rb") as text:
                return text.read().decode()
    return None


def _name(pid: int) -> str:
    """Two containers with the host's network have the same process ids and one space of names: what a parent has given to its
    workers and to nobody else tells them apart."""
    router = hashlib.blake2s(multiprocessing.current_process().authkey, digest_size=8).hexdigest()
    return f"\0inferhouse-router-{router}-{pid}"
