"""A worker whose parent is killed is told to end, and ends itself if it cannot: nobody else would."""

import subprocess
import sys

import pytest

# The parent waits for ever; its worker says how it ends, and is ended by a signal of its own if nobody ends it.
ROUTER = """
import multiprocessing, os, signal, sys, time
import router.__main__ as router

def work():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    router.ENDING_S_MAX = float(sys.argv[2])
    router.end_with_parent(float(sys.argv[1]))
    print("works", flush=True)
    told = signal.sigtimedwait([signal.SIGTERM], 60)
    print("told to end" if told else "forgotten", flush=True)
    if sys.argv[3] == "hears":
        os._exit(0)
    time.sleep(60)
    print("forgotten", flush=True)

multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(3600)
"""


def _said(shutdown_s: float, ending_s: float, how: str) -> str:
    """What a worker says after its parent was killed, until it ends."""
    argv = [sys.executable, "-c", ROUTER, str(shutdown_s), str(ending_s), how]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "works\n"
        parent.kill()
        return parent.stdout.read()


def test_a_worker_whose_parent_is_killed_is_told_to_end_at_once() -> None:
    assert _said(3600, 3600, "hears") == "told to end\n"


@pytest.mark.parametrize(("shutdown_s", "ending_s"), [(0, 0.5), (0.5, 0)])
def test_a_worker_that_does_not_end_in_time_ends_itself(shutdown_s: float, ending_s: float) -> None:
    assert _said(shutdown_s, ending_s, "hangs").removeprefix("told to end\n") == ""
