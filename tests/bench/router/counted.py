"""Our router, counting the Python that it runs: `python -m tests.bench.router.counted FILE`.

SIGUSR1 begins to count; SIGUSR2 ends, and writes {source file: [calls of functions, bytecodes]} of the event loop's thread.
Meanwhile each request takes some milliseconds; what it runs is the same.
"""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from router.__main__ import main

Trace = Callable[[FrameType, str, Any], Any]


class Counter:
    """Calls and bytecodes by the file that they are of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[str, list[int]] = {}
        self._traces: dict[str, Trace] = {}

    def begin(self, _number: int, _frame: FrameType | None) -> None:
        """Count what is called from now on."""
        sys.settrace(self._called)

    def end(self, _number: int, _frame: FrameType | None) -> None:
        """Count no more, and write what there was."""
        sys.settrace(None)
        self._path.write_text(json.dumps(self._counts))

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Trace:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        file = frame.f_code.co_filename
        trace = self._traces.get(file)
        if trace is None:
            trace = self._traces[file] = self._trace_of(file)
        self._counts[file][0] += 1
        return trace

    def _trace_of(self, file: str) -> Trace:
        count = self._counts[file] = [0, 0]

        def trace(_frame: FrameType, event: str, _argument: Any) -> Trace:
            if event == "opcode":
                count[1] += 1
            return trace

        return trace


if __name__ == "__main__":
    counter = Counter(Path(sys.argv[1]))
    signal.signal(signal.SIGUSR1, counter.begin)
    signal.signal(signal.SIGUSR2, counter.end)
    sys.exit(main())
