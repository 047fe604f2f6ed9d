"""Becomes one program of the instance: `python -m deploy.local.launch STATE NAME`. The supervisor starts every process by it.

Three things the supervisor does not do: what a killed predecessor left behind is ended first (vLLM's engine core and
PostgreSQL's backends outlive their parent and hold memory and files), the program waits until those that it needs are well,
and it dies with the supervisor, so that no orphan holds a port.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from deploy.local.layout import Layout
from deploy.local.processes import INSTANCE_MARK, PROGRAM_MARK, end, members
from deploy.local.program import Program, load

GUARDIAN = "guardian"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LEFTOVER_PATIENCE_S = 5


def main() -> int:
    layout, name = Layout.of(Path(sys.argv[1])), sys.argv[2]
    programs = load(layout.run / "programs.json")
    program = programs[name]
    if name != GUARDIAN:  # it is there to start the supervisor again when that is killed
        _die_with_parent(getattr(signal, f"SIG{program.stop_signal}"))
    left = end(lambda: [p for p in members(layout.instance, layout.work) if p.program == name], _LEFTOVER_PATIENCE_S)
    if left:
        print(f"launch: ended {len(left)} processes that the last {name} left behind", flush=True)
    _wait_for([programs[other] for other in program.after if other in programs])
    os.chdir(program.folder)
    os.nice(program.niceness)
    marks = {INSTANCE_MARK: layout.instance, PROGRAM_MARK: name}
    os.execve(program.argv[0], program.argv, {**program.env, **marks})  # noqa: S606 - the program takes over this process


def _die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send us a signal when the supervisor ends; kept over exec, not handed on to children."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we had asked
        sys.exit("launch: the supervisor is gone")


def _wait_for(needed: list[Program]) -> None:
    from deploy.local.health import complaint  # noqa: PLC0415 - half a second of imports that most programs do without

    for other in needed:
        said = None
        while why := complaint(other.health_url, other.health_sql):
            if why != said:
                print(f"launch: waiting for {other.name}: {why}", flush=True)
                said = why
            time.sleep(0.3)


if __name__ == "__main__":
    sys.exit(main())
