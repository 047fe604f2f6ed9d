"""`make up` and `make down`: again and again, whatever is killed in between, and nothing left behind."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from deploy.local import status, supervisor
from deploy.local.processes import members
from tests.local_instance import LocalInstance, local_instance
from tests.services import ROOT, free_port

SECOND_UP_SECONDS_MAX = 90
RECOVERY_SECONDS_MAX = 60
ANSWER_SECONDS_MAX = 10
ENGINE_RECOVERY_SECONDS_MAX = 180  # vLLM loads for 50 to 75 s, beside everything else on two cores


def main_pid(instance: LocalInstance, program: str) -> int:
    if program == supervisor.SUPERVISOR:
        return int(supervisor.call(instance.layout, "getPID"))
    return int(str(supervisor.states(instance.layout)[program]["pid"]))


def wait_until_well(instance: LocalInstance, seconds_max: float) -> None:
    deadline = time.monotonic() + seconds_max
    found: list[status.Condition] = []
    while not found or not all(condition.is_well for condition in found):
        assert time.monotonic() < deadline, "\n".join(map(str, found)) or "nothing runs"
        time.sleep(0.2)
        found = status.conditions(instance.layout)


def ask(stack: dict[str, str]) -> httpx.Response:
    return httpx.post(
        f"{stack['INFERHOUSE_BASE_URL']}/chat/completions",
        headers={"authorization": f"Bearer {stack['INFERHOUSE_API_KEY']}"},
        json={"model": stack["INFERHOUSE_MODEL"], "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4},
        timeout=60,
        trust_env=False,
    )


def wait_until_answered(stack: dict[str, str]) -> None:
    """The router may see a second later than the engine's own health that it is back."""
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while (answer := ask(stack)).status_code != 200:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.5)


def kill_and_wait(instance: LocalInstance, pid: int, seconds_max: float) -> None:
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    wait_until_well(instance, seconds_max)


@pytest.fixture
def fresh() -> Iterator[LocalInstance]:
    """An instance that has never been started."""
    made = local_instance("fresh")
    made.remove()  # what an interrupted run has left
    yield made
    made.remove()


def test_env_file_has_every_address_and_key(stack: dict[str, str]) -> None:
    assert stack.keys() >= {
        "INFERHOUSE_BASE_URL", "INFERHOUSE_API_KEY", "INFERHOUSE_ADMIN_KEY", "INFERHOUSE_SQL_URL",
        "INFERHOUSE_DATABASE_URL", "INFERHOUSE_REDIS_URL", "INFERHOUSE_PORTAL_URL", "INFERHOUSE_PORTAL_EMAIL",
        "INFERHOUSE_PORTAL_PASSWORD", "INFERHOUSE_DAGSTER_URL", "INFERHOUSE_ORGANIZATION",
    }  # fmt: skip


def test_the_command_works_with_what_up_prints(stack: dict[str, str], tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **stack}
    listed = subprocess.run(
        [ROOT / "bin" / "inferhouse", "project", "list", "--output", "json"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert listed.returncode == 0, listed.stderr
    assert [project["status"] for project in json.loads(listed.stdout)] == ["active"]


def test_secrets_are_for_the_services_only(instance: LocalInstance) -> None:
    for name in ("env", "secrets.json", "run/programs.json"):
        assert (instance.layout.state / name).stat().st_mode & 0o077 == 0, name


def test_services_run_without_root(instance: LocalInstance) -> None:
    main_pids = {condition.pid for condition in status.conditions(instance.layout)}
    assert main_pids <= {process.pid for process in members(instance.layout.instance, instance.layout.work)}
    assert all(os.stat(f"/proc/{pid}").st_uid != 0 for pid in main_pids)


@pytest.mark.parametrize(
    "program",
    [
        "postgres",
        "redis",
        "engine-simulated",
        "router",
        "dagster-code",
        "dagster-webserver",
        "dagster-daemon",
        "portal",
        "guardian",
        "supervisord",
    ],
)
def test_killed_process_comes_back(instance: LocalInstance, stack: dict[str, str], program: str) -> None:
    wait_until_well(instance, RECOVERY_SECONDS_MAX)
    # vLLM dies with the supervisor, as everything does, and takes its time to load.
    seconds_max = ENGINE_RECOVERY_SECONDS_MAX if program == supervisor.SUPERVISOR else RECOVERY_SECONDS_MAX
    kill_and_wait(instance, main_pid(instance, program), seconds_max)
    wait_until_answered(stack)


def test_hung_process_is_restarted(instance: LocalInstance) -> None:
    """A stopped process exists, and answers nobody: only the guardian can tell."""
    wait_until_well(instance, RECOVERY_SECONDS_MAX)
    pid = main_pid(instance, "engine-simulated")
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while supervisor.states(instance.layout)["engine-simulated"]["pid"] == pid:
        assert time.monotonic() < deadline, "the guardian did not see it"
        time.sleep(0.5)
    wait_until_well(instance, RECOVERY_SECONDS_MAX)


def vllm_server(instance: LocalInstance) -> int:
    return main_pid(instance, "engine-vllm")


def vllm_core(instance: LocalInstance) -> int:
    """The engine core: another process than the API server, which must not be left without it."""
    running = members(instance.layout.instance, instance.layout.work)
    return next(p.pid for p in running if b"EngineCore" in Path(f"/proc/{p.pid}/cmdline").read_bytes())


@pytest.mark.parametrize("victim", [vllm_server, vllm_core])
def test_killed_vllm_comes_back_whole(
    instance: LocalInstance, stack: dict[str, str], victim: Callable[[LocalInstance], int]
) -> None:
    wait_until_well(instance, ENGINE_RECOVERY_SECONDS_MAX)
    before = {p.pid for p in members(instance.layout.instance, instance.layout.work) if p.program == "engine-vllm"}
    os.kill(victim(instance), signal.SIGKILL)
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while before & {p.pid for p in members(instance.layout.instance, instance.layout.work)}:
        assert time.monotonic() < deadline, "a part of the killed engine lives on"
        time.sleep(0.2)
    wait_until_well(instance, ENGINE_RECOVERY_SECONDS_MAX)
    wait_until_answered(stack)


def test_down_leaves_no_process_and_the_next_up_is_quick(instance: LocalInstance, stack: dict[str, str]) -> None:
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"]) as conn:
        seeded = conn.execute(
            "select (select count(*) from control.api_keys), (select count(*) from control.prices), count(*) from control.users"
        ).fetchone()
    done = instance.command("down")
    assert done.returncode == 0, done.stderr
    assert list(members(instance.layout.instance, instance.layout.work)) == []
    assert instance.command("status").returncode == 3

    began = time.monotonic()
    done = instance.command("up")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < SECOND_UP_SECONDS_MAX, done.stderr
    assert instance.outputs == stack
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"]) as conn:
        again = conn.execute(
            "select (select count(*) from control.api_keys), (select count(*) from control.prices), count(*) from control.users"
        ).fetchone()
    assert again == seeded


def test_up_while_running_restarts_nothing(instance: LocalInstance) -> None:
    before = {condition.name: condition.pid for condition in status.conditions(instance.layout)}
    done = instance.command("up")
    assert done.returncode == 0, done.stderr
    assert {condition.name: condition.pid for condition in status.conditions(instance.layout)} == before


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("INFERHOUSE_ENGIN", "INFERHOUSE_ENGINE"),
        ("ROUTER_BODY_BYTE_MAX", "ROUTER_BODY_BYTES_MAX"),
        ("PORTAL_API_URI", "PORTAL_API_URL"),
        ("ORCHESTRATION_DATABASE_ULR", "ORCHESTRATION_DATABASE_URL"),
        ("WAREHOUSE_DATABSE_URL", "WAREHOUSE_DATABASE_URL"),
        ("INFERHOSE_ENGINE", "INFERHOUSE_ENGINE"),
    ],
)
def test_misspelt_variable_stops_the_start(fresh: LocalInstance, name: str, nearest: str) -> None:
    done = fresh.command("up", **{name: "x"})
    assert done.returncode == 1
    assert name in done.stderr
    assert nearest in done.stderr
    assert not fresh.layout.run.exists()


def test_port_that_was_asked_for_and_is_taken_stops_the_start(fresh: LocalInstance) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = fresh.command("up", INFERHOUSE_ROUTER_PORT=port, INFERHOUSE_ENGINE="simulated")
    assert done.returncode == 1
    assert f"port {port} (INFERHOUSE_ROUTER_PORT)" in done.stderr
    assert list(members(fresh.layout.instance, fresh.layout.work)) == []


def test_start_that_fails_leaves_nothing_running(fresh: LocalInstance) -> None:
    nowhere = f"postgresql://nobody:nothing@127.0.0.1:{free_port()}/nowhere"
    done = fresh.command("up", INFERHOUSE_DATABASE_URL=nowhere, INFERHOUSE_ENGINE="simulated")
    assert done.returncode == 1
    assert "the database does not answer" in done.stderr
    assert list(members(fresh.layout.instance, fresh.layout.work)) == []
