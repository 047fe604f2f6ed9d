"""Stops an instance: in order where the supervisor can be asked, and then whatever is left of it."""

import shutil
import time
from xmlrpc import client

from deploy.local import supervisor
from deploy.local.errors import StepFailed
from deploy.local.launch import GUARDIAN
from deploy.local.layout import Layout
from deploy.local.processes import Process, end, is_running, members, was_reaped
from deploy.local.program import load

_SUPERVISOR_PATIENCE_S = 90  # the sum of what the programs may take one after the other, and some
_LEFTOVER_PATIENCE_S = 10
_REAP_PATIENCE_S = 3  # the machine's first process takes a moment to clear away what has ended; some never do
# Of the state folder; downloads stay.
_STATE = ("work", "run", "logs", "cache", "code", "secrets.json", "ports.json", "env")


def stop(layout: Layout) -> list[Process]:
    """Stop every process of the instance; returns those that were left when the supervisor had done its part.

    Raises: StepFailed: a process survives SIGKILL.
    """
    (layout.run / "wanted").unlink(missing_ok=True)  # from now on the guardian revives nothing
    _stop_supervisor(layout)
    left = end(lambda: list(members(layout.instance, layout.work)), _LEFTOVER_PATIENCE_S)
    still = list(members(layout.instance, layout.work))
    if still:
        raise StepFailed(f"these processes do not end: {[process.pid for process in still]}")
    return left


def _stop_supervisor(layout: Layout) -> None:
    """Have the supervisor stop every program in order, and wait until it has ended itself."""
    try:
        pid = supervisor.call(layout, "getPID")
        if GUARDIAN in load(layout.run / "programs.json"):
            supervisor.stop(layout, GUARDIAN)
        supervisor.call(layout, "shutdown")
    except (OSError, client.Error):  # it is not there, or was killed meanwhile: what is left is ended by our caller
        return
    deadline = time.monotonic() + _SUPERVISOR_PATIENCE_S
    while is_running(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + _REAP_PATIENCE_S
    while not was_reaped(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)


def forget(layout: Layout) -> None:
    """Delete what the stopped instance kept: databases, journal, logs, secrets. Downloads stay."""
    for name in _STATE:
        path = layout.state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
