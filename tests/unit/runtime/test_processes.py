"""Processes as the kernel shows them."""

import subprocess
import time
from pathlib import Path

from deploy.local.processes import is_running, was_reaped


def test_a_process_that_only_waits_to_be_noticed_does_not_run() -> None:
    child = subprocess.Popen(["sleep", "60"])
    assert is_running(child.pid)
    child.kill()
    deadline = time.monotonic() + 10
    while is_running(child.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert Path(f"/proc/{child.pid}").exists()  # nobody has asked for its exit status yet
    assert was_reaped(child.pid)
    assert not is_running(child.pid)
    child.wait()
