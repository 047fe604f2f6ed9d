"""A router that cannot work says why in one line, and ends with 1; one that no root has started stops as any other."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from uvicorn.config import STARTUP_FAILURE

from tests.services import free_port
from warehouse.journal.slots import SLOTS_MAX

NOBODY = 65534
START_S_MAX = 60
ENV = {
    "ROUTER_DATABASE_URL": "postgresql://nowhere/none",
    "ROUTER_SERVES": "inference",
    "ROUTER_KEY_PEPPER": "a pepper of the tests",
    "ROUTER_PORT": "0",
}
# What nobody may use, root may: as root, the router becomes somebody else once it is read from a folder that may be root's alone.
ROUTER = f"""
import os, sys
from router.__main__ import main
if not os.geteuid():
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
sys.exit(main())
"""


@pytest.fixture
def journal() -> Iterator[Path]:
    """A journal folder that the router may use, where it can be reached."""
    folder = Path(tempfile.mkdtemp(prefix="inferhouse-test-"))
    if not os.geteuid():
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def env_of(journal: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ROUTER_JOURNAL_DIR": str(journal), **ENV}


def refusal(journal: Path, **settings: str) -> str:
    """The one line of a start that fails."""
    env = env_of(journal) | settings
    ended = subprocess.run([sys.executable, "-c", ROUTER], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended
    (said,) = (ended.stdout + ended.stderr).splitlines()
    assert said.startswith("settings_error: ")
    return said.removeprefix("settings_error: ")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["0", "0/lock", "3/7.journal"])
def test_what_belongs_to_another_user_in_a_journal_folder_is_named(journal: Path, name: str, workers: str) -> None:
    path = journal / name
    if path.name == name:
        path.mkdir()
    else:
        path.parent.mkdir()
        path.parent.chmod(0o777)
        path.touch()
    path.chmod(0)
    uid = os.geteuid() or NOBODY
    assert refusal(journal, ROUTER_WORKERS=workers) == (
        f"ROUTER_JOURNAL_DIR cannot be written to: {path}: Permission denied;"
        f" give the folder and all in it to the router's user (chown -R {uid}), or name another folder"
    )


@pytest.mark.parametrize("name", ["ROUTER_HOST", "ROUTER_JOURNAL_DIR", "ROUTER_DATABASE_URL"])
@pytest.mark.parametrize("value", ["", " "])
def test_a_setting_that_is_needed_and_empty_is_named(journal: Path, name: str, value: str) -> None:
    assert refusal(journal, **{name: value}) == f"setting {name} is wrong: it is empty"


@pytest.mark.parametrize("name", ["ROUTER_DATABASE_URL", "ROUTER_REDIS_URL"])
def test_an_address_with_a_password_that_is_not_encoded_is_not_repeated(journal: Path, name: str) -> None:
    said = refusal(journal, **{name: f"{'redis' if 'REDIS' in name else 'postgresql'}://user:pass/word@127.0.0.1:1/0"})
    assert said.startswith(f"setting {name} is wrong: write it as ")
    assert "%2F for /" in said
    assert "pass/" not in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_named(journal: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refusal(journal, ROUTER_PORT=str(port), ROUTER_WORKERS=workers) == (
            f"the router cannot listen on ROUTER_HOST 127.0.0.1, ROUTER_PORT {port}: Address already in use;"
            " stop what listens there, or take another port"
        )
    assert list(journal.iterdir()) == []


def test_a_journal_folder_that_is_none_is_named(journal: Path) -> None:
    (journal / "file").touch()
    assert refusal(journal, ROUTER_JOURNAL_DIR=str(journal / "file")) == (
        f"ROUTER_JOURNAL_DIR cannot be written to: {journal / 'file'}: it is no folder"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_that_fails_in_a_worker_is_no_success(journal: Path, workers: str) -> None:
    """Here for want of a journal folder that no other worker has."""
    with contextlib.ExitStack() as held:
        for number in range(SLOTS_MAX):
            (journal / str(number)).mkdir()
            lock = held.enter_context((journal / str(number) / "lock").open("w"))
            (journal / str(number)).chmod(0o777)
            (journal / str(number) / "lock").chmod(0o666)
            fcntl.flock(lock, fcntl.LOCK_EX)
        env = env_of(journal) | {"ROUTER_WORKERS": workers}
        ended = subprocess.run([sys.executable, "-c", ROUTER], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "256 workers already write to" in ended.stderr
    assert ended.returncode == STARTUP_FAILURE


@pytest.mark.parametrize(("workers", "status"), [("1", -signal.SIGTERM), ("2", 0)])
def test_a_router_without_rights_of_root_stops_as_any_other(journal: Path, workers: str, status: int) -> None:
    port, log = free_port(), journal / "log"
    env = env_of(journal) | {"ROUTER_PORT": str(port), "ROUTER_WORKERS": workers}
    with log.open("wb") as written:
        router = subprocess.Popen([sys.executable, "-c", ROUTER], env=env, stdout=written, stderr=written)
    deadline = time.monotonic() + START_S_MAX
    while not lives(port):
        assert router.poll() is None
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    router.send_signal(signal.SIGTERM)
    assert router.wait(START_S_MAX) == status, log.read_text()
    assert "Traceback" not in log.read_text()


def lives(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
    except httpx.TransportError:
        return False
