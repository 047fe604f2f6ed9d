"""The supervisor of an instance: its configuration, its start, and what is asked of it over its socket."""

import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xmlrpc import client

from supervisor.xmlrpc import SupervisorTransport

from deploy.local.account import Account, service_environment
from deploy.local.errors import StepFailed
from deploy.local.layout import Layout
from deploy.local.processes import INSTANCE_MARK, PROGRAM_MARK
from deploy.local.program import Program, save

SUPERVISOR = "supervisord"
# Bytes and files of each process's log: at most 40 MB a process are kept.
_LOG_BYTES_MAX, _LOG_BACKUPS = "10MB", 3
# A program that ends within `startsecs` this many times in a row is left to the guardian, which tries again more slowly.
_START_RETRIES = 3
_NOT_RUNNING = 10  # supervisor's fault codes
_ALREADY_STARTED = 60
_NOT_STARTED = 70


def configuration(layout: Layout, programs: Iterable[Program]) -> str:
    """The supervisor's file. Commands and secrets are not in it: the launcher reads them from programs.json."""
    head = f"""[unix_http_server]
file = {layout.socket}
chmod = 0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisord]
nodaemon = true
silent = true
logfile = {layout.logs / "supervisord.log"}
logfile_maxbytes = {_LOG_BYTES_MAX}
logfile_backups = {_LOG_BACKUPS}
pidfile = {layout.run / "supervisord.pid"}
childlogdir = {layout.logs}
identifier = inferhouse-{layout.instance}
"""
    return (head + "".join(_section(layout, program) for program in programs)).replace("%", "%%")


def _section(layout: Layout, program: Program) -> str:
    return f"""[program:{program.name}]
command = {layout.python} -m deploy.local.launch {layout.state} {program.name}
environment = INFERHOUSE_DIGEST="{program.digest}"
priority = {program.stage}
autorestart = true
startretries = {_START_RETRIES}
stopsignal = {program.stop_signal}
stopwaitsecs = {program.stop_seconds_max}
killasgroup = true
redirect_stderr = true
stdout_logfile = {layout.logs / program.name}.log
stdout_logfile_maxbytes = {_LOG_BYTES_MAX}
stdout_logfile_backups = {_LOG_BACKUPS}
"""


def write(layout: Layout, account: Account, programs: list[Program]) -> None:
    """Describe the programs for the supervisor, the launcher and the guardian."""
    account.write(layout.run / "programs.json", save(programs))
    account.write(layout.run / "supervisord.conf", configuration(layout, programs))
    for program in programs:
        account.folder(Path(program.folder), 0o700)


def start(layout: Layout, account: Account | None) -> None:
    """Start the supervisor and return when it answers. `account`: None where this process is the services' user already.

    Raises: StepFailed: it does not answer.
    """
    command = [str(layout.python), "-m", "supervisor.supervisord", "-c", str(layout.run / "supervisord.conf")]
    marks = {INSTANCE_MARK: layout.instance, PROGRAM_MARK: SUPERVISOR, "PYTHONPATH": str(layout.code)}
    output = layout.logs / "supervisord.out"
    with output.open("ab") as log:
        if account:
            account.own(output)  # the guardian appends to it when it starts the supervisor again
        process = subprocess.Popen(
            account.argv(command) if account else command,
            cwd=layout.run, env=service_environment(marks, layout.home, layout.pycache),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 20
    while not is_up(layout):
        if process.poll() is not None or time.monotonic() > deadline:
            raise StepFailed(f"the supervisor does not start: see {layout.logs / 'supervisord.out'}")
        time.sleep(0.05)


def call(layout: Layout, method: str, *arguments: object) -> Any:
    """Ask the supervisor over its socket. Raises: OSError: it is not there.  Fault: it refuses."""
    with client.ServerProxy("http://127.0.0.1", transport=SupervisorTransport(None, None, f"unix://{layout.socket}")) as server:
        return getattr(server.supervisor, method)(*arguments)


def is_up(layout: Layout) -> bool:
    try:
        call(layout, "getState")
    except (OSError, client.Error):
        return False
    return True


def states(layout: Layout) -> dict[str, Mapping[str, object]]:
    """What the supervisor knows of each program: statename, pid, start, now, ...; empty when it is not there."""
    try:
        return {str(entry["name"]): entry for entry in call(layout, "getAllProcessInfo")}
    except (OSError, client.Error):
        return {}


def update(layout: Layout) -> list[str]:
    """Have the supervisor run what its file says now: stop what is gone, restart what changed, start what is new.

    Returns: names of the programs that were started.
    """
    added, changed, removed = call(layout, "reloadConfig")[0]
    for name in [*changed, *removed]:
        call(layout, "stopProcessGroup", name)
        call(layout, "removeProcessGroup", name)
    for name in [*added, *changed]:
        call(layout, "addProcessGroup", name)
    return [*added, *changed]


def restart(layout: Layout, name: str) -> None:
    """Stop a program (SIGKILL if it does not) and start it. Does nothing if someone else is at it."""
    stop(layout, name)
    try:
        call(layout, "startProcess", name, False)
    except client.Fault as fault:
        if fault.faultCode != _ALREADY_STARTED:
            raise


def stop(layout: Layout, name: str) -> None:
    """Stop a program, and return when it has ended."""
    try:
        call(layout, "stopProcess", name)
    except client.Fault as fault:
        if fault.faultCode not in {_NOT_RUNNING, _NOT_STARTED}:
            raise
